//! A check of the whole task state as it stands at one place of the log, beside
//! the work: on the rows of that moment, in a thread of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::Arc;

use z4_consensus::log::Position;
use z4_core::invariants;
use z4_core::state::View;

use crate::write_back::{Base, WriteBack};

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
pub(crate) fn begin<B: Base>(
    busy: &Busy,
    rows: Arc<WriteBack<B>>,
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
        // A pass over everything must not push out of the cache what is in use.
        let verdict = rows.at_once(false, |frame| {
            // Whoever applies waits for nothing else.
            let _ = taken.send(());
            verdict(frame, position)
        });
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
