//! Rows of the task state on disk.
//!
//! `Lease` and `RequestExpiry` rows, whose keys say all, are no byte.

use z4_core::state::{
    MetaRow, NamespaceConfig, NamespaceCounts, NamespaceRow, QueueHead, RequestRow, Row, RowKey,
};
use z4_core::task::{LeaseToken, Phase, Priority, TaskBody, TaskStatus};
use z4_core::{NamespaceId, TaskId};

use crate::error::DecodeError;
use crate::generated::log;
use crate::{outcome, parts};

/// The bytes of a row.
#[must_use]
pub fn encode_row(row: &Row) -> Vec<u8> {
    match row {
        Row::Meta(row) => parts::write(&log::MetaRow {
            stamp_ns: row.stamp_ns,
            namespace_next: row.namespace_next,
            forget_from_ns: row.forget_from_ns,
            ..Default::default()
        }),
        Row::Namespace(row) => parts::write(&to_namespace(row)),
        Row::Body(body) => parts::write(&to_body(body)),
        Row::Status(status) => parts::write(&to_status(status)),
        Row::Due { touched, bytes } => parts::write(&log::DueRow {
            touched: *touched,
            bytes: *bytes,
            ..Default::default()
        }),
        Row::Request(row) => parts::write(&log::RequestRow {
            content_hash: row.content_hash.to_be_bytes().to_vec(),
            tasks: row.tasks.iter().map(outcome::to_created).collect(),
            expires_at_ns: row.expires_at_ns,
            ..Default::default()
        }),
        Row::Lease | Row::RequestExpiry => Vec::new(),
    }
}

/// The row of these bytes, which stand under `key`: the key tells the kind.
///
/// # Errors
/// [`DecodeError`]: the bytes are damaged, of a newer version, or of another
/// kind than the key; and for [`RowKey::End`], which has no row.
pub fn decode_row(key: &RowKey, bytes: &[u8]) -> Result<Row, DecodeError> {
    Ok(match key {
        RowKey::Meta => Row::Meta(meta(bytes)?),
        RowKey::Namespace(_) => Row::Namespace(namespace(bytes)?),
        RowKey::Body(..) => Row::Body(body(bytes)?),
        RowKey::Status(..) => Row::Status(status(bytes)?),
        RowKey::Due { .. } => due(bytes)?,
        RowKey::Lease { .. } => {
            empty("the Lease row", bytes)?;
            Row::Lease
        }
        RowKey::Request { .. } => Row::Request(request(bytes)?),
        RowKey::RequestExpiry { .. } => {
            empty("the RequestExpiry row", bytes)?;
            Row::RequestExpiry
        }
        RowKey::End => return Err(DecodeError::Kind { what: "Row" }),
    })
}

fn due(bytes: &[u8]) -> Result<Row, DecodeError> {
    let row: log::DueRow = parts::parse("DueRow", bytes)?;
    parts::known("DueRow", &row.unknown_fields)?;
    Ok(Row::Due {
        touched: row.touched,
        bytes: row.bytes,
    })
}

fn empty(what: &'static str, bytes: &[u8]) -> Result<(), DecodeError> {
    let (len, want) = (bytes.len(), 0);
    if len == want {
        return Ok(());
    }
    Err(DecodeError::Length { what, len, want })
}

fn meta(bytes: &[u8]) -> Result<MetaRow, DecodeError> {
    let row: log::MetaRow = parts::parse("MetaRow", bytes)?;
    parts::known("MetaRow", &row.unknown_fields)?;
    Ok(MetaRow {
        stamp_ns: row.stamp_ns,
        namespace_next: row.namespace_next,
        forget_from_ns: row.forget_from_ns,
    })
}

fn to_namespace(row: &NamespaceRow) -> log::NamespaceRow {
    log::NamespaceRow {
        id: row.id.0,
        lease_ms: row.config.lease_ms,
        dedupe_ms: row.config.dedupe_ms,
        created: row.counts.created,
        pending: row.counts.pending,
        leased: row.counts.leased,
        done: row.counts.done,
        deliveries: row.counts.deliveries,
        bytes: row.counts.bytes,
        queues: row.queues.iter().map(to_head).collect(),
        ..Default::default()
    }
}

fn namespace(bytes: &[u8]) -> Result<NamespaceRow, DecodeError> {
    let row: log::NamespaceRow = parts::parse("NamespaceRow", bytes)?;
    parts::known("NamespaceRow", &row.unknown_fields)?;
    let heads: Result<Vec<_>, _> = row.queues.iter().map(head).collect();
    let heads = heads?;
    let len = heads.len();
    Ok(NamespaceRow {
        id: NamespaceId(row.id),
        config: NamespaceConfig {
            lease_ms: row.lease_ms,
            dedupe_ms: row.dedupe_ms,
        },
        counts: NamespaceCounts {
            created: row.created,
            pending: row.pending,
            leased: row.leased,
            done: row.done,
            deliveries: row.deliveries,
            bytes: row.bytes,
        },
        queues: heads.try_into().map_err(|_| DecodeError::Length {
            what: "NamespaceRow.queues",
            len,
            want: Priority::COUNT,
        })?,
    })
}

