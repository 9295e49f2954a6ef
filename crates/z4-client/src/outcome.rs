//! What became of leases.

use std::time::SystemTime;

use z4_proto::collection as wire;

use crate::convert;
use crate::lease::LeaseRef;
use crate::task::DeathReason;

/// What became of a lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum LeaseOutcome {
    /// Acknowledged, committed and applied: the task is gone.
    Done,
    /// Given back: due again at `due_at`.
    Waiting,
    /// A dead letter now.
    Dead,
    /// The lease lasts until `lease_deadline`.
    Extended,
    /// Refused, nothing changed: the lease had expired.
    Expired,
    /// Refused, nothing changed: another lease of the task is live.
    Taken,
    /// Refused, nothing changed: there is no such task any more.
    Gone,
    /// Refused, nothing changed: the task is a dead letter.
    AlreadyDead,
    /// Refused, nothing changed: a field is wrong, the message says which.
    Invalid,
    /// It was, or was not, done, and now cannot be told. If it was not, the task
    /// comes again.
    Uncertain,
}

impl LeaseOutcome {
    /// Whether what was asked for was done.
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Waiting | Self::Dead | Self::Extended
        )
    }

    fn of_wire(outcome: wire::LeaseOutcome) -> Self {
        use wire::LeaseOutcome as W;
        match outcome {
            W::LEASE_OUTCOME_DONE => Self::Done,
            W::LEASE_OUTCOME_WAITING => Self::Waiting,
            W::LEASE_OUTCOME_DEAD => Self::Dead,
            W::LEASE_OUTCOME_EXTENDED => Self::Extended,
            W::LEASE_OUTCOME_EXPIRED => Self::Expired,
            W::LEASE_OUTCOME_TAKEN => Self::Taken,
            W::LEASE_OUTCOME_GONE => Self::Gone,
            W::LEASE_OUTCOME_ALREADY_DEAD => Self::AlreadyDead,
            W::LEASE_OUTCOME_INVALID => Self::Invalid,
            W::LEASE_OUTCOME_UNCERTAIN | W::LEASE_OUTCOME_UNSPECIFIED => Self::Uncertain,
        }
    }
}

/// The answer to one ack, nack, extend or release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseResult {
    /// Of which lease.
    pub lease: LeaseRef,
    /// What became of it.
    pub outcome: LeaseOutcome,
    /// For a person; empty when it was done.
    pub message: String,
    /// When the task is due again, when it waits.
    pub due_at: Option<SystemTime>,
    /// When the lease ends now, when it was extended.
    pub lease_deadline: Option<SystemTime>,
    /// Why it is a dead letter, when it became one.
    pub death_reason: Option<DeathReason>,
}

impl LeaseResult {
    pub(crate) fn of_wire(mut result: wire::LeaseResult) -> Self {
        Self {
            outcome: LeaseOutcome::of_wire(result.get_outcome()),
            due_at: convert::time(&result.due_at),
            lease_deadline: convert::time(&result.lease_deadline),
            death_reason: DeathReason::of_wire(result.get_death_reason()),
            message: result.take_message(),
            lease: LeaseRef {
                token: result.get_lease_token(),
                task_id: result.take_task_id(),
            },
        }
    }
}

/// A refusal at a second try may be the doing of the first, whose answer was
/// lost.
pub(crate) fn results(
    results: impl IntoIterator<Item = wire::LeaseResult>,
    tries: u32,
) -> Vec<LeaseResult> {
    let result = |result| {
        let mut result = LeaseResult::of_wire(result);
        let may_be_ours = matches!(
            result.outcome,
            LeaseOutcome::Gone
                | LeaseOutcome::Expired
                | LeaseOutcome::Taken
                | LeaseOutcome::AlreadyDead
        );
        if tries > 1 && may_be_ours {
            result.outcome = LeaseOutcome::Uncertain;
        }
        result
    };
    results.into_iter().map(result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> wire::LeaseResult {
        let mut result = wire::LeaseResult::default();
        result.set_task_id("t".into());
        result.set_lease_token(7);
        result.set_outcome(wire::LeaseOutcome::LEASE_OUTCOME_GONE);
        result
    }

    #[test]
    fn a_refusal_counts_only_at_the_first_try() {
        assert_eq!(results([gone()], 1)[0].outcome, LeaseOutcome::Gone);
        assert_eq!(results([gone()], 2)[0].outcome, LeaseOutcome::Uncertain);
        let mut done = gone();
        done.set_outcome(wire::LeaseOutcome::LEASE_OUTCOME_DONE);
        assert_eq!(results([done], 2)[0].outcome, LeaseOutcome::Done);
    }

    #[test]
    fn an_outcome_of_a_newer_peer_is_uncertain() {
        let result = LeaseResult::of_wire(wire::LeaseResult::default());
        assert_eq!(result.outcome, LeaseOutcome::Uncertain);
        assert!(!result.outcome.is_done());
    }
}
