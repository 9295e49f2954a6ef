//! The leases that go into the log behind a new task, in one entry.

use z4_consensus::fault::mark;
use z4_consensus::runtime::{Done, Proposal, Sink};
use z4_consensus::ProposeError;
use z4_core::{Command, Namespace, Outcome};
use z4_delivery::Input;
use z4_proto::encode_command;

use super::Delivery;

/// Takes a rider of this namespace, as the raft thread asks for it in this term.
pub(super) fn take<V: Send + Sync + 'static>(
    delivery: &Delivery<V>,
    namespace: &str,
    term: u64,
) -> Option<Proposal<Outcome>> {
    let namespace = Namespace::new(namespace).ok()?;
    let lease = delivery.riders().take(&namespace, term)?;
    mark("lease.grant");
    let command = encode_command(&Command::LeaseTasks(lease.clone()));
    let delivery = delivery.clone();
    // A lease that was granted comes back as an event.
    let sink = Sink::new(move |result: Result<Done<Outcome>, ProposeError>| {
        let is_leased = |done: &Done<Outcome>| matches!(done.reply, Outcome::Leased { .. });
        if !result.as_ref().is_ok_and(is_leased) {
            delivery.input(Input::RiderFailed { term, lease });
        }
    });
    Some(Proposal::new(command, 0, sink))
}
