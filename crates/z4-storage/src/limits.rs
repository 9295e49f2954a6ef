//! Every bound of the two databases and of the files beside them, in one place.

use std::time::Duration;

/// Blocks cached in memory, of both databases together, in bytes: it is most of what
/// a peer holds, and stays the same however much is stored.
pub const BLOCK_CACHE_BYTES: usize = 128 << 20;
/// One write buffer of a database, in bytes, on a volume of any usual size: a larger
/// one would make fewer and longer flushes.
pub const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// The smallest write buffer, in bytes: that of a tiny volume.
pub const WRITE_BUFFER_BYTES_MIN: usize = 1 << 20;
/// A write buffer is no more than one in so many of a volume: RocksDB sets as much
/// aside for each file of its write-ahead log, before it is written.
pub const WRITE_BUFFER_PART: u64 = 32;
/// RocksDB sets one in so many of a write buffer aside for its list of files: on a
/// tiny volume its own default would be most of it.
pub const MANIFEST_PART: usize = 8;
/// Write buffers of a database, being filled or flushed; beyond it writes wait, so
/// that memory stays bounded when the disk is slow.
pub const WRITE_BUFFER_COUNT_MAX: i32 = 3;
/// Files that one database keeps open where descriptors are plenty: more than a
/// task state of 30 GB has. A file beyond them is opened anew when it is read.
pub const OPEN_FILES_MAX: usize = 512;
/// Fewest files that one database keeps open: with fewer, each read would open one.
pub const OPEN_FILES_MIN: usize = 64;
/// A part of an index or filter, in bytes: small beside a shard of the cache, which
/// a whole filter is not.
pub const METADATA_BLOCK_BYTES: usize = 8 << 10;
/// One file of RocksDB's own information log, in bytes: it would grow for ever.
pub const INFO_LOG_BYTES_MAX: usize = 4 << 20;
/// Files of RocksDB's own information log that are kept: older ones tell nothing of
/// use.
pub const INFO_LOG_COUNT_MAX: usize = 4;
/// How long the opening of an empty database may take. A damaged list of files can
/// have RocksDB read for ever, and then the process ends.
pub const OPEN_BASE: Duration = Duration::from_secs(60);
/// The opening may take a second more for so many bytes of files: a slow disk reads
/// that much.
pub const OPEN_BYTES_PER_SECOND: u64 = 100 << 20;
/// The most that compactions under way at one time read, and so write, in bytes:
/// RocksDB's own bound on one, 25 files of 64 MiB.
pub const COMPACTION_BYTES_MAX: u64 = 25 * (64 << 20);
/// The lower bound of the log is synced after this time at the latest: each sync
/// costs as much as one of the log itself.
pub const BOUND_INTERVAL: Duration = Duration::from_secs(1);
/// What is left of a log behind its cut is written anew to give space back only when
/// it takes no more than one in so many of the bytes that are free.
pub const RELEASE_PART: u64 = 4;
/// The size of an entry in bytes before one was written, to guess how much is left
/// of a log that was just opened.
pub const ENTRY_BYTES_GUESS: u64 = 16 << 10;
/// What a changed row takes in memory beside its contents, in bytes: its key, its
/// share of the nodes of the map, and what the allocator adds.
pub const LAYER_CHANGE_BYTES: usize = 128;
/// Changed rows in memory at which the thread that commits waits until they are written,
/// in write buffers of the database. A flush is asked for at one write buffer. A larger
/// bound would let more tasks end before they reach the disk, but a start would have
/// more of the log to apply. As much again may be on its way to the database.
pub const LAYER_BUFFERS_MAX: usize = 2;
/// Stretches of the database without rows that are remembered until it is written:
/// those of the due queues, timers and request ids that are looked into of late.
pub const KNOWN_STRETCHES_MAX: usize = 4_096;

/// Bytes of log that are replayed at a time by a peer that founds a cluster on what it has.
pub(crate) const REPLAY_BYTES_MAX: u64 = 8 << 20;

/// Entries between the last one of an earlier cluster that is known, and the first one of a
/// cluster that is founded on its state. The token of a lease is the index of its entry, so
/// this is also how many entries the earlier cluster may have had behind the known one without
/// a token of it coming up again: half a year of 17,000 entries a second. All numbers of
/// entries suffice for more than sixty such foundings.
pub(crate) const FOUNDING_GAP: u64 = 1 << 38;
/// Leases that are ended, and namespaces that are paused, with one entry when a state is
/// restored: no command takes more leases than four times as many.
pub(crate) const SETTLE_COUNT_MAX: usize = 1_024;
/// The greatest term of an earlier cluster that a new one is founded behind: there are as many
/// elections as entries at most, and every term needs one.
pub(crate) const TERM_MAX: u64 = 1 << 44;
