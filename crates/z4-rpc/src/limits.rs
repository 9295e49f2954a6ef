//! Every bound of services, streams and peer connections, in one place. Limits
//! of requests stand in `z4_core::limits`, those of threads in
//! `z4_consensus::limits`.

use std::time::Duration;

/// Version of the protocol between peers. Peers of another version refuse each
/// other. It stays as it is: what is new comes with a level of the cluster (`z4_proto::level`),
/// so that peers of two releases work together. 2 has the log entries `SetAddresses` and `ReturnTasks`, at which a peer
/// of version 1 would stop; 3 has leases ahead, at which one of version 2 would; 4 has
/// `ResumeLeases`, and leases that are given back in the name of their holder, at which one
/// of version 3 would.
pub const PROTOCOL_VERSION: u32 = 4;

/// Largest message on the service port, in bytes.
pub const MESSAGE_LEN_MAX: usize = 8 << 20;
/// Largest message between peers, in bytes: a command at its limit and its
/// frame.
pub const PEER_MESSAGE_LEN_MAX: usize = 16 << 20;
/// Connections of clients unless it is said how many, and unless the process may
/// have fewer descriptors: as many as there may be streams of consumers.
pub const CONNECTIONS_MAX_DEFAULT: usize = 10_000;
/// Fewer connections of clients than this are no service: a start that would
/// leave fewer is refused.
pub const CONNECTIONS_MIN: usize = 64;
/// Connections at the peer port: some twenty of each peer of a large cluster,
/// and room for strangers.
pub const PEER_CONNECTIONS_MAX: usize = 256;
/// Those of one address: a cluster whose peers share a machine, or stand behind
/// one address, has fewer.
pub const PEER_CONNECTIONS_PER_ADDRESS_MAX: usize = 128;
/// Connections that wait to be accepted; the system refuses or delays more.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Connections accepted in one go; then the thread looks whether it is to stop.
pub const ACCEPT_BATCH_MAX: usize = 256;
/// How often it is looked which connections are closed, while there is room.
pub const ACCEPT_LOOK_INTERVAL: Duration = Duration::from_secs(4);
/// Where there is none it is looked at most so often for each connection: a
/// crowd that is refused costs a small part of one core.
pub const ACCEPT_COUNT_COST: Duration = Duration::from_micros(10);
/// A wait before accepting again when the system had no descriptor or no memory.
pub const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Refusals, and that nothing is accepted, are told at most so often.
pub const ACCEPT_SAY_INTERVAL: Duration = Duration::from_secs(10);
/// A thread that accepts and did not come round for so long is stuck.
pub const ACCEPT_SILENCE_MAX: Duration = Duration::from_secs(10);
/// A listener that was lost and cannot be made anew for so long ends the process.
pub const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(10);
/// A connection without a call for so long is told to go; a client's next call
/// opens another. A waiting stream is a call.
pub const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(600);
/// A connection that has been open for so long is told to go, streams on it aside: what
/// its client calls next shows a certificate and is judged again.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(3600);
/// A server that was replaced is shut down after so long: gRPC has told its connections to go
/// by then, each a tenth sooner or later.
pub const OLD_SERVER_AGE: Duration = Duration::from_secs(3600 + 900);
/// From the first byte of a connection to the end of its handshake, that of TLS and that of
/// HTTP/2 together.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of the names of a certificate in an error: whoever connects has written them.
pub const CERTIFICATE_NAMES_LEN_MAX: usize = 256;
/// Between two looks at a caller that waits for tasks: at its deadline, and that it is known.
pub const WAITING_LOOK: Duration = Duration::from_millis(500);
/// The level from which on members are told for whom they are asked something.
pub const PRINCIPAL_LEVEL: u32 = 2;
/// Characters of the name of a principal in the log, as another peer tells it.
pub const PRINCIPAL_LEN_MAX: usize = 128;
/// The longest life of a token, in milliseconds: a hundred years.
pub const TOKEN_LIFE_MAX_MS: u64 = 36_525 * 86_400_000;
/// Concurrent calls of one connection.
pub const CALLS_PER_CONNECTION_MAX: i32 = 4_096;
/// Calls that a server of gRPC has asked its library for in advance. A call that has begun
/// and whose request has not come whole holds one, and new calls wait while all are held.
/// Debian's library is built with checks that look through all of them for each message:
/// with the 1,024 that grpcio asks for, that is a twentieth of the processor time of a
/// full cycle.
pub const CALLS_AWAITED: usize = 256;
/// Completion queue threads of an environment of gRPC. A second one makes no commit
/// faster, and costs wake-ups.
pub const GRPC_THREADS: usize = 1;
/// Up to so many cores, clients and peers share one environment.
pub const SHARED_ENVIRONMENT_CORES_MAX: usize = 2;
/// Threads that read the task state for GetTask and for deliveries.
pub const READER_THREADS: usize = 2;
/// Reads that wait for a reader thread; above it: RESOURCE_EXHAUSTED.
pub const READER_QUEUE_LEN_MAX: usize = 16_384;
/// Looks at the system that wait for its thread; above it: RESOURCE_EXHAUSTED.
pub const LOOK_QUEUE_LEN_MAX: usize = 8;

