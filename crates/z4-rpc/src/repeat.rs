//! Proposals that may be repeated: a change whose outcome was lost is proposed
//! again until it has one. Whoever asked must then know that the first try may
//! have been what made the second one find nothing to do.

use std::time::{Duration, Instant};

use z4_core::{Command, Outcome, View};
use z4_proto::encode_command;

use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{Proposed, Request, Until};

/// What a change came to.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) outcome: Outcome,
    /// An earlier try may have been done as well, before this one.
    pub(crate) maybe_before: bool,
}

/// Proposes a command until it has an outcome or the time is over; one that would
/// do harm when it is done twice, until it may have been done once.
///
/// # Errors
/// [`Error::Unknown`] when it may have been done; any other: it was not.
pub(crate) async fn settle<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    command: &Command,
    timeout: Duration,
) -> Result<Settled, Error> {
    command.check()?;
    let give_up = Instant::now() + timeout;
    let request = Request {
        command: encode_command(command),
        units: command.units(),
        // So that a try whose outcome was lost is told of.
        idempotent: false,
        until: Until::Applied,
    };
    let mut maybe_before = false;
    loop {
        let left = give_up.saturating_duration_since(Instant::now());
        match node.propose(request.clone(), left).await {
            Ok(done) => {
                return match done.proposed {
                    Proposed::Applied(outcome) => Ok(Settled {
                        outcome,
                        maybe_before,
                    }),
                    Proposed::Accepted { .. } => Err(unexpected("was accepted only")),
                }
            }
            Err(Error::Unknown { .. }) if !is_harmless(command) => {
                return Err(Error::Unknown { idempotent: false });
            }
            Err(Error::Unknown { .. }) => maybe_before = true,
            Err(_) if maybe_before => return Err(Error::Unknown { idempotent: false }),
            Err(error) => return Err(error),
        }
        if Instant::now() + limits::LEADER_RETRY >= give_up {
            return Err(Error::Unknown { idempotent: false });
        }
        node.timer().sleep(limits::LEADER_RETRY).await;
    }
}

/// Whether a second time does nothing that the first did not. A task that was
/// tried again may be a dead letter anew, for another reason, before the second
/// time: nobody asked that it be tried again after that.
fn is_harmless(command: &Command) -> bool {
    !matches!(command, Command::RedriveTasks(_))
}

/// The log answered what it cannot.
pub(crate) fn unexpected(what: impl std::fmt::Debug) -> Error {
    Error::Internal(format!("the log answered {what:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use z4_core::command::{RedriveTasks, TaskRefs};
    use z4_core::{Namespace, TaskId};

    use super::*;

    /// A dead letter that was redriven while leaders changed came back a second
    /// time, after it had died again: the peer had repeated the command.
    #[test]
    fn a_redrive_is_not_repeated_a_purge_is() {
        let (namespace, id) = (Namespace::new("n").unwrap(), TaskId::new(1, 1, 0));
        let redrive = Command::RedriveTasks(RedriveTasks {
            namespace: namespace.clone(),
            ids: vec![id],
            keep_attempts: false,
        });
        let refs = TaskRefs {
            namespace,
            ids: vec![id],
        };
        assert!(!is_harmless(&redrive));
        assert!(is_harmless(&Command::PurgeTasks(refs.clone())));
        assert!(is_harmless(&Command::CancelTasks(refs)));
    }
}
