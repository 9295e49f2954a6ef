//! How the two databases are opened: recovery, checks, and bounds of memory.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, ErrorKind,
    Options, DB,
};

use crate::error::StorageError;
use crate::files::fault;
use crate::limits::{
    BLOCK_CACHE_BYTES, INFO_LOG_BYTES_MAX, INFO_LOG_COUNT_MAX, MANIFEST_PART, METADATA_BLOCK_BYTES,
    OPEN_BASE, OPEN_BYTES_PER_SECOND, OPEN_FILES_MAX, OPEN_FILES_MIN, WRITE_BUFFER_BYTES,
    WRITE_BUFFER_BYTES_MIN, WRITE_BUFFER_COUNT_MAX, WRITE_BUFFER_PART,
};

/// Which of the two databases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The raft log: large values, read once if ever, in the order of keys.
    Log,
    /// The task state: many small rows, many reads of what is not there.
    State,
}

/// What both databases share: the cache, and how many files each keeps open.
#[derive(Clone)]
pub(crate) struct Shared {
    cache: Cache,
    open_files_max: i32,
}

impl Shared {
    /// Each database keeps so many files open, within the bounds of [`limits`](crate::limits).
    pub(crate) fn new(open_files_max: usize) -> Result<Self, StorageError> {
        let bounded = open_files_max.clamp(OPEN_FILES_MIN, OPEN_FILES_MAX);
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        Ok(Self {
            cache: cache.map_err(StorageError::database("allocate", "cache"))?,
            open_files_max: i32::try_from(bounded).unwrap_or(i32::MAX),
        })
    }
}

/// The volume of a directory: boundless where the system does not tell.
#[derive(Clone, Copy)]
struct Volume {
    size_bytes: u64,
    free_bytes: u64,
}

impl Volume {
    /// That of a directory, or of the nearest one above it that exists.
    fn of(dir: &Path) -> Self {
        let told = dir
            .ancestors()
            .find_map(|dir| rustix::fs::statvfs(dir).ok());
        let bytes = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
            let told = told.as_ref();
            told.map_or(u64::MAX, |told| blocks(told).saturating_mul(told.f_frsize))
        };
        Self {
            size_bytes: bytes(|told| told.f_blocks),
            free_bytes: bytes(|told| told.f_bavail),
        }
    }

    /// The write buffer that fits it.
    fn write_buffer_bytes(self) -> usize {
        let part = usize::try_from(self.size_bytes / WRITE_BUFFER_PART).unwrap_or(usize::MAX);
        part.clamp(WRITE_BUFFER_BYTES_MIN, WRITE_BUFFER_BYTES)
    }
}

fn options(kind: Kind, shared: &Shared, write_buffer_bytes: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&shared.cache);
    // Filters and indexes count against the cache: memory stays flat however
    // much is stored.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    if kind == Kind::State {
        table.set_bloom_filter(10.0, false);
        table.set_block_size(8 << 10);
        // In parts. A filter of millions of small rows is one block of several
        // MB, more than a shard of the cache holds: it would be read anew, and
        // its checksum computed, for every look into the file.
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_metadata_block_size(METADATA_BLOCK_BYTES);
        table.set_pin_top_level_index_and_filter(true);
    } else {
        table.set_block_size(32 << 10);
    }

    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    // The default mode drops acknowledged writes behind a damaged record
    // without a word; this one refuses, and still takes a torn tail.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_paranoid_checks(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(write_buffer_bytes);
    options.set_max_write_buffer_number(WRITE_BUFFER_COUNT_MAX);
    options.set_max_total_wal_size(4 * write_buffer_bytes as u64);
    options.set_manifest_preallocation_size(write_buffer_bytes / MANIFEST_PART);
    options.set_max_open_files(shared.open_files_max);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX);
    options.set_keep_log_file_num(INFO_LOG_COUNT_MAX);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    if kind == Kind::State {
        options.set_level_compaction_dynamic_level_bytes(true);
    }
    options
}

