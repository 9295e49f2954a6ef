//! Rows of the task state on disk.
//!
//! `Dead`, `Timer` and `RequestExpiry` rows, whose keys say all, are no byte.

use z4_core::state::{
    MetaRow, NamespaceConfig, NamespaceCounts, NamespaceRow, QueueHead, RateMark, RateWindow,
    RequestRow, Row, RowKey,
};
use z4_core::task::{LeaseToken, Phase, Priority, TaskBody, TaskStatus};
use z4_core::{NamespaceId, TaskId};

use crate::error::DecodeError;
use crate::generated::log;
use crate::{outcome, parts, principal};

/// The bytes of a row.
#[must_use]
pub fn encode_row(row: &Row) -> Vec<u8> {
    match row {
        Row::Meta(row) => parts::write(&to_meta(row)),
        Row::Namespace(row) => parts::write(&to_namespace(row)),
        Row::Body(body) => parts::write(&to_body(body)),
        Row::Status(status) => parts::write(&to_status(status)),
        Row::Due {
            touched,
            bytes,
            max_attempts,
            ttl_ms,
        } => parts::write(&log::DueRow {
            touched: *touched,
            bytes: *bytes,
            max_attempts: *max_attempts,
            ttl_ms: *ttl_ms,
            ..Default::default()
        }),
        Row::Lease { consumer, token } => parts::write(&log::LeaseRow {
            consumer: consumer.clone(),
            token: token.0,
            ..Default::default()
        }),
        Row::Request(row) => parts::write(&log::RequestRow {
            content_hash: row.content_hash.to_be_bytes().to_vec(),
            tasks: row.tasks.iter().map(outcome::to_created).collect(),
            expires_at_ns: row.expires_at_ns,
            ..Default::default()
        }),
        Row::Principal(principal) => parts::write(&principal::to_principal(principal)),
        Row::Dead | Row::Timer | Row::RequestExpiry => Vec::new(),
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
        RowKey::Namespace(_) => Row::Namespace(Box::new(namespace(bytes)?)),
        RowKey::Body(..) => Row::Body(body(bytes)?),
        RowKey::Status(..) => Row::Status(status(bytes)?),
        RowKey::Due { .. } => due(bytes)?,
        RowKey::Lease { .. } => lease(bytes)?,
        RowKey::Dead { .. } => {
            empty("the Dead row", bytes)?;
            Row::Dead
        }
        RowKey::Timer { .. } => {
            empty("the Timer row", bytes)?;
            Row::Timer
        }
        RowKey::Request { .. } => Row::Request(request(bytes)?),
        RowKey::RequestExpiry { .. } => {
            empty("the RequestExpiry row", bytes)?;
            Row::RequestExpiry
        }
        RowKey::Principal(_) => {
            let row = parts::parse("PrincipalRow", bytes)?;
            Row::Principal(Box::new(principal::principal(row)?))
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
        max_attempts: row.max_attempts,
        ttl_ms: row.ttl_ms,
    })
}

fn lease(bytes: &[u8]) -> Result<Row, DecodeError> {
    let row: log::LeaseRow = parts::parse("LeaseRow", bytes)?;
    parts::known("LeaseRow", &row.unknown_fields)?;
    Ok(Row::Lease {
        consumer: row.consumer,
        token: LeaseToken(row.token),
    })
}

fn empty(what: &'static str, bytes: &[u8]) -> Result<(), DecodeError> {
    let (len, want) = (bytes.len(), 0);
    if len == want {
        return Ok(());
    }
    Err(DecodeError::Length { what, len, want })
}

// Every structure that is written is taken apart by a whole pattern: a field that is
// added and not written does not compile.

fn to_meta(row: &MetaRow) -> log::MetaRow {
    let MetaRow {
        stamp_ns,
        namespace_next,
        forget_from_ns,
        timer_from_ns,
    } = *row;
    log::MetaRow {
        stamp_ns,
        namespace_next,
        forget_from_ns,
        timer_from_ns,
        ..Default::default()
    }
}

fn meta(bytes: &[u8]) -> Result<MetaRow, DecodeError> {
    let row: log::MetaRow = parts::parse("MetaRow", bytes)?;
    parts::known("MetaRow", &row.unknown_fields)?;
    Ok(MetaRow {
        stamp_ns: row.stamp_ns,
        namespace_next: row.namespace_next,
        forget_from_ns: row.forget_from_ns,
        timer_from_ns: row.timer_from_ns,
    })
}

