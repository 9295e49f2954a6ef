//! Between core types and messages of the services.

use protobuf::well_known_types::{Duration, Timestamp};
use z4_core::machine::untouched;
use z4_core::task::{self, Phase, TaskStatus, WallTime};
use z4_core::{Namespace, TaskBody, TaskId};
use z4_proto::generated::collection::{DeathReason, Task, TaskState};

use z4_delivery::consumer_id;

/// A time as clients know it.
#[must_use]
pub fn timestamp(time: WallTime) -> Timestamp {
    Timestamp {
        seconds: time.seconds,
        nanos: time.nanos,
        ..Timestamp::default()
    }
}

/// A machine time, in nanoseconds, as clients know it.
#[must_use]
pub fn timestamp_of_ns(ns: u64) -> Timestamp {
    timestamp(WallTime::from_ns(ns))
}

/// A span, in nanoseconds, as clients know it.
#[must_use]
pub fn duration_of_ns(ns: u64) -> Duration {
    let time = WallTime::from_ns(ns);
    Duration {
        seconds: time.seconds,
        nanos: time.nanos,
        ..Duration::default()
    }
}

/// A span, in milliseconds, as clients know it.
#[must_use]
pub fn duration_of_ms(ms: u64) -> Duration {
    Duration {
        seconds: (ms / 1_000) as i64,
        nanos: (ms % 1_000) as i32 * 1_000_000,
        ..Duration::default()
    }
}