/// Opens a database, or makes it.
///
/// A damaged MANIFEST can make RocksDB read in a circle for ever; then the
/// process is ended with the reason.
///
/// # Errors
/// [`StorageError::InUse`] when another process has it, [`StorageError::Damaged`]
/// when RocksDB finds it corrupted, else [`StorageError::Database`].
pub(crate) fn open(path: &Path, kind: Kind, shared: &Shared) -> Result<DB, StorageError> {
    let limit = open_limit(size_of_files(path));
    let shown = path.display().to_string();
    let _watchdog = Watchdog::start(limit, move || {
        // The logger may itself be stuck behind this thread's caller.
        eprintln!(
            "z4: opening the database {shown} took longer than {} s; its files are damaged or the disk \
             hangs. If it happens again, remove this peer from its cluster and add it anew with \
             empty directories",
            limit.as_secs()
        );
        std::process::abort();
    });
    let name = match kind {
        Kind::Log => "log.open",
        Kind::State => "state.open",
    };
    fault(name).map_err(StorageError::io("open", path))?;
    let volume = Volume::of(path);
    let mut options = options(kind, shared, volume.write_buffer_bytes());
    // RocksDB would begin at once, and a peer that was started again for want of
    // space would end of it again. Who watches over space allows it later.
    options.set_disable_auto_compactions(volume.free_bytes / 2 < size_of_files(path));
    DB::open(&options, path).map_err(|e| open_error(path, e))
}

/// What may wait in memory before it is written to a database in this directory, in
/// bytes: as much as one of its write buffers.
pub(crate) fn write_buffer_bytes(path: &Path) -> usize {
    Volume::of(path).write_buffer_bytes()
}

/// What is free on the volume of a directory, in bytes; the most there can be
/// when the system does not tell.
pub(crate) fn free_bytes(path: &Path) -> u64 {
    Volume::of(path).free_bytes
}

/// Reads these keys and the last row, before anybody interprets them: an error of
/// the system is not to be taken for damaged data, of which a peer is healed by
/// being thrown away.
pub(crate) fn check_readable(db: &DB, path: &Path, keys: &[&[u8]]) -> Result<(), StorageError> {
    let failed = |e: rocksdb::Error| match e.kind() {
        ErrorKind::Corruption => StorageError::damaged(path, e.into_string()),
        _ => StorageError::Database {
            doing: "read",
            path: path.to_owned(),
            message: e.into_string(),
        },
    };
    for key in keys {
        db.get_pinned(key).map_err(failed)?;
    }
    let mut rows = db.raw_iterator();
    rows.seek_to_last();
    rows.status().map_err(failed)
}

fn open_error(path: &Path, e: rocksdb::Error) -> StorageError {
    let message = e.as_ref().to_owned();
    // RocksDB says so too when the system does not let it look at a file. One
    // that is not there is damage.
    let unseen = message.contains("Can't access") && !message.contains("No such file");
    if e.kind() == ErrorKind::Corruption && !unseen {
        StorageError::damaged(path, message)
    } else if message.contains("lock") {
        StorageError::InUse {
            dir: path.to_owned(),
        }
    } else {
        StorageError::Database {
            doing: "open",
            path: path.to_owned(),
            message,
        }
    }
}

fn open_limit(bytes: u64) -> Duration {
    OPEN_BASE + Duration::from_secs(bytes / OPEN_BYTES_PER_SECOND)
}

/// Sizes of the files in a directory, in bytes; what cannot be read counts 0.
pub(crate) fn size_of_files(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|e| e.metadata().ok())
        .filter(|m| m.is_file())
        .map(|m| m.len())
        .sum()
}

/// Calls a function when it is not dropped in time.
struct Watchdog {
    // Dropping the sender wakes the thread, which then knows that all is well.
    _alive: mpsc::Sender<()>,
}

impl Watchdog {
    fn start(limit: Duration, late: impl FnOnce() + Send + 'static) -> Self {
        let (alive, dropped) = mpsc::channel();
        std::thread::spawn(move || {
            if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                late();
            }
        });
        Self { _alive: alive }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_watchdog_barks_only_when_opening_takes_too_long() {
        let (late, heard) = mpsc::channel();
        let bark = late.clone();
        let stuck = Watchdog::start(Duration::from_millis(1), move || {
            bark.send("stuck").unwrap()
        });
        assert_eq!(heard.recv(), Ok("stuck"));
        drop(stuck);

        drop(Watchdog::start(Duration::from_secs(600), move || {
            late.send("quick").unwrap();
        }));
        // The thread drops its sender without a word.
        assert_eq!(heard.recv(), Err(mpsc::RecvError));
    }

    #[test]
    fn a_write_buffer_fits_its_volume() {
        let here = std::env::temp_dir();
        let told = rustix::fs::statvfs(&here).unwrap();
        let part = told.f_blocks * told.f_frsize / WRITE_BUFFER_PART;
        let volume = Volume::of(&here.join("not/there"));
        let bytes = volume.write_buffer_bytes() as u64;
        assert_eq!(bytes, part.clamp(1 << 20, 32 << 20));
    }

    #[test]
    fn the_time_to_open_grows_with_size() {
        assert_eq!(open_limit(0), Duration::from_secs(60));
        assert_eq!(open_limit(1000 << 20), Duration::from_secs(70));
    }
}