/// Requests in flight on one create stream; then it is not read on.
pub const CREATE_STREAM_COUNT_MAX: usize = 1_024;
/// Bytes of requests in flight on one create stream; then it is not read on.
pub const CREATE_STREAM_BYTES_MAX: usize = 16 << 20;
/// A call without a nearer deadline of its own ends after this time.
pub const UNARY_TIMEOUT: Duration = Duration::from_secs(10);
/// Tasks or namespaces of one page.
pub const PAGE_COUNT_MAX: usize = 1_000;
/// Those of a page whose size is not asked for.
pub const PAGE_COUNT_DEFAULT: usize = 100;
/// Rows that one page of a listing reads; then it ends, however few it holds.
pub const LIST_ROW_COUNT_MAX: usize = 4_096;
/// Bytes of bodies that one page of a listing reads and leaves out.
pub const LIST_READ_BYTES_MAX: u64 = 16 << 20;
/// Largest answer with a list, in bytes as sent, unless the caller asks for
/// another size: what a gRPC client takes that nobody told otherwise.
pub const ANSWER_BYTES_DEFAULT: usize = 4 << 20;
/// Largest answer that a caller may ask for, in bytes as sent; below what this
/// port sends, so that one task above it still is a message.
pub const ANSWER_BYTES_MAX: usize = MESSAGE_LEN_MAX - (1 << 20);
/// Bytes of a task id of a client that are repeated in an answer: more is no id,
/// and thousands of them would not fit into a message.
pub const ECHO_LEN_MAX: usize = 128;
/// Longest page token, in bytes.
pub const PAGE_TOKEN_LEN_MAX: usize = 512;
/// Task ids of one redrive or purge.
pub const DEAD_ID_COUNT_MAX: usize = 10_000;
/// A redrive or purge begins nothing further after this time.
pub const DEAD_WORK_TIME: Duration = Duration::from_secs(5);
/// Due tasks before one that an explanation counts; beyond it estimates.
pub const EXPLAIN_ROW_COUNT_MAX: u64 = 1_000;
/// A call is answered before its caller's deadline by this part of the time that it
/// has, for the way back.
pub const ANSWER_MARGIN_SHARE: u32 = 5;
/// Shortest such margin: a busy machine needs it to answer at all.
pub const ANSWER_MARGIN_MIN: Duration = Duration::from_millis(10);
/// Longest such margin.
pub const ANSWER_MARGIN_MAX: Duration = Duration::from_millis(500);
/// How long a request waits for a leader at most, while nothing was done.
pub const LEADER_WAIT: Duration = Duration::from_millis(3_500);
/// A peer that was not the leader when asked is asked again after this time.
pub const LEADER_RETRY: Duration = Duration::from_millis(40);
/// A proposal that was refused for want of room is tried again after this time, if
/// there is nobody who would come back with it.
pub const BUSY_RETRY: Duration = Duration::from_millis(100);
/// A new leader waits this long to hear of enough members before it refuses to
/// remove one: several heartbeats.
pub const LIVENESS_WAIT: Duration = Duration::from_millis(500);

