//! Acks, nacks, extends and releases whose askers want to know: proposed, tried
//! again while nothing is known, and answered one by one.

use std::time::Duration;

use z4_consensus::fault::mark;
use z4_core::command::{
    Command, Ended, Extend, ExtendLeases, LeaseLost, LeaseRefs, Nack, NackTasks, Outcome,
};
use z4_core::task::{DeathReason, LeaseToken, WallTime};
use z4_core::{Namespace, TaskId, View};
use z4_proto::generated::collection::{self as wire, LeaseOutcome as Said, LeaseResult};

use crate::convert;
use crate::errors::Error;
use crate::node::Node;
use crate::propose::{unexpected, RetryPolicy};

/// What is asked for leases; those of one kind travel together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ack,
    Nack,
    Extend,
    Release,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Ack, Self::Nack, Self::Extend, Self::Release];

    /// As counters name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Nack => "nack",
            Self::Extend => "extend",
            Self::Release => "release",
        }
    }
}

/// What is asked for one lease.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// As the client wrote the id.
    pub(crate) task_id: String,
    pub(crate) id: TaskId,
    pub(crate) token: LeaseToken,
    /// Its deadline, in machine nanoseconds, if this peer knows it.
    pub(crate) deadline_ns: Option<u64>,
    pub(crate) how: How,
}

/// What goes with it.
#[derive(Clone, Debug)]
pub(crate) enum How {
    End,
    Nack {
        delay_ms: Option<u64>,
        error: String,
        permanent: bool,
    },
    /// 0 for the namespace's setting.
    Extend {
        lease_ms: u64,
    },
}

/// What came of one.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) result: LeaseResult,
    pub(crate) lease: Lease,
}

/// What is known of a lease after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lease {
    Over,
    /// It lasts until then, in machine nanoseconds.
    Until(u64),
    Unknown,
}

/// Proposes what is asked for at most
/// [`ACK_COUNT_MAX`](z4_core::limits::ACK_COUNT_MAX) leases and waits until it is
/// applied; gives the answers in order. While it is not known to be done, it is
/// tried again for as long as `patience`.
pub(crate) async fn end<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    namespace: Namespace,
    kind: Kind,
    items: Vec<Item>,
    patience: Duration,
) -> Result<Vec<Ending>, Error> {
    let command = command(namespace, kind, &items);
    let policy = RetryPolicy::of(&command, patience).persisting();
    let endings = match node.propose(&command, policy).await {
        Ok(settled) => read(settled.outcome, kind, items, settled.maybe_before)?,
        Err(Error::Unknown { .. }) => items.into_iter().map(uncertain).collect(),
        Err(error) => return Err(error),
    };
    mark("ack.reply");
    for ending in &endings {
        count(&node, kind, &ending.result);
    }
    Ok(endings)
}

/// Counts an answer.
pub(crate) fn count<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    kind: Kind,
    result: &LeaseResult,
) {
    let outcome = match result.get_outcome() {
        Said::LEASE_OUTCOME_UNSPECIFIED => "unspecified",
        Said::LEASE_OUTCOME_DONE => "done",
        Said::LEASE_OUTCOME_WAITING => "waiting",
        Said::LEASE_OUTCOME_DEAD => "dead",
        Said::LEASE_OUTCOME_EXTENDED => "extended",
        Said::LEASE_OUTCOME_EXPIRED => "expired",
        Said::LEASE_OUTCOME_TAKEN => "taken",
        Said::LEASE_OUTCOME_GONE => "gone",
        Said::LEASE_OUTCOME_ALREADY_DEAD => "already_dead",
        Said::LEASE_OUTCOME_INVALID => "invalid",
        Said::LEASE_OUTCOME_UNCERTAIN => "uncertain",
    };
    let results = &node.network().metrics().lease_results;
    results.with_label_values(&[kind.name(), outcome]).inc();
}

fn command(namespace: Namespace, kind: Kind, items: &[Item]) -> Command {
    let refs = |namespace| LeaseRefs {
        namespace,
        leases: items.iter().map(|item| (item.id, item.token)).collect(),
    };
    match kind {
        Kind::Ack => Command::AckTasks(refs(namespace)),
        // Whoever names a lease has the task in hand.
        Kind::Release => Command::ReturnTasks(refs(namespace)),
        Kind::Nack => Command::NackTasks(NackTasks {
            namespace,
            nacks: items.iter().map(nack).collect(),
        }),
        Kind::Extend => Command::ExtendLeases(ExtendLeases {
            namespace,
            extends: items.iter().map(extend).collect(),
        }),
    }
}

fn nack(item: &Item) -> Nack {
    let (delay_ms, error, permanent) = match &item.how {
        How::Nack {
            delay_ms,
            error,
            permanent,
        } => (*delay_ms, error.clone(), *permanent),
        How::End | How::Extend { .. } => (None, String::new(), false),
    };
    Nack {
        id: item.id,
        token: item.token,
        delay_ms,
        error,
        permanent,
    }
}

fn extend(item: &Item) -> Extend {
    let lease_ms = match item.how {
        How::Extend { lease_ms } => lease_ms,
        How::End | How::Nack { .. } => 0,
    };
    Extend {
        id: item.id,
        token: item.token,
        lease_ms,
    }
}

