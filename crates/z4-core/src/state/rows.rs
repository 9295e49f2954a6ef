//! The rows of the store. Key order is the order of the enum: what must be
//! scanned together stands together.

use crate::command::CreatedTask;
use crate::limits;
use crate::task::{Namespace, NamespaceId, Priority, TaskBody, TaskId, TaskStatus};

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

    /// The range of the request expiries from a time on.
    #[must_use]
    pub fn request_expiries(from_ns: u64) -> (Self, Self) {
        let start = Self::RequestExpiry {
            expires_at_ns: from_ns,
            namespace: NamespaceId(0),
            request_id: String::new(),
        };
        (start, Self::End)
    }
}

/// Place of a priority in the due index: the highest is 0.
#[must_use]
pub fn rank(priority: Priority) -> u8 {
    9 - priority.get()
}

/// A row. Which variant a key has is fixed: `Body` keys have `Body` rows, …
// Namespace rows are the largest and pass through here once an entry; a box
// would cost every other row's reader more than it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Row {
    /// Of [`RowKey::Meta`].
    Meta(MetaRow),
    /// Of [`RowKey::Namespace`].
    Namespace(NamespaceRow),
    /// Of [`RowKey::Body`].
    Body(TaskBody),
    /// Of [`RowKey::Status`].
    Status(TaskStatus),
    /// Of [`RowKey::Due`].
    Due {
        /// Whether the task has a status row; saves a read for each fresh task.
        touched: bool,
        /// Bytes of payload and metadata; saves a read of the body.
        bytes: u64,
    },
    /// Of [`RowKey::Lease`].
    Lease,
    /// Of [`RowKey::Request`].
    Request(RequestRow),
    /// Of [`RowKey::RequestExpiry`].
    RequestExpiry,
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
}

/// Settings of a namespace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamespaceConfig {
    /// How long a lease lasts unless asked otherwise.
    pub lease_ms: u64,
    /// How long request ids are remembered.
    pub dedupe_ms: u64,
}

impl Default for NamespaceConfig {
    fn default() -> Self {
        Self {
            lease_ms: limits::LEASE_MS_DEFAULT,
            dedupe_ms: limits::DEDUPE_MS_DEFAULT,
        }
    }
}

/// Conservation: `created = pending + leased + done` at every index.
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
    /// Leases ever granted.
    pub deliveries: u64,
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
    /// The latest due time of all rows that were ever taken out; no live row is
    /// below it. A task that comes back is put here: in front of those that are
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
