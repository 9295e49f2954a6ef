//! Changes of tasks that wait or are dead.

use protobuf::RepeatedField;
use z4_core::command::{Due, RedriveTasks, RescheduleTasks, TaskRefs};
use z4_core::TaskId;

use crate::error::DecodeError;
use crate::generated::log;
use crate::parts;

use log::RescheduleTasks_oneof_due as DueKind;

fn to_ids(ids: &[TaskId]) -> RepeatedField<Vec<u8>> {
    ids.iter().map(|id| id.as_bytes().to_vec()).collect()
}

fn ids(what: &'static str, ids: &[Vec<u8>]) -> Result<Vec<TaskId>, DecodeError> {
    ids.iter().map(|id| parts::task_id(what, id)).collect()
}

pub(super) fn to_refs(refs: &TaskRefs) -> log::TaskRefs {
    log::TaskRefs {
        namespace: refs.namespace.as_str().to_owned(),
        ids: to_ids(&refs.ids),
        ..Default::default()
    }
}

pub(super) fn refs(refs: &log::TaskRefs) -> Result<TaskRefs, DecodeError> {
    parts::known("TaskRefs", &refs.unknown_fields)?;
    Ok(TaskRefs {
        namespace: parts::namespace(&refs.namespace)?,
        ids: ids("TaskRefs.ids", &refs.ids)?,
    })
}

pub(super) fn to_reschedule(change: &RescheduleTasks) -> log::RescheduleTasks {
    let due = match change.due {
        Due::Now => None,
        Due::At(at) => Some(DueKind::at(parts::to_wall_time(at))),
        Due::AfterSeconds(seconds) => Some(DueKind::after_seconds(seconds)),
    };
    log::RescheduleTasks {
        namespace: change.namespace.as_str().to_owned(),
        ids: to_ids(&change.ids),
        due,
        ..Default::default()
    }
}

pub(super) fn reschedule(change: &log::RescheduleTasks) -> Result<RescheduleTasks, DecodeError> {
    parts::known("RescheduleTasks", &change.unknown_fields)?;
    Ok(RescheduleTasks {
        namespace: parts::namespace(&change.namespace)?,
        ids: ids("RescheduleTasks.ids", &change.ids)?,
        due: match &change.due {
            None => Due::Now,
            Some(DueKind::at(at)) => Due::At(parts::wall_time(at)?),
            Some(DueKind::after_seconds(seconds)) => Due::AfterSeconds(*seconds),
        },
    })
}

pub(super) fn to_redrive(redrive: &RedriveTasks) -> log::RedriveTasks {
    log::RedriveTasks {
        namespace: redrive.namespace.as_str().to_owned(),
        ids: to_ids(&redrive.ids),
        keep_attempts: redrive.keep_attempts,
        ..Default::default()
    }
}

pub(super) fn redrive(redrive: &log::RedriveTasks) -> Result<RedriveTasks, DecodeError> {
    parts::known("RedriveTasks", &redrive.unknown_fields)?;
    Ok(RedriveTasks {
        namespace: parts::namespace(&redrive.namespace)?,
        ids: ids("RedriveTasks.ids", &redrive.ids)?,
        keep_attempts: redrive.keep_attempts,
    })
}