/// The answers of an applied command. `retried`: an earlier try of it may have
/// been done.
fn read(
    outcome: Outcome,
    kind: Kind,
    items: Vec<Item>,
    retried: bool,
) -> Result<Vec<Ending>, Error> {
    match outcome {
        Outcome::Ended { stamp_ns, results } if results.len() == items.len() => {
            let read = |(item, result): (Item, _)| match result {
                Ok(ended) => over(item, ended),
                Err(lost) if retried => after_retry(item, kind, lost, stamp_ns),
                Err(lost) => refused(item, lost),
            };
            Ok(items.into_iter().zip(results).map(read).collect())
        }
        Outcome::Extended { results, .. } if results.len() == items.len() => {
            let read = |(item, result): (Item, _)| match result {
                Ok(deadline_ns) => extended(item, deadline_ns),
                Err(_) if retried => uncertain(item),
                Err(lost) => refused(item, lost),
            };
            Ok(items.into_iter().zip(results).map(read).collect())
        }
        other => Err(unexpected(other)),
    }
}

/// A lease that is not there when the try is repeated: the first try may have
/// ended it.
fn after_retry(item: Item, kind: Kind, lost: LeaseLost, stamp_ns: u64) -> Ending {
    // Nobody else can have ended a lease that would still be live, and of what
    // ends one only an ack takes the task away.
    let was_live = item.deadline_ns.is_some_and(|at_ns| at_ns > stamp_ns);
    if kind == Kind::Ack && lost == LeaseLost::Gone && was_live {
        return over(item, Ended::Done);
    }
    uncertain(item)
}

fn answer(item: Item, outcome: Said, lease: Lease) -> Ending {
    let mut result = LeaseResult::default();
    result.set_task_id(item.task_id);
    result.set_lease_token(item.token.0);
    result.set_outcome(outcome);
    Ending { result, lease }
}

fn over(item: Item, ended: Ended) -> Ending {
    match ended {
        Ended::Done => answer(item, Said::LEASE_OUTCOME_DONE, Lease::Over),
        Ended::Waiting { due_at_ns } => {
            let mut ending = answer(item, Said::LEASE_OUTCOME_WAITING, Lease::Over);
            let due_at = convert::timestamp(WallTime::from_ns(due_at_ns));
            ending.result.set_due_at(due_at);
            ending
        }
        Ended::Dead(reason) => {
            let mut ending = answer(item, Said::LEASE_OUTCOME_DEAD, Lease::Over);
            ending.result.set_death_reason(match reason {
                DeathReason::Attempts => wire::DeathReason::DEATH_REASON_ATTEMPTS,
                DeathReason::Ttl => wire::DeathReason::DEATH_REASON_TTL,
                DeathReason::Permanent => wire::DeathReason::DEATH_REASON_PERMANENT,
            });
            ending
        }
    }
}

fn extended(item: Item, deadline_ns: u64) -> Ending {
    let lease = Lease::Until(deadline_ns);
    let mut ending = answer(item, Said::LEASE_OUTCOME_EXTENDED, lease);
    let deadline = convert::timestamp(WallTime::from_ns(deadline_ns));
    ending.result.set_lease_deadline(deadline);
    ending
}

fn refused(item: Item, lost: LeaseLost) -> Ending {
    let (outcome, message) = match lost {
        LeaseLost::Expired => (
            Said::LEASE_OUTCOME_EXPIRED,
            "the lease had expired; the task comes again",
        ),
        LeaseLost::Taken => (
            Said::LEASE_OUTCOME_TAKEN,
            "the lease is over: the task is leased under another token",
        ),
        LeaseLost::Gone => (
            Said::LEASE_OUTCOME_GONE,
            "there is no such task: it is done, was removed, or never was in this namespace",
        ),
        LeaseLost::Dead => (
            Said::LEASE_OUTCOME_ALREADY_DEAD,
            "the task is a dead letter; redrive it to try it again",
        ),
    };
    let mut ending = answer(item, outcome, Lease::Over);
    ending.result.set_message(message.to_owned());
    ending
}

fn uncertain(item: Item) -> Ending {
    let mut ending = answer(item, Said::LEASE_OUTCOME_UNCERTAIN, Lease::Unknown);
    let message = "the connection to the leader was lost and what came of it cannot be told; \
                   if it was not done, the task comes again";
    ending.result.set_message(message.to_owned());
    ending
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn item(deadline_ns: Option<u64>) -> Item {
        Item {
            task_id: "t".into(),
            id: TaskId::default(),
            token: LeaseToken(3),
            deadline_ns,
            how: How::End,
        }
    }

    fn said(kind: Kind, deadline_ns: Option<u64>, lost: LeaseLost, retried: bool) -> Said {
        let results = vec![Err(lost)];
        let outcome = match kind {
            Kind::Extend => Outcome::Extended {
                stamp_ns: 100,
                results: vec![Err(lost)],
            },
            _ => Outcome::Ended {
                stamp_ns: 100,
                results,
            },
        };
        let items = vec![item(deadline_ns)];
        let mut endings = read(outcome, kind, items, retried).unwrap();
        endings.remove(0).result.get_outcome()
    }

    #[test]
    fn only_an_ack_that_nobody_else_can_have_done_is_taken_for_done() {
        use LeaseLost::{Expired, Gone};
        let done = Said::LEASE_OUTCOME_DONE;
        let uncertain = Said::LEASE_OUTCOME_UNCERTAIN;
        assert_eq!(said(Kind::Ack, Some(101), Gone, true), done);
        assert_eq!(said(Kind::Ack, Some(100), Gone, true), uncertain);
        assert_eq!(said(Kind::Ack, None, Gone, true), uncertain);
        assert_eq!(said(Kind::Ack, Some(101), Expired, true), uncertain);
        for kind in [Kind::Nack, Kind::Release, Kind::Extend] {
            assert_eq!(said(kind, Some(101), Gone, true), uncertain);
            let gone = Said::LEASE_OUTCOME_GONE;
            assert_eq!(said(kind, Some(101), Gone, false), gone);
        }
        let expired = Said::LEASE_OUTCOME_EXPIRED;
        assert_eq!(said(Kind::Ack, Some(101), Expired, false), expired);
    }
}
