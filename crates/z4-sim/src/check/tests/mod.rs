//! The checkers themselves: spoiled histories that each must refuse, with the
//! words that name what is wrong, and right ones that must pass.

#![allow(clippy::unwrap_used)]

mod access;
mod logs;
mod tasks;

use z4_core::command::{CreateTasks, CreatedTask, Grant, NewTask};
use z4_core::task::{LeaseToken, WallTime};
use z4_core::{Namespace, TaskId};

/// The words of the refusal, none for what must pass; and what is done.
type Case = (&'static str, fn() -> Result<(), String>);

fn judge(cases: &[Case]) {
    for (at, (words, case)) in cases.iter().enumerate() {
        match case() {
            Ok(()) => assert!(words.is_empty(), "case {at} is not refused: {words}"),
            Err(told) => assert!(
                !words.is_empty() && told.contains(words),
                "case {at} is refused with {told}, for {words:?}"
            ),
        }
    }
}

fn space(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn id(number: u64) -> TaskId {
    TaskId::new(number, number, 0)
}

fn create(name: &str, request: &str, payloads: &[&str]) -> CreateTasks {
    let task = |payload: &&str| NewTask {
        payload: payload.as_bytes().to_vec(),
        ..NewTask::default()
    };
    CreateTasks {
        namespace: space(name),
        request_id: request.into(),
        tasks: payloads.iter().map(task).collect(),
    }
}

fn made(ids: &[u64]) -> Vec<CreatedTask> {
    let task = |number: &u64| CreatedTask {
        id: id(*number),
        deliver_at: WallTime::default(),
    };
    ids.iter().map(task).collect()
}

/// A lease of a task: its token, its deadline, and which attempt it is.
fn grant(number: u64, token: u64, deadline_ns: u64, attempt: u32) -> Grant {
    Grant {
        consumer: "c".into(),
        id: id(number),
        token: LeaseToken(token),
        deadline_ns,
        due_at_ns: 0,
        attempt,
        deliveries: attempt,
        bytes: 0,
    }
}
