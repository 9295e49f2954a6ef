//! What the answers of the services mean to a client.

use std::time::Duration;

use grpcio::RpcStatusCode;
use protobuf::well_known_types;
use z4_core::TaskId;
use z4_e2e::client::Refused;
use z4_proto::generated::collection::{LeaseOutcome, LeaseResult, Task, TaskState};

use crate::record::{Act, End, Record, Stands};

/// How long one try may take: a peer that is paused answers nothing.
pub const TRY_LIMIT: Duration = Duration::from_secs(2);

/// Whether this status says that surely nothing was done.
pub fn is_definite(code: RpcStatusCode) -> bool {
    [
        RpcStatusCode::INVALID_ARGUMENT,
        RpcStatusCode::NOT_FOUND,
        RpcStatusCode::ALREADY_EXISTS,
        RpcStatusCode::FAILED_PRECONDITION,
        RpcStatusCode::RESOURCE_EXHAUSTED,
    ]
    .contains(&code)
}

/// The end of a call at a task that was not done.
pub fn not_done(refused: &Refused) -> End {
    match refused.code {
        RpcStatusCode::NOT_FOUND => End::Stands(Stands::Missing),
        RpcStatusCode::FAILED_PRECONDITION => End::Stands(Stands::Present),
        code if is_definite(code) => End::Refused(code),
        _ => End::Unknown,
    }
}

/// Where a task stands that was read.
pub fn stands(task: &Task) -> Stands {
    match task.get_state() {
        TaskState::TASK_STATE_SCHEDULED => Stands::Waiting,
        TaskState::TASK_STATE_LEASED => Stands::Leased,
        TaskState::TASK_STATE_DEAD => Stands::Dead,
        TaskState::TASK_STATE_UNSPECIFIED => Stands::Present,
    }
}

/// The end of something that a consumer said of a lease.
pub fn lease_end(record: &Record, act: Act, result: &LeaseResult) -> End {
    match (act, result.get_outcome()) {
        (Act::Ack, LeaseOutcome::LEASE_OUTCOME_DONE)
        | (Act::Nack | Act::Release, LeaseOutcome::LEASE_OUTCOME_WAITING) => End::Done,
        (Act::Extend, LeaseOutcome::LEASE_OUTCOME_EXTENDED) => {
            End::Lasts(ns(result.get_lease_deadline()))
        }
        (Act::Nack | Act::NackForGood | Act::Release, LeaseOutcome::LEASE_OUTCOME_DEAD) => {
            End::Died
        }
        (_, LeaseOutcome::LEASE_OUTCOME_EXPIRED) => End::Stands(Stands::Held),
        (_, LeaseOutcome::LEASE_OUTCOME_TAKEN) => End::Stands(Stands::Leased),
        (_, LeaseOutcome::LEASE_OUTCOME_GONE) => End::Stands(Stands::Missing),
        (_, LeaseOutcome::LEASE_OUTCOME_ALREADY_DEAD) => End::Stands(Stands::Dead),
        (_, LeaseOutcome::LEASE_OUTCOME_UNCERTAIN) => End::Unknown,
        (act, _) => {
            record.absurd(format!("{act:?} was answered with {result:?}"));
            End::Unknown
        }
    }
}

/// A task id of an answer; what is none is a breach.
pub fn id(record: &Record, text: &str) -> Option<TaskId> {
    match text.parse() {
        Ok(id) => Some(id),
        Err(_) => {
            record.absurd(format!("{text:?} was given as a task id"));
            None
        }
    }
}

/// A time of the wire in nanoseconds since 1970.
pub fn ns(time: &well_known_types::Timestamp) -> u64 {
    let seconds = u64::try_from(time.get_seconds()).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.get_nanos()).unwrap_or(0)
}

/// A time on the wire.
pub fn timestamp(ns: u64) -> well_known_types::Timestamp {
    let mut time = well_known_types::Timestamp::new();
    time.set_seconds((ns / 1_000_000_000) as i64);
    time.set_nanos((ns % 1_000_000_000) as i32);
    time
}

/// A span on the wire.
pub fn span(span: Duration) -> well_known_types::Duration {
    let mut wire = well_known_types::Duration::new();
    wire.set_seconds(span.as_secs() as i64);
    wire.set_nanos(span.subsec_nanos() as i32);
    wire
}
