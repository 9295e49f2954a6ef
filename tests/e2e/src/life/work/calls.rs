//! What the answers of the services mean to a client.

use std::sync::Arc;
use std::time::Duration;

use grpcio::RpcStatusCode;
use protobuf::well_known_types;
use z4_check::history::Standing;
use z4_check::told::{Act, End, Fate, Handed};
use z4_core::TaskId;
use z4_proto::generated::collection::{
    DeathReason, Delivery, LeaseOutcome, LeaseResult, Task, TaskState,
};

use super::{Scene, LEASE};
use crate::client::Refused;
use crate::life::record::Record;

/// How long one try may take: a peer that is paused answers nothing.
pub const TRY_LIMIT: Duration = Duration::from_secs(2);

/// Whether this status says that surely nothing was done.
#[must_use]
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
#[must_use]
pub fn not_done(refused: &Refused) -> End {
    match refused.code {
        RpcStatusCode::NOT_FOUND => End::Stands(Standing::Missing),
        RpcStatusCode::FAILED_PRECONDITION => End::Stands(Standing::Present),
        code if is_definite(code) => End::Refused(code.to_string()),
        _ => End::Unknown,
    }
}

/// Where a task stands that was read.
#[must_use]
pub fn stands(task: &Task) -> Standing {
    match task.get_state() {
        TaskState::TASK_STATE_SCHEDULED => Standing::Waiting,
        TaskState::TASK_STATE_LEASED => Standing::Leased,
        TaskState::TASK_STATE_DEAD => Standing::Dead,
        TaskState::TASK_STATE_UNSPECIFIED => Standing::Present,
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
        (_, LeaseOutcome::LEASE_OUTCOME_EXPIRED) => End::Stands(Standing::Held),
        (_, LeaseOutcome::LEASE_OUTCOME_TAKEN) => End::Stands(Standing::Leased),
        (_, LeaseOutcome::LEASE_OUTCOME_GONE) => End::Stands(Standing::Missing),
        (_, LeaseOutcome::LEASE_OUTCOME_ALREADY_DEAD) => End::Stands(Standing::Dead),
        (_, LeaseOutcome::LEASE_OUTCOME_UNCERTAIN) => End::Unknown,
        (act, _) => {
            record.absurd(format!("{act:?} was answered with {result:?}"));
            End::Unknown
        }
    }
}

/// Why a dead letter died; `None`: the peer does not say, or it is none.
#[must_use]
pub fn death_reason(task: &Task) -> Option<z4_core::task::DeathReason> {
    match task.get_death_reason() {
        DeathReason::DEATH_REASON_UNSPECIFIED => None,
        DeathReason::DEATH_REASON_ATTEMPTS => Some(z4_core::task::DeathReason::Attempts),
        DeathReason::DEATH_REASON_TTL => Some(z4_core::task::DeathReason::Ttl),
        DeathReason::DEATH_REASON_PERMANENT => Some(z4_core::task::DeathReason::Permanent),
    }
}

/// Records a delivery; fate, id and token of its task.
pub fn note(
    scene: &Scene,
    client: u32,
    consumer: &Arc<str>,
    asked_ns: u64,
    delivery: &Delivery,
) -> Option<(Fate, TaskId, u64)> {
    let deadline_ns = ns(delivery.get_lease_deadline());
    let task = delivery.get_task();
    let (fate, label) = carried(&scene.record, task.get_id(), task.get_payload())?;
    let handed = Handed {
        client,
        consumer: Arc::clone(consumer),
        asked_ns,
        at_ns: scene.record.now_ns(),
        id: id(&scene.record, task.get_id())?,
        label,
        token: delivery.get_lease_token(),
        attempt: delivery.get_attempt(),
        deliveries: delivery.get_deliveries(),
        resumed: delivery.get_resumed(),
        began_ns: deadline_ns.saturating_sub(LEASE.as_nanos() as u64),
        deadline_ns,
    };
    let noted = (fate, handed.id, handed.token);
    scene.record.told().handed.push(handed);
    Some(noted)
}

/// What a task that came carries; one that nobody made is a breach.
pub fn carried(record: &Record, id: &str, payload: &[u8]) -> Option<(Fate, u64)> {
    let carried = Fate::read(payload);
    if carried.is_none() {
        record.absurd(format!("task {id} came, and nobody made it: {payload:?}"));
    }
    carried
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
#[must_use]
pub fn ns(time: &well_known_types::Timestamp) -> u64 {
    let seconds = u64::try_from(time.get_seconds()).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.get_nanos()).unwrap_or(0)
}

/// A time on the wire.
#[must_use]
pub fn timestamp(ns: u64) -> well_known_types::Timestamp {
    let mut time = well_known_types::Timestamp::new();
    time.set_seconds((ns / 1_000_000_000) as i64);
    time.set_nanos((ns % 1_000_000_000) as i32);
    time
}

/// A span on the wire.
#[must_use]
pub fn span(span: Duration) -> well_known_types::Duration {
    let mut wire = well_known_types::Duration::new();
    wire.set_seconds(span.as_secs() as i64);
    wire.set_nanos(span.subsec_nanos() as i32);
    wire
}