fn to_namespace(row: &NamespaceRow) -> log::NamespaceRow {
    let NamespaceRow {
        id,
        config,
        counts,
        queues,
        paused_at_ns,
        deleting,
        dead_from,
        rate_tat_ns,
        window,
        lateness_mean_ns,
        leased_at_ns,
    } = row;
    let NamespaceCounts {
        created,
        pending,
        leased,
        done,
        dead,
        cancelled,
        purged,
        deliveries,
        failures,
        bytes,
    } = *counts;
    let mut out = log::NamespaceRow {
        id: id.0,
        lease_ms: config.lease_ms,
        dedupe_ms: config.dedupe_ms,
        paused_at_ns: paused_at_ns.unwrap_or(0),
        created,
        pending,
        leased,
        done,
        deliveries,
        bytes,
        queues: queues.iter().map(to_head).collect(),
        dead,
        cancelled,
        purged,
        failures,
        deleting: deleting.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
        dead_from_ns: dead_from.0,
        dead_from_id: to_id(dead_from.1),
        rate_tat_ns: *rate_tat_ns,
        lateness_mean_ns: *lateness_mean_ns,
        leased_at_ns: *leased_at_ns,
        ..Default::default()
    };
    let defaults = NamespaceConfig {
        lease_ms: config.lease_ms,
        dedupe_ms: config.dedupe_ms,
        ..NamespaceConfig::default()
    };
    if *config != defaults {
        out.set_config(log::NamespaceConfig {
            lease_ms: 0,
            dedupe_ms: 0,
            ..parts::to_config(config)
        });
    }
    // A namespace that was never marked has none.
    if window.before != RateMark::default() {
        out.set_before(to_mark(&window.before));
    }
    if window.last != RateMark::default() {
        out.set_last(to_mark(&window.last));
    }
    out
}

fn namespace(bytes: &[u8]) -> Result<NamespaceRow, DecodeError> {
    let row: log::NamespaceRow = parts::parse("NamespaceRow", bytes)?;
    parts::known("NamespaceRow", &row.unknown_fields)?;
    let heads: Result<Vec<_>, _> = row.queues.iter().map(head).collect();
    let heads = heads?;
    let len = heads.len();
    let mut config = match row.config.as_ref() {
        Some(config) => parts::config(config)?,
        None => NamespaceConfig::default(),
    };
    (config.lease_ms, config.dedupe_ms) = (row.lease_ms, row.dedupe_ms);
    let deleting = match row.deleting.as_slice() {
        [] => None,
        id => Some(parts::task_id("NamespaceRow.deleting", id)?),
    };
    Ok(NamespaceRow {
        id: NamespaceId(row.id),
        config,
        counts: NamespaceCounts {
            created: row.created,
            pending: row.pending,
            leased: row.leased,
            done: row.done,
            dead: row.dead,
            cancelled: row.cancelled,
            purged: row.purged,
            deliveries: row.deliveries,
            failures: row.failures,
            bytes: row.bytes,
        },
        queues: heads.try_into().map_err(|_| DecodeError::Length {
            what: "NamespaceRow.queues",
            len,
            want: Priority::COUNT,
        })?,
        // Machine time is never 0 when somebody pauses.
        paused_at_ns: (row.paused_at_ns > 0).then_some(row.paused_at_ns),
        deleting,
        dead_from: (
            row.dead_from_ns,
            id("NamespaceRow.dead_from_id", &row.dead_from_id)?,
        ),
        rate_tat_ns: row.rate_tat_ns,
        window: RateWindow {
            before: mark(row.get_before())?,
            last: mark(row.get_last())?,
        },
        lateness_mean_ns: row.lateness_mean_ns,
        leased_at_ns: row.leased_at_ns,
    })
}

fn to_mark(mark: &RateMark) -> log::RateMark {
    let RateMark {
        at_ns,
        created,
        deliveries,
        done,
    } = *mark;
    log::RateMark {
        at_ns,
        created,
        deliveries,
        done,
        ..Default::default()
    }
}

fn mark(mark: &log::RateMark) -> Result<RateMark, DecodeError> {
    parts::known("RateMark", &mark.unknown_fields)?;
    Ok(RateMark {
        at_ns: mark.at_ns,
        created: mark.created,
        deliveries: mark.deliveries,
        done: mark.done,
    })
}

/// The zero id is left out.
fn to_id(id: TaskId) -> Vec<u8> {
    if id == TaskId::default() {
        return Vec::new();
    }
    id.as_bytes().to_vec()
}

fn id(what: &'static str, bytes: &[u8]) -> Result<TaskId, DecodeError> {
    if bytes.is_empty() {
        return Ok(TaskId::default());
    }
    parts::task_id(what, bytes)
}

fn to_head(head: &QueueHead) -> log::QueueHead {
    let QueueHead {
        count,
        cursor: (cursor_due_at_ns, id),
        consumed_ns,
    } = *head;
    log::QueueHead {
        count,
        consumed_ns,
        cursor_due_at_ns,
        cursor_id: to_id(id),
        ..Default::default()
    }
}

