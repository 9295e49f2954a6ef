//! Fields of RedriveTasks and PurgeTasks.

use protobuf::well_known_types::Timestamp;
use z4_core::inspect::DeadFilter;
use z4_core::task;
use z4_core::{Namespace, Refusal, TaskId};
use z4_proto::generated::collection::{DeathReason, PurgeTasksRequest, RedriveTasksRequest};

use super::list::{known, times};
use crate::limits;

/// Which dead letters are asked for.
#[derive(Debug)]
pub(crate) struct DeadAsk {
    pub(crate) namespace: Namespace,
    /// These; none: all that the filter takes.
    pub(crate) ids: Vec<TaskId>,
    pub(crate) filter: DeadFilter,
    /// At most so many.
    pub(crate) limit: u64,
}

/// Reads a request.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the rule.
pub(crate) fn redrive(request: &RedriveTasksRequest) -> Result<DeadAsk, Refusal> {
    known(request)?;
    ask(
        request.get_namespace(),
        request.get_task_ids(),
        (request.from.as_ref(), request.to.as_ref()),
        request.get_reason(),
        request.get_limit(),
    )
}

/// Reads a request.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the rule.
pub(crate) fn purge(request: &PurgeTasksRequest) -> Result<DeadAsk, Refusal> {
    known(request)?;
    ask(
        request.get_namespace(),
        request.get_task_ids(),
        (request.from.as_ref(), request.to.as_ref()),
        request.get_reason(),
        request.get_limit(),
    )
}

fn ask(
    namespace: &str,
    task_ids: &[String],
    (from, to): (Option<&Timestamp>, Option<&Timestamp>),
    reason: DeathReason,
    limit: u64,
) -> Result<DeadAsk, Refusal> {
    let namespace = Namespace::new(namespace)?;
    if task_ids.len() > limits::DEAD_ID_COUNT_MAX {
        let rule = format!(
            "has {} elements; it must have at most {}",
            task_ids.len(),
            limits::DEAD_ID_COUNT_MAX
        );
        return Err(Refusal::invalid("task_ids", rule));
    }
    let reason = match reason {
        DeathReason::DEATH_REASON_UNSPECIFIED => None,
        DeathReason::DEATH_REASON_ATTEMPTS => Some(task::DeathReason::Attempts),
        DeathReason::DEATH_REASON_TTL => Some(task::DeathReason::Ttl),
        DeathReason::DEATH_REASON_PERMANENT => Some(task::DeathReason::Permanent),
    };
    let filtered = from.is_some() || to.is_some() || reason.is_some() || limit > 0;
    if filtered && !task_ids.is_empty() {
        let rule = "must be empty when from, to, reason or limit is given";
        return Err(Refusal::invalid("task_ids", rule));
    }
    let (from_ns, to_ns) = times(from, to)?;
    let ids = task_ids.iter().enumerate().map(|(place, id)| {
        id.parse().map_err(|refusal: Refusal| Refusal {
            message: format!("task_ids[{place}]: {}", refusal.message),
            ..refusal
        })
    });
    Ok(DeadAsk {
        namespace,
        ids: ids.collect::<Result<_, _>>()?,
        filter: DeadFilter {
            from_ns,
            to_ns,
            reason,
        },
        limit: if limit == 0 { u64::MAX } else { limit },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use protobuf::Message;

    fn with(change: impl FnOnce(&mut PurgeTasksRequest)) -> PurgeTasksRequest {
        let mut request = PurgeTasksRequest::default();
        request.set_namespace("n".into());
        change(&mut request);
        request
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let id = || TaskId::new(1, 2, 3).to_string();
        let table = [
            ("namespace", with(|r| r.namespace.clear())),
            (
                "task_ids has",
                with(|r| r.task_ids = vec![id(); 10_001].into()),
            ),
            (
                "task_ids[1]: task_id",
                with(|r| r.task_ids = vec![id(), "x".into()].into()),
            ),
            (
                "task_ids must",
                with(|r| {
                    r.task_ids = vec![id()].into();
                    r.limit = 3;
                }),
            ),
            (
                "task_ids must",
                with(|r| {
                    r.task_ids = vec![id()].into();
                    r.set_reason(DeathReason::DEATH_REASON_TTL);
                }),
            ),
            ("to", with(|r| r.mut_to().nanos = -1)),
        ];
        for (text, request) in table {
            let refusal = purge(&request).expect_err(text);
            assert!(refusal.message.starts_with(text), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_filter_of_another_version_purges_nothing() {
        // namespace "n", field 15.
        let bytes = [0x0a, 1, b'n', 0x78, 9];
        let request = PurgeTasksRequest::parse_from_bytes(&bytes).unwrap();
        assert!(purge(&request).is_err());
    }
}
