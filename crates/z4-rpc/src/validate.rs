//! From request to command: every field against its limit.

mod batch;
mod change;
mod dead;
mod list;
mod page;

pub use self::batch::create_batch;
pub(crate) use self::change::{reschedule_due, task_of};
pub(crate) use self::dead::{purge, redrive, DeadAsk};
pub(crate) use self::list::list;
pub(crate) use self::page::{page_size, Token};

use protobuf::well_known_types::Duration;
use z4_core::command::{CreateTasks, Due, NewTask};
use z4_core::limits;
use z4_core::task::{Priority, WallTime};
use z4_core::{Namespace, Refusal, TaskId};
use z4_proto::generated::collection::{CreateTaskRequest, GetTaskRequest};

/// What a create request stores: one task.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the limit.
pub fn create(mut request: CreateTaskRequest) -> Result<CreateTasks, Refusal> {
    let create = CreateTasks {
        namespace: Namespace::new(request.get_namespace())?,
        request_id: request.take_request_id(),
        tasks: vec![new_task(request)?],
    };
    create.check()?;
    Ok(create)
}

/// The task that a request describes.
fn new_task(request: CreateTaskRequest) -> Result<NewTask, Refusal> {
    let due = due(&request)?;
    let priority = match request.priority.as_ref() {
        None => Priority::default(),
        // What is too large for a byte is too large for a priority.
        Some(priority) => Priority::new(u8::try_from(priority.value).unwrap_or(u8::MAX))?,
    };
    let ttl_ms = match request.ttl.as_ref() {
        None => 0,
        Some(ttl) => span_ms("ttl", ttl, 1, limits::TTL_MS_MAX)?,
    };
    let mut metadata: Vec<(String, String)> = request.metadata.into_iter().collect();
    metadata.sort_unstable();
    Ok(NewTask {
        metadata,
        payload: request.payload,
        due,
        priority,
        max_attempts: request.max_attempts,
        ttl_ms,
    })
}

/// A span in milliseconds, within limits; a part of a millisecond counts whole.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the limits.
pub fn span_ms(field: &str, span: &Duration, least: u64, most: u64) -> Result<u64, Refusal> {
    let (seconds, nanos) = (i128::from(span.seconds), i128::from(span.nanos));
    let ns = seconds * 1_000_000_000 + nanos;
    let ms = ns.div_euclid(1_000_000) + i128::from(ns.rem_euclid(1_000_000) > 0);
    match u64::try_from(ms) {
        Ok(ms) if (least..=most).contains(&ms) && (0..1_000_000_000).contains(&span.nanos) => {
            Ok(ms)
        }
        _ => Err(Refusal::invalid(
            field,
            format!("is {seconds} s {nanos} ns; it must be {least} ms to {most} ms"),
        )),
    }
}

fn due(request: &CreateTaskRequest) -> Result<Due, Refusal> {
    let tts = request.get_tts_seconds();
    if !(0..=limits::TTS_SECONDS_MAX).contains(&tts) {
        let rule = format!(
            "is {tts}; it must be 0 (not given) to {} seconds",
            limits::TTS_SECONDS_MAX
        );
        return Err(Refusal::invalid("tts_seconds", rule));
    }
    if tts > 0 {
        return Ok(Due::AfterSeconds(tts.unsigned_abs()));
    }
    if !request.has_deliver_at() {
        return Ok(Due::Now);
    }
    let at = request.get_deliver_at();
    Ok(Due::At(WallTime {
        seconds: at.get_seconds(),
        nanos: at.get_nanos(),
    }))
}

/// Namespace and id of a get request.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the rule.
pub fn get(request: &GetTaskRequest) -> Result<(Namespace, TaskId), Refusal> {
    let namespace = Namespace::new(request.get_namespace())?;
    let id = request.get_task_id().parse()?;
    request_id(request.get_request_id())?;
    Ok((namespace, id))
}

