//! Bounds of the server's own: descriptors, and the status port. The other crates
//! have theirs in files of the same name.

use std::time::Duration;

/// Descriptors that a database needs beyond the tables it keeps open: its
/// write-ahead files, list of files and information log, its folder, what a flush
/// and a compaction write, and tables that an iterator holds beyond its bound.
pub(crate) const STORE_DESCRIPTORS: u64 = 64;
/// Databases that are open at a time: raft log, task state, and the task state of
/// a snapshot while it takes the place of the old one.
pub(crate) const STORE_COUNT: u64 = 3;
/// A database keeps one in so many of all descriptors for its tables, within the
/// bounds of `z4_storage::db`.
pub(crate) const STORE_PART: u64 = 16;
/// Snapshots on their way: a file, its folder and their like for each member.
pub(crate) const SNAPSHOT_DESCRIPTORS: u64 = 64;
/// Connections to other peers, and the sockets that look for their names.
pub(crate) const DIAL_DESCRIPTORS: u64 = 64;
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
/// A status request's time, from first byte to last, and again the answer's.
pub(crate) const STATUS_REQUEST_TIME: Duration = Duration::from_secs(2);
