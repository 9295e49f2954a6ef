//! The rows of the store. Key order is the order of the enum: what must be
//! scanned together stands together.

use crate::access::{Principal, PrincipalName};
use crate::command::CreatedTask;
use crate::settings::NamespaceConfig;
use crate::task::{LeaseToken, Namespace, NamespaceId, Priority, TaskBody, TaskId, TaskStatus};

/// Key of a row. The derived order is the order of scans.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowKey {
    /// The machine's own row. There is one.
    Meta,
    /// Settings, counters and cursors of a namespace.
    Namespace(Namespace),
    /// What the client stored, written once.
    Body(NamespaceId, TaskId),
    /// Where a task stands; none for one that was never leased nor moved.
    Status(NamespaceId, TaskId),
    /// A waiting task, in the order of delivery.
    Due {
        /// Whose.
        namespace: NamespaceId,
        /// 9 less the priority, so that the highest comes first.
        rank: u8,
        /// Machine time in nanoseconds.
        due_at_ns: u64,
        /// The task.
        id: TaskId,
    },
    /// A leased task, in the order of expiry.
    Lease {
        /// Machine time in nanoseconds.
        deadline_ns: u64,
        /// Whose.
        namespace: NamespaceId,
        /// The task.
        id: TaskId,
    },
    /// What a request id was used for.
    Request {
        /// In which namespace.
        namespace: NamespaceId,
        /// The client's id.
        request_id: String,
    },
    /// A request id, in the order of forgetting.
    RequestExpiry {
        /// Machine time in nanoseconds.
        expires_at_ns: u64,
        /// In which namespace.
        namespace: NamespaceId,
        /// The client's id.
        request_id: String,
    },
    /// A dead letter, in the order of death.
    Dead {
        /// Whose.
        namespace: NamespaceId,
        /// Machine time of the burial, in nanoseconds.
        at_ns: u64,
        /// The task.
        id: TaskId,
    },
    /// A task that something happens to when time has passed: one that waits and
    /// has a time to live, or a dead letter that is kept for so long. At most one
    /// for each task.
    Timer {
        /// Machine time in nanoseconds.
        at_ns: u64,
        /// Whose.
        namespace: NamespaceId,
        /// The task.
        id: TaskId,
    },
    /// Somebody who may do something.
    Principal(PrincipalName),
    /// Above every row: the end of a scan of all.
    End,
}

impl RowKey {
    /// The due row of a task.
    #[must_use]
    pub fn due(namespace: NamespaceId, priority: Priority, due_at_ns: u64, id: TaskId) -> Self {
        Self::Due {
            namespace,
            rank: rank(priority),
            due_at_ns,
            id,
        }
    }

    /// The key above every row of one due queue.
    #[must_use]
    pub fn queue_end(namespace: NamespaceId, rank: u8) -> Self {
        Self::Due {
            namespace,
            rank: rank.saturating_add(1),
            due_at_ns: 0,
            id: TaskId::default(),
        }
    }

    /// The range of all namespace rows; it may begin with the meta row.
    #[must_use]
    pub fn namespaces() -> (Self, Self) {
        let end = Self::Body(NamespaceId(0), TaskId::default());
        (Self::Meta, end)
    }

    /// The range of all lease rows.
    #[must_use]
    pub fn leases() -> (Self, Self) {
        let start = Self::Lease {
            deadline_ns: 0,
            namespace: NamespaceId(0),
            id: TaskId::default(),
        };
        let end = Self::Request {
            namespace: NamespaceId(0),
            request_id: String::new(),
        };
        (start, end)
    }

    /// The row of a dead letter.
    #[must_use]
    pub fn dead(namespace: NamespaceId, at_ns: u64, id: TaskId) -> Self {
        Self::Dead {
            namespace,
            at_ns,
            id,
        }
    }

    /// The range of a namespace's dead letters from a place on.
    #[must_use]
    pub fn dead_letters(namespace: NamespaceId, from: (u64, TaskId)) -> (Self, Self) {
        let end = match namespace.0.checked_add(1) {
            Some(next) => Self::dead(NamespaceId(next), 0, TaskId::default()),
            None => Self::timer(0, NamespaceId(0), TaskId::default()),
        };
        (Self::dead(namespace, from.0, from.1), end)
    }

