//! The trait of the raft log.
//!
//! One implementation is RocksDB (`z4-storage`), the other a simulated disk
//! (`z4-sim`); both pass `log_contract`.

use raft::eraftpb::{Entry, HardState};

/// Why the log did not do what was asked. The process must end: a write that
/// failed may or may not be on disk, and only a restart can tell.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// The log holds what cannot be, or lacks what it must hold. A start that
    /// meets this must not go on with the data of this peer.
    #[error("{0}")]
    Damaged(String),
    /// The system refused a read or a write, or the call was wrong. This says
    /// nothing of the data: another start may find them whole.
    #[error("{0}")]
    Failed(String),
}

impl From<crate::fault::Fault> for LogError {
    fn from(fault: crate::fault::Fault) -> Self {
        Self::Failed(fault.0)
    }
}

/// A position in the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    /// Log index.
    pub index: u64,
    /// Term of the entry there.
    pub term: u64,
}

/// What to make durable: the batches of one or more Readys, in one.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LogWrite {
    /// Entries to append. The first may be at or below the last index: then it
    /// and all behind it replace what was there.
    pub entries: Vec<Entry>,
    /// The hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// Whether the write must be on stable storage before it returns. Without
    /// it the write may be lost by power loss, not by the death of the process.
    pub sync: bool,
}

/// The raft log on stable storage. The log thread writes, the raft thread
/// reads, at the same time.
///
/// Where both run, reads of a range that is being replaced are the caller's to
/// avoid: the raft thread keeps what is not yet durable in memory.
pub trait LogStore: Send + Sync + 'static {
    /// The hard state as last written; default when never written.
    ///
    /// # Errors
    /// [`LogError`]: end the process.
    fn hard_state(&self) -> Result<HardState, LogError>;

    /// Where the log was cut: all up to and including this position is gone.
    /// Index 0, term 0 for a log that was never cut.
    ///
    /// # Errors
    /// [`LogError`]: end the process.
    fn cut(&self) -> Result<Position, LogError>;

    /// The last entry; [`cut`](Self::cut) when there is none behind it.
    ///
    /// # Errors
    /// [`LogError`]: end the process.
    fn last(&self) -> Result<Position, LogError>;

    /// Entries `low <= index < high`, at least one and then as many as fit in
    /// `bytes_max` of serialized size. All of the range must be behind the cut
    /// and at most the last index.
    ///
    /// # Errors
    /// [`LogError`] when one is missing or damaged: end the process.
    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError>;

    /// Term of the entry at `index`; of the cut itself at its index. `None` for
    /// an index before the cut or behind the last entry.
    ///
    /// # Errors
    /// [`LogError`]: end the process.
    fn term(&self, index: u64) -> Result<Option<u64>, LogError>;

    /// Writes one batch, atomically.
    ///
    /// # Errors
    /// [`LogError`]: end the process, never retry.
    fn write(&self, write: &LogWrite) -> Result<(), LogError>;

    /// Cuts the log: forgets all up to and including `through`, which is an
    /// entry of the log. Need not be durable at once; idempotent.
    ///
    /// # Errors
    /// [`LogError`]: end the process.
    fn cut_through(&self, through: Position) -> Result<(), LogError>;

    /// Empties the log and cuts it at `to`, with this hard state, durably and
    /// atomically: the state machine has installed a snapshot at `to`.
    ///
    /// # Errors
    /// [`LogError`]: end the process.
    fn reset(&self, to: Position, hard_state: &HardState) -> Result<(), LogError>;
}
