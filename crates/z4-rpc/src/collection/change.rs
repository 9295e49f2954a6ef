//! CancelTask, RescheduleTask, RunTask: one task that waits is changed.

use z4_core::command::{RescheduleTasks, TaskRefs, Unchanged};
use z4_core::{Command, Namespace, Outcome, TaskId, View};
use z4_proto::generated::collection::{
    CancelTaskRequest, RescheduleTaskRequest, RunTaskRequest, Task, TaskState,
};

use super::{get, unchanged};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{unexpected, RetryPolicy, Settled};
use crate::validate;

/// Removes a task that waits. Gives it as it was.
pub(super) async fn cancel<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &CancelTaskRequest,
) -> Result<Task, Error> {
    let (namespace, id) = validate::task_of(request.get_namespace(), request.get_task_id())?;
    // Afterwards there is nothing to read.
    let before = get::find(node, &namespace, id).await?;
    let before = before.ok_or_else(|| get::missing(&namespace, id))?;
    let command = Command::CancelTasks(TaskRefs {
        namespace: namespace.clone(),
        ids: vec![id],
    });
    change(node, &namespace, id, &command).await?;
    Ok(waiting(before))
}

/// Gives a task that waits another due time.
pub(super) async fn reschedule<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &RescheduleTaskRequest,
) -> Result<Task, Error> {
    let (namespace, id) = validate::task_of(request.get_namespace(), request.get_task_id())?;
    let due = validate::reschedule_due(request)?;
    move_to(node, namespace, id, due).await
}

/// Makes a task that waits due now.
pub(super) async fn run<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: &RunTaskRequest,
) -> Result<Task, Error> {
    let (namespace, id) = validate::task_of(request.get_namespace(), request.get_task_id())?;
    move_to(node, namespace, id, z4_core::command::Due::Now).await
}

async fn move_to<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: Namespace,
    id: TaskId,
    due: z4_core::command::Due,
) -> Result<Task, Error> {
    // It may run and be gone before it can be read again.
    let before = get::find(node, &namespace, id).await?;
    let before = before.ok_or_else(|| get::missing(&namespace, id))?;
    let command = Command::RescheduleTasks(RescheduleTasks {
        namespace: namespace.clone(),
        ids: vec![id],
        due,
    });
    change(node, &namespace, id, &command).await?;
    let after = get::find(node, &namespace, id).await;
    let after = after.map_err(|error| error.after_change(|| uncertain(id)))?;
    Ok(after.unwrap_or_else(|| gone(before)))
}

/// Makes a change of one task.
async fn change<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    namespace: &Namespace,
    id: TaskId,
    command: &Command,
) -> Result<(), Error> {
    let policy = RetryPolicy::of(command, limits::UNARY_TIMEOUT);
    let settled = node.propose(command, policy).await;
    let settled = settled.map_err(|error| error.in_doubt(|| uncertain(id)))?;
    judge(namespace, id, &settled)
}

fn uncertain(id: TaskId) -> Error {
    Error::Uncertain(format!(
        "see with GetTask what became of task {id}, and try again if it is as before"
    ))
}

/// Whether a change of one task was made, or why not.
fn judge(namespace: &Namespace, id: TaskId, settled: &Settled) -> Result<(), Error> {
    match &settled.outcome {
        Outcome::Changed(results) => match results.first() {
            Some(Ok(())) => Ok(()),
            // A task that an earlier try of this cancelled is gone for ever: one
            // that is leased or dead was not. Nothing else is tried twice.
            Some(Err(Unchanged::Gone)) if settled.maybe_before => Err(uncertain(id)),
            Some(Err(why)) => Err(unchanged::error(namespace, id, why)),
            None => Err(unexpected(&settled.outcome)),
        },
        other => Err(unexpected(other)),
    }
}

/// A task that was read before it was cancelled, and was waiting then, whatever
/// it was when it was read.
fn waiting(mut task: Task) -> Task {
    if task.get_state() != TaskState::TASK_STATE_SCHEDULED {
        task.set_state(TaskState::TASK_STATE_SCHEDULED);
        task.clear_consumer_id();
        task.clear_lease_deadline();
        task.clear_died_at();
        task.clear_death_reason();
    }
    task
}

/// A task that was moved, ran and is gone: what can still be said of it.
fn gone(mut task: Task) -> Task {
    task.clear_state();
    task.clear_due_at();
    task.clear_consumer_id();
    task.clear_lease_deadline();
    task
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_an_earlier_try_may_have_done_is_uncertain() {
        use grpcio::RpcStatusCode as S;
        let namespace = Namespace::new("n").unwrap();
        let id = TaskId::new(1, 2, 3);
        let leased = Unchanged::Leased {
            consumer: "w".into(),
            deadline_ns: 1,
        };
        let (held, dead, gone) = (S::FAILED_PRECONDITION, S::FAILED_PRECONDITION, S::NOT_FOUND);
        // What a cancel met, the status of a first try and of a repeated one.
        let table = [
            (Unchanged::Gone, gone, S::UNKNOWN),
            (leased, held, held),
            (Unchanged::Dead, dead, dead),
        ];
        for (why, first, repeated) in table {
            for (maybe_before, code) in [(false, first), (true, repeated)] {
                let settled = |result| Settled {
                    outcome: Outcome::Changed(vec![result]),
                    maybe_before,
                    forwarded_to: String::new(),
                };
                let judged = judge(&namespace, id, &settled(Err(why.clone())));
                assert_eq!(judged.unwrap_err().code(), code, "{why:?}");
                assert!(judge(&namespace, id, &settled(Ok(()))).is_ok());
            }
        }
    }
}