/// Checks a request id that is only carried along.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the limit.
pub fn request_id(id: &str) -> Result<(), Refusal> {
    if id.len() <= limits::REQUEST_ID_LEN_MAX {
        return Ok(());
    }
    let rule = format!(
        "is {} bytes long; it must be at most {} bytes",
        id.len(),
        limits::REQUEST_ID_LEN_MAX
    );
    Err(Refusal::invalid("request_id", rule))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use protobuf::well_known_types::Timestamp;

    fn base() -> CreateTaskRequest {
        CreateTaskRequest {
            namespace: "n".into(),
            payload: b"p".to_vec(),
            ..CreateTaskRequest::default()
        }
    }

    fn at(seconds: i64, nanos: i32) -> CreateTaskRequest {
        let mut request = base();
        request.set_deliver_at(Timestamp {
            seconds,
            nanos,
            ..Timestamp::default()
        });
        request
    }

    fn with(change: impl FnOnce(&mut CreateTaskRequest)) -> CreateTaskRequest {
        let mut request = base();
        change(&mut request);
        request
    }

    fn due_of(request: CreateTaskRequest) -> Due {
        create(request).unwrap().tasks[0].due
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let many = (0..=limits::METADATA_COUNT_MAX).map(|i| (i.to_string(), String::new()));
        let large = ("k".to_owned(), "v".repeat(limits::METADATA_LEN_MAX));
        let table = [
            ("namespace", with(|r| r.namespace.clear())),
            ("namespace", with(|r| r.namespace = "a b".into())),
            ("namespace", with(|r| r.namespace = "x".repeat(129))),
            ("request_id", with(|r| r.request_id = "x".repeat(257))),
            (
                "payload",
                with(|r| r.payload = vec![0; limits::PAYLOAD_LEN_MAX + 1]),
            ),
            ("metadata", with(|r| r.metadata = many.collect())),
            (
                "metadata",
                with(|r| r.metadata = [large].into_iter().collect()),
            ),
            ("tts_seconds", with(|r| r.tts_seconds = -1)),
            ("tts_seconds", with(|r| r.tts_seconds = i64::MIN)),
            (
                "tts_seconds",
                with(|r| r.tts_seconds = limits::TTS_SECONDS_MAX + 1),
            ),
            ("deliver_at.nanos", at(1, -1)),
            ("deliver_at.nanos", at(1, 1_000_000_000)),
            (
                "deliver_at.seconds",
                at(limits::DELIVER_AT_SECONDS_MAX + 1, 0),
            ),
            ("deliver_at.seconds", at(i64::MAX, 0)),
        ];
        for (field, request) in table {
            let refusal = create(request).expect_err(field);
            assert!(refusal.message.starts_with(field), "{field}: {refusal}");
        }
    }

    #[test]
    fn limits_themselves_are_allowed() {
        let good = [
            with(|r| r.namespace = "x".repeat(128)),
            with(|r| r.request_id = "x".repeat(256)),
            with(|r| r.payload = vec![0; limits::PAYLOAD_LEN_MAX]),
            with(|r| r.payload.clear()),
            with(|r| r.tts_seconds = limits::TTS_SECONDS_MAX),
            at(limits::DELIVER_AT_SECONDS_MAX, 999_999_999),
            at(i64::MIN, 0),
        ];
        for request in good {
            create(request).unwrap();
        }
    }

    #[test]
    fn tts_wins_and_nothing_given_is_now() {
        assert_eq!(due_of(base()), Due::Now);
        let time = WallTime {
            seconds: 7,
            nanos: 8,
        };
        assert_eq!(due_of(at(7, 8)), Due::At(time));
        let mut both = at(7, 8);
        both.tts_seconds = 3;
        assert_eq!(due_of(both), Due::AfterSeconds(3));
        // The epoch itself is a time that was given.
        assert_eq!(due_of(at(0, 0)), Due::At(WallTime::default()));
    }

    #[test]
    fn get_names_the_field() {
        let get_of = |namespace: &str, id: &str| {
            let mut request = GetTaskRequest::default();
            request.set_namespace(namespace.into());
            request.set_task_id(id.into());
            get(&request)
        };
        let id = TaskId::new(1, 2, 3).to_string();
        assert!(get_of("n", &id).is_ok());
        assert!(get_of("", &id)
            .expect_err("ns")
            .message
            .starts_with("namespace"));
        assert!(get_of("n", "x")
            .expect_err("id")
            .message
            .starts_with("task_id"));
    }
}
