//! What the sessions of this peer propose.

use std::time::Duration;

use z4_consensus::fault::mark;
use z4_core::command::Command;
use z4_core::View;
use z4_delivery::{Failure, Input, Retry, Settled, Ticket};
use z4_proto::encode_command;

use super::wall_ns;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{self, Local, Proposed, RetryPolicy, Until};

/// Proposes a command; the delivery thread has the answer.
pub(super) fn propose<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    ticket: Ticket,
    command: &Command,
    retry: Retry,
) {
    if matches!(command, Command::LeaseTasks(_)) {
        mark("lease.grant");
    }
    let (delivery, logger) = (node.delivery().clone(), node.network().logger().clone());
    let answer = move |result: Result<Settled, Failure<Error>>| {
        if let (Err(failure), Retry::RepeatUntil { .. }) = (&result, retry) {
            let (Failure::NotDone(error) | Failure::Unknown(error)) = failure;
            slog::warn!(logger, "leases could not be ended"; "reason" => %error);
        }
        delivery.input(Input::Proposed(ticket, result));
    };
    let (timeout, may_repeat) = match retry {
        Retry::Here { term } => return propose_here(node, command, term, answer),
        Retry::Once { patience_ns } => (Duration::from_nanos(patience_ns), false),
        Retry::Repeat { patience_ns } => (Duration::from_nanos(patience_ns), true),
        Retry::RepeatUntil { wall_ns: until_ns } => {
            let left = Duration::from_nanos(until_ns.saturating_sub(wall_ns()));
            (left.max(limits::BUSY_RETRY), true)
        }
    };
    let policy = RetryPolicy {
        timeout,
        may_repeat,
        persists: may_repeat,
    };
    node.propose_then(command, policy, move |settled| answer(of(settled)));
}

/// What came of a proposal, as sessions know it.
pub(super) fn of(settled: Result<propose::Settled, Error>) -> Result<Settled, Failure<Error>> {
    match settled {
        Ok(settled) => Ok(Settled {
            outcome: settled.outcome,
            maybe_before: settled.maybe_before,
        }),
        Err(error @ Error::Unknown { .. }) => Err(Failure::Unknown(error)),
        Err(error) => Err(Failure::NotDone(error)),
    }
}

/// Once, in this peer's own log.
fn propose_here<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    command: &Command,
    term: u64,
    answer: impl FnOnce(Result<Settled, Failure<Error>>) + Send + 'static,
) {
    let local = Local {
        command: encode_command(command),
        units: 0,
        topic: None,
        term: Some(term),
        until: Until::Applied,
    };
    node.propose_here(local, move |proposed| {
        answer(match proposed {
            Ok(Proposed::Applied(outcome)) => Ok(Settled {
                outcome,
                maybe_before: false,
            }),
            Ok(accepted @ Proposed::Accepted(_)) => {
                Err(Failure::Unknown(propose::unexpected(accepted)))
            }
            Err(error) => Err(Failure::Unknown(Error::of_proposal(error, false))),
        });
    });
}
