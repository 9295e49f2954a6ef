//! The database of the task state in use, shared by the machine, its readers
//! and its flusher; the installation of a snapshot replaces it for all.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use rocksdb::DB;
use z4_consensus::fault::point;
use z4_consensus::log::Position;
use z4_consensus::machine::MachineError;
use z4_core::state::StateError;

use crate::db::Shared;
use crate::metrics::Metrics;
use crate::sentinel::Sentinel;
use crate::step::step;

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

/// The database in use, and up to where it was applied.
pub(crate) struct Live {
    root: PathBuf,
    shared: Shared,
    metrics: Metrics,
    current: RwLock<(Arc<LiveDb>, Position)>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("root", &self.root)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

// The lock below is held for a few loads and stores only; a panic between them
// ends the process.

impl Live {
    pub fn new(
        root: &Path,
        shared: Shared,
        metrics: Metrics,
        db: LiveDb,
        position: Position,
    ) -> Arc<Self> {
        Arc::new(Self {
            root: root.to_owned(),
            shared,
            metrics,
            current: RwLock::new((Arc::new(db), position)),
        })
    }

    /// The directory of all task data.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    fn current(&self) -> (Arc<LiveDb>, Position) {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&current.0), current.1)
    }

    pub fn db(&self) -> Arc<LiveDb> {
        self.current().0
    }

    pub fn position(&self) -> Position {
        self.current().1
    }

    /// A batch up to this position was written.
    pub fn committed(&self, position: Position) {
        self.current
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .1 = position;
    }

    /// Goes over to another database; gives back the one before.
    pub fn switch(&self, db: LiveDb, position: Position) -> Arc<LiveDb> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, (Arc::new(db), position));
        before.0
    }

    /// Makes what is applied durable; tells up to where it certainly is.
    pub fn flush(&self) -> Result<Position, MachineError> {
        // Noted before the flush: what is applied meanwhile may not be in it.
        let (db, position) = self.current();
        let started = Instant::now();
        step("flush.begun");
        point("flush")?;
        db.db().flush().map_err(|e| {
            db.sentinel.check(&e);
            MachineError(format!("the task state was not flushed: {e}"))
        })?;
        self.metrics.flushed(started.elapsed());
        step("flush.done");
        Ok(position)
    }

    pub fn sample(&self) {
        let db = self.db();
        self.metrics.sample("state", db.path(), db.db());
    }
}
