//! What happens to the sessions of a peer.

use z4_core::command::{Grant, LeaseTasks, Outcome};
use z4_core::task::LeaseToken;
use z4_core::{Event, Namespace, TaskId};

use crate::clock::ClockReading;
use crate::endings::Item;
use crate::output::Report;

/// A lease.
pub type Key = (TaskId, LeaseToken);

/// A session of this process. The shell gives each number once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// A proposal on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// The two clocks of the shell, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Since the Unix epoch, as this machine has it. It may jump. Only the
    /// deadlines of leases are compared with it.
    pub wall_ns: u64,
    /// Never goes back and is never set: decides how long somebody waits.
    pub monotonic_ns: u64,
}

/// Who leads, as this peer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leadership {
    /// This peer; 0 while it is in no cluster.
    pub raft_id: u64,
    /// The leader; 0 while none is known.
    pub leader: u64,
    /// Its term.
    pub term: u64,
    /// The leader is this peer, and has applied the first entry of its term.
    pub is_ready_here: bool,
    /// The clock of this peer is not too far ahead of those of the others, so that this peer may
    /// go by it while it leads. It may change within a term, and consumers stay known.
    pub goes_by_clock: bool,
}

/// What a run of applied entries did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AppliedEvents {
    /// In the order of the log.
    pub events: Vec<Event>,
    /// Machine time, in nanoseconds.
    pub stamp_ns: u64,
    /// The earliest deadline of a live lease, in machine nanoseconds.
    pub pulse_next_ns: Option<u64>,
    /// A snapshot took the place of entries, whose events nobody tells.
    pub is_jump: bool,
}

/// A consumer that opens a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// Whose tasks it takes.
    pub namespace: Namespace,
    /// What it calls itself, or what was made up for it; empty for GetTaskStream.
    pub consumer_id: String,
    /// How long its leases last, in milliseconds; 0 for the namespace's setting.
    pub lease_ms: u64,
    /// How it takes tasks.
    pub method: Method,
}

/// How a session takes tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Consume: delivers, and is told what became of each task.
    Consume {
        /// Most tasks in flight.
        in_flight_max: u64,
        /// Most bytes of payload and metadata in flight; one task above it goes
        /// alone.
        bytes_max: u64,
        /// The consumer chose its id and may come back under it, here or at
        /// another peer.
        is_named: bool,
    },
    /// GetTaskStream: what is written is acknowledged.
    Stream,
    /// LeaseTasks: takes tasks once, for one answer.
    Take(Taking),
}

/// What a call of LeaseTasks wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taking {
    /// Most tasks of the answer.
    pub tasks: u32,
    /// How long to wait for the first task, in nanoseconds; 0: what is due now.
    pub wait_ns: u64,
    /// How long the caller waits for an answer in any case, in nanoseconds.
    pub patience_ns: u64,
    /// What the consumer holds already comes first.
    pub resume: bool,
}

/// What a client says on an open session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// Something of one lease.
    Ask(Item),
    /// No more deliveries; the session ends with its last lease.
    Drain,
    /// So many tasks and bytes from now on; `None`: as before.
    Credit(Option<u64>, Option<u64>),
    /// Something that the shell has refused: the client is there.
    Refused,
}

/// What became of leases that were to be delivered, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delivered {
    /// Handed to the connection of the consumer.
    pub sent: Vec<Key>,
    /// Over before they could be handed over, by the store or by the clock.
    pub over: Vec<Key>,
    /// Not looked at: they wait again, in this order, before all others.
    pub left: Vec<Key>,
}

/// What came of a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    /// What the log answers.
    pub outcome: Outcome,
    /// An earlier try of the same proposal may have been applied before.
    pub maybe_before: bool,
}

/// Why there is no outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure<E> {
    /// Nothing was done.
    NotDone(E),
    /// It may have been done, or may yet be.
    Unknown(E),
}

/// What happens to one session. `E` is what the shell says of its own failures: it is
/// passed through to [`End::Failed`](crate::End::Failed).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionInput<E> {
    /// Its consumer came.
    Open(Open),
    /// Its client said something.
    Said(Said),
    /// Its client says nothing more. The shell hears of a broken connection in the same
    /// way, a moment before it hears that it is broken.
    HalfClosed,
    /// All that was to be written before [`Told::Flush`](crate::Told::Flush) is
    /// written.
    Flushed,
    /// Leases of [`Told::Deliver`](crate::Told::Deliver) went out, or did not.
    Delivered(Delivered),
    /// The answer to [`Output::Find`](crate::Output::Find): the live leases, the first
    /// to end first.
    Found(Result<Vec<Grant>, E>),
    /// The shell has let go of the session, for whatever reason; nothing more comes of
    /// it. What was on the way and did not come back before was not written.
    Gone,
}

/// Whatever happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input<E> {
    /// Something happened to a session.
    Session(SessionId, SessionInput<E>),
    /// Who leads has changed.
    Leadership(Leadership),
    /// Entries were applied at this peer, or a snapshot was installed.
    Applied(AppliedEvents),
    /// Machine time, in nanoseconds, as of runs that nobody had to be told of.
    MachineTime(u64),
    /// A leader said what its clock showed a while ago.
    LeaderClock(ClockReading),
    /// The answer to [`Output::Propose`](crate::Output::Propose). What it follows
    /// from was applied, and told of by [`Applied`](Self::Applied), before, if the
    /// proposal was made at this peer.
    Proposed(Ticket, Result<Settled, Failure<E>>),
    /// A lease that was taken from those that
    /// [`Output::Offer`](crate::Output::Offer) gave did not come into the log, or nobody
    /// knows.
    RiderFailed {
        /// The term in which it was offered.
        term: u64,
        /// The lease.
        lease: LeaseTasks,
    },
    /// The answer to [`Output::Report`](crate::Output::Report).
    Reported {
        /// The name of the consumer of whom the leader was told.
        consumer: String,
        /// The leader has it.
        is_told: bool,
    },
    /// The connection by which this peer reported consumers to this leader is no more:
    /// the leader forgets those that came by it.
    ReportsLost(u64),
    /// Another peer reports a consumer.
    Remote {
        /// The connection by which it came.
        link: u64,
        /// What it says.
        report: Report,
    },
    /// The connection with this number, on which consumers were reported, is no more.
    RemoteLost(u64),
    /// The peer stops: all sessions end, and no more are opened.
    Stop,
}