/// Bodies read ahead for one stream.
pub const STREAM_READ_BATCH: usize = 64;
/// The body of a task that was read before its due time is kept for so long after it, in
/// nanoseconds; if it is asked for later, it is read again.
pub const STREAM_AHEAD_KEPT_NS: u64 = 1_000_000_000;
/// Bytes of bodies read ahead for one stream; one above it goes alone.
pub const STREAM_READ_BYTES_MAX: usize = 4 << 20;
/// Events that wait for the delivery thread; then apply waits.
pub const DELIVERY_QUEUE_LEN_MAX: usize = 4_096;
/// Requests that may wait for the delivery thread; then no session is opened.
pub const DELIVERY_CONTROL_LEN_MAX: usize = 65_536;

/// How many they may be when it does not say.
pub const CONSUME_IN_FLIGHT_DEFAULT: u32 = 100;
/// Bytes of payload and metadata that a consumer may have in flight when it
/// does not say.
pub const CONSUME_BYTES_DEFAULT: u64 = 16 << 20;
/// Requests of one Consume stream that are not answered yet; then it is not
/// read on.
pub const CONSUME_UNANSWERED_MAX: usize = 4_096;
/// The first message of a Consume stream arrives within this time.
pub const CONSUME_OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait of LeaseTasks.
pub const LEASE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Bytes of payload and metadata in the answer of LeaseTasks when the request
/// does not say.
pub const LEASE_BYTES_DEFAULT: u64 = 4 << 20;

/// Small tasks are written to a stream together up to this size, in bytes.
pub const STREAM_WRITE_GROUP_BYTES: usize = 16 << 10;

/// Raft messages that wait for one peer; above it they are dropped.
pub const PEER_QUEUE_LEN_MAX: usize = 4_096;
/// Bytes of raft messages that wait for one peer; above it they are dropped.
pub const PEER_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Raft messages of one batch.
pub const RAFT_BATCH_LEN_MAX: usize = 1_024;
/// A batch is closed when it reaches this size, in bytes.
pub const RAFT_BATCH_BYTES: usize = 2 << 20;
/// Largest raft message, in bytes: one entry at its limit and room to spare.
pub const RAFT_MESSAGE_LEN_MAX: usize = PEER_MESSAGE_LEN_MAX - (4 << 20);
/// Secrets of lanes that were handed out and not used yet: one for each peer that
/// opens a lane at the moment.
pub const LANE_SECRETS_MAX: usize = 64;
/// Length of such a secret, in bytes: nobody guesses it.
pub const LANE_SECRET_LEN: usize = 32;
/// A secret opens nothing after this time: far longer than to dial takes.
pub const LANE_SECRET_LIFE: Duration = Duration::from_secs(10);
/// A connection at the port of lanes says who it is within this time.
pub const LANE_HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections there that have not said it yet; more are closed at once. Each of them
/// holds a thread.
pub const LANE_HELLOS_MAX: usize = 8;
/// Connections at the port of lanes: one of each member, one more of a member whose
/// earlier one is half open, and those that have not said who they are.
pub const LANE_CONNECTIONS_MAX: usize = 2 * LANE_COUNT_MAX;
/// Those of one address: that of one machine with several peers.
pub const LANE_CONNECTIONS_PER_ADDRESS_MAX: usize = LANE_COUNT_MAX;
/// Lanes to other peers, each with a thread; to more peers messages go over gRPC
/// alone. Real clusters have a handful.
pub const LANE_COUNT_MAX: usize = 16;
/// Longest body of a frame behind the hello, in bytes: the gRPC stream takes as much.
pub const LANE_BODY_LEN_MAX: usize = PEER_MESSAGE_LEN_MAX;
/// What a lane reads at once, in bytes, while its frames are small.
pub const LANE_BUFFER_LEN: usize = 64 << 10;
/// A buffer that grew beyond this for a large frame is given back, in bytes.
pub const LANE_BUFFER_KEPT_MAX: usize = 1 << 20;
/// The sender asks for a sign of life with a frame when it last did so long ago.
pub const LANE_PING_INTERVAL: Duration = Duration::from_millis(100);
/// Signs of life that are taken in at once: there is one for each ping, and more are sent
/// by a peer that has lost its way.
pub const LANE_HEARD_COUNT_MAX: usize = 64;
/// The thread of a lane wakes up this often, and asks for a sign of life where no frame
/// has done so.
pub const LANE_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A lane on which a ping was not answered for so long is doubted, and messages go over
/// gRPC until it is. Each heartbeat takes a ping with it, so that the third heartbeat on a
/// lane that is dead goes another way before the shortest election time-out has passed. A
/// lane on which nothing was sent is asked once in [`LANE_LOOK_INTERVAL`] only, so that
/// its first message may be lost.
pub const LANE_DOUBT: Duration = Duration::from_millis(250);
/// A lane that gave none for so long is closed at the next look, and opened anew.
pub const LANE_SILENCE_MAX: Duration = Duration::from_secs(2);
/// A receiver closes a lane on which nothing comes for so long, pings included.
pub const LANE_IDLE_MAX: Duration = Duration::from_secs(5);
/// A peer is dialled at its port of lanes for so long.
pub const LANE_DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that has no port of lanes is asked again after this time: it may have been
/// started anew with one.
pub const LANE_ASK_INTERVAL: Duration = Duration::from_secs(10);
/// Longest wait before a lane is opened anew that could not be opened, or that broke.
pub const LANE_RETRY_MAX: Duration = Duration::from_secs(30);
/// A lane that was up for so long is opened anew soon when it breaks. One that
/// breaks again and again loses messages each time, and so is tried less and less.
pub const LANE_PROVEN: Duration = Duration::from_secs(60);
/// A raft stream with nothing to say says so this often.
pub const IDLE_BATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Shortest wait before a peer is connected to again.
pub const RECONNECT_MIN: Duration = Duration::from_millis(100);
/// Longest wait before a peer is connected to again.
pub const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// A call with more time than this has no deadline: gRPC gives it one at the end
/// of time. Nobody waits for ten years.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);
/// The name of a peer is resolved anew this often at most, when a connection
/// failed. gRPC waits 30 s unless told otherwise.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);
/// A peer is reported unreachable at most this often.
pub const UNREACHABLE_INTERVAL: Duration = Duration::from_millis(200);

