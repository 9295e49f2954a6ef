//! Tasks as text, as lines and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::prelude::{Engine, BASE64_STANDARD};
use serde_json::{json, Value};
use z4_proto::collection::Task;

use crate::moment;

/// A task as JSON. A payload that is text stands in `payload`, any other in
/// `payload_base64`.
pub(crate) fn task_json(task: &Task) -> Value {
    let mut value = json!({
        "id": task.get_id(),
        "namespace": task.get_namespace(),
        "deliver_at": task.has_deliver_at().then(|| moment::show(task.get_deliver_at())),
        "metadata": sorted(task),
    });
    match std::str::from_utf8(task.get_payload()) {
        Ok(text) => value["payload"] = text.into(),
        Err(_) => value["payload_base64"] = BASE64_STANDARD.encode(task.get_payload()).into(),
    }
    value
}

/// A task on several lines.
pub(crate) fn task_text(task: &Task) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<12}{value}");
    };
    line("id", task.get_id());
    line("namespace", task.get_namespace());
    line("deliver_at", &deliver_at(task));
    for (key, value) in sorted(task) {
        line("metadata", &escape(&format!("{key}={value}")));
    }
    line("payload", &payload(task));
    text
}

/// A task on one line: id, time, payload. Metadata is for the other forms.
pub(crate) fn task_line(task: &Task) -> String {
    format!("{} {} {}", task.get_id(), deliver_at(task), payload(task))
}

fn deliver_at(task: &Task) -> String {
    match task.has_deliver_at() {
        true => moment::show(task.get_deliver_at()),
        false => "-".to_owned(),
    }
}

fn sorted(task: &Task) -> BTreeMap<&String, &String> {
    task.get_metadata().iter().collect()
}

fn payload(task: &Task) -> String {
    match std::str::from_utf8(task.get_payload()) {
        Ok(text) => escape(text),
        Err(_) => format!("base64:{}", BASE64_STANDARD.encode(task.get_payload())),
    }
}

/// Control characters spelt out: a payload can neither break the line nor
/// command the terminal.
fn escape(text: &str) -> String {
    let spelt = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(spelt).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(payload: &[u8]) -> Task {
        let mut task = Task::default();
        task.set_id("0abc".into());
        task.set_namespace("ns".into());
        task.mut_deliver_at().set_seconds(1_896_073_200);
        task.mut_metadata().insert("b".into(), "2".into());
        task.mut_metadata().insert("a".into(), "1".into());
        task.set_payload(payload.to_vec());
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
        assert_eq!(task_json(&task(b"hi\n")).to_string(), golden);
        let value = task_json(&task(&[0xff, 0x00]));
        assert_eq!(value["payload_base64"], "/wA=");
        assert!(value.get("payload").is_none());
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
}
