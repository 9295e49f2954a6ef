//! ExplainTask: why a task does not run.

use z4_core::dispatch::ConsumersView;
use z4_core::inspect::{self, Ahead, Reason, Situation};
use z4_core::machine::untouched;
use z4_core::state::{find_namespace, find_task, StateError};
use z4_core::task::Phase;
use z4_core::{Namespace, TaskId, View};
use z4_proto::generated::collection::{
    ExplainTaskResponse, Reason as Message, ReasonKind as Kind, Task,
};

use super::get::missing;
use crate::convert::{self, timestamp_of_ns};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::reading;

/// Explains a task to whom asks, `consumers` being those of its namespace.
pub(super) async fn explain<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: Namespace,
    id: TaskId,
    consumers: ConsumersView,
) -> Result<ExplainTaskResponse, Error> {
    let name = namespace.clone();
    let read = move |view: &V| explained(view, &name, id, consumers);
    let found = reading::latest(node, read).await?;
    let (task, reasons, now_ns) = found.ok_or_else(|| missing(&namespace, id))?;
    let mut response = ExplainTaskResponse::default();
    response.set_task(task);
    for reason in &reasons {
        response.mut_reasons().push(message(reason, now_ns));
    }
    Ok(response)
}

type Explained = (Task, Vec<Reason>, u64);

fn explained(
    view: &impl View,
    name: &Namespace,
    id: TaskId,
    consumers: ConsumersView,
) -> Result<Option<Explained>, StateError> {
    let now_ns = reading::now_ns(view)?;
    let Some((mut body, status)) = find_task(view, name, id)? else {
        return Ok(None);
    };
    let Some(row) = find_namespace(view, name)? else {
        return Ok(None);
    };
    let status = status.unwrap_or_else(|| untouched(&body));
    let ahead = match status.phase {
        Phase::Waiting { due_at_ns } if due_at_ns <= now_ns => inspect::ahead(
            view,
            &row,
            status.priority,
            (due_at_ns, id),
            now_ns,
            limits::EXPLAIN_ROW_COUNT_MAX,
        )?,
        _ => Ahead::default(),
    };
    let reasons = inspect::explain(&Situation {
        row: &row,
        status: &status,
        consumers,
        ahead,
        now_ns,
    });
    body.metadata = Vec::new();
    body.payload = Vec::new();
    let task = convert::task_with_status(name, id, body, Some(status));
    Ok(Some((task, reasons, now_ns)))
}

fn message(reason: &Reason, now_ns: u64) -> Message {
    let mut message = Message::default();
    message.set_kind(match reason {
        Reason::Deleting { .. } => Kind::REASON_KIND_DELETING,
        Reason::Dead { .. } => Kind::REASON_KIND_DEAD,
        Reason::Leased { .. } => Kind::REASON_KIND_LEASED,
        Reason::Paused { .. } => Kind::REASON_KIND_PAUSED,
        Reason::NoConsumer { .. } => Kind::REASON_KIND_NO_CONSUMER,
        Reason::LeasedMax { .. } => Kind::REASON_KIND_LEASED_MAX,
        Reason::NoCredit { .. } => Kind::REASON_KIND_NO_CREDIT,
        Reason::NotDue { .. } => Kind::REASON_KIND_NOT_DUE,
        Reason::Backoff { .. } | Reason::Returned { .. } => Kind::REASON_KIND_BACKOFF,
        Reason::RateLimit { .. } => Kind::REASON_KIND_RATE_LIMIT,
        Reason::Behind(_) => Kind::REASON_KIND_BEHIND,
    });
    message.set_message(reason.text(now_ns));
    if let Some(until_ns) = reason.until_ns() {
        message.set_until(timestamp_of_ns(until_ns));
    }
    if let Some(since_ns) = reason.since_ns() {
        message.set_since(timestamp_of_ns(since_ns));
    }
    message.set_count(reason.count());
    message
}
