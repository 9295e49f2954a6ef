//! What clients saw: operations with a beginning and, perhaps, an end.
//!
//! Times are nanoseconds of one observer's clock: the simulator's, or the
//! monotonic clock of the process that runs all clients. A client knows that
//! something was done (`Acked`), that surely nothing was done (`Refused`), or
//! neither (`Unknown`): such an operation may take effect at any later time, or
//! never. That something is "surely absent" is never known by silence.

use std::collections::HashMap;
use std::fmt;

use z4_core::TaskId;

/// An operation of a history, to end it by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub(crate) u32);

/// What was called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Tasks are stored, all or none.
    Create {
        /// A number that stands for (namespace, request id), see
        /// [`request_number`]; 0: none was given.
        request: u64,
    },
    /// A task is read.
    Get(TaskId),
    /// A task that waits is removed.
    Cancel(TaskId),
    /// A task that waits gets another due time.
    Reschedule(TaskId),
    /// A dead letter is tried again.
    Redrive(TaskId),
    /// A dead letter is removed.
    Purge(TaskId),
    /// A consumer asked, and this task was handed to it. Recorded when it came:
    /// from the moment the consumer asked to the moment it had the task.
    Lease(TaskId),
    /// A lease is ended: the task is done.
    Ack(TaskId, u64),
    /// A lease is ended with a failure.
    Nack(TaskId, u64),
    /// A lease is ended without a failure.
    Release(TaskId, u64),
    /// The deadline of a lease is moved.
    Extend(TaskId, u64),
}

impl Call {
    /// The task that is called by its id; `None` for a create.
    #[must_use]
    pub fn task(&self) -> Option<TaskId> {
        match *self {
            Self::Create { .. } => None,
            Self::Get(task)
            | Self::Cancel(task)
            | Self::Reschedule(task)
            | Self::Redrive(task)
            | Self::Purge(task)
            | Self::Lease(task)
            | Self::Ack(task, _)
            | Self::Nack(task, _)
            | Self::Release(task, _)
            | Self::Extend(task, _) => Some(task),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { request: 0 } => write!(f, "create"),
            Self::Create { request } => write!(f, "create of request {request:016x}"),
            Self::Get(task) => write!(f, "get {task}"),
            Self::Cancel(task) => write!(f, "cancel {task}"),
            Self::Reschedule(task) => write!(f, "reschedule {task}"),
            Self::Redrive(task) => write!(f, "redrive {task}"),
            Self::Purge(task) => write!(f, "purge {task}"),
            Self::Lease(task) => write!(f, "lease {task}"),
            Self::Ack(task, token) => write!(f, "ack {task} with token {token}"),
            Self::Nack(task, token) => write!(f, "nack {task} with token {token}"),
            Self::Release(task, token) => write!(f, "release {task} with token {token}"),
            Self::Extend(task, token) => write!(f, "extend {task} with token {token}"),
        }
    }
}

/// Where a task stands, by an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// It waits.
    Waiting,
    /// A consumer holds it.
    Leased,
    /// It waits or is held: what a refusal says of a lease that expired.
    Held,
    /// It is a dead letter.
    Dead,
    /// It is there: where it stands was not said.
    Present,
    /// There is no such task (NOT_FOUND, GONE).
    Missing,
}

/// What was answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It was done. Of a nack or release: the task waits again.
    Done,
    /// The lease was ended, and the task is a dead letter now.
    Died,
    /// The answer of a get; or nothing was done, for the task stands so.
    Stands(Standing),
}

/// How an operation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// An answer came.
    Acked {
        /// When, by the observer's clock.
        at_ns: u64,
        /// What it said.
        reply: Reply,
    },
    /// Surely nothing was done, and nothing is known by it: RESOURCE_EXHAUSTED,
    /// INVALID_ARGUMENT and the like.
    Refused {
        /// When, by the observer's clock.
        at_ns: u64,
    },
    /// No answer, or one that leaves it open: done at any later time, or never.
    Unknown,
}

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Who called; a number of the caller's own.
    pub client: u32,
    /// What.
    pub call: Call,
    /// When, by the observer's clock.
    pub invoked_ns: u64,
    /// How it ended.
    pub end: End,
    /// Of a create: where its tasks stand in the arena.
    tasks: (u32, u32),
}

