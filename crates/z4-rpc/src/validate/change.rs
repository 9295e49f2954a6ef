//! Fields of the requests that change one task.

use z4_core::command::Due;
use z4_core::task::WallTime;
use z4_core::{limits, Namespace, Refusal, TaskId};
use z4_proto::generated::collection::RescheduleTaskRequest;

use super::span_ms;

/// A task by name.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the rule.
pub(crate) fn task_of(namespace: &str, task_id: &str) -> Result<(Namespace, TaskId), Refusal> {
    Ok((Namespace::new(namespace)?, task_id.parse()?))
}

/// The time that a task is moved to.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the limit.
pub(crate) fn reschedule_due(request: &RescheduleTaskRequest) -> Result<Due, Refusal> {
    if let Some(tts) = request.tts.as_ref() {
        let most_ms = limits::TTS_SECONDS_MAX.unsigned_abs() * 1_000;
        return Ok(match span_ms("tts", tts, 0, most_ms)?.div_ceil(1_000) {
            0 => Due::Now,
            seconds => Due::AfterSeconds(seconds),
        });
    }
    match request.deliver_at.as_ref() {
        Some(at) => Ok(Due::At(WallTime {
            seconds: at.get_seconds(),
            nanos: at.get_nanos(),
        })),
        None => Err(Refusal::invalid(
            "deliver_at",
            "must be given, or tts; for now there is RunTask",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use protobuf::well_known_types::{Duration, Timestamp};

    fn of(tts: Option<(i64, i32)>, at: Option<i64>) -> Result<Due, Refusal> {
        let mut request = RescheduleTaskRequest::default();
        if let Some((seconds, nanos)) = tts {
            request.set_tts(Duration {
                seconds,
                nanos,
                ..Duration::default()
            });
        }
        if let Some(seconds) = at {
            request.set_deliver_at(Timestamp {
                seconds,
                ..Timestamp::default()
            });
        }
        reschedule_due(&request)
    }

    #[test]
    fn tts_wins_and_counts_whole_seconds() {
        assert_eq!(of(Some((3, 0)), Some(9)).unwrap(), Due::AfterSeconds(3));
        assert_eq!(of(Some((3, 1)), None).unwrap(), Due::AfterSeconds(4));
        assert_eq!(of(Some((0, 0)), Some(9)).unwrap(), Due::Now);
        let at = WallTime {
            seconds: 9,
            nanos: 0,
        };
        assert_eq!(of(None, Some(9)).unwrap(), Due::At(at));
        for bad in [(-1, 0), (0, -1), (i64::MAX, 0), (1, i32::MAX)] {
            let refusal = of(Some(bad), Some(9)).expect_err("bad");
            assert!(refusal.message.starts_with("tts"), "{refusal}");
        }
        let refusal = of(None, None).expect_err("neither");
        assert!(refusal.message.starts_with("deliver_at"), "{refusal}");
    }
}