/// Requests that wait for, or are at, one leader; above it: RESOURCE_EXHAUSTED.
pub const FORWARD_COUNT_MAX: usize = 32_768;
/// Their bytes.
pub const FORWARD_BYTES_MAX: usize = 64 << 20;
/// Requests of one follower in work at a leader; then its stream is not read on.
pub const FORWARD_SERVED_MAX: usize = 16_384;
/// A leader answers the opening of a forward stream within this time.
pub const FORWARD_OPEN_TIMEOUT: Duration = Duration::from_secs(1);

/// Size of the pieces of a snapshot, in bytes.
pub const SNAPSHOT_CHUNK_LEN: usize = 256 << 10;
/// Files of one snapshot.
pub const SNAPSHOT_FILE_COUNT_MAX: usize = 100_000;
/// Longest name of a file of a snapshot, in bytes.
pub const SNAPSHOT_NAME_LEN_MAX: usize = 255;
/// Largest snapshot, in bytes.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 44;
/// A transfer in which nothing moves for so long is given up.
pub const SNAPSHOT_STALL: Duration = Duration::from_secs(20);

/// A member whose address the members have wrong says its own again this often:
/// what it said may have been lost, or overtaken by what it said before.
pub const ADDRESS_SAY_INTERVAL: Duration = Duration::from_secs(2);
/// What one peer says of its address is looked into this often at most.
pub const ADDRESS_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Peers whose address is being looked into, or was a moment ago.
pub const ADDRESS_CHECK_COUNT_MAX: usize = 32;
/// Attempts in a row at one address after which another one has its turn, if
/// one is known.
pub const ADDRESS_ATTEMPTS: u32 = 2;
/// AddClusterMember waits this long until the members have the leader's own
/// address right.
pub const OWN_ADDRESS_WAIT: Duration = Duration::from_secs(5);
/// SetMemberAddress waits this long for the members to have the address.
pub const ADDRESS_WAIT: Duration = Duration::from_secs(10);
/// An address that another member holds is refused after this time: that member
/// may be about to move too.
pub const ADDRESS_CONFLICT_WAIT: Duration = Duration::from_secs(1);

