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
    let give_up = Instant::now() + node.patience(timeout);
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

/// Whether a second time does nothing that the first did not, whatever others did
/// between the two: what is gone is gone for ever. All else could undo what
/// somebody was told is done: a task that was tried again may be a dead letter
/// anew, for another reason; a task may have been moved, a setting changed, a
/// namespace of the same name made anew.
fn is_harmless(command: &Command) -> bool {
    matches!(command, Command::CancelTasks(_) | Command::PurgeTasks(_))
}

/// The log answered what it cannot.
pub(crate) fn unexpected(what: impl std::fmt::Debug) -> Error {
    Error::Internal(format!("the log answered {what:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use z4_core::command::{
        Due, NamespacePatch, RedriveTasks, RescheduleTasks, SetNamespace, TaskRefs,
    };
    use z4_core::{Namespace, TaskId};

    use super::*;

    /// A dead letter that was redriven while leaders changed came back a second
    /// time, after it had died again: the peer had repeated the command. The
    /// others of the first list would so undo a later change of somebody else.
    #[test]
    fn only_what_removes_a_task_for_ever_is_repeated() {
        let (namespace, id) = (Namespace::new("n").unwrap(), TaskId::new(1, 1, 0));
        let refs = TaskRefs {
            namespace: namespace.clone(),
            ids: vec![id],
        };
        let once = [
            Command::RedriveTasks(RedriveTasks {
                namespace: namespace.clone(),
                ids: vec![id],
                keep_attempts: false,
            }),
            Command::RescheduleTasks(RescheduleTasks {
                namespace: namespace.clone(),
                ids: vec![id],
                due: Due::Now,
            }),
            Command::SetNamespace(SetNamespace {
                namespace: namespace.clone(),
                patch: NamespacePatch::default(),
            }),
            Command::DeleteNamespace(namespace),
        ];
        for command in once {
            assert!(!is_harmless(&command), "{command:?}");
        }
        assert!(is_harmless(&Command::PurgeTasks(refs.clone())));
        assert!(is_harmless(&Command::CancelTasks(refs)));
    }
}
