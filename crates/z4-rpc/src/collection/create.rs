//! One create request, from the wire to the log and back.

use std::time::Duration;

use protobuf::well_known_types::Timestamp;
use z4_consensus::fault::mark;
use z4_core::command::{Command, Due, NewTask};
use z4_core::task::WallTime;
use z4_core::{Outcome, TaskId, View};
use z4_proto::encode_command;
use z4_proto::generated::collection::{CreateTaskRequest, CreateTaskResponse, Task};

use crate::convert::{duration_of_ms, timestamp};
use crate::errors::Error;
use crate::node::Node;
use crate::propose::{Proposed, Request, Until};
use crate::validate;

/// Creates a task. The answer carries all of it.
pub(super) async fn create<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    request: CreateTaskRequest,
    until: Until,
    timeout: Duration,
) -> Result<CreateTaskResponse, Error> {
    let command = validate::create(request)?;
    let idempotent = matches!(&command, Command::CreateTasks(c) if !c.request_id.is_empty());
    let request = Request {
        command: encode_command(&command),
        units: command.units(),
        idempotent,
        // Whether a request id was used before is known when it is applied.
        until: if idempotent { Until::Applied } else { until },
    };
    let done = node.propose(request, timeout).await?;
    mark("create.reply");
    let Command::CreateTasks(create) = command else {
        return Err(Error::Internal(
            "a create request made another command".into(),
        ));
    };
    let Some(new) = create.tasks.into_iter().next() else {
        return Err(Error::Internal("a create request made no task".into()));
    };
    let (id, deliver_at) = match done.proposed {
        Proposed::Applied(Outcome::Created(tasks)) => match tasks.first() {
            Some(task) => (task.id, task.deliver_at),
            None => return Err(Error::Internal("the log made no task".into())),
        },
        Proposed::Applied(Outcome::Refused(refusal)) => return Err(refusal.into()),
        Proposed::Applied(other) => {
            return Err(Error::Internal(format!("the log answered {other:?}")))
        }
        Proposed::Accepted {
            index,
            stamp_ns,
            unit_first,
        } => foretell(&new, index, stamp_ns, unit_first)?,
    };
    node.network().metrics().created.inc();
    let mut response = CreateTaskResponse::default();
    let namespace = create.namespace.as_str().to_owned();
    response.set_task(answer(namespace, new, id, timestamp(deliver_at)));
    response.set_forwarded_to(done.forwarded_to);
    Ok(response)
}

/// What apply will say of a task whose entry the leader has appended.
fn foretell(
    new: &NewTask,
    index: u64,
    stamp_ns: u64,
    unit_first: u32,
) -> Result<(TaskId, WallTime), Error> {
    let in_range = unit_first < 1 << z4_core::task::ORDINAL_BITS && index < 1 << 44;
    if !in_range {
        return Err(Error::Internal(
            "the leader's answer is out of range".into(),
        ));
    }
    let deliver_at = match new.due {
        Due::Now => WallTime::from_ns(stamp_ns),
        Due::At(at) => at,
        Due::AfterSeconds(seconds) => {
            let after_ns = seconds.saturating_mul(1_000_000_000);
            WallTime::from_ns(stamp_ns.saturating_add(after_ns))
        }
    };
    Ok((TaskId::new(stamp_ns, index, unit_first), deliver_at))
}

/// What was asked for, with its id. Where the task stands is not said: when a
/// request id is repeated, it may be anywhere by now.
pub(super) fn answer(namespace: String, new: NewTask, id: TaskId, deliver_at: Timestamp) -> Task {
    let mut task = Task::default();
    task.set_id(id.to_string());
    task.set_namespace(namespace);
    task.set_priority(u32::from(new.priority.get()));
    task.set_max_attempts(new.max_attempts);
    if new.ttl_ms > 0 {
        task.set_ttl(duration_of_ms(new.ttl_ms));
    }
    task.set_size_bytes(new.bytes());
    task.set_metadata(new.metadata.into_iter().collect());
    task.set_payload(new.payload);
    task.set_deliver_at(deliver_at);
    task
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use z4_core::command::CreateTasks;
    use z4_core::{Machine, MemState, Namespace};

    #[test]
    fn the_answer_foretold_is_the_one_applied() {
        let at = WallTime {
            seconds: 5,
            nanos: 6,
        };
        for due in [Due::Now, Due::At(at), Due::AfterSeconds(90)] {
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
            let commands = vec![create(vec![new.clone(); 3]), create(vec![new.clone()])];
            let outcomes = machine.apply_entry(8, 1_700_000_000_123, commands, &mut Vec::new());
            let Outcome::Created(applied) = outcomes.unwrap().remove(1) else {
                panic!("not created")
            };
            let (id, deliver_at) = foretell(&new, 8, 1_700_000_000_123, 3).unwrap();
            assert_eq!((applied[0].id, applied[0].deliver_at), (id, deliver_at));
        }
    }

    #[test]
    fn a_leader_out_of_range_is_an_error_not_a_panic() {
        assert!(foretell(&NewTask::default(), 1 << 44, 1, 0).is_err());
        assert!(foretell(&NewTask::default(), 1, 1, 1 << 20).is_err());
    }
}
