//! What can be asked of the machine, and what it answers.
//!
//! A command is proposed by a leader, committed by a quorum, and applied by
//! every replica alike. Commands carry no time: the stamp of their entry is the
//! only clock.

mod access;

pub use self::access::{ChangePrincipal, PrincipalChange};
use crate::access::Principal;
use crate::error::Refusal;
pub use crate::settings::NamespacePatch;
use crate::state::NamespaceConfig;
use crate::task::{DeathReason, LeaseToken, Namespace, Priority, TaskId, WallTime};

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
    ReleaseTasks(HeldLeases),
    /// Gives leases back without a failure: their holders had the tasks in hand
    /// and do not want them. The tasks are due again at once, but for those that
    /// came back so too often in a row, which wait (see
    /// [`RETURNS_AT_ONCE_MAX`](crate::limits::RETURNS_AT_ONCE_MAX)).
    ReturnTasks(HeldLeases),
    /// Live leases are held under another name from now on, with the same tokens and
    /// deadlines: their consumer came back on another session, and what the session before
    /// gives back in its own name, it has no more.
    ResumeLeases(ResumeLeases),
    /// Gives leases back with a failure: the tasks come again later, or are dead
    /// letters.
    NackTasks(NackTasks),
    /// Moves the deadlines of leases.
    ExtendLeases(ExtendLeases),
    /// Removes tasks that wait.
    CancelTasks(TaskRefs),
    /// Gives tasks that wait another due time.
    RescheduleTasks(RescheduleTasks),
    /// Dead letters wait again.
    RedriveTasks(RedriveTasks),
    /// Removes dead letters.
    PurgeTasks(TaskRefs),
    /// Changes the settings of a namespace, which appears if it is new.
    SetNamespace(SetNamespace),
    /// Begins to remove a namespace with all its tasks; pulses go on with it.
    DeleteNamespace(Namespace),
    /// Changes a principal, or one of its tokens.
    ChangePrincipal(ChangePrincipal),
    /// The pulse: ends leases whose deadline is at or before the entry's stamp,
    /// buries tasks that are too old, forgets dead letters, and takes a step of
    /// each deletion of a namespace.
    Pulse,
    /// Changes nothing: a place in the log at which states are compared.
    Mark {
        /// Chosen by who asks, to know the answer by.
        id: u64,
    },
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
    /// Failures that send it to the dead letters; 0 for the namespace's setting.
    pub max_attempts: u32,
    /// How long after its due time it may wait, in milliseconds; 0: for ever.
    pub ttl_ms: u64,
}

impl NewTask {
    /// Bytes of payload and metadata.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let labels = self.metadata.iter().map(|(k, v)| k.len() + v.len());
        (self.payload.len() + labels.sum::<usize>()) as u64
    }
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
///
/// A command may also lease ahead: tasks that will be due soon. They get at most half of
/// the room that each taker has left, so that what falls due meanwhile finds some. Whoever holds such
/// a lease delivers it at the due time ([`Grant::due_at_ns`]), from which it lasts. A task
/// that was leased or moved before, and one of a namespace with a rate limit, waits for its
/// due time as without it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseTasks {
    /// Whose tasks.
    pub namespace: Namespace,
    /// Who takes, and how many at most; the first is dealt to first.
    pub takers: Vec<Taker>,
    /// How long the leases last from the entry's stamp, or from the due time if that is
    /// later, in milliseconds; 0 means the namespace's setting.
    pub lease_ms: u64,
    /// How long after the entry's stamp a task may be due, in milliseconds, at most
    /// [`LEASE_AHEAD_MS_MAX`](crate::limits::LEASE_AHEAD_MS_MAX); 0: it is due now.
    pub ahead_ms: u64,
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

/// Leases, and who holds them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldLeases {
    /// The leases.
    pub refs: LeaseRefs,
    /// The name of the consumer, at most
    /// [`CONSUMER_LEN_MAX`](crate::limits::CONSUMER_LEN_MAX) bytes: a lease that somebody
    /// else holds stays as it is. Empty: whoever holds it.
    pub consumer: String,
}

/// Leases that go on under another name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResumeLeases {
    /// The leases, and who held them before, which must not be empty. One that `by` holds already is told as done,
    /// so that the command may be repeated.
    pub held: HeldLeases,
    /// The name of the consumer that holds them from now on, 1 to
    /// [`CONSUMER_LEN_MAX`](crate::limits::CONSUMER_LEN_MAX) bytes.
    pub by: String,
}

impl HeldLeases {
    /// Leases that are given back whoever holds them: who asks for it shows their tokens.
    #[must_use]
    pub fn of_anybody(refs: LeaseRefs) -> Self {
        let consumer = String::new();
        Self { refs, consumer }
    }
}

/// Leases that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NackTasks {
    /// Whose tasks.
    pub namespace: Namespace,
    /// Which, 1 to [`ACK_COUNT_MAX`](crate::limits::ACK_COUNT_MAX).
    pub nacks: Vec<Nack>,
}

/// A lease that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nack {
    /// The task.
    pub id: TaskId,
    /// Proof of holding it.
    pub token: LeaseToken,
    /// When it comes again, in milliseconds from the entry's stamp; `None`: after
    /// the namespace's backoff.
    pub delay_ms: Option<u64>,
    /// What went wrong, at most [`ERROR_LEN_MAX`](crate::limits::ERROR_LEN_MAX)
    /// bytes.
    pub error: String,
    /// No try will ever succeed: it is a dead letter at once.
    pub permanent: bool,
}

