//! Acks, nacks, extends and releases: those of calls without a session, and the
//! answers as clients get them.

use std::time::Duration;

use z4_consensus::fault::mark;
use z4_core::command::{Ended, LeaseLost};
use z4_core::task::{DeathReason, WallTime};
use z4_core::{Namespace, View};
use z4_delivery::endings::{self, Answer, Ending, Item, Kind};
use z4_delivery::Failure;
use z4_proto::generated::collection::{self as wire, LeaseOutcome, LeaseResult};

use super::proposals;
use crate::convert;
use crate::errors::Error;
use crate::node::Node;
use crate::propose::RetryPolicy;

/// A kind, as counters name it.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Ack => "ack",
        Kind::Nack => "nack",
        Kind::Extend => "extend",
        Kind::Release => "release",
    }
}

/// Proposes what is asked for at most
/// [`ACK_COUNT_MAX`](z4_core::limits::ACK_COUNT_MAX) leases and waits until it is
/// applied; gives the answers in order. While it is not known to be done, it is
/// tried again for as long as `patience`.
pub(crate) async fn end<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: Namespace,
    kind: Kind,
    items: Vec<Item>,
    patience: Duration,
) -> Result<Vec<LeaseResult>, Error> {
    let command = endings::command(namespace, kind, &items);
    let policy = RetryPolicy::of(&command, patience).persisting();
    let answers = match proposals::of(node.propose(&command, policy).await) {
        Ok(settled) => endings::read(settled, items),
        Err(Failure::Unknown(_)) => endings::uncertain(items),
        Err(Failure::NotDone(error)) => return Err(error),
    };
    mark("ack.reply");
    let results = answers.into_iter().map(result);
    let results: Vec<_> = results.collect();
    results.iter().for_each(|result| count(node, kind, result));
    Ok(results)
}

/// Counts an answer.
pub(crate) fn count<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    kind: Kind,
    result: &LeaseResult,
) {
    let outcome = match result.get_outcome() {
        LeaseOutcome::LEASE_OUTCOME_UNSPECIFIED => "unspecified",
        LeaseOutcome::LEASE_OUTCOME_DONE => "done",
        LeaseOutcome::LEASE_OUTCOME_WAITING => "waiting",
        LeaseOutcome::LEASE_OUTCOME_DEAD => "dead",
        LeaseOutcome::LEASE_OUTCOME_EXTENDED => "extended",
        LeaseOutcome::LEASE_OUTCOME_EXPIRED => "expired",
        LeaseOutcome::LEASE_OUTCOME_TAKEN => "taken",
        LeaseOutcome::LEASE_OUTCOME_GONE => "gone",
        LeaseOutcome::LEASE_OUTCOME_ALREADY_DEAD => "already_dead",
        LeaseOutcome::LEASE_OUTCOME_INVALID => "invalid",
        LeaseOutcome::LEASE_OUTCOME_UNCERTAIN => "uncertain",
    };
    let results = &node.network().metrics().lease_results;
    results.with_label_values(&[name(kind), outcome]).inc();
}

/// An answer as its client gets it.
pub(super) fn result(answer: Answer) -> LeaseResult {
    let mut result = LeaseResult::default();
    result.set_task_id(answer.task_id);
    result.set_lease_token(answer.key.1 .0);
    match answer.ending {
        Ending::Over(ended) => over(&mut result, ended),
        Ending::Until(deadline_ns) => {
            result.set_outcome(LeaseOutcome::LEASE_OUTCOME_EXTENDED);
            let deadline = convert::timestamp(WallTime::from_ns(deadline_ns));
            result.set_lease_deadline(deadline);
        }
        Ending::Lost(lost) => {
            let (outcome, message) = lost_as(lost);
            result.set_outcome(outcome);
            result.set_message(message.to_owned());
        }
        Ending::Uncertain => {
            result.set_outcome(LeaseOutcome::LEASE_OUTCOME_UNCERTAIN);
            let message = "the connection to the leader was lost and what came of it cannot be \
                           told; if it was not done, the task comes again";
            result.set_message(message.to_owned());
        }
    }
    result
}

fn over(result: &mut LeaseResult, ended: Ended) {
    match ended {
        Ended::Done => result.set_outcome(LeaseOutcome::LEASE_OUTCOME_DONE),
        Ended::Waiting { due_at_ns } => {
            result.set_outcome(LeaseOutcome::LEASE_OUTCOME_WAITING);
            result.set_due_at(convert::timestamp(WallTime::from_ns(due_at_ns)));
        }
        Ended::Dead(reason) => {
            result.set_outcome(LeaseOutcome::LEASE_OUTCOME_DEAD);
            result.set_death_reason(match reason {
                DeathReason::Attempts => wire::DeathReason::DEATH_REASON_ATTEMPTS,
                DeathReason::Ttl => wire::DeathReason::DEATH_REASON_TTL,
                DeathReason::Permanent => wire::DeathReason::DEATH_REASON_PERMANENT,
            });
        }
    }
}

fn lost_as(lost: LeaseLost) -> (LeaseOutcome, &'static str) {
    match lost {
        LeaseLost::Expired => (
            LeaseOutcome::LEASE_OUTCOME_EXPIRED,
            "the lease had expired; the task comes again",
        ),
        LeaseLost::Taken => (
            LeaseOutcome::LEASE_OUTCOME_TAKEN,
            "the lease is over: the task is leased under another token",
        ),
        LeaseLost::Gone => (
            LeaseOutcome::LEASE_OUTCOME_GONE,
            "there is no such task: it is done, was removed, or never was in this namespace",
        ),
        LeaseLost::Dead => (
            LeaseOutcome::LEASE_OUTCOME_ALREADY_DEAD,
            "the task is a dead letter; redrive it to try it again",
        ),
    }
}