fn head(head: &log::QueueHead) -> Result<QueueHead, DecodeError> {
    parts::known("QueueHead", &head.unknown_fields)?;
    let id = id("QueueHead.cursor_id", &head.cursor_id)?;
    Ok(QueueHead {
        count: head.count,
        cursor: (head.cursor_due_at_ns, id),
        consumed_ns: head.consumed_ns,
    })
}

fn to_body(body: &TaskBody) -> log::BodyRow {
    let TaskBody {
        metadata,
        payload,
        deliver_at,
        due_at_ns,
        created_at_ns,
        priority,
        max_attempts,
        ttl_ms,
    } = body;
    let mut row = log::BodyRow {
        metadata: parts::to_labels(metadata),
        payload: payload.clone(),
        due_at_ns: *due_at_ns,
        created_at_ns: *created_at_ns,
        priority: u32::from(priority.get()),
        max_attempts: *max_attempts,
        ttl_ms: *ttl_ms,
        ..Default::default()
    };
    row.set_deliver_at(parts::to_wall_time(*deliver_at));
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
        max_attempts: row.max_attempts,
        ttl_ms: row.ttl_ms,
    })
}

/// A holder always has a name, so an empty one says that the task is not leased.
fn to_status(status: &TaskStatus) -> log::StatusRow {
    let TaskStatus {
        phase,
        deliveries,
        failures,
        returns,
        first_due_at_ns,
        priority,
        bytes,
        max_attempts,
        ttl_ms,
        last_error,
    } = status;
    let mut row = log::StatusRow {
        deliveries: *deliveries,
        failures: *failures,
        returns: *returns,
        first_due_at_ns: *first_due_at_ns,
        priority: u32::from(priority.get()),
        bytes: *bytes,
        max_attempts: *max_attempts,
        ttl_ms: *ttl_ms,
        last_error: last_error.clone(),
        ..Default::default()
    };
    match phase {
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
        Phase::Dead {
            at_ns,
            reason,
            forget_at_ns,
        } => {
            row.death_reason = *reason as u32;
            row.dead_at_ns = *at_ns;
            row.forget_at_ns = *forget_at_ns;
        }
    }
    row
}

fn status(bytes: &[u8]) -> Result<TaskStatus, DecodeError> {
    let row: log::StatusRow = parts::parse("StatusRow", bytes)?;
    parts::known("StatusRow", &row.unknown_fields)?;
    let phase = phase(&row)?;
    Ok(TaskStatus {
        phase,
        deliveries: row.deliveries,
        failures: row.failures,
        returns: row.returns,
        first_due_at_ns: row.first_due_at_ns,
        priority: parts::priority("StatusRow.priority", row.priority)?,
        bytes: row.bytes,
        max_attempts: row.max_attempts,
        ttl_ms: row.ttl_ms,
        last_error: row.last_error,
    })
}

/// What a row says must fit one phase and no other.
fn phase(row: &log::StatusRow) -> Result<Phase, DecodeError> {
    let contradiction = |rule| {
        let what = "StatusRow";
        Err(DecodeError::Contradiction { what, rule })
    };
    let leased = !row.consumer.is_empty();
    if !leased && (row.token, row.deadline_ns) != (0, 0) {
        return contradiction("a lease must have a holder");
    }
    if row.death_reason == 0 && (row.dead_at_ns, row.forget_at_ns) != (0, 0) {
        return contradiction("a death must have a reason");
    }
    match (leased, row.death_reason) {
        (true, 0) if row.due_at_ns == 0 => Ok(Phase::Leased {
            consumer: row.consumer.clone(),
            token: LeaseToken(row.token),
            deadline_ns: row.deadline_ns,
        }),
        (true, 0) => contradiction("a leased task must not wait"),
        (true, _) => contradiction("a leased task must not be dead"),
        (false, 0) => Ok(Phase::Waiting {
            due_at_ns: row.due_at_ns,
        }),
        (false, reason) if row.due_at_ns == 0 => Ok(Phase::Dead {
            at_ns: row.dead_at_ns,
            reason: parts::death("StatusRow.death_reason", reason)?,
            forget_at_ns: row.forget_at_ns,
        }),
        (false, _) => contradiction("a dead task must not wait"),
    }
}

fn request(bytes: &[u8]) -> Result<RequestRow, DecodeError> {
    let row: log::RequestRow = parts::parse("RequestRow", bytes)?;
    parts::known("RequestRow", &row.unknown_fields)?;
    let hash = parts::bytes_of("RequestRow.content_hash", &row.content_hash)?;
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
