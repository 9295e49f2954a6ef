//! What the sessions of this peer propose.

use std::time::{Duration, Instant};

use z4_consensus::fault::mark;
use z4_consensus::runtime::{Done, Proposal, Sink};
use z4_consensus::ProposeError;
use z4_core::command::Command;
use z4_core::{Outcome, View};
use z4_delivery::{Failure, Input, Retry, Settled, Ticket};
use z4_proto::encode_command;

use super::wall_ns;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{Proposed, Request, Until};

/// Wait between two tries.
const RETRY: Duration = Duration::from_millis(100);

/// Proposes a command; the delivery thread has the answer.
pub(super) fn propose<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    ticket: Ticket,
    command: Command,
    retry: Retry,
) {
    if matches!(command, Command::LeaseTasks(_)) {
        mark("lease.grant");
    }
    let delivery = node.delivery().clone();
    if retry == Retry::Here {
        let sink = Sink::new(move |result: Result<Done<Outcome>, ProposeError>| {
            let result = match result {
                Ok(done) => Ok(Settled {
                    outcome: done.reply,
                    maybe_before: false,
                }),
                Err(error) => Err(Failure::Unknown(Error::of_proposal(error, false))),
            };
            delivery.input(Input::Proposed { ticket, result });
        });
        return node.handle().propose(Proposal {
            command: encode_command(&command),
            units: 0,
            accepted: None,
            sink,
        });
    }
    let node = node.clone();
    node.network().clone().spawn(async move {
        let result = settle(&node, &command, retry).await;
        if let (Err(failure), Retry::RepeatUntil { .. }) = (&result, retry) {
            let (Failure::NotDone(error) | Failure::Unknown(error)) = failure;
            slog::warn!(node.network().logger(), "leases could not be ended"; "reason" => %error);
        }
        delivery.input(Input::Proposed { ticket, result });
    });
}

/// Proposes a command and waits for what comes of it.
pub(super) async fn settle<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    command: &Command,
    retry: Retry,
) -> Result<Settled, Failure<Error>> {
    let (patience, may_repeat) = match retry {
        Retry::Here => (limits::UNARY_TIMEOUT, false),
        Retry::Once { patience_ns } => (Duration::from_nanos(patience_ns), false),
        Retry::Repeat { patience_ns } => (Duration::from_nanos(patience_ns), true),
        Retry::RepeatUntil { wall_ns: until_ns } => (
            Duration::from_nanos(until_ns.saturating_sub(wall_ns())),
            true,
        ),
    };
    let request = Request {
        command: encode_command(command),
        units: 0,
        idempotent: false,
        until: Until::Applied,
    };
    let give_up = Instant::now() + patience;
    let mut maybe_before = false;
    loop {
        let left = give_up.saturating_duration_since(Instant::now());
        let timeout = left.clamp(RETRY, limits::UNARY_TIMEOUT);
        let error = match node.propose(request.clone(), timeout).await {
            Ok(done) => match done.proposed {
                Proposed::Applied(outcome) => {
                    return Ok(Settled {
                        outcome,
                        maybe_before,
                    })
                }
                Proposed::Accepted { .. } => Error::Internal("was accepted only".into()),
            },
            Err(error) => error,
        };
        let is_unknown = matches!(error, Error::Unknown { .. });
        maybe_before |= is_unknown;
        let is_passing = match &error {
            Error::Unknown { .. } => may_repeat,
            Error::Unavailable(_) | Error::Busy { .. } => may_repeat,
            error => may_repeat && super::endings::is_passing(error),
        };
        if !is_passing || Instant::now() + RETRY >= give_up {
            return Err(match maybe_before {
                true => Failure::Unknown(error),
                false => Failure::NotDone(error),
            });
        }
        node.timer().sleep(RETRY).await;
    }
}