/// A peer answers a probe within this time.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// A newcomer that dials all members first answers within this time: it dials
/// them side by side, for as long as [`PROBE_TIMEOUT`] each.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(6);
/// Members that a newcomer dials at most: real clusters have a handful.
pub const DIAL_COUNT_MAX: usize = 64;
/// Texts that tell of members that were not reached, in bytes each: they go into
/// one error message.
pub const UNREACHED_LEN_MAX: usize = 512;
/// AddClusterMember waits this long for another one to come to its end.
pub const ADD_TURN_WAIT: Duration = Duration::from_secs(5);
/// AddClusterMember waits this long for the newcomer to catch up.
pub const PROMOTION_WAIT: Duration = Duration::from_secs(30);
/// A change of members or of the leader is tried for so long.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(40);
/// A call that makes such a change at the leader waits for it so long, unless its
/// caller leaves before: longer than all the waits of an addition together.
pub const ADMIN_HERE_TIMEOUT: Duration = Duration::from_secs(90);
/// The steps of such a change that can be given up end so much before the call
/// does: what they say is more than that it takes too long.
pub const ADMIN_STEP_MARGIN: Duration = Duration::from_millis(50);
/// The leader answers with its view of the members within this time.
pub const VIEW_TIMEOUT: Duration = Duration::from_millis(500);
/// A member checks its whole state within this time: about 100,000 tasks a
/// second.
pub const VERIFY_TIMEOUT: Duration = Duration::from_secs(600);
/// A member that was not reached is asked again for so long when all members are asked:
/// one that has just started is connected to again after
/// [`RECONNECT_MAX`] at the latest.
pub const MEMBER_REACH_TIMEOUT: Duration = Duration::from_secs(3);
/// A member says within this time how it is. Somebody waits at a terminal, and most often
/// because a member is down.
pub const PEER_STATUS_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection to it is waited for so long.
pub const PEER_STATUS_REACH_TIMEOUT: Duration = Duration::from_secs(1);
/// The system of this peer says within this time how it is: sooner than another peer stops
/// waiting for the answer.
pub const PEER_STATUS_OWN_TIMEOUT: Duration = Duration::from_millis(1_500);
/// One piece of a backup, in bytes.
pub const BACKUP_CHUNK_LEN: usize = 256 << 10;
/// Pieces of a backup that wait for the client; then the thread that makes it waits too.
pub const BACKUP_QUEUE_LEN: usize = 4;
/// A client that takes nothing of a backup for so long is sent away: the rows are held for
/// it, with the space on the disk that they take.
pub const BACKUP_STALL: Duration = Duration::from_secs(60);
/// Verdicts on its own state that a peer keeps until they are asked for; older ones
/// are forgotten, for nobody waits for them any more.
pub const VERDICTS_MAX: usize = 16;
/// A status that does not show yet what this peer has applied is looked at so often.
pub const STATUS_LOOK: Duration = Duration::from_millis(20);
/// A peer says so often to each other one what its binary knows, and whether it holds the
/// level of the cluster: it may have changed since the stream was opened.
pub const LEVELS_SAY_INTERVAL: Duration = Duration::from_secs(2);
/// Most that is kept of the release that a peer says it runs, in bytes.
pub const VERSION_LEN_MAX: usize = 64;
/// Longest peer id, in bytes.
pub const PEER_ID_LEN_MAX: usize = 128;
/// Longest address, in bytes.
pub const ADDRESS_LEN_MAX: usize = 261;
/// An idle connection is probed this often.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(10);
/// A connection whose probe is not answered in this time is closed.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a byte of a create takes of a disk until it is where it stays: in the
/// write-ahead log, in a table of the raft log, in one of the task state.
pub const DISK_COST_FACTOR: u64 = 3;
/// What a create takes besides its bytes.
pub const DISK_COST_BYTES: u64 = 1_024;
/// What was let in between so many looks, of 100 ms each, counts as not on the
/// disk yet, wherever that is.
pub const DISK_LOOKS_KEPT: usize = 5;
/// A peer says how its disk is with every batch of raft messages, so more often
/// than [`IDLE_BATCH_INTERVAL`]. What is older than this is not heeded.
pub const DISK_HEARD_MAX: Duration = Duration::from_secs(5);
/// Who is refused for want of disk space is told to come back after this.
pub const DISK_RETRY_MS: u64 = 1_000;