/// Leases that are to last longer, or shorter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtendLeases {
    /// Whose tasks.
    pub namespace: Namespace,
    /// Which, 1 to [`ACK_COUNT_MAX`](crate::limits::ACK_COUNT_MAX).
    pub extends: Vec<Extend>,
}

/// A lease that is to last so long from now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extend {
    /// The task.
    pub id: TaskId,
    /// Proof of holding it.
    pub token: LeaseToken,
    /// How long from the entry's stamp, in milliseconds; 0 for the namespace's
    /// setting.
    pub lease_ms: u64,
}

/// Tasks named by id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskRefs {
    /// Whose tasks.
    pub namespace: Namespace,
    /// Which, 1 to [`CHANGE_COUNT_MAX`](crate::limits::CHANGE_COUNT_MAX).
    pub ids: Vec<TaskId>,
}

/// Another due time for tasks that wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RescheduleTasks {
    /// Whose tasks.
    pub namespace: Namespace,
    /// Which, 1 to [`CHANGE_COUNT_MAX`](crate::limits::CHANGE_COUNT_MAX).
    pub ids: Vec<TaskId>,
    /// When to deliver.
    pub due: Due,
}

/// Dead letters that are to be tried again, at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedriveTasks {
    /// Whose tasks.
    pub namespace: Namespace,
    /// Which, 1 to [`CHANGE_COUNT_MAX`](crate::limits::CHANGE_COUNT_MAX).
    pub ids: Vec<TaskId>,
    /// Failures stay counted: a task that used up its attempts has one more.
    /// Else they are forgotten.
    pub keep_attempts: bool,
}

/// New settings for a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetNamespace {
    /// Which.
    pub namespace: Namespace,
    /// What changes.
    pub patch: NamespacePatch,
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
    /// Of an ack, nack or release.
    Ended {
        /// Machine time of the entry, in nanoseconds.
        stamp_ns: u64,
        /// For each lease of the command, in order: what became of the task, or
        /// why the lease was not there to be ended, and nothing changed.
        results: Vec<Result<Ended, LeaseLost>>,
    },
    /// The outcome of an extend or a resume.
    Extended {
        /// Machine time of the entry, in nanoseconds.
        stamp_ns: u64,
        /// For each lease of the command, in order: its deadline from now on, in machine
        /// nanoseconds, or why there is none, and nothing changed.
        results: Vec<Result<u64, LeaseLost>>,
    },
    /// Of a cancel, reschedule, redrive or purge: for each task of the command,
    /// in order, that it was done, or why not.
    Changed(Vec<Result<(), Unchanged>>),
    /// The namespace has these settings.
    NamespaceSet {
        /// All of them.
        config: NamespaceConfig,
        /// Since when deliveries are stopped, in machine nanoseconds.
        paused_at_ns: Option<u64>,
    },
    /// The namespace takes nothing any more, and is being removed.
    NamespaceDeleting,
    /// The principal is like this now; `None`: it is gone.
    PrincipalChanged(Option<Principal>),
    /// So many leases, old tasks, dead letters and tasks of namespaces in
    /// deletion were dealt with.
    Pulsed {
        /// How many.
        count: u32,
    },
    /// The mark was applied.
    Marked {
        /// As the command had it.
        id: u64,
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
    /// that came to nothing included. It lies ahead when the task was leased ahead, and
    /// the task must not be delivered before it.
    pub due_at_ns: u64,
    /// Which try this is, from 1: one more than the task's failures.
    pub attempt: u32,
    /// Which delivery of the task this is, from 1; releases count here.
    pub deliveries: u32,
    /// The task's bytes of payload and metadata.
    pub bytes: u64,
}

impl Grant {
    /// The lease, as it is spoken of: its task, and the proof of holding it.
    #[must_use]
    pub fn key(&self) -> (TaskId, LeaseToken) {
        (self.id, self.token)
    }
}

/// What became of a task whose lease was ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ended {
    /// Acknowledged, and gone.
    Done,
    /// Given back: due again at this machine time, in nanoseconds.
    Waiting {
        /// When.
        due_at_ns: u64,
    },
    /// A dead letter, for this reason.
    Dead(DeathReason),
}

/// Why a lease was not there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum LeaseLost {
    /// It had expired, and nobody holds the task.
    Expired = 1,
    /// Another lease of the task is live, or another consumer than the command names
    /// holds this one.
    Taken = 2,
    /// There is no such task: it never was, or is done, cancelled or purged.
    Gone = 3,
    /// The task is a dead letter.
    Dead = 4,
}

impl LeaseLost {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Expired, Self::Taken, Self::Gone, Self::Dead];

    /// The reason of a number, as sent.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }
}

/// Why a task was not changed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Unchanged {
    /// There is no such task: it never was, or is done, cancelled or purged.
    Gone,
    /// A consumer holds it.
    Leased {
        /// Who.
        consumer: String,
        /// Until when, in machine nanoseconds.
        deadline_ns: u64,
    },
    /// It is a dead letter.
    Dead,
    /// It waits, and is no dead letter.
    Waiting,
    /// The namespace's limit on pending tasks is reached.
    Full,
}
