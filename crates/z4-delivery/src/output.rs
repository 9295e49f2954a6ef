//! What the sessions of a peer want done.

use z4_core::command::{Command, Grant, LeaseTasks};
use z4_core::dispatch::ConsumerReport;
use z4_core::Namespace;

use crate::endings::Answer;
use crate::input::{Key, SessionId, Ticket};

/// How a proposal is tried again. Times are spans of the monotonic clock in
/// nanoseconds, from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Once, in this peer's own log, and only in this term: the leader of another term
    /// decides by itself.
    Here {
        /// The term in which this peer leads.
        term: u64,
    },
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
    /// The leases of the session with this name, with those that it has resumed.
    Session(String),
}

impl Whose {
    /// Whether a lease of this consumer, as the log names it, is one of them.
    #[must_use]
    pub fn is(&self, consumer: &str) -> bool {
        match self {
            Self::Consumer(id) => crate::consumer_id::of(consumer) == id,
            Self::Session(name) => crate::consumer_id::holder(consumer) == name,
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

/// What the task of a session is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told<E> {
    /// Consume: the session is open. The client is to be told, and that so many leases
    /// of before come again.
    Hello {
        /// How many.
        resumed: u32,
    },
    /// Read the bodies of these leases and write them in this order, behind those
    /// before; answer with [`SessionInput::Delivered`](crate::SessionInput::Delivered),
    /// in parts or at once. For LeaseTasks this is the whole answer, there is one, and
    /// it may be empty.
    Deliver(Vec<Delivery>),
    /// These leases are held until their tasks are due.
    /// [`Deliver`](Self::Deliver) follows then, of those that have not ended. So their
    /// bodies may be read now, many at once.
    Expect(Vec<Delivery>),
    /// Write no more of what was to be delivered, and give it back as left.
    Withdraw,
    /// Consume: something that the client said and that has no answer has reached the
    /// session.
    Taken,
    /// Consume: answer what was asked of a lease.
    Answer(Answer),
    /// Answer with [`SessionInput::Flushed`](crate::SessionInput::Flushed) once all
    /// answers are written.
    Flush,
    /// End the session: give back what is on the way and answer with
    /// [`SessionInput::Gone`](crate::SessionInput::Gone).
    Close(End<E>),
}

/// What a leader is told of a consumer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// It is there, and takes so much.
    There(ConsumerReport),
    /// The consumer with this name has left.
    Left(String),
}

impl Report {
    /// The name of the consumer, as the log has it.
    #[must_use]
    pub fn consumer(&self) -> &str {
        match self {
            Self::There(report) => &report.consumer,
            Self::Left(consumer) => consumer,
        }
    }
}

/// Whatever is to be done, in the order of the list that it stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output<E> {
    /// Tell the task of a session.
    Session(SessionId, Told<E>),
    /// Propose a command and answer with [`Input::Proposed`](crate::Input::Proposed).
    Propose {
        /// To be given back with the answer.
        ticket: Ticket,
        /// What.
        command: Command,
        /// How.
        retry: Retry,
    },
    /// Give a lease to [`Riders::offer`](z4_core::dispatch::Riders::offer). Whoever takes
    /// it there proposes it, and answers with
    /// [`Input::RiderFailed`](crate::Input::RiderFailed) when it does not come into the
    /// log.
    Offer {
        /// The term in which this peer leads.
        term: u64,
        /// The lease.
        lease: LeaseTasks,
    },
    /// This peer leads no more:
    /// [`Riders::clear`](z4_core::dispatch::Riders::clear).
    ForgetRiders,
    /// Tell another peer, by
    /// [`Input::LeaderClock`](crate::Input::LeaderClock), what the clock of this one shows:
    /// a task is due there. It may be lost, for all that a leader sends tells its clock.
    TellClock {
        /// The peer.
        to: u64,
        /// The term in which this peer leads.
        term: u64,
        /// Nanoseconds since the Unix epoch.
        at_ns: u64,
    },
    /// Catch up with the leader and look for live leases; answer with
    /// [`SessionInput::Found`](crate::SessionInput::Found).
    Find {
        /// The session that looks for them.
        session: SessionId,
        /// In which namespace.
        namespace: Namespace,
        /// Whose.
        whose: Whose,
    },
    /// Tell the leader of a consumer; answer with
    /// [`Input::Reported`](crate::Input::Reported). Reports of one consumer arrive in
    /// order, or not at all.
    Report {
        /// The leader.
        to: u64,
        /// What to tell.
        report: Report,
    },
}
