//! What the sessions of a peer want done.

use z4_core::command::{Command, Grant};
use z4_core::dispatch::ConsumerReport;
use z4_core::Namespace;

use crate::endings::Answer;
use crate::input::{Key, SessionId, Ticket};

/// How a proposal is tried again. Times are spans of the monotonic clock in
/// nanoseconds, from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Once, in this peer's own log: somebody else does it elsewhere.
    Here,
    /// At the leader, wherever it is. While nothing was done it is tried again;
    /// once it may have been done it is not.
    Once {
        /// For so long.
        patience_ns: u64,
    },
    /// At the leader, until it has an outcome: a second time does no harm.
    Repeat {
        /// For so long.
        patience_ns: u64,
    },
    /// The same until a time of the wall clock: the leases that it ends end by
    /// themselves then. Tried once in any case.
    RepeatUntil {
        /// In nanoseconds since the Unix epoch.
        wall_ns: u64,
    },
}

/// Whose leases are looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whose {
    /// Of all sessions that a consumer had.
    Consumer(String),
    /// Of the session with this name.
    Session(String),
}

impl Whose {
    /// Whether a lease of this consumer, as the log names it, is one of them.
    #[must_use]
    pub fn is(&self, consumer: &str) -> bool {
        match self {
            Self::Consumer(id) => crate::consumer_id::of(consumer) == id,
            Self::Session(name) => consumer == name,
        }
    }
}

/// A lease to be delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The lease.
    pub grant: Grant,
    /// It may have been delivered before, on an earlier session of the consumer.
    pub is_resumed: bool,
}

impl Delivery {
    /// The lease, as it is spoken of.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.grant.id, self.grant.token)
    }
}

/// Why a session ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End<E> {
    /// Both sides are done.
    Done,
    /// The client closed, and what it had is not given back yet.
    NotGivenBack,
    /// Another session of the same consumer id opened at this peer.
    TakenOver,
    /// The peer stops.
    Stopping,
    /// There are as many sessions as a peer may have.
    Full,
    /// LeaseTasks: no leader is known.
    NoLeader,
    /// LeaseTasks: the lease was not decided in time. What it leases is given back.
    NotConfirmed,
    /// The shell failed.
    Failed(E),
}

/// Whatever is to be done, in the order of the list that it stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<E> {
    /// Consume: tell the client that its session is open.
    Hello {
        /// Its session.
        session: SessionId,
        /// So many leases of before come again.
        resumed: u32,
    },
    /// Read the bodies of these leases and write them, behind those before; answer
    /// with [`Input::Delivered`](crate::Input::Delivered), in parts or at once. For
    /// LeaseTasks this is the whole answer, and there is one.
    Deliver {
        /// Its session.
        session: SessionId,
        /// In this order; may be empty for LeaseTasks.
        deliveries: Vec<Delivery>,
    },
    /// Write no more of what was to be delivered, and give it back as left.
    Withdraw {
        /// Its session.
        session: SessionId,
    },
    /// Consume: answer what was asked of a lease.
    Answer {
        /// Its session.
        session: SessionId,
        /// The answer.
        answer: Answer,
    },
    /// Answer with [`Input::Flushed`](crate::Input::Flushed) once all answers are
    /// written.
    Flush {
        /// Its session.
        session: SessionId,
    },
    /// End the session: give back what is on the way and answer with
    /// [`Input::Gone`](crate::Input::Gone).
    Close {
        /// Its session.
        session: SessionId,
        /// Why.
        end: End<E>,
    },
    /// Propose a command and answer with [`Input::Proposed`](crate::Input::Proposed).
    Propose {
        /// To be given back with the answer.
        ticket: Ticket,
        /// What.
        command: Command,
        /// How.
        retry: Retry,
    },
    /// Catch up with the leader and look for live leases; answer with
    /// [`Input::Found`](crate::Input::Found).
    Find {
        /// Its session.
        session: SessionId,
        /// In which namespace.
        namespace: Namespace,
        /// Whose.
        whose: Whose,
    },
    /// Look whether a task is due; answer with [`Input::Due`](crate::Input::Due).
    LookDue {
        /// Its session.
        session: SessionId,
        /// In which namespace.
        namespace: Namespace,
    },
    /// Tell the leader of a consumer; answer with
    /// [`Input::Reported`](crate::Input::Reported). Reports of one consumer arrive in
    /// order, or not at all.
    Report {
        /// The leader.
        to: u64,
        /// What to tell.
        report: ConsumerReport,
    },
    /// Tell the leader that a consumer has left; answer with
    /// [`Input::ReportedGone`](crate::Input::ReportedGone).
    ReportGone {
        /// The leader.
        to: u64,
        /// Its name.
        consumer: String,
    },
}
