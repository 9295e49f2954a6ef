//! What commands did, as the leader tells the peer that forwarded them. Peers
//! of different versions talk to each other: fields that this version does not
//! know are passed over.

use z4_core::command::{CreatedTask, Grant, Outcome};
use z4_core::task::LeaseToken;
use z4_core::{Code, Refusal};

mod ends;

use crate::error::DecodeError;
use crate::generated::log;
use crate::{parts, principal};

use log::Outcome_oneof_kind as Kind;

/// The bytes of an outcome.
#[must_use]
pub fn encode_outcome(outcome: &Outcome) -> Vec<u8> {
    let kind = match outcome {
        Outcome::Created(tasks) => Kind::created(log::Created {
            tasks: tasks.iter().map(to_created).collect(),
            ..Default::default()
        }),
        Outcome::Leased { grants, more } => Kind::leased(log::Leased {
            grants: grants.iter().map(to_grant).collect(),
            more: *more,
            ..Default::default()
        }),
        Outcome::Ended { stamp_ns, results } => Kind::ended(log::Ended {
            stamp_ns: *stamp_ns,
            results: results.iter().map(ends::to_ended).collect(),
            ..Default::default()
        }),
        Outcome::Extended { stamp_ns, results } => Kind::extended(log::Extended {
            stamp_ns: *stamp_ns,
            results: results.iter().map(ends::to_extended).collect(),
            ..Default::default()
        }),
        Outcome::Changed(results) => Kind::changed(log::Changed {
            results: results.iter().map(ends::to_changed).collect(),
            ..Default::default()
        }),
        Outcome::NamespaceSet {
            config,
            paused_at_ns,
        } => {
            let mut set = log::NamespaceSet {
                paused_at_ns: paused_at_ns.unwrap_or(0),
                ..Default::default()
            };
            set.set_config(parts::to_config(config));
            Kind::namespace_set(set)
        }
        Outcome::NamespaceDeleting => Kind::namespace_deleting(log::NamespaceDeleting::default()),
        Outcome::PrincipalChanged(after) => {
            let mut changed = log::PrincipalChanged::default();
            if let Some(principal) = after {
                changed.set_principal(principal::to_principal(principal));
            }
            Kind::principal_changed(changed)
        }
        Outcome::Marked { id } => Kind::marked(log::Marked {
            id: *id,
            ..Default::default()
        }),
        Outcome::Pulsed { count } => Kind::pulsed(log::Pulsed {
            count: *count,
            ..Default::default()
        }),
        Outcome::Refused(refusal) => Kind::refused(log::Refused {
            code: refusal.code as u32,
            message: refusal.message.clone(),
            ..Default::default()
        }),
    };
    parts::write(&log::Outcome {
        kind: Some(kind),
        ..Default::default()
    })
}

/// The outcome of these bytes.
///
/// # Errors
/// [`DecodeError`]: the bytes are damaged, or of a kind that is newer.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome, DecodeError> {
    const WHAT: &str = "Outcome";
    let message: log::Outcome = parts::parse(WHAT, bytes)?;
    Ok(match message.kind {
        Some(Kind::created(created)) => {
            let tasks = created.tasks.iter().map(created_task);
            Outcome::Created(tasks.collect::<Result<_, _>>()?)
        }
        Some(Kind::leased(leased)) => {
            let grants = leased.grants.into_iter().map(grant);
            Outcome::Leased {
                grants: grants.collect::<Result<_, _>>()?,
                more: leased.more,
            }
        }
        Some(Kind::ended(ended)) => {
            let results = ended.results.iter().map(ends::ended);
            Outcome::Ended {
                stamp_ns: ended.stamp_ns,
                results: results.collect::<Result<_, _>>()?,
            }
        }
        Some(Kind::extended(extended)) => {
            let results = extended.results.iter().map(ends::extended);
            Outcome::Extended {
                stamp_ns: extended.stamp_ns,
                results: results.collect::<Result<_, _>>()?,
            }
        }
        Some(Kind::changed(changed)) => {
            let results = changed.results.into_iter().map(ends::changed);
            Outcome::Changed(results.collect::<Result<_, _>>()?)
        }
        Some(Kind::namespace_set(set)) => Outcome::NamespaceSet {
            config: parts::config(set.get_config())?,
            paused_at_ns: (set.paused_at_ns > 0).then_some(set.paused_at_ns),
        },
        Some(Kind::namespace_deleting(_)) => Outcome::NamespaceDeleting,
        Some(Kind::principal_changed(changed)) => {
            let principal = changed.principal.into_option();
            Outcome::PrincipalChanged(principal.map(principal::principal).transpose()?)
        }
        Some(Kind::marked(marked)) => Outcome::Marked { id: marked.id },
        Some(Kind::pulsed(expired)) => Outcome::Pulsed {
            count: expired.count,
        },
        Some(Kind::refused(refused)) => Outcome::Refused(refusal(refused)?),
        None => return Err(DecodeError::Kind { what: WHAT }),
    })
}

pub(crate) fn to_created(task: &CreatedTask) -> log::CreatedTask {
    let mut message = log::CreatedTask {
        id: task.id.as_bytes().to_vec(),
        ..Default::default()
    };
    message.set_deliver_at(parts::to_wall_time(task.deliver_at));
    message
}

pub(crate) fn created_task(task: &log::CreatedTask) -> Result<CreatedTask, DecodeError> {
    Ok(CreatedTask {
        id: parts::task_id("CreatedTask.id", &task.id)?,
        deliver_at: parts::wall_time(task.get_deliver_at())?,
    })
}

fn to_grant(grant: &Grant) -> log::Grant {
    log::Grant {
        consumer: grant.consumer.clone(),
        id: grant.id.as_bytes().to_vec(),
        token: grant.token.0,
        deadline_ns: grant.deadline_ns,
        due_at_ns: grant.due_at_ns,
        attempt: grant.attempt,
        deliveries: grant.deliveries,
        bytes: grant.bytes,
        ..Default::default()
    }
}

fn grant(grant: log::Grant) -> Result<Grant, DecodeError> {
    Ok(Grant {
        id: parts::task_id("Grant.id", &grant.id)?,
        consumer: grant.consumer,
        token: LeaseToken(grant.token),
        deadline_ns: grant.deadline_ns,
        due_at_ns: grant.due_at_ns,
        attempt: grant.attempt,
        deliveries: grant.deliveries,
        bytes: grant.bytes,
    })
}

fn refusal(refused: log::Refused) -> Result<Refusal, DecodeError> {
    let code = u8::try_from(refused.code).ok().and_then(Code::from_number);
    let code = code.ok_or(DecodeError::Range {
        what: "Refused.code",
        value: u64::from(refused.code),
    })?;
    Ok(Refusal::new(code, refused.message))
}
