//! A check of the whole task state as it stands at one place of the log, beside
//! the work: on a snapshot of the database, in a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::Arc;

use rocksdb::{ReadOptions, Snapshot};
use z4_consensus::log::Position;
use z4_core::invariants;
use z4_core::state::{Row, RowKey, StateError, View};

use crate::keys;
use crate::live::LiveDb;
use crate::task_state::{row, visit_stored};

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The place in the log that was checked: that of the mark.
    pub position: Position,
    /// Fingerprint of all rows, the same on every peer.
    pub state_hash: u128,
    /// How many rows there are.
    pub rows: u64,
    /// Invariants that do not hold.
    pub violations: Vec<String>,
}

/// Where verdicts go: the mark's id, and the verdict or why there is none.
/// Called from any thread.
pub type VerdictSink = Arc<dyn Fn(u64, Result<Verdict, String>) + Send + Sync>;

/// Checks rows that do not change meanwhile.
pub(crate) fn verdict(view: &impl View, position: Position) -> Result<Verdict, String> {
    let report = invariants::check(view).map_err(|e| e.0)?;
    Ok(Verdict {
        position,
        state_hash: invariants::state_hash(view).map_err(|e| e.0)?,
        rows: report.rows,
        violations: report.verdict().err().unwrap_or_default(),
    })
}

/// Whether a check is under way; one at a time.
#[derive(Debug, Default, Clone)]
pub(crate) struct Busy(Arc<AtomicBool>);

/// Begins a check of what is committed now, and returns when later commits are
/// no part of it.
pub(crate) fn begin(
    busy: &Busy,
    db: Arc<LiveDb>,
    position: Position,
    mark_id: u64,
    sink: VerdictSink,
) {
    if busy.0.swap(true, Ordering::AcqRel) {
        let why = "an earlier verification is still under way; try again later";
        return sink(mark_id, Err(why.into()));
    }
    let (taken, is_taken) = sync_channel::<()>(1);
    let (done, refused) = (busy.clone(), Arc::clone(&sink));
    let check = move || {
        let verdict = {
            let view = SnapshotView(db.db().snapshot(), &db);
            // The apply thread waits for nothing else.
            let _ = taken.send(());
            verdict(&view, position)
        };
        done.0.store(false, Ordering::Release);
        sink(mark_id, verdict);
    };
    let thread = std::thread::Builder::new().name("z4-verify".into());
    match thread.spawn(check) {
        // An error: the thread is gone, and so is the snapshot.
        Ok(_) => drop(is_taken.recv()),
        Err(error) => {
            busy.0.store(false, Ordering::Release);
            refused(mark_id, Err(format!("no thread to verify in: {error}")));
        }
    }
}

/// The rows of one moment.
struct SnapshotView<'a>(Snapshot<'a>, &'a LiveDb);

impl View for SnapshotView<'_> {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        let found = self
            .0
            .get_pinned_opt(keys::encode(key), uncached())
            .map_err(|e| self.1.failed(e))?;
        found.map(|value| row(key, &value)).transpose()
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let (from, to) = (keys::encode(from), keys::encode(to));
        if from >= to {
            return Ok(());
        }
        let mut options = uncached();
        options.set_iterate_upper_bound(to);
        let mut stored = self.0.raw_iterator_opt(options);
        stored.seek(from);
        while stored.valid() {
            if !visit_stored(&stored, visit)? {
                return Ok(());
            }
            stored.next();
        }
        stored.status().map_err(|e| self.1.failed(e))
    }
}

/// A pass over everything must not push out of the cache what is in use.
fn uncached() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options
}
