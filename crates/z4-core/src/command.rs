//! What can be asked of the machine, and what it answers.
//!
//! A command is proposed by a leader, committed by a quorum, and applied by
//! every replica alike. Commands carry no time: the stamp of their entry is the
//! only clock.

use crate::error::Refusal;
use crate::task::{LeaseToken, Namespace, Priority, TaskId, WallTime};

/// One command of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Stores tasks, all or none.
    CreateTasks(CreateTasks),
    /// Hands due tasks to consumers.
    LeaseTasks(LeaseTasks),
    /// Ends tasks: their holders are done with them.
    AckTasks(LeaseRefs),
    /// Gives leases back without a failure: their holders never had the tasks
    /// in hand (stream ended, consumer drains). The tasks are due again at once.
    ReleaseTasks(LeaseRefs),
    /// The pulse: ends leases whose deadline is at or before the entry's stamp.
    ExpireLeases,
}

impl Command {
    /// How many task ids this command uses up of its entry, refused or not.
    #[must_use]
    pub fn units(&self) -> u32 {
        match self {
            Self::CreateTasks(create) => create.tasks.len() as u32,
            _ => 0,
        }
    }
}

/// Stores tasks in one namespace, which appears with its first task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTasks {
    /// Where the tasks go.
    pub namespace: Namespace,
    /// Not empty: makes the command idempotent within the dedupe window.
    pub request_id: String,
    /// What to store, 1 to [`CREATE_COUNT_MAX`](crate::limits::CREATE_COUNT_MAX).
    pub tasks: Vec<NewTask>,
}

/// A task to store.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NewTask {
    /// The client's labels, sorted by key, no key twice.
    pub metadata: Vec<(String, String)>,
    /// The client's bytes.
    pub payload: Vec<u8>,
    /// When to deliver.
    pub due: Due,
    /// Order among due tasks.
    pub priority: Priority,
}

/// When to deliver a new task.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Due {
    /// At the entry's stamp.
    #[default]
    Now,
    /// At this instant; at once when it is past, and it reads back as asked.
    At(WallTime),
    /// This many seconds after the entry's stamp; greater than 0.
    AfterSeconds(u64),
}

/// Pops due tasks of a namespace in (priority, due time, id) order and deals
/// them round the takers, one each in turn, until nothing is due, the takers
/// are full, or [`LEASE_COUNT_MAX`](crate::limits::LEASE_COUNT_MAX) is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseTasks {
    /// Whose tasks.
    pub namespace: Namespace,
    /// Who takes, and how many at most; the first is dealt to first.
    pub takers: Vec<Taker>,
    /// How long the leases last from the entry's stamp, in milliseconds; 0
    /// means the namespace's setting.
    pub lease_ms: u64,
}

/// A consumer with room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taker {
    /// Name of the consumer, unique in the cluster.
    pub consumer: String,
    /// How many tasks it takes at most; greater than 0.
    pub room: u32,
}

/// Leases named by task and token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseRefs {
    /// Whose tasks.
    pub namespace: Namespace,
    /// Which leases, 1 to [`ACK_COUNT_MAX`](crate::limits::ACK_COUNT_MAX).
    pub leases: Vec<(TaskId, LeaseToken)>,
}

/// What a command did. Every replica computes the same one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The tasks stand in the store, in the order of the command; those of the
    /// first command when a request id is repeated.
    Created(Vec<CreatedTask>),
    /// These leases were granted.
    Leased {
        /// In the order they were dealt.
        grants: Vec<Grant>,
        /// Due tasks were left because the command's limit or the takers' room
        /// ended: ask again.
        more: bool,
    },
    /// For each lease of the command, in order: whether it was live, with this
    /// token, and so was ended. `false` changed nothing.
    Ended(Vec<bool>),
    /// So many leases expired.
    Expired {
        /// How many.
        count: u32,
    },
    /// Definitely not done, and why.
    Refused(Refusal),
}

/// A stored task, as its creator learns of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CreatedTask {
    /// Its id.
    pub id: TaskId,
    /// What `deliver_at` reads back as.
    pub deliver_at: WallTime,
}

/// A lease, as its holder learns of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Grant {
    /// Who holds it.
    pub consumer: String,
    /// The task.
    pub id: TaskId,
    /// Proof of holding it.
    pub token: LeaseToken,
    /// Machine time at which it ends, in nanoseconds.
    pub deadline_ns: u64,
    /// Machine time at which the task was first due, in nanoseconds: the same
    /// for every delivery of it, so lateness counts from what was asked, leases
    /// that came to nothing included.
    pub due_at_ns: u64,
    /// Which delivery of the task this is, from 1.
    pub attempt: u32,
}
