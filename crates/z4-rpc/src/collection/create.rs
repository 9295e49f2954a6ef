//! What creates have in common, and one create request.

use std::time::Duration;

use z4_consensus::fault::mark;
use z4_core::command::{CreateTasks, CreatedTask, Due, NewTask};
use z4_core::task::WallTime;
use z4_core::{Outcome, TaskId, View};
use z4_proto::generated::collection::{CreateTaskRequest, CreateTaskResponse, Task};

use crate::convert::{duration_of_ms, timestamp};
use crate::errors::Error;
use crate::node::Node;
use crate::propose::{unexpected, Appended, Proposed, Until};
use crate::validate;

/// Tasks that were stored, and the address of the leader when another peer led.
pub(super) struct Stored {
    pub(super) tasks: Vec<Task>,
    pub(super) forwarded_to: String,
}

/// Creates a task. The answer carries all of it.
pub(super) async fn create<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: CreateTaskRequest,
    until: Until,
    timeout: Duration,
) -> Result<CreateTaskResponse, Error> {
    let stored = store(node, validate::create(request)?, until, timeout).await?;
    let mut response = CreateTaskResponse::default();
    // A request makes one task.
    stored
        .tasks
        .into_iter()
        .for_each(|task| response.set_task(task));
    response.set_forwarded_to(stored.forwarded_to);
    Ok(response)
}

/// Stores tasks, all or none. The answer carries all of them, in order.
pub(super) async fn store<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    create: CreateTasks,
    until: Until,
    timeout: Duration,
) -> Result<Stored, Error> {
    let settled = node.propose_create(&create, until, timeout).await?;
    mark("create.reply");
    let created = match settled.outcome {
        Proposed::Applied(Outcome::Created(created)) => created,
        Proposed::Applied(other) => return Err(unexpected(other)),
        Proposed::Accepted(at) => foretell(&create.tasks, at)?,
    };
    if created.len() != create.tasks.len() {
        return Err(unexpected(format!("{} tasks", created.len())));
    }
    let counter = &node.network().metrics().created;
    counter.inc_by(created.len() as u64);
    let tasks = create.tasks.into_iter().zip(created);
    let shown = |(new, created)| shown(create.namespace.as_str().to_owned(), new, created);
    Ok(Stored {
        tasks: tasks.map(shown).collect(),
        forwarded_to: settled.forwarded_to,
    })
}

/// What apply will say of tasks that the leader has appended.
fn foretell(tasks: &[NewTask], at: Appended) -> Result<Vec<CreatedTask>, Error> {
    let end = at.unit_first.saturating_add(tasks.len() as u32);
    if end > 1 << z4_core::task::ORDINAL_BITS || at.index >= 1 << 44 {
        return Err(Error::Internal(
            "the leader's answer is out of range".into(),
        ));
    }
    let created = tasks.iter().zip(at.unit_first..end).map(|(new, unit)| {
        let deliver_at = match new.due {
            Due::Now => WallTime::from_ns(at.stamp_ns),
            Due::At(at) => at,
            Due::AfterSeconds(seconds) => {
                let after_ns = seconds.saturating_mul(1_000_000_000);
                WallTime::from_ns(at.stamp_ns.saturating_add(after_ns))
            }
        };
        let id = TaskId::new(at.stamp_ns, at.index, unit);
        CreatedTask { id, deliver_at }
    });
    Ok(created.collect())
}

/// What was asked for, with its id. Where the task stands is not said: when a
/// request id is repeated, it may be anywhere by now.
fn shown(namespace: String, new: NewTask, created: CreatedTask) -> Task {
    let mut task = Task::default();
    task.set_id(created.id.to_string());
    task.set_namespace(namespace);
    task.set_priority(u32::from(new.priority.get()));
    task.set_max_attempts(new.max_attempts);
    if new.ttl_ms > 0 {
        task.set_ttl(duration_of_ms(new.ttl_ms));
    }
    task.set_size_bytes(new.bytes());
    task.set_metadata(new.metadata.into_iter().collect());
    task.set_payload(new.payload);
    task.set_deliver_at(timestamp(created.deliver_at));
    task
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use z4_core::{Command, Machine, MemState, Namespace};

    fn at(index: u64, stamp_ns: u64, unit_first: u32) -> Appended {
        Appended {
            index,
            stamp_ns,
            unit_first,
        }
    }

    #[test]
    fn the_answer_foretold_is_the_one_applied() {
        let given = WallTime {
            seconds: 5,
            nanos: 6,
        };
        for due in [Due::Now, Due::At(given), Due::AfterSeconds(90)] {
            let new = NewTask {
                due,
                ..NewTask::default()
            };
            let create = |tasks| {
                Command::CreateTasks(CreateTasks {
                    namespace: Namespace::new("n").unwrap(),
                    request_id: String::new(),
                    tasks,
                })
            };
            let mut machine = Machine::open(MemState::new()).unwrap();
            let commands = vec![create(vec![new.clone(); 3]), create(vec![new.clone(); 2])];
            let outcomes = machine.apply_entry(8, 1_700_000_000_123, commands, &mut Vec::new());
            let Outcome::Created(applied) = outcomes.unwrap().remove(1) else {
                panic!("not created")
            };
            let foretold = foretell(&[new.clone(), new], at(8, 1_700_000_000_123, 3));
            assert_eq!(applied, foretold.unwrap());
        }
    }

    #[test]
    fn a_leader_out_of_range_is_an_error_not_a_panic() {
        let one = [NewTask::default()];
        assert!(foretell(&one, at((1 << 44) - 1, 1, (1 << 20) - 1)).is_ok());
        for wrong in [at(1 << 44, 1, 0), at(1, 1, 1 << 20), at(1, 1, u32::MAX)] {
            assert!(foretell(&one, wrong).is_err(), "{wrong:?}");
        }
    }
}
