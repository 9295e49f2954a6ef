//! Why a task was not changed, and what to do about it.

use std::time::{Duration, UNIX_EPOCH};

use z4_core::command::Unchanged;
use z4_core::{Code, Namespace, Refusal, TaskId};

use super::get::missing;
use crate::errors::Error;
use z4_delivery::consumer_id;

/// The error of a task that was not changed.
pub(super) fn error(namespace: &Namespace, id: TaskId, why: &Unchanged) -> Error {
    match why {
        Unchanged::Gone => missing(namespace, id),
        Unchanged::Leased {
            consumer,
            deadline_ns,
        } => {
            let who = match consumer_id::of(consumer) {
                "" => "a stream of GetTaskStream".to_owned(),
                id => format!("consumer {id}"),
            };
            let until = humantime::format_rfc3339_millis(
                UNIX_EPOCH + Duration::from_nanos((*deadline_ns).min(FAR_NS)),
            );
            Error::Precondition(format!(
                "task {id} is held by {who} until {until}; try again when the lease has ended, if \
                 the task is still there"
            ))
        }
        Unchanged::Dead => Error::Precondition(format!(
            "task {id} is a dead letter; try it again with RedriveTasks, or remove it with \
             PurgeTasks"
        )),
        Unchanged::Waiting => Error::Precondition(format!(
            "task {id} waits and is no dead letter; move it with RescheduleTask or RunTask, or \
             remove it with CancelTask"
        )),
        Unchanged::Full => Error::Refused(Refusal::new(
            Code::Exhausted,
            format!(
                "namespace {namespace} has as many pending tasks as its limit allows; wait until \
                 consumers catch up, or raise pending_max"
            ),
        )),
    }
}

/// 2500-01-01: later times are not worth their place in a message.
const FAR_NS: u64 = z4_core::limits::DELIVER_AT_SECONDS_MAX as u64 * 1_000_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use grpcio::RpcStatusCode as S;

    #[test]
    fn each_reason_has_its_status_and_says_what_to_do() {
        let leased = |consumer: &str, deadline_ns| Unchanged::Leased {
            consumer: consumer.into(),
            deadline_ns,
        };
        let second = 1_700_000_000_000_000_000;
        let table = [
            (Unchanged::Gone, S::NOT_FOUND, "never there"),
            (
                leased("w~1.a.2", second),
                S::FAILED_PRECONDITION,
                "consumer w until 2023-11-14T22:13:20.000Z",
            ),
            (
                leased("~1.a.2", u64::MAX),
                S::FAILED_PRECONDITION,
                "a stream of GetTaskStream until 2500-01-01",
            ),
            (Unchanged::Dead, S::FAILED_PRECONDITION, "RedriveTasks"),
            (Unchanged::Waiting, S::FAILED_PRECONDITION, "CancelTask"),
            (Unchanged::Full, S::RESOURCE_EXHAUSTED, "pending_max"),
        ];
        for (why, code, text) in table {
            let error = error(&Namespace::new("n").unwrap(), TaskId::new(1, 2, 3), &why);
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