/// A span as clients know it.
#[must_use]
pub fn duration(span: std::time::Duration) -> Duration {
    duration_of_ns(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}

/// A signed span, in nanoseconds, as clients know it.
#[must_use]
pub fn signed_duration_of_ns(ns: i64) -> Duration {
    Duration {
        seconds: ns / 1_000_000_000,
        nanos: (ns % 1_000_000_000) as i32,
        ..Duration::default()
    }
}

/// A task as the clients of GetTaskStream know it: what was stored.
#[must_use]
pub fn task(namespace: &Namespace, id: TaskId, body: TaskBody) -> Task {
    let mut task = Task::default();
    task.set_id(id.to_string());
    task.set_namespace(namespace.as_str().to_owned());
    task.set_metadata(body.metadata.into_iter().collect());
    task.set_payload(body.payload);
    task.set_deliver_at(timestamp(body.deliver_at));
    task
}

/// A task with where it stands; `None`: it was never leased nor moved.
#[must_use]
pub fn task_with_status(
    namespace: &Namespace,
    id: TaskId,
    body: TaskBody,
    status: Option<TaskStatus>,
) -> Task {
    let status = status.unwrap_or_else(|| untouched(&body));
    let (asked_ns, created_at_ns) = (body.due_at_ns, body.created_at_ns);
    let mut task = task(namespace, id, body);
    if status.first_due_at_ns != asked_ns {
        task.set_deliver_at(timestamp_of_ns(status.first_due_at_ns));
    }
    task.set_created_at(timestamp_of_ns(created_at_ns));
    task.set_priority(u32::from(status.priority.get()));
    task.set_attempt(status.attempt());
    task.set_max_attempts(status.max_attempts);
    task.set_last_error(status.last_error);
    if status.ttl_ms > 0 {
        task.set_ttl(duration_of_ms(status.ttl_ms));
    }
    task.set_deliveries(status.deliveries);
    task.set_failures(status.failures);
    task.set_size_bytes(status.bytes);
    match status.phase {
        Phase::Waiting { due_at_ns } => {
            task.set_state(TaskState::TASK_STATE_SCHEDULED);
            task.set_due_at(timestamp_of_ns(due_at_ns));
        }
        Phase::Leased {
            consumer,
            deadline_ns,
            ..
        } => {
            task.set_state(TaskState::TASK_STATE_LEASED);
            task.set_consumer_id(consumer_id::of(&consumer).to_owned());
            task.set_lease_deadline(timestamp_of_ns(deadline_ns));
        }
        Phase::Dead { at_ns, reason, .. } => {
            task.set_state(TaskState::TASK_STATE_DEAD);
            task.set_death_reason(death_reason(reason));
            task.set_died_at(timestamp_of_ns(at_ns));
        }
    }
    task
}

/// A reason as clients know it.
#[must_use]
pub fn death_reason(reason: task::DeathReason) -> DeathReason {
    match reason {
        task::DeathReason::Attempts => DeathReason::DEATH_REASON_ATTEMPTS,
        task::DeathReason::Ttl => DeathReason::DEATH_REASON_TTL,
        task::DeathReason::Permanent => DeathReason::DEATH_REASON_PERMANENT,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use z4_core::task::{LeaseToken, Priority};

    fn body() -> TaskBody {
        TaskBody {
            payload: b"1234".to_vec(),
            deliver_at: WallTime {
                seconds: 5,
                nanos: 6,
            },
            due_at_ns: 9_000_000_000,
            created_at_ns: 9_000_000_000,
            priority: Priority::new(7).unwrap(),
            max_attempts: 3,
            ttl_ms: 1_500,
            ..TaskBody::default()
        }
    }

    fn of(change: impl FnOnce(&mut TaskStatus)) -> Task {
        let body = body();
        let mut status = untouched(&body);
        change(&mut status);
        let name = Namespace::new("n").unwrap();
        task_with_status(&name, TaskId::new(1, 2, 3), body, Some(status))
    }

    #[test]
    fn a_task_that_nothing_happened_to_is_scheduled() {
        let name = Namespace::new("n").unwrap();
        let task = task_with_status(&name, TaskId::new(1, 2, 3), body(), None);
        assert_eq!(task, of(|_| ()));
        assert_eq!(task.get_state(), TaskState::TASK_STATE_SCHEDULED);
        assert_eq!(task.get_due_at(), &timestamp_of_ns(9_000_000_000));
        assert_eq!(task.get_deliver_at().get_nanos(), 6, "as it was asked");
        assert_eq!((task.get_attempt(), task.get_max_attempts()), (1, 3));
        assert_eq!(task.get_ttl(), &duration_of_ns(1_500_000_000));
        assert_eq!((task.get_priority(), task.get_size_bytes()), (7, 4));
        assert!(!task.has_lease_deadline() && !task.has_died_at());
    }

    #[test]
    fn a_task_that_was_moved_shows_where_to() {
        let task = of(|s| {
            s.first_due_at_ns = 12_000_000_001;
            s.phase = Phase::Waiting {
                due_at_ns: 20_000_000_000,
            };
        });
        assert_eq!(task.get_deliver_at(), &timestamp_of_ns(12_000_000_001));
        assert_eq!(task.get_due_at(), &timestamp_of_ns(20_000_000_000));
    }

    #[test]
    fn holders_and_deaths_are_shown_and_sessions_are_not() {
        let leased = |consumer: &str| {
            let consumer = consumer.to_owned();
            of(move |s| {
                s.deliveries = 4;
                s.failures = 2;
                s.phase = Phase::Leased {
                    consumer,
                    token: LeaseToken(1),
                    deadline_ns: 3_000_000_000,
                };
            })
        };
        let task = leased("worker~1.b.2");
        assert_eq!(task.get_consumer_id(), "worker");
        assert_eq!(task.get_state(), TaskState::TASK_STATE_LEASED);
        assert_eq!((task.get_attempt(), task.get_deliveries()), (3, 4));
        assert_eq!(task.get_lease_deadline().get_seconds(), 3);
        assert!(!task.has_due_at());
        assert_eq!(leased("~1.b.2").get_consumer_id(), "");
        let dead = of(|s| {
            s.last_error = "boom".into();
            s.phase = Phase::Dead {
                at_ns: 4_000_000_000,
                reason: task::DeathReason::Permanent,
                forget_at_ns: 0,
            };
        });
        assert_eq!(dead.get_state(), TaskState::TASK_STATE_DEAD);
        let reason = DeathReason::DEATH_REASON_PERMANENT;
        assert_eq!(dead.get_death_reason(), reason);
        assert_eq!(dead.get_last_error(), "boom");
        assert_eq!(dead.get_died_at().get_seconds(), 4);
    }
}