    /// The timer of a task.
    #[must_use]
    pub fn timer(at_ns: u64, namespace: NamespaceId, id: TaskId) -> Self {
        Self::Timer {
            at_ns,
            namespace,
            id,
        }
    }

    /// The range of the timers from a time on.
    #[must_use]
    pub fn timers(from_ns: u64) -> (Self, Self) {
        let start = Self::timer(from_ns, NamespaceId(0), TaskId::default());
        (start, Self::principals().0)
    }

    /// The range of all principals.
    #[must_use]
    pub fn principals() -> (Self, Self) {
        (Self::Principal(PrincipalName::least()), Self::End)
    }

    /// The range of a namespace's bodies from an id on.
    #[must_use]
    pub fn bodies(namespace: NamespaceId, from: TaskId) -> (Self, Self) {
        let end = match namespace.0.checked_add(1) {
            Some(next) => Self::Body(NamespaceId(next), TaskId::default()),
            None => Self::Status(NamespaceId(0), TaskId::default()),
        };
        (Self::Body(namespace, from), end)
    }

    /// The range of a namespace's statuses from an id on.
    #[must_use]
    pub fn statuses(namespace: NamespaceId, from: TaskId) -> (Self, Self) {
        let end = match namespace.0.checked_add(1) {
            Some(next) => Self::Status(NamespaceId(next), TaskId::default()),
            None => Self::Due {
                namespace: NamespaceId(0),
                rank: 0,
                due_at_ns: 0,
                id: TaskId::default(),
            },
        };
        (Self::Status(namespace, from), end)
    }

    /// The range of a namespace's request ids.
    #[must_use]
    pub fn requests(namespace: NamespaceId) -> (Self, Self) {
        let start = Self::Request {
            namespace,
            request_id: String::new(),
        };
        let end = match namespace.0.checked_add(1) {
            Some(next) => Self::Request {
                namespace: NamespaceId(next),
                request_id: String::new(),
            },
            None => Self::request_expiries(0).0,
        };
        (start, end)
    }

    /// The range of the request expiries from a time on.
    #[must_use]
    pub fn request_expiries(from_ns: u64) -> (Self, Self) {
        let start = Self::RequestExpiry {
            expires_at_ns: from_ns,
            namespace: NamespaceId(0),
            request_id: String::new(),
        };
        (start, Self::dead(NamespaceId(0), 0, TaskId::default()))
    }
}

/// Place of a priority in the due index: the highest is 0.
#[must_use]
pub fn rank(priority: Priority) -> u8 {
    9 - priority.get()
}

/// A row. Which variant a key has is fixed: `Body` keys have `Body` rows, …
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Row {
    /// Of [`RowKey::Meta`].
    Meta(MetaRow),
    /// Of [`RowKey::Namespace`]. In a box, for it is by far the largest, and
    /// every row that is read or written is moved a few times.
    Namespace(Box<NamespaceRow>),
    /// Of [`RowKey::Body`].
    Body(TaskBody),
    /// Of [`RowKey::Status`].
    Status(TaskStatus),
    /// Of [`RowKey::Due`].
    Due {
        /// Whether the task has a status row; saves a read for each fresh task.
        touched: bool,
        /// Bytes of payload and metadata; this and what follows save a read of
        /// the body.
        bytes: u64,
        /// The body's.
        max_attempts: u32,
        /// The body's.
        ttl_ms: u64,
    },
    /// Of [`RowKey::Lease`]: copies from the status, so that a consumer's leases
    /// are found without reading each.
    Lease {
        /// Who holds it.
        consumer: String,
        /// Proof of holding it.
        token: LeaseToken,
    },
    /// Of [`RowKey::Dead`].
    Dead,
    /// Of [`RowKey::Timer`].
    Timer,
    /// Of [`RowKey::Request`].
    Request(RequestRow),
    /// Of [`RowKey::RequestExpiry`].
    RequestExpiry,
    /// The row of [`RowKey::Principal`].
    Principal(Box<Principal>),
}

