//! Tasks as text, as lines and as JSON.

use std::time::SystemTime;

use data_encoding::BASE64;
use serde_json::{json, Map, Value};
use z4_client::{DeathReason, Task, TaskState};

use super::plain::escape;
use super::table::{pairs, table};
use crate::{moment, zone};

/// Whether metadata and payload are there to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    Shown,
    /// The metadata alone.
    Metadata,
    LeftOut,
}

/// A task as JSON. A payload that is text stands in `payload`, any other in
/// `payload_base64`. What does not apply is left out.
pub(crate) fn task_json(task: &Task, body: Body) -> Value {
    let mut value = json!({
        "id": task.id,
        "namespace": task.namespace,
        "deliver_at": time(task.deliver_at),
    });
    if body != Body::LeftOut {
        value["metadata"] = metadata_json(task);
    }
    if body == Body::Shown {
        match std::str::from_utf8(&task.payload) {
            Ok(text) => value["payload"] = text.into(),
            Err(_) => value["payload_base64"] = BASE64.encode(&task.payload).into(),
        }
    }
    // A peer that tells no state is older, and tells none of the rest.
    let Some(known) = task.state else {
        return value;
    };
    value["state"] = state(known).into();
    value["created_at"] = time(task.created_at);
    value["priority"] = task.priority.into();
    value["attempt"] = task.attempt.into();
    value["max_attempts"] = task.max_attempts.into();
    value["deliveries"] = task.deliveries.into();
    value["failures"] = task.failures.into();
    value["size_bytes"] = task.size_bytes.into();
    for (name, moment) in [
        ("due_at", task.due_at),
        ("lease_deadline", task.lease_deadline),
        ("died_at", task.died_at),
    ] {
        if moment.is_some() {
            value[name] = time(moment);
        }
    }
    for (name, text) in [
        ("consumer_id", &task.consumer_id),
        ("last_error", &task.last_error),
    ] {
        if !text.is_empty() {
            value[name] = text.as_str().into();
        }
    }
    if let Some(reason) = task.death_reason {
        value["death_reason"] = death(reason).into();
    }
    if let Some(ttl) = task.ttl {
        value["ttl"] = moment::show_span(ttl).into();
    }
    value
}

/// A task as a line of `z4t import` and `z4t create --batch`, which make it anew: with its
/// id as the request id, so that the same line twice makes one task. Its attempts begin anew.
pub(crate) fn import_line(task: &Task) -> Value {
    let mut line = json!({
        "request_id": task.id,
        "at": time(task.due_at.or(task.deliver_at)),
        "priority": task.priority,
    });
    if !task.metadata.is_empty() {
        line["metadata"] = metadata_json(task);
    }
    // A control character takes six bytes of JSON, and a line has a bound.
    let is_plain = |text: &&str| {
        !text
            .chars()
            .any(|c| c.is_control() && !"\n\r\t".contains(c))
    };
    match std::str::from_utf8(&task.payload).ok().filter(is_plain) {
        Some(text) => line["payload"] = text.into(),
        None => line["payload_base64"] = BASE64.encode(&task.payload).into(),
    }
    if task.max_attempts > 0 {
        line["max_attempts"] = task.max_attempts.into();
    }
    if let Some(ttl) = task.ttl {
        line["ttl"] = moment::show_span(ttl).into();
    }
    line
}

/// The metadata alone, as an object.
pub(crate) fn metadata_json(task: &Task) -> Value {
    let pairs = task.metadata.iter();
    let object: Map<String, Value> = pairs
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    Value::Object(object)
}

/// A task on several lines.
pub(crate) fn task_text(task: &Task) -> String {
    let mut lines = vec![
        ("id", task.id.clone()),
        ("namespace", task.namespace.clone()),
        ("deliver_at", show(task.deliver_at)),
    ];
    if let Some(known) = task.state {
        lines.extend([
            ("state", state(known).to_owned()),
            ("due_at", given(task.due_at)),
            ("created_at", given(task.created_at)),
            ("priority", task.priority.to_string()),
            ("attempt", attempt(task)),
            ("deliveries", task.deliveries.to_string()),
            ("failures", task.failures.to_string()),
            ("ttl", task.ttl.map(moment::show_span).unwrap_or_default()),
            ("consumer", task.consumer_id.clone()),
            ("leased to", given(task.lease_deadline)),
            ("died_at", given(task.died_at)),
            ("died of", task.death_reason.map_or("", death).to_owned()),
            ("last error", task.last_error.clone()),
        ]);
    }
    for (key, value) in &task.metadata {
        lines.push(("metadata", format!("{key}={value}")));
    }
    lines.push(("payload", payload(task)));
    pairs(lines)
}

/// A task on one line: id, time, payload. Metadata is for the other forms.
pub(crate) fn task_line(task: &Task) -> String {
    let line = format!("{} {} {}", task.id, show(task.deliver_at), payload(task));
    escape(&line).into_owned()
}

/// Tasks, a line each.
pub(crate) fn task_table(tasks: &[Task], body: Body) -> String {
    let rows = tasks.iter().map(|task| {
        let until = match task.state {
            Some(TaskState::Leased) => task.lease_deadline,
            Some(TaskState::Dead) => task.died_at,
            _ => task.due_at.or(task.deliver_at),
        };
        [
            task.id.clone(),
            task.state.map_or("-", state).to_owned(),
            task.priority.to_string(),
            attempt(task),
            show(until),
            task.size_bytes.to_string(),
            remark(task, body),
        ]
    });
    let header = [
        "ID",
        "STATE",
        "PRIO",
        "ATTEMPT",
        "DUE/UNTIL/DIED",
        "BYTES",
        "",
    ];
    table(header, rows)
}

