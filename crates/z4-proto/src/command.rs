//! Commands as they stand in the log.

use protobuf::RepeatedField;
use z4_core::command::{
    Command, CreateTasks, Due, HeldLeases, LeaseRefs, LeaseTasks, NewTask, ResumeLeases, Taker,
};
use z4_core::task::{LeaseToken, Priority};
use z4_core::TaskId;

mod leases;
mod settings;
mod tasks;

use crate::error::DecodeError;
use crate::generated::log;
use crate::{parts, principal};

use log::{Command_oneof_kind as Kind, NewTask_oneof_due as DueKind};

/// The bytes of a command.
#[must_use]
pub fn encode_command(command: &Command) -> Vec<u8> {
    let kind = match command {
        Command::CreateTasks(create) => return encode_create(create),
        Command::LeaseTasks(lease) => Kind::lease_tasks(to_lease(lease)),
        Command::AckTasks(refs) => Kind::ack_tasks(to_refs(refs)),
        Command::ReleaseTasks(held) => Kind::release_tasks(to_held(held)),
        Command::ReturnTasks(held) => Kind::return_tasks(to_held(held)),
        Command::ResumeLeases(resume) => Kind::resume_leases(to_resume(resume)),
        Command::NackTasks(nacks) => Kind::nack_tasks(leases::to_nacks(nacks)),
        Command::ExtendLeases(extends) => Kind::extend_leases(leases::to_extends(extends)),
        Command::CancelTasks(refs) => Kind::cancel_tasks(tasks::to_refs(refs)),
        Command::RescheduleTasks(change) => Kind::reschedule_tasks(tasks::to_reschedule(change)),
        Command::RedriveTasks(redrive) => Kind::redrive_tasks(tasks::to_redrive(redrive)),
        Command::PurgeTasks(refs) => Kind::purge_tasks(tasks::to_refs(refs)),
        Command::SetNamespace(set) => Kind::set_namespace(settings::to_set(set)),
        Command::DeleteNamespace(namespace) => Kind::delete_namespace(log::DeleteNamespace {
            namespace: namespace.as_str().to_owned(),
            ..Default::default()
        }),
        Command::ChangePrincipal(change) => Kind::change_principal(principal::to_change(change)),
        Command::Pulse => Kind::pulse(log::Pulse::default()),
        Command::Mark { id } => Kind::mark(log::Mark {
            id: *id,
            ..Default::default()
        }),
    };
    write(kind)
}

/// The bytes of [`Command::CreateTasks`], for who goes on with the parts of it.
#[must_use]
pub fn encode_create(create: &CreateTasks) -> Vec<u8> {
    write(Kind::create_tasks(to_create(create)))
}

fn write(kind: Kind) -> Vec<u8> {
    parts::write(&log::Command {
        kind: Some(kind),
        ..Default::default()
    })
}

/// Whether these bytes of [`encode_command`] are a command that creates tasks, found
/// from the first of them alone.
#[must_use]
pub fn is_create(bytes: &[u8]) -> bool {
    // The key of field 1 of the command, a message: `create_tasks` of log.proto.
    const CREATE_TASKS: u8 = (1 << 3) | 2;
    bytes.first() == Some(&CREATE_TASKS)
}

