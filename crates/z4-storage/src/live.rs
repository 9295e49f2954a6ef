//! The database of the task state in use, shared by the machine, its readers
//! and its flusher; the installation of a snapshot replaces it for all.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use rocksdb::DB;
use z4_consensus::level::LEVEL_FIRST;
use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, MachineError};
use z4_core::state::StateError;

use crate::db::{self, Shared};
use crate::error::StorageError;
use crate::files;
use crate::metrics::Metrics;
use crate::sentinel::Sentinel;
use crate::step::step;
use crate::write_back::WriteBack;

/// One database and its directory.
#[derive(Debug)]
pub(crate) struct LiveDb {
    // Fields drop in this order: closed before its files are removed.
    db: DB,
    dir: Dir,
    sentinel: Sentinel,
}

/// A directory that is removed with its last user, once it is retired.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    retired: AtomicBool,
}

impl LiveDb {
    pub fn new(db: DB, path: PathBuf, sentinel: Sentinel) -> Self {
        let retired = AtomicBool::new(false);
        Self {
            db,
            dir: Dir { path, retired },
            sentinel,
        }
    }

    pub fn sentinel(&self) -> &Sentinel {
        &self.sentinel
    }

    /// For `map_err` on reads and writes. Does not return when data is damaged.
    pub fn failed(&self, e: rocksdb::Error) -> StateError {
        self.sentinel.check(&e);
        StateError(format!("the task state failed: {e}"))
    }

    pub fn db(&self) -> &DB {
        &self.db
    }

    pub fn path(&self) -> &Path {
        &self.dir.path
    }

    /// Notes durably that this database is about to hold what a level brought.
    pub fn need_level(&self, level: u32) -> Result<(), StorageError> {
        let root = self.dir.path.parent().unwrap_or(&self.dir.path);
        files::need_level(root, level.max(LEVEL_FIRST))
    }

    /// Its files go when the last reader is done.
    pub fn retire(&self) {
        self.dir.retired.store(true, Ordering::Relaxed);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if *self.retired.get_mut() {
            // What cannot be removed now is removed at the next start.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// The database in use, under the changes that are not written to it yet.
pub(crate) struct Live {
    root: PathBuf,
    shared: Shared,
    metrics: Metrics,
    rows: Arc<WriteBack<LiveDb>>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("root", &self.root)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Live {
    pub fn new(
        root: &Path,
        shared: Shared,
        metrics: Metrics,
        db: LiveDb,
        applied: &Applied,
    ) -> Arc<Self> {
        let buffer_bytes = db::write_buffer_bytes(root);
        Arc::new(Self {
            root: root.to_owned(),
            shared,
            metrics,
            rows: Arc::new(WriteBack::new(db, applied, buffer_bytes)),
        })
    }

    /// The directory of all task data.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What machine, readers and flusher share.
    pub fn rows(&self) -> &Arc<WriteBack<LiveDb>> {
        &self.rows
    }

    pub fn db(&self) -> Arc<LiveDb> {
        self.rows.base()
    }

    pub fn position(&self) -> Position {
        self.rows.position()
    }

    /// Makes what is applied durable; tells up to where it certainly is.
    pub fn flush(&self) -> Result<Position, MachineError> {
        let started = Instant::now();
        step("flush.begun");
        let position = self.rows.flush()?;
        self.metrics.flushed(started.elapsed());
        step("flush.done");
        Ok(position)
    }

    pub fn sample(&self) {
        let db = self.db();
        self.metrics.sample("state", db.path(), db.db());
        self.metrics.layers(self.rows.unwritten_bytes());
    }
}
