//! A granted task as its consumer gets it.

use z4_core::command::Grant;
use z4_core::task::{Phase, TaskStatus};
use z4_core::{Namespace, TaskBody};
use z4_proto::generated::collection::Delivery;

use super::wall_ns;
use crate::convert;
use crate::metrics::Metrics;

/// The delivery of a lease; `None` when it is not live any more.
pub(super) fn delivery(
    namespace: &Namespace,
    of: &z4_delivery::Delivery,
    body: TaskBody,
    status: Option<TaskStatus>,
) -> Option<Delivery> {
    let (grant, status) = (&of.grant, status?);
    let Phase::Leased {
        token, deadline_ns, ..
    } = status.phase
    else {
        return None;
    };
    if token != grant.token {
        return None;
    }
    let task = convert::task_with_status(namespace, grant.id, body, Some(status));
    let mut delivery = Delivery::default();
    delivery.set_task(task);
    delivery.set_lease_token(token.0);
    delivery.set_attempt(grant.attempt);
    delivery.set_lease_deadline(convert::timestamp_of_ns(deadline_ns));
    delivery.set_deliveries(grant.deliveries);
    delivery.set_resumed(of.is_resumed);
    Some(delivery)
}

/// Counts a delivery; how late it is only when it is the task's first.
pub(super) fn count(metrics: &Metrics, grant: &Grant) {
    metrics.delivered.inc();
    if grant.deliveries == 1 {
        let late_ns = wall_ns().saturating_sub(grant.due_at_ns);
        metrics.lateness.observe(late_ns as f64 / 1e9);
    }
}
