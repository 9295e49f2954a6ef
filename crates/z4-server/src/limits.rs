//! Bounds of the server's own: memory that is free, descriptors, and the status port. The other crates
//! have theirs in files of the same name.

use std::time::Duration;

use z4_rpc::limits as rpc;

/// A block of memory of so many bytes is mapped by itself, and goes back to the system
/// when it is freed. The C library begins with 128 KiB and raises it to 32 MiB. Messages
/// with a task of 64 KiB or two are between the two: mapped, each of them costs the faults
/// of its pages, a fifth of the processor time of such tasks.
pub(crate) const ALLOCATOR_MAPS_BYTES: i32 = 512 << 10;
/// The bytes that each arena of the allocator may keep free at its end: with less, a
/// block that comes and goes there would ask the system each time.
pub(crate) const ALLOCATOR_KEEPS_BYTES: i32 = 512 << 10;
/// Descriptors that a database needs beyond the tables it keeps open: its
/// write-ahead files, list of files and information log, its folder, what a flush
/// and a compaction write, and tables that an iterator holds beyond its bound.
pub(crate) const STORE_DESCRIPTORS: u64 = 64;
/// Databases that are open at a time: raft log, task state, and the task state of
/// a snapshot while it takes the place of the old one.
pub(crate) const STORE_COUNT: u64 = 3;
/// The stores that are open all the time: raft log and task state.
pub(crate) const LIVE_STORE_COUNT: usize = 2;
/// A database keeps one in so many of all descriptors for its tables, within the
/// bounds of `z4_storage::limits`.
pub(crate) const STORE_PART: u64 = 16;
/// Snapshots on their way: a file, its folder and their like for each member.
pub(crate) const SNAPSHOT_DESCRIPTORS: u64 = 64;
/// Connections to other peers, and the sockets that look for their names.
pub(crate) const DIAL_DESCRIPTORS: u64 = 64;
/// Lanes: the connections at their port, and two for each lane to another peer, which
/// are its connection and what wakes its thread.
pub(crate) const LANE_DESCRIPTORS: u64 =
    (rpc::LANE_CONNECTIONS_MAX + 2 * rpc::LANE_COUNT_MAX) as u64;
/// What the process has in any case: standard streams, locks, lower bounds,
/// listeners, and what its threads wait on. An idle peer has about thirty.
pub(crate) const BASE_DESCRIPTORS: u64 = 64;
/// Counted with where the system names no limit.
pub(crate) const DESCRIPTORS_MAX: u64 = 1 << 20;

/// Threads that answer at the status port. A connection that says nothing holds
/// one for [`STATUS_REQUEST_TIME`].
pub(crate) const STATUS_WORKERS: usize = 16;
/// Connections that wait for a thread; more are closed at once.
pub(crate) const STATUS_WAITING_MAX: usize = 32;
/// Connections at the status port: those that are answered, and those that wait.
pub(crate) const STATUS_CONNECTIONS_MAX: usize = STATUS_WORKERS + STATUS_WAITING_MAX;
/// Those of one address: they leave threads for others.
pub(crate) const STATUS_CONNECTIONS_PER_ADDRESS_MAX: usize = STATUS_WORKERS / 2;
/// The time of a status request: handshake, request and answer together.
pub(crate) const STATUS_REQUEST_TIME: Duration = Duration::from_secs(4);

/// Between two looks at how many connections have closed.
pub(crate) const CROWD_LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// When so many have closed, memory is given back.
pub(crate) const CROWD_COUNT_MIN: u64 = 64;

/// Between two looks at the files of certificates.
pub(crate) const CERTIFICATE_LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Between two log lines of bad files, or of a certificate that runs out.
pub(crate) const CERTIFICATE_SAY_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// So long before a certificate runs out the log begins to warn.
pub(crate) const CERTIFICATE_WARN_AHEAD: Duration = Duration::from_secs(14 * 24 * 3600);

/// Lines that wait for the writer. When it is full, lines are dropped, counted,
/// and the count is logged: the database never waits for its log.
pub(crate) const LOG_QUEUE_LEN_MAX: usize = 4_096;
/// How long a stopping peer has: 10 s are promised, and the process needs a
/// moment to end.
pub(crate) const STOP_TIME: Duration = Duration::from_millis(9_500);
/// How long calls have that are in flight when the peer stops.
pub(crate) const CALL_GRACE: Duration = Duration::from_secs(3);
/// How long streams of other peers then have, which do not end by themselves.
pub(crate) const PEER_GRACE: Duration = Duration::from_millis(500);
/// How often a start that waits for room looks at the volumes.
pub(crate) const START_LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often a start that waits says that nothing has changed.
pub(crate) const START_SAY_INTERVAL: Duration = Duration::from_secs(60);
/// What the opening of the databases takes besides what is in the write-ahead log, in bytes.
pub(crate) const START_OPEN_BYTES: u64 = 2 << 20;
/// Part of a volume that stays free, unless it is said how much: one in so many.
pub(crate) const RESERVE_PART: u64 = 10;
/// More is not held back however large the volume: what the largest compaction
/// needs, all write buffers, and the write-ahead log.
pub(crate) const RESERVE_BYTES_MAX: u64 = 2 << 30;
/// Between two rounds in which a peer in no cluster, or without a leader, dials all addresses
/// of `Z4_JOIN`.
pub(crate) const ASSEMBLY_INTERVAL: Duration = Duration::from_millis(300);
/// How often the guard of the disk looks at the volumes. Between two looks the room that was
/// found is handed out and no more.
pub(crate) const DISK_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often it looks while far more is free than needed: nothing fills a volume so fast.
pub(crate) const DISK_LOOK_CALM_INTERVAL: Duration = Duration::from_secs(1);
/// What is free beyond what is needed then, in bytes at least, on each volume.
pub(crate) const DISK_CALM_SPARE_BYTES: u64 = 8 << 30;
/// How often the guard makes room while space is low.
pub(crate) const DISK_TIDY_INTERVAL: Duration = Duration::from_secs(1);
/// How often, at most, the task state is written anew for want of space.
pub(crate) const DISK_COMPACT_INTERVAL: Duration = Duration::from_secs(10);
/// While space is low, no more than this waits in memory to become a file.
pub(crate) const UNWRITTEN_BYTES_MAX: u64 = 4 << 20;
/// What a task takes besides its bytes, about.
pub(crate) const TASK_BYTES: u64 = 512;
/// Longest peer id, in bytes.
pub(crate) const PEER_ID_LEN_MAX: usize = 128;
/// Namespaces with metrics of their own: the fullest. A cluster may have a
/// hundred thousand, which no scraper wants.
pub(crate) const METRIC_SERIES_MAX: usize = 100;

/// The least bound of how far a leader's clock may be ahead: below it clocks that NTP keeps
/// over a busy network would count as wrong.
pub(crate) const CLOCK_OFFSET_LEAST: Duration = Duration::from_millis(10);
/// The greatest one: beyond it the bound would be none.
pub(crate) const CLOCK_OFFSET_MOST: Duration = Duration::from_secs(3_600);
