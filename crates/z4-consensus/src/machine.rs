//! The trait of the replicated state machine.

use crate::log::Position;
use crate::membership::Membership;

/// The machine failed or holds what cannot be. The process must end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MachineError(pub String);

impl From<crate::fault::Fault> for MachineError {
    fn from(fault: crate::fault::Fault) -> Self {
        Self(fault.0)
    }
}

impl std::fmt::Display for MachineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MachineError {}

/// A committed entry, decoded from its envelope.
#[derive(Clone, PartialEq, Debug)]
pub struct Committed {
    /// Where it stands.
    pub position: Position,
    /// When its leader took it in, nanoseconds since the Unix epoch; 0 for the
    /// empty entry of a new leader and for a change of members.
    pub stamp_ns: u64,
    /// The commands, in order. Empty for the empty entry of a new leader and
    /// for a change of members.
    pub commands: Vec<Vec<u8>>,
    /// The members from this entry on, if it changed them: to be stored in the
    /// same batch as the position.
    pub membership: Option<Membership>,
}

/// What stands in the machine's store, as one atomic cut.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Applied {
    /// The last entry applied.
    pub position: Position,
    /// The members as of that entry.
    pub membership: Membership,
    /// The greatest stamp of all that was applied, in nanoseconds since the Unix epoch;
    /// 0 when nothing had one. A leader's stamps go on from there, also when a snapshot
    /// has replaced the log that had them.
    pub stamp_ns: u64,
}

/// Flushes what the machine has applied to stable storage, from a thread of its
/// own: returns the position that is durable for certain.
pub type Flusher = Box<dyn FnMut() -> Result<Position, MachineError> + Send>;

/// The replicated state machine. One thread at a time applies to it.
///
/// Its store becomes durable later than the log: after a crash it holds a prefix of
/// what was applied, and the log replays the rest.
pub trait StateMachine: Send + 'static {
    /// What a command answers.
    type Reply: Send + 'static;

    /// What it holds.
    fn applied(&self) -> &Applied;

    /// Applies a run of entries in one atomic batch, with position and
    /// membership. Gives the replies of each entry's commands, in order.
    ///
    /// # Errors
    /// [`MachineError`]: a command does not decode or the store failed; end the
    /// process.
    fn apply(&mut self, run: Vec<Committed>) -> Result<Vec<Vec<Self::Reply>>, MachineError>;

    /// A function that flushes, to be called from another thread while this one
    /// applies.
    fn flusher(&self) -> Flusher;

    /// Whether so much is in memory that a flush should not wait for its turn.
    fn wants_flush(&self) -> bool {
        false
    }

    /// Whether these entries are little work, whatever they find: no scan, no wait for
    /// the disk. Such entries may be applied by the thread that drives Raft. The size
    /// of a command does not say it, because a small one may end a thousand leases.
    fn is_light(&self, _entries: &[Committed]) -> bool {
        false
    }

    /// Makes a snapshot of what is applied now, durable on its own, under the
    /// name of its position, and keeps it until [`drop_snapshot`](Self::drop_snapshot).
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    fn checkpoint(&mut self) -> Result<Applied, MachineError>;

    /// Forgets a snapshot that [`checkpoint`](Self::checkpoint) made. Files that
    /// cannot be removed are left for the next start.
    fn drop_snapshot(&mut self, position: Position);

    /// Replaces all it holds by the snapshot at `position` that the transport
    /// has received in full, atomically and durably.
    ///
    /// # Errors
    /// [`MachineError`]: the snapshot is missing, damaged, or of another
    /// position; end the process.
    fn install(&mut self, position: Position) -> Result<(), MachineError>;
}