/// The command of these bytes. Its form is checked (names, lengths, ranges); the
/// limits of requests are not: see [`Command::check`].
///
/// # Errors
/// [`DecodeError`]: the bytes are damaged, or of a newer version.
pub fn decode_command(bytes: &[u8]) -> Result<Command, DecodeError> {
    const WHAT: &str = "Command";
    let message: log::Command = parts::parse(WHAT, bytes)?;
    parts::known(WHAT, &message.unknown_fields)?;
    Ok(match message.kind {
        Some(Kind::create_tasks(create)) => Command::CreateTasks(create_tasks(create)?),
        Some(Kind::lease_tasks(lease)) => Command::LeaseTasks(lease_tasks(lease)?),
        Some(Kind::ack_tasks(refs)) => Command::AckTasks(lease_refs(refs)?),
        Some(Kind::release_tasks(held)) => Command::ReleaseTasks(held_leases(held)?),
        Some(Kind::return_tasks(held)) => Command::ReturnTasks(held_leases(held)?),
        Some(Kind::resume_leases(resume)) => Command::ResumeLeases(resume_leases(resume)?),
        Some(Kind::pulse(pulse)) => {
            parts::known("Pulse", &pulse.unknown_fields)?;
            Command::Pulse
        }
        Some(Kind::nack_tasks(nacks)) => Command::NackTasks(leases::nacks(nacks)?),
        Some(Kind::extend_leases(extends)) => Command::ExtendLeases(leases::extends(extends)?),
        Some(Kind::cancel_tasks(refs)) => Command::CancelTasks(tasks::refs(&refs)?),
        Some(Kind::reschedule_tasks(change)) => {
            Command::RescheduleTasks(tasks::reschedule(&change)?)
        }
        Some(Kind::redrive_tasks(redrive)) => Command::RedriveTasks(tasks::redrive(&redrive)?),
        Some(Kind::purge_tasks(refs)) => Command::PurgeTasks(tasks::refs(&refs)?),
        Some(Kind::set_namespace(set)) => Command::SetNamespace(settings::set(&set)?),
        Some(Kind::delete_namespace(delete)) => {
            parts::known("DeleteNamespace", &delete.unknown_fields)?;
            Command::DeleteNamespace(parts::namespace(&delete.namespace)?)
        }
        Some(Kind::change_principal(change)) => {
            Command::ChangePrincipal(principal::change(change)?)
        }
        Some(Kind::mark(mark)) => {
            parts::known("Mark", &mark.unknown_fields)?;
            Command::Mark { id: mark.id }
        }
        None => return Err(DecodeError::Kind { what: WHAT }),
    })
}

fn to_create(create: &CreateTasks) -> log::CreateTasks {
    log::CreateTasks {
        namespace: create.namespace.as_str().to_owned(),
        request_id: create.request_id.clone(),
        tasks: create.tasks.iter().map(to_new_task).collect(),
        ..Default::default()
    }
}

fn create_tasks(create: log::CreateTasks) -> Result<CreateTasks, DecodeError> {
    parts::known("CreateTasks", &create.unknown_fields)?;
    let tasks = create.tasks.into_iter().map(new_task);
    Ok(CreateTasks {
        namespace: parts::namespace(&create.namespace)?,
        request_id: create.request_id,
        tasks: tasks.collect::<Result<_, _>>()?,
    })
}

fn to_new_task(task: &NewTask) -> log::NewTask {
    // A whole pattern: a field that is added and not written does not compile.
    let NewTask {
        metadata,
        payload,
        due,
        priority,
        max_attempts,
        ttl_ms,
    } = task;
    let due = match *due {
        Due::Now => None,
        Due::At(at) => Some(DueKind::at(parts::to_wall_time(at))),
        Due::AfterSeconds(seconds) => Some(DueKind::after_seconds(seconds)),
    };
    log::NewTask {
        metadata: parts::to_labels(metadata),
        payload: payload.clone(),
        priority_plus_1: u32::from(priority.get()) + 1,
        max_attempts: *max_attempts,
        ttl_ms: *ttl_ms,
        due,
        ..Default::default()
    }
}

fn new_task(task: log::NewTask) -> Result<NewTask, DecodeError> {
    parts::known("NewTask", &task.unknown_fields)?;
    let due = match &task.due {
        None => Due::Now,
        Some(DueKind::at(at)) => Due::At(parts::wall_time(at)?),
        Some(DueKind::after_seconds(seconds)) => Due::AfterSeconds(*seconds),
    };
    let priority = match task.priority_plus_1.checked_sub(1) {
        None => Priority::default(),
        Some(priority) => parts::priority("NewTask.priority_plus_1", priority)?,
    };
    Ok(NewTask {
        metadata: parts::labels(task.metadata)?,
        payload: task.payload,
        due,
        priority,
        max_attempts: task.max_attempts,
        ttl_ms: task.ttl_ms,
    })
}

