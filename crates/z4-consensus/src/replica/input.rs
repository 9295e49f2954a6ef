//! What a replica is told, and what it wants done.

use raft::eraftpb::Message;

use crate::clocks::Measured;
use crate::error::{ProposeError, ReadError, StopReason};
use crate::level::SaidLevels;
use crate::log::{LogWrite, Position};
use crate::machine::{Applied, Committed};
use crate::membership::{Change, Membership};
use crate::proposals::Asked;

/// The two clocks of a peer, read by the shell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Wall clock: nanoseconds since the Unix epoch. Stamps entries.
    pub wall_ns: u64,
    /// Monotonic clock: nanoseconds since any fixed point. Times out reads and
    /// transfers.
    pub monotonic_ns: u64,
}

impl Now {
    /// The wall clock minus the monotonic clock, in nanoseconds.
    #[must_use]
    pub fn shift_ns(self) -> i64 {
        let of = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        of(self.wall_ns).saturating_sub(of(self.monotonic_ns))
    }
}

/// All causes of work. `P` is the caller's token: it comes back with the answer.
#[derive(Debug)]
pub enum Input<P> {
    /// A tick has passed.
    Tick,
    /// Commands to propose.
    Propose(Vec<Asked<P>>),
    /// A change of members to propose.
    Change(Change, P),
    /// Leadership to hand to this voter; 0 for the most caught-up one.
    Transfer(u64, P),
    /// A linearizable read, worth waiting for until this monotonic time.
    Read {
        /// Monotonic nanoseconds.
        deadline_ns: u64,
        /// The caller's.
        token: P,
    },
    /// A message from the member that the transport has authenticated.
    Message {
        /// Its raft id.
        from: u64,
        /// The message.
        message: Message,
    },
    /// A snapshot message whose files have arrived.
    Snapshot {
        /// Raft id of the sender.
        from: u64,
        /// The message.
        message: Message,
    },
    /// The write of this number, and all before it, are on stable storage.
    Persisted {
        /// [`Persist::number`].
        number: u64,
    },
    /// The machine has applied all up to this index.
    Applied {
        /// Log index.
        index: u64,
    },
    /// The machine has applied up to this position on stable storage.
    Flushed(Position),
    /// Whether disk space is low here: then the log is cut as far as it can be.
    SpaceLow(bool),
    /// The machine has made a snapshot.
    Checkpointed(Applied),
    /// The snapshot of [`Work::install`] is installed and the log was reset.
    Installed(Applied),
    /// A member could not be reached.
    Unreachable(u64),
    /// A snapshot was sent, or was not.
    SnapshotSent {
        /// Raft id of the receiver.
        to: u64,
        /// Whether it arrived.
        ok: bool,
    },
    /// Members say that this peer was removed.
    WasRemoved,
    /// The shell dialled this address, and this member answered there. Whoever
    /// leads puts the address into the log if the members have another one.
    MemberAt {
        /// Its raft id.
        raft_id: u64,
        /// `host:port` of its peer port.
        address: String,
    },
    /// This member, or this peer itself, says what its binary knows. A member says it
    /// whenever it opens a stream, before it sends anything else, and again every few seconds.
    SaidLevels {
        /// Its raft id.
        raft_id: u64,
        /// The levels that it knows, and whether it holds that of the cluster.
        said: SaidLevels,
    },
    /// The clock of this member was measured, by the clock of [`Now::monotonic_ns`].
    Clock {
        /// Its raft id.
        raft_id: u64,
        /// What came of it.
        measured: Measured,
    },
    /// This member opened a stream to this peer at this address.
    ReachedAt {
        /// Its raft id.
        raft_id: u64,
        /// The address that it dialled.
        address: String,
    },
}

/// An answer that needs no applied entry.
#[derive(Debug)]
pub enum Answer<P> {
    /// A proposal that was not appended.
    Propose(P, ProposeError),
    /// A change or a transfer.
    Admin(P, Result<(), ProposeError>),
    /// A read: the index that is applied here.
    Read(P, Result<u64, ReadError>),
}

/// Callers whose commands stand in one entry.
#[derive(Debug)]
pub struct Waiting<P> {
    /// Where the entry stands.
    pub position: Position,
    /// Its stamp in nanoseconds.
    pub stamp_ns: u64,
    /// For each command, its caller and the units used up before it.
    pub tokens: Vec<(P, u32)>,
}

/// What must be made durable.
#[derive(Clone, PartialEq, Debug)]
pub struct Persist {
    /// To be named in [`Input::Persisted`]; rising.
    pub number: u64,
    /// What to write.
    pub write: LogWrite,
}

/// What is to be done after a step, in the order of the fields.
#[derive(Debug)]
pub struct Work<P> {
    /// To send at once.
    pub send: Vec<Message>,
    /// Answers.
    pub answers: Vec<Answer<P>>,
    /// The members changed: tell the transport.
    pub members: Option<Membership>,
    /// A snapshot to install before anything below and before the next step:
    /// the machine installs it, the log is reset to it with this hard state,
    /// then [`Input::Installed`].
    pub install: Option<(Position, raft::eraftpb::HardState)>,
    /// To write. Writes are done in order.
    pub persist: Option<Persist>,
    /// The log may be cut here, after the writes before it.
    pub cut: Option<Position>,
    /// Callers to be answered when their entries are applied. To be handed to
    /// the apply side before `apply`.
    pub waiting: Vec<Waiting<P>>,
    /// Committed entries to apply, in order.
    pub apply: Vec<Committed>,
    /// Raft needs a snapshot of what is applied: [`Input::Checkpointed`].
    pub checkpoint: bool,
    /// Snapshots that nobody needs any more.
    pub drop_snapshots: Vec<Position>,
    /// The peer must stop, for this reason: what it holds cannot be right.
    pub stop: Option<StopReason>,
}

impl<P> Default for Work<P> {
    fn default() -> Self {
        Self {
            send: Vec::new(),
            answers: Vec::new(),
            members: None,
            install: None,
            persist: None,
            cut: None,
            waiting: Vec::new(),
            apply: Vec::new(),
            checkpoint: false,
            drop_snapshots: Vec::new(),
            stop: None,
        }
    }
}
