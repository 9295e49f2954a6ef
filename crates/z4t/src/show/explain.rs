//! Why a task is not running.

use serde_json::{json, Value};
use z4_client::{Explanation, Reason, ReasonKind};

use super::plain::escape;
use super::task::{state, task_json, time, Body};

/// The state, then a line for each reason, the first to end last.
pub(crate) fn explanation_text(explanation: &Explanation) -> String {
    let task = &explanation.task;
    let known = task.state.map_or("unknown", state);
    let mut text = format!("{} is {known}\n", escape(&task.id));
    for reason in &explanation.reasons {
        text.push_str(&format!(
            "- {}: {}\n",
            kind(reason.kind),
            escape(&reason.message)
        ));
    }
    if explanation.reasons.is_empty() {
        text.push_str("- nothing keeps it: it is due, and its turn comes\n");
    }
    text
}

/// The same for programs.
pub(crate) fn explanation_json(explanation: &Explanation) -> Value {
    let reason = |reason: &Reason| {
        let mut value = json!({"kind": kind(reason.kind), "message": reason.message});
        if reason.until.is_some() {
            value["until"] = time(reason.until);
        }
        if reason.since.is_some() {
            value["since"] = time(reason.since);
        }
        value["count"] = reason.count.into();
        value
    };
    let reasons: Vec<_> = explanation.reasons.iter().map(reason).collect();
    json!({
        "task": task_json(&explanation.task, Body::LeftOut),
        "reasons": reasons,
    })
}

fn kind(kind: ReasonKind) -> &'static str {
    match kind {
        ReasonKind::NotDue => "not_due",
        ReasonKind::Backoff => "backoff",
        ReasonKind::Paused => "paused",
        ReasonKind::RateLimit => "rate_limit",
        ReasonKind::Leased => "leased",
        ReasonKind::LeasedMax => "leased_max",
        ReasonKind::NoConsumer => "no_consumer",
        ReasonKind::NoCredit => "no_credit",
        ReasonKind::Behind => "behind",
        ReasonKind::Dead => "dead",
        ReasonKind::Deleting => "deleting",
        _ => "other",
    }
}