fn to_lease(lease: &LeaseTasks) -> log::LeaseTasks {
    let taker = |taker: &Taker| log::Taker {
        consumer: taker.consumer.clone(),
        room: taker.room,
        ..Default::default()
    };
    log::LeaseTasks {
        namespace: lease.namespace.as_str().to_owned(),
        takers: lease.takers.iter().map(taker).collect(),
        lease_ms: lease.lease_ms,
        ahead_ms: lease.ahead_ms,
        ..Default::default()
    }
}

fn lease_tasks(lease: log::LeaseTasks) -> Result<LeaseTasks, DecodeError> {
    parts::known("LeaseTasks", &lease.unknown_fields)?;
    let taker = |taker: log::Taker| {
        parts::known("Taker", &taker.unknown_fields)?;
        Ok(Taker {
            consumer: taker.consumer,
            room: taker.room,
        })
    };
    let takers: Result<_, DecodeError> = lease.takers.into_iter().map(taker).collect();
    Ok(LeaseTasks {
        namespace: parts::namespace(&lease.namespace)?,
        takers: takers?,
        lease_ms: lease.lease_ms,
        ahead_ms: lease.ahead_ms,
    })
}

fn to_refs(refs: &LeaseRefs) -> log::LeaseRefs {
    log::LeaseRefs {
        namespace: refs.namespace.as_str().to_owned(),
        leases: to_leases(&refs.leases),
        ..Default::default()
    }
}

fn lease_refs(refs: log::LeaseRefs) -> Result<LeaseRefs, DecodeError> {
    parts::known("LeaseRefs", &refs.unknown_fields)?;
    Ok(LeaseRefs {
        namespace: parts::namespace(&refs.namespace)?,
        leases: leases_of(&refs.leases)?,
    })
}

fn to_held(held: &HeldLeases) -> log::HeldLeases {
    // A whole pattern: a field that is added and not written does not compile.
    let HeldLeases { refs, consumer } = held;
    log::HeldLeases {
        namespace: refs.namespace.as_str().to_owned(),
        leases: to_leases(&refs.leases),
        consumer: consumer.clone(),
        ..Default::default()
    }
}

fn held_leases(held: log::HeldLeases) -> Result<HeldLeases, DecodeError> {
    parts::known("HeldLeases", &held.unknown_fields)?;
    Ok(HeldLeases {
        refs: LeaseRefs {
            namespace: parts::namespace(&held.namespace)?,
            leases: leases_of(&held.leases)?,
        },
        consumer: held.consumer,
    })
}

fn to_resume(resume: &ResumeLeases) -> log::ResumeLeases {
    // A whole pattern: a field that is added and not written does not compile.
    let ResumeLeases { held, by } = resume;
    log::ResumeLeases {
        held: Some(to_held(held)).into(),
        by: by.clone(),
        ..Default::default()
    }
}

fn resume_leases(mut resume: log::ResumeLeases) -> Result<ResumeLeases, DecodeError> {
    parts::known("ResumeLeases", &resume.unknown_fields)?;
    Ok(ResumeLeases {
        held: held_leases(resume.take_held())?,
        by: resume.by,
    })
}

fn to_leases(leases: &[(TaskId, LeaseToken)]) -> RepeatedField<log::LeaseRef> {
    let lease = |(id, token): &(TaskId, LeaseToken)| log::LeaseRef {
        id: id.as_bytes().to_vec(),
        token: token.0,
        ..Default::default()
    };
    leases.iter().map(lease).collect()
}

fn leases_of(leases: &[log::LeaseRef]) -> Result<Vec<(TaskId, LeaseToken)>, DecodeError> {
    let lease = |lease: &log::LeaseRef| {
        parts::known("LeaseRef", &lease.unknown_fields)?;
        let id = parts::task_id("LeaseRef.id", &lease.id)?;
        Ok((id, LeaseToken(lease.token)))
    };
    leases.iter().map(lease).collect()
}
