//! Finding live leases: of a consumer that comes back, and of a session whose events
//! were jumped over.

use z4_core::command::Grant;
use z4_core::state::{find_namespace, find_status, machine_ns, Row, RowKey, StateError};
use z4_core::task::{LeaseToken, Phase, TaskStatus};
use z4_core::{Namespace, TaskId, View};

use crate::limits::IN_FLIGHT_MAX;
use crate::output::Whose;

/// The live leases that [`Output::Find`](crate::Output::Find) asks for, as `view` has
/// them: the first to end first, at most [`IN_FLIGHT_MAX`]. The shell catches up with
/// the leader before it looks.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn find(view: &impl View, name: &Namespace, whose: &Whose) -> Result<Vec<Grant>, StateError> {
    let Some(row) = find_namespace(view, name)? else {
        return Ok(Vec::new());
    };
    let (start, end) = RowKey::leases();
    let RowKey::Lease { namespace, id, .. } = start else {
        return Ok(Vec::new());
    };
    let start = RowKey::Lease {
        // By the machine's clock: what it takes for live comes again, whatever
        // the clock of this peer says.
        deadline_ns: machine_ns(view)?,
        namespace,
        id,
    };
    let mut leases = Vec::new();
    view.scan(&start, &end, &mut |key, lease| {
        if let (RowKey::Lease { namespace, id, .. }, Row::Lease { consumer, token }) = (key, lease)
        {
            if namespace == row.id && whose.is(&consumer) {
                leases.push((id, token));
            }
        }
        leases.len() < IN_FLIGHT_MAX as usize
    })?;
    let mut grants = Vec::with_capacity(leases.len());
    for (id, token) in leases {
        let held = |status| grant_of(id, token, status);
        // Rows may change between two reads.
        grants.extend(find_status(view, row.id, id)?.and_then(held));
    }
    Ok(grants)
}

/// A lease as it was granted, if it is live.
fn grant_of(id: TaskId, token: LeaseToken, status: TaskStatus) -> Option<Grant> {
    let attempt = status.attempt();
    match status.phase {
        Phase::Leased {
            consumer,
            token: live,
            deadline_ns,
        } if live == token => Some(Grant {
            consumer,
            id,
            token,
            deadline_ns,
            due_at_ns: status.first_due_at_ns,
            attempt,
            deliveries: status.deliveries,
            bytes: status.bytes,
        }),
        _ => None,
    }
}
