//! Deliveries and what became of leases.

use serde_json::{json, Value};
use z4_client::{Delivery, LeaseOutcome, LeaseRef, LeaseResult};

use super::plain::escape;
use super::table::table;
use super::task::{death, given, payload, show, task_json, time, Body};
use crate::flags;
use crate::moment;

/// `ID:TOKEN`, as `z4t ack` and its like take it.
pub(crate) fn name(lease: &LeaseRef) -> String {
    format!("{}:{}", lease.task_id, lease.token)
}

/// A delivery for programs: the lease, then the task.
pub(crate) fn delivery_json(delivery: &Delivery) -> Value {
    json!({
        "lease": name(&delivery.lease()),
        "attempt": delivery.attempt,
        "deliveries": delivery.deliveries,
        "lease_deadline": time(delivery.lease_deadline),
        "resumed": delivery.resumed,
        "task": task_json(&delivery.task, Body::Shown),
    })
}

/// A delivery on one line.
pub(crate) fn delivery_line(delivery: &Delivery) -> String {
    let task = &delivery.task;
    let line = format!("{} attempt {} {}", task.id, delivery.attempt, payload(task));
    escape(&line).into_owned()
}

/// Deliveries, a line each.
pub(crate) struct DeliveryTable<'a>(pub &'a [Delivery]);

impl std::fmt::Display for DeliveryTable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = self.0.iter().map(|delivery| {
            [
                name(&delivery.lease()),
                delivery.attempt.to_string(),
                show(delivery.lease_deadline),
                payload(&delivery.task),
            ]
        });
        f.write_str(&table(["LEASE", "ATTEMPT", "UNTIL", "PAYLOAD"], rows))
    }
}

/// What became of a lease, for programs.
pub(crate) fn result_json(result: &LeaseResult) -> Value {
    let mut value = json!({
        "lease": name(&result.lease),
        "outcome": outcome(result.outcome),
    });
    if !result.message.is_empty() {
        value["message"] = result.message.as_str().into();
    }
    if result.due_at.is_some() {
        value["due_at"] = time(result.due_at);
    }
    if result.lease_deadline.is_some() {
        value["lease_deadline"] = time(result.lease_deadline);
    }
    if let Some(reason) = result.death_reason {
        value["death_reason"] = death(reason).into();
    }
    value
}

/// What became of a lease, on one line.
pub(crate) fn result_line(result: &LeaseResult) -> String {
    let detail = match result.outcome {
        LeaseOutcome::Waiting => given(result.due_at),
        LeaseOutcome::Extended => given(result.lease_deadline),
        LeaseOutcome::Dead => result.death_reason.map_or("", death).to_owned(),
        LeaseOutcome::Invalid => flags::named(&result.message),
        _ => result.message.clone(),
    };
    let line = format!(
        "{} {} {detail}",
        result.lease.task_id,
        outcome(result.outcome)
    );
    escape(line.trim_end()).into_owned()
}

/// When a task that failed is tried next.
pub(crate) fn next_try(result: &LeaseResult) -> String {
    match (result.outcome, result.due_at, result.death_reason) {
        (LeaseOutcome::Dead, _, reason) => {
            format!(
                "it is a dead letter now ({})",
                reason.map_or("unknown", death)
            )
        }
        (_, Some(at), _) => format!("next try at {}", moment::show(at)),
        (_, None, _) => "it comes again".to_owned(),
    }
}

pub(crate) fn outcome(outcome: LeaseOutcome) -> &'static str {
    match outcome {
        LeaseOutcome::Done => "done",
        LeaseOutcome::Waiting => "waiting",
        LeaseOutcome::Dead => "dead",
        LeaseOutcome::Extended => "extended",
        LeaseOutcome::Expired => "expired",
        LeaseOutcome::Taken => "taken",
        LeaseOutcome::Gone => "gone",
        LeaseOutcome::AlreadyDead => "already_dead",
        LeaseOutcome::Invalid => "invalid",
        _ => "uncertain",
    }
}