/// What may happen to a task without any operation of the history. The less is
/// allowed, the more the checker finds: say no more than is so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Nature {
    /// Consumers take tasks, and not each delivery is in the history; leases
    /// expire.
    pub leased: bool,
    /// It may become a dead letter: it has a time to live, or few attempts.
    pub dies: bool,
    /// Dead letters may be removed (kept for a while or a count only, purged by a
    /// filter), or the namespace may be deleted.
    pub forgotten: bool,
    /// Leases may be acknowledged by what is not in the history (GetTaskStream
    /// acknowledges by itself; a consumer that is not watched).
    pub ended: bool,
}

/// Operations of all clients, in the order they were invoked or any other.
///
/// An operation takes 72 bytes, and 16 more for each task a create made.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    tasks: Vec<TaskId>,
    nature: Nature,
    natures: HashMap<TaskId, Nature>,
}

impl History {
    /// An empty history of tasks to which nothing happens by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty history; what may happen to each task by itself is said here, or
    /// for one task by [`set_nature`](Self::set_nature).
    #[must_use]
    pub fn of(nature: Nature) -> Self {
        Self {
            nature,
            ..Self::default()
        }
    }

    /// A call begins. Until it is ended it is `Unknown`.
    ///
    /// # Panics
    ///
    /// With 2^32 operations.
    pub fn invoke(&mut self, client: u32, call: Call, at_ns: u64) -> OpId {
        assert!(
            self.operations.len() < u32::MAX as usize,
            "a history holds less than 2^32 operations"
        );
        let id = OpId(self.operations.len() as u32);
        self.operations.push(Operation {
            client,
            call,
            invoked_ns: at_ns,
            end: End::Unknown,
            tasks: (0, 0),
        });
        id
    }

    /// An answer came.
    pub fn acked(&mut self, op: OpId, at_ns: u64, reply: Reply) {
        if let Some(operation) = self.operations.get_mut(op.0 as usize) {
            operation.end = End::Acked { at_ns, reply };
        }
    }

    /// A create was answered with these tasks.
    pub fn created(&mut self, op: OpId, at_ns: u64, tasks: &[TaskId]) {
        self.learned(op, tasks);
        self.acked(op, at_ns, Reply::Done);
    }

    /// A create without an answer is known, from what is in the tasks, to have
    /// made these.
    pub fn learned(&mut self, op: OpId, tasks: &[TaskId]) {
        let at = (self.tasks.len() as u32, tasks.len() as u32);
        if let Some(operation) = self.operations.get_mut(op.0 as usize) {
            operation.tasks = at;
            self.tasks.extend_from_slice(tasks);
        }
    }

    /// Surely nothing was done.
    pub fn refused(&mut self, op: OpId, at_ns: u64) {
        if let Some(operation) = self.operations.get_mut(op.0 as usize) {
            operation.end = End::Refused { at_ns };
        }
    }

    /// What may happen to this task by itself, instead of what is said for all.
    pub fn set_nature(&mut self, task: TaskId, nature: Nature) {
        self.natures.insert(task, nature);
    }

    /// What may happen to a task by itself.
    #[must_use]
    pub fn nature(&self, task: TaskId) -> Nature {
        self.natures.get(&task).copied().unwrap_or(self.nature)
    }

    /// All operations.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The tasks that an operation is known to have made.
    #[must_use]
    pub fn tasks(&self, operation: &Operation) -> &[TaskId] {
        let (first, count) = operation.tasks;
        &self.tasks[first as usize..(first + count) as usize]
    }

    /// How many ended in an answer, in a refusal, and not at all.
    #[must_use]
    pub fn ends(&self) -> (u64, u64, u64) {
        let mut ends = (0, 0, 0);
        for operation in &self.operations {
            match operation.end {
                End::Acked { .. } => ends.0 += 1,
                End::Refused { .. } => ends.1 += 1,
                End::Unknown => ends.2 += 1,
            }
        }
        ends
    }
}

/// A number for a request id of a namespace, never 0 (FNV-1a; two of a million
/// request ids share one with a chance of one in 10^7).
#[must_use]
pub fn request_number(namespace: &str, request_id: &str) -> u64 {
    let bytes = namespace.bytes().chain([0]).chain(request_id.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.max(1)
}