/// The zero id, which a queue that never had a task has, is left out.
fn to_head(head: &QueueHead) -> log::QueueHead {
    let (due_at_ns, id) = head.cursor;
    log::QueueHead {
        count: head.count,
        consumed_ns: head.consumed_ns,
        cursor_due_at_ns: due_at_ns,
        cursor_id: if id == TaskId::default() {
            Vec::new()
        } else {
            id.as_bytes().to_vec()
        },
        ..Default::default()
    }
}

fn head(head: &log::QueueHead) -> Result<QueueHead, DecodeError> {
    parts::known("QueueHead", &head.unknown_fields)?;
    let id = if head.cursor_id.is_empty() {
        TaskId::default()
    } else {
        parts::task_id("QueueHead.cursor_id", &head.cursor_id)?
    };
    Ok(QueueHead {
        count: head.count,
        cursor: (head.cursor_due_at_ns, id),
        consumed_ns: head.consumed_ns,
    })
}

fn to_body(body: &TaskBody) -> log::BodyRow {
    let mut row = log::BodyRow {
        metadata: parts::to_labels(&body.metadata),
        payload: body.payload.clone(),
        due_at_ns: body.due_at_ns,
        created_at_ns: body.created_at_ns,
        priority: u32::from(body.priority.get()),
        ..Default::default()
    };
    row.set_deliver_at(parts::to_wall_time(body.deliver_at));
    row
}

fn body(bytes: &[u8]) -> Result<TaskBody, DecodeError> {
    let row: log::BodyRow = parts::parse("BodyRow", bytes)?;
    parts::known("BodyRow", &row.unknown_fields)?;
    Ok(TaskBody {
        deliver_at: parts::wall_time(row.get_deliver_at())?,
        due_at_ns: row.due_at_ns,
        created_at_ns: row.created_at_ns,
        priority: parts::priority("BodyRow.priority", row.priority)?,
        metadata: parts::labels(row.metadata)?,
        payload: row.payload,
    })
}

/// A holder always has a name, so an empty one says that the task waits.
fn to_status(status: &TaskStatus) -> log::StatusRow {
    let mut row = log::StatusRow {
        deliveries: status.deliveries,
        failures: status.failures,
        first_due_at_ns: status.first_due_at_ns,
        priority: u32::from(status.priority.get()),
        bytes: status.bytes,
        ..Default::default()
    };
    match &status.phase {
        Phase::Waiting { due_at_ns } => row.due_at_ns = *due_at_ns,
        Phase::Leased {
            consumer,
            token,
            deadline_ns,
        } => {
            row.consumer.clone_from(consumer);
            row.token = token.0;
            row.deadline_ns = *deadline_ns;
        }
    }
    row
}

fn status(bytes: &[u8]) -> Result<TaskStatus, DecodeError> {
    let row: log::StatusRow = parts::parse("StatusRow", bytes)?;
    parts::known("StatusRow", &row.unknown_fields)?;
    let phase = if !row.consumer.is_empty() {
        if row.due_at_ns != 0 {
            return Err(DecodeError::Contradiction {
                what: "StatusRow",
                rule: "a leased task must not wait",
            });
        }
        Phase::Leased {
            consumer: row.consumer,
            token: LeaseToken(row.token),
            deadline_ns: row.deadline_ns,
        }
    } else if row.token == 0 && row.deadline_ns == 0 {
        Phase::Waiting {
            due_at_ns: row.due_at_ns,
        }
    } else {
        return Err(DecodeError::Contradiction {
            what: "StatusRow",
            rule: "a lease must have a holder",
        });
    };
    Ok(TaskStatus {
        phase,
        deliveries: row.deliveries,
        failures: row.failures,
        first_due_at_ns: row.first_due_at_ns,
        priority: parts::priority("StatusRow.priority", row.priority)?,
        bytes: row.bytes,
    })
}

fn request(bytes: &[u8]) -> Result<RequestRow, DecodeError> {
    let row: log::RequestRow = parts::parse("RequestRow", bytes)?;
    parts::known("RequestRow", &row.unknown_fields)?;
    let hash = parts::bytes16("RequestRow.content_hash", &row.content_hash)?;
    let tasks = row.tasks.iter().map(|task| {
        parts::known("CreatedTask", &task.unknown_fields)?;
        outcome::created_task(task)
    });
    Ok(RequestRow {
        content_hash: u128::from_be_bytes(hash),
        tasks: tasks.collect::<Result<_, _>>()?,
        expires_at_ns: row.expires_at_ns,
    })
}