/// Dead letters, a line each.
pub(crate) fn dead_table(tasks: &[Task], body: Body) -> String {
    let rows = tasks.iter().map(|task| {
        [
            task.id.clone(),
            show(task.died_at),
            task.death_reason.map_or("-", death).to_owned(),
            task.failures.to_string(),
            task.size_bytes.to_string(),
            remark(task, body),
        ]
    });
    table(["ID", "DIED", "OF", "FAILURES", "BYTES", ""], rows)
}

fn remark(task: &Task, body: Body) -> String {
    let holder = match task.consumer_id.as_str() {
        "" => String::new(),
        id => format!("held by {id}"),
    };
    let error = match task.last_error.as_str() {
        "" => String::new(),
        error => format!("error: {error}"),
    };
    let metadata = match body {
        Body::Shown | Body::Metadata => metadata_line(task),
        Body::LeftOut => String::new(),
    };
    let payload = match body {
        Body::Shown => payload(task),
        Body::Metadata | Body::LeftOut => String::new(),
    };
    let parts = [holder, error, metadata, payload];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

/// The metadata on one line: `a=1 b=2`. The table spells control characters out.
fn metadata_line(task: &Task) -> String {
    let pairs = task.metadata.iter();
    let pairs: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(" ")
}

fn attempt(task: &Task) -> String {
    match task.max_attempts {
        0 => task.attempt.to_string(),
        most => format!("{} of {most}", task.attempt),
    }
}

pub(super) fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::Scheduled => "scheduled",
        TaskState::Leased => "leased",
        TaskState::Dead => "dead",
        _ => "unknown",
    }
}

pub(super) fn death(reason: DeathReason) -> &'static str {
    match reason {
        DeathReason::Attempts => "attempts",
        DeathReason::Ttl => "ttl",
        DeathReason::Permanent => "permanent",
        _ => "unknown",
    }
}

/// A time as JSON.
pub(super) fn time(time: Option<SystemTime>) -> Value {
    time.map(moment::show).into()
}

/// A time for people.
pub(super) fn show(time: Option<SystemTime>) -> String {
    time.map_or("-".to_owned(), zone::show)
}

/// A time for people, empty when there is none.
pub(super) fn given(time: Option<SystemTime>) -> String {
    time.map(zone::show).unwrap_or_default()
}

/// The payload as it may be shown: not yet escaped.
pub(super) fn payload(task: &Task) -> String {
    match std::str::from_utf8(&task.payload) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", BASE64.encode(&task.payload)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn task(payload: &[u8]) -> Task {
        let mut task = Task::default();
        task.id = "0abc".into();
        task.namespace = "ns".into();
        task.deliver_at = Some(UNIX_EPOCH + Duration::from_secs(1_896_073_200));
        task.metadata.insert("b".into(), "2".into());
        task.metadata.insert("a".into(), "1".into());
        task.payload = payload.to_vec();
        task
    }

    #[test]
    fn one_line_whatever_the_payload() {
        let line = task_line(&task("grüße\n\u{1b}[2J".as_bytes()));
        assert_eq!(line, "0abc 2030-01-31T07:00:00Z grüße\\n\\u{1b}[2J");
        let line = task_line(&task(&[0xff, 0x00]));
        assert_eq!(line, "0abc 2030-01-31T07:00:00Z base64:/wA=");
    }

    #[test]
    fn json_keeps_text_as_text_and_the_rest_as_base64() {
        let golden = r#"{"id":"0abc","namespace":"ns","deliver_at":"2030-01-31T07:00:00Z","metadata":{"a":"1","b":"2"},"payload":"hi\n"}"#;
        assert_eq!(task_json(&task(b"hi\n"), Body::Shown).to_string(), golden);
        let value = task_json(&task(&[0xff, 0x00]), Body::Shown);
        assert_eq!(value["payload_base64"], "/wA=");
        assert!(value.get("payload").is_none());
    }

    #[test]
    fn what_is_known_of_its_life_stands_behind() {
        let mut task = task(b"hi");
        task.state = Some(TaskState::Dead);
        task.death_reason = Some(DeathReason::Ttl);
        task.died_at = task.deliver_at;
        task.last_error = "no disk".into();
        let golden = r#"{"id":"0abc","namespace":"ns","deliver_at":"2030-01-31T07:00:00Z","state":"dead","created_at":null,"priority":0,"attempt":0,"max_attempts":0,"deliveries":0,"failures":0,"size_bytes":0,"died_at":"2030-01-31T07:00:00Z","last_error":"no disk","death_reason":"ttl"}"#;
        assert_eq!(task_json(&task, Body::LeftOut).to_string(), golden);
    }

    #[test]
    fn text_on_several_lines() {
        let golden = "\
id          0abc
namespace   ns
deliver_at  2030-01-31T07:00:00Z
metadata    a=1
metadata    b=2
payload     hi
";
        assert_eq!(task_text(&task(b"hi")), golden);
    }

    #[test]
    fn a_table_has_a_line_for_each_task() {
        let mut leased = task(b"hi");
        leased.state = Some(TaskState::Leased);
        leased.lease_deadline = leased.deliver_at;
        leased.consumer_id = "w1".into();
        (leased.attempt, leased.max_attempts) = (2, 5);
        let golden = "\
ID    STATE   PRIO  ATTEMPT  DUE/UNTIL/DIED        BYTES
0abc  leased  0     2 of 5   2030-01-31T07:00:00Z  0      held by w1
";
        assert_eq!(task_table(&[leased.clone()], Body::LeftOut), golden);
        let with = golden.replace("by w1", "by w1, a=1 b=2");
        assert_eq!(task_table(&[leased], Body::Metadata), with);
    }
}
