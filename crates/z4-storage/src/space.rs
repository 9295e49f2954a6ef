//! Disk space: what the databases will still need, and how it comes back.
//!
//! A write buffer becomes a file, files become a larger one before they go: both
//! take space before they give any back. RocksDB learns of a full disk by
//! failing; here somebody else can know it beforehand.

use std::sync::{Arc, Weak};

use rocksdb::DB;
use z4_consensus::log::LogError;

use crate::error::StorageError;
use crate::limits::COMPACTION_BYTES_MAX;
use crate::live::{Live, LiveDb};
use crate::metrics::Metrics;
use crate::raft_log::RaftLog;

/// What a database has on its disk, and what it will have yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DbSpace {
    /// Bytes in memory that become a file yet, before the write-ahead log that
    /// has them too can go.
    pub unwritten_bytes: u64,
    /// Bytes of its tables.
    pub file_bytes: u64,
    /// Whether tables are being compacted, and so there twice for a while.
    pub is_compacting: bool,
}

impl DbSpace {
    /// What RocksDB tells; zeros for what it does not tell now.
    pub(crate) fn of(db: &DB) -> Self {
        let number = |name: &str| Metrics::property(db, name).unwrap_or(0);
        Self {
            unwritten_bytes: number("rocksdb.cur-size-all-mem-tables"),
            file_bytes: number("rocksdb.live-sst-files-size"),
            is_compacting: number("rocksdb.num-running-compactions") > 0,
        }
    }

    /// What compactions take at most before they give anything back, in bytes.
    #[must_use]
    pub fn compaction_bytes(&self) -> u64 {
        self.file_bytes.min(COMPACTION_BYTES_MAX)
    }

    /// What the database takes for what it is doing now, in bytes.
    #[must_use]
    pub fn needed_bytes(&self) -> u64 {
        match self.is_compacting {
            true => self.unwritten_bytes + self.compaction_bytes(),
            false => self.unwritten_bytes,
        }
    }
}

/// Watches over the space of both databases of a peer. One thread has it.
#[derive(Debug)]
pub struct SpaceKeeper {
    log: Arc<RaftLog>,
    live: Arc<Live>,
    log_told: Option<bool>,
    /// The state database that was told, and what. It is not kept open for this.
    state_told: Option<(Weak<LiveDb>, bool)>,
}

impl SpaceKeeper {
    pub(crate) fn new(log: Arc<RaftLog>, live: Arc<Live>) -> Self {
        Self {
            log,
            live,
            log_told: None,
            state_told: None,
        }
    }

    /// How it is with the raft log.
    #[must_use]
    pub fn log(&self) -> DbSpace {
        DbSpace::of(self.log.db())
    }

    /// How it is with the task state.
    #[must_use]
    pub fn state(&self) -> DbSpace {
        let mut space = DbSpace::of(self.live.db().db());
        space.unwritten_bytes += self.live.rows().unwritten_bytes() as u64;
        space
    }

    /// Whether RocksDB may compact the raft log and the task state when it
    /// likes. Without it tables pile up and reads become slower, but none is
    /// written twice.
    ///
    /// # Errors
    /// [`StorageError::Database`] with what RocksDB said; nothing has changed.
    pub fn allow_compaction(&mut self, of_log: bool, of_state: bool) -> Result<(), StorageError> {
        if self.log_told != Some(of_log) {
            allow(self.log.db(), of_log)?;
            self.log_told = Some(of_log);
        }
        // Not the one of before, perhaps: a snapshot may have been installed.
        let db = self.live.db();
        let told = self.state_told.as_ref();
        let told = told.filter(|(told, _)| std::ptr::eq(told.as_ptr(), Arc::as_ptr(&db)));
        if told.map(|(_, was)| *was) != Some(of_state) {
            allow(db.db(), of_state)?;
            self.state_told = Some((Arc::downgrade(&db), of_state));
        }
        Ok(())
    }

    /// What rewrites the task state without what is obsolete, in the thread that
    /// calls it; takes as long as writing what is not. When there is no room for
    /// it, all stays as it was.
    pub fn compaction(&self) -> impl FnOnce() + Send + 'static {
        let db = self.live.db();
        move || db.db().compact_range(None::<&[u8]>, None::<&[u8]>)
    }

    /// Gives the space of what was cut from the raft log back to the system,
    /// that of its write-ahead log included; does nothing when nothing was cut
    /// since.
    ///
    /// # Errors
    /// [`LogError`] when the log cannot be written: end the process.
    pub fn release_log(&self) -> Result<(), LogError> {
        self.log.release()
    }
}

fn allow(db: &DB, allowed: bool) -> Result<(), StorageError> {
    let disable = if allowed { "false" } else { "true" };
    db.set_options(&[("disable_auto_compactions", disable)])
        .map_err(StorageError::database("configure", db.path()))
}
