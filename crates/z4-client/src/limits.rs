//! Every bound and span of the client, in one place. Those of requests stand in
//! `z4_core::limits` and are held by the peers.

use std::time::Duration;

/// Largest message that is sent or taken, in bytes: the limit of the services.
pub const MESSAGE_LEN_MAX: usize = 8 << 20;
/// How long a call may take, all its tries together.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How long changes of members may take: a newcomer has to catch up first.
pub const MEMBER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time that anything is waited for, whatever is asked: a year. Far more
/// would not fit into the clock.
pub const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);
/// One try, when there are other peers to ask and asking them is safe. Longer
/// than a peer waits for a leader to be elected.
pub const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// A call is not tried once more with less time than this left.
pub const TRY_MIN: Duration = Duration::from_millis(250);
/// How long one of several peers may take to be reached; a single one has the
/// whole time.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long gRPC may take to say why a connection failed; it knows, so it is at
/// once.
pub const REASON_TIMEOUT: Duration = Duration::from_millis(500);
/// The pause after a first round of failures; each further one is twice as long.
pub const BACKOFF_MIN: Duration = Duration::from_millis(20);
/// The longest pause between tries.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Shortest wait of gRPC before it connects to a peer again.
pub const RECONNECT_MIN: Duration = Duration::from_millis(100);
/// Longest wait of gRPC before it connects to a peer again.
pub const RECONNECT_MAX: Duration = Duration::from_millis(500);
/// The name of a peer is resolved anew this often at most, when a connection
/// failed. gRPC waits 30 s unless told otherwise.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);
/// The leader is looked for at most this often.
pub const LEADER_INTERVAL: Duration = Duration::from_secs(2);
/// An idle connection is probed this often.
pub const KEEPALIVE_TIME: Duration = Duration::from_secs(20);
/// A connection whose probe is not answered in this time is closed.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The files of TLS are looked at this often at most: three small files are read and
/// understood anew, which takes a fraction of a millisecond.
pub const TLS_LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// The file of a token is looked at this often at most.
pub const TOKEN_LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// Longest token, in bytes: that of the first admin may be so long.
pub const TOKEN_LEN_MAX: usize = 4_096;
/// Longest file of a token, in bytes: the token, and blanks around it.
pub const TOKEN_FILE_LEN_MAX: u64 = 8_192;
/// Longest name of a server that certificates are measured by: the limit of DNS.
pub const SERVER_NAME_LEN_MAX: usize = 253;

/// Tasks of a producer that are sent and not answered: as many as a peer reads
/// ahead.
pub const PRODUCER_COUNT: usize = 1_024;
/// Their bytes.
pub const PRODUCER_BYTES: usize = 16 << 20;
/// How long a producer tries to get one task created.
pub const PRODUCER_PATIENCE: Duration = Duration::from_secs(60);
/// How long a producer waits when a limit is reached: as long as peers say.
pub const EXHAUSTED_PAUSE: Duration = Duration::from_secs(1);
/// A stream that answers nothing for so long, although it was asked, is left for
/// another. Longer than a peer waits for a leader to be elected.
pub const STREAM_STALL: Duration = Duration::from_secs(8);
/// How often a producer looks whether its stream has stalled: a stall is
/// noticed so much too late at most.
pub const STALL_LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a lease whose answer was lost is left alone before it is asked for
/// again.
pub const RESUME_PAUSE: Duration = Duration::from_millis(300);
/// A client that notices a stall so much too late stood still itself.
pub const STALL_LATE: Duration = Duration::from_secs(1);

/// A long-lived call that waits for the cluster says so after this time: a change of
/// leader is over before.
pub const WAIT_NOTICE: Duration = Duration::from_secs(1);
/// A stream of deliveries on which nothing came for so long is asked about: its peer
/// may have lost the cluster, and cannot say so on the stream.
pub const IDLE_CHECK: Duration = Duration::from_secs(5);
/// The question is asked a second time after this before the stream is left.
pub const IDLE_CHECK_AGAIN: Duration = Duration::from_secs(1);

/// Deliveries that a consumer has in hand, unless told otherwise.
pub const CONSUMER_COUNT: u32 = 100;
/// How long a consumer waits for its stream to end when all is done.
pub const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Longest span between two extensions of one lease: half of the longest lease.
pub const EXTEND_MAX: Duration = Duration::from_secs(12 * 3_600);
/// Shortest span between two extensions of one lease.
pub const EXTEND_MIN: Duration = Duration::from_millis(5);