/// The machine's own row.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct MetaRow {
    /// Machine time: the greatest stamp applied, in nanoseconds.
    pub stamp_ns: u64,
    /// The number that the next new namespace gets.
    pub namespace_next: u32,
    /// No live [`RowKey::RequestExpiry`] is below this time.
    pub forget_from_ns: u64,
    /// No live [`RowKey::Timer`] is below this time.
    pub timer_from_ns: u64,
}

/// A namespace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamespaceRow {
    /// Its number.
    pub id: NamespaceId,
    /// Its settings.
    pub config: NamespaceConfig,
    /// How many tasks are where.
    pub counts: NamespaceCounts,
    /// One for each rank, highest priority first.
    pub queues: [QueueHead; Priority::COUNT],
    /// Since when deliveries are stopped, in machine nanoseconds.
    pub paused_at_ns: Option<u64>,
    /// It is being removed: no body is below this id any more.
    pub deleting: Option<TaskId>,
    /// No dead letter is below this (time of death, id).
    pub dead_from: (u64, TaskId),
    /// The rate limit (GCRA, ITU-T I.371): the theoretical arrival time of the
    /// next delivery, in machine nanoseconds.
    pub rate_tat_ns: u64,
    /// Counters of a while ago, for rates.
    pub window: RateWindow,
    /// How late deliveries are on average, in nanoseconds: each counts 1/64.
    pub lateness_mean_ns: u64,
    /// When a task was last leased, in machine nanoseconds; 0: never.
    pub leased_at_ns: u64,
}

impl NamespaceRow {
    /// A namespace that appears now.
    #[must_use]
    pub fn new(id: NamespaceId) -> Self {
        Self {
            id,
            config: NamespaceConfig::default(),
            counts: NamespaceCounts::default(),
            queues: Default::default(),
            paused_at_ns: None,
            deleting: None,
            dead_from: (0, TaskId::default()),
            rate_tat_ns: 0,
            window: RateWindow::default(),
            lateness_mean_ns: 0,
            leased_at_ns: 0,
        }
    }
}

/// Two marks, [`RATE_MARK_MS`](crate::limits::RATE_MARK_MS) or more apart: rates
/// count from the older one, so that they are never over a moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct RateWindow {
    /// The older mark.
    pub before: RateMark,
    /// The newer mark.
    pub last: RateMark,
}

/// Counters at a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RateMark {
    /// Machine time in nanoseconds.
    pub at_ns: u64,
    /// Tasks ever created.
    pub created: u64,
    /// Leases ever granted.
    pub deliveries: u64,
    /// Tasks ever acknowledged.
    pub done: u64,
}

/// Conservation: `created = pending + leased + done + dead + cancelled + purged`
/// at every index.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NamespaceCounts {
    /// Ever created.
    pub created: u64,
    /// Waiting in the due index.
    pub pending: u64,
    /// Held under live leases.
    pub leased: u64,
    /// Acknowledged and gone.
    pub done: u64,
    /// Dead letters that are kept.
    pub dead: u64,
    /// Cancelled and gone.
    pub cancelled: u64,
    /// Dead letters that were removed, and tasks that went with a deletion.
    pub purged: u64,
    /// Leases ever granted.
    pub deliveries: u64,
    /// Leases that ever failed: nacks and expiries.
    pub failures: u64,
    /// Bytes of payload and metadata of the tasks that are not gone.
    pub bytes: u64,
}

/// The head of one due queue, (namespace, rank). Consumed rows leave tombstones
/// in an LSM tree; a scan that starts at the cursor never meets them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct QueueHead {
    /// Rows in the queue.
    pub count: u64,
    /// No live row is below this (due time, id). Lowered by a row that is put
    /// below it, raised to the first row that stays when rows are taken out.
    pub cursor: (u64, TaskId),
    /// The latest due time of all rows that were ever taken out, or machine time then if
    /// that was earlier; no live row is below it. A task that comes back is put here: in front of those that are
    /// due later, and above what was consumed, so that the cursor is not lowered
    /// to where the tombstones are (but for those of this very time).
    pub consumed_ns: u64,
}

/// What a request id was used for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RequestRow {
    /// Fingerprint of the command's content.
    pub content_hash: u128,
    /// What it made.
    pub tasks: Vec<CreatedTask>,
    /// When it is forgotten, in machine nanoseconds.
    pub expires_at_ns: u64,
}
