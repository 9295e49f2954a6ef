//! A task for each line of JSON.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use data_encoding::BASE64;
use futures::executor::block_on;
use serde_json::{Map, Value};
use z4_client::{Client, ErrorKind, NewTask, Producer, ProducerOptions, Sent, Task};

use super::connect;
use super::create::with_flags;
use super::notice::on_wait;
use super::once::Once;
use super::progress::Progress;
use crate::error::Error;
use crate::limits::{ANSWERS_MAX, LINE_LEN_MAX};
use crate::options::{Create, Output};
use crate::show::{escape, task_json, Body};
use crate::{flags, moment, zone};

/// Most tasks of an atomic batch.
const ATOMIC_COUNT_MAX: usize = z4_core::limits::CREATE_COUNT_MAX;

pub(super) fn create(create: &Create, path: &Path, out: &mut impl Write) -> Result<(), Error> {
    if path.as_os_str() == "-" {
        return from(create, std::io::stdin().lock(), out);
    }
    let file = File::open(path).map_err(|e| {
        let name = path.display();
        Error::Input(format!("cannot open {name}: {e}; give another --batch"))
    })?;
    from(create, BufReader::new(file), out)
}

fn from(create: &Create, input: impl BufRead, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&create.target)?;
    let lines = Lines { input, number: 0 };
    match create.atomic {
        true => block_on(atomic(create, &client, lines, out)),
        false => block_on(one_by_one(create, &client, lines, out)),
    }
}

/// Many in flight; the answers in the order of the lines.
async fn one_by_one(
    create: &Create,
    client: &Client,
    mut lines: Lines<impl BufRead>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let producer = Producer::new(
        client,
        ProducerOptions {
            on_wait: Some(on_wait()),
            ..ProducerOptions::default()
        },
    );
    let mut progress = Progress::new("created", None);
    let mut sent: VecDeque<(u64, Sent)> = VecDeque::new();
    let mut wrong = None;
    let mut created = 0;
    loop {
        let line = match wrong.is_some() {
            true => None,
            false => lines.next().transpose().unwrap_or_else(|error| {
                wrong = Some(error);
                None
            }),
        };
        let is_over = line.is_none();
        if let Some((number, text)) = line {
            match parse(create, &text, number) {
                Ok(task) => sent.push_back((number, producer.send(task).await)),
                Err(why) => wrong = Some(format!("line {number}: {why}")),
            }
        }
        while sent.len() > ANSWERS_MAX || (is_over && !sent.is_empty()) {
            let Some((number, answer)) = sent.pop_front() else {
                break;
            };
            match answer.await {
                Ok(task) => {
                    created += 1;
                    print(create, &task, out)?;
                    progress.at(created);
                }
                // The first one is told; the lines behind it are on their way.
                Err(error) => {
                    wrong.get_or_insert_with(|| format!("line {number}: {}", told(&error)));
                }
            }
        }
        if is_over {
            break;
        }
    }
    progress.end();
    let advice = match create.request_id {
        Some(_) => "mend it and run it again with the same --request-id",
        None => "mend it and run it again without the lines that were created",
    };
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(Error::Input(format!(
            "{wrong}; {created} tasks were created: {advice}"
        ))),
    }
}

/// What a peer said about a line.
fn told(error: &z4_client::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidArgument => flags::of_line(error.message()),
        _ => error.message().to_owned(),
    }
}

/// All or none.
async fn atomic(
    create: &Create,
    client: &Client,
    mut lines: Lines<impl BufRead>,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut tasks = Vec::new();
    while let Some((number, text)) = lines.next().transpose().map_err(Error::Input)? {
        let wrong = |why| Error::Input(format!("line {number}: {why}; nothing was created"));
        if tasks.len() == ATOMIC_COUNT_MAX {
            return Err(wrong(format!(
                "an atomic batch holds at most {ATOMIC_COUNT_MAX} tasks; split it"
            )));
        }
        let object = object(&text).map_err(wrong)?;
        if object.contains_key("request_id") {
            return Err(wrong(
                "with --atomic only the batch has a --request-id".into(),
            ));
        }
        tasks.push(task(create, &object).map_err(wrong)?);
    }
    if tasks.is_empty() {
        return Ok(());
    }
    let request_id = create.request_id.as_deref();
    let namespace = &create.namespace;
    for task in client.create_batch(namespace, tasks, request_id).await? {
        print(create, &task, out)?;
    }
    Ok(())
}

fn print(create: &Create, task: &Task, out: &mut impl Write) -> Result<(), Error> {
    match create.output {
        Output::Text => writeln!(out, "{}", escape(&task.id))?,
        Output::Json => writeln!(out, "{}", task_json(task, Body::LeftOut))?,
    }
    Ok(())
}

/// Lines with their numbers, from 1; empty ones are left out.
struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<(u64, String), String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.number += 1;
            let number = self.number;
            let mut line = Vec::new();
            let mut bounded = self.input.by_ref().take(LINE_LEN_MAX + 1);
            match bounded.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) => return Some(Err(format!("line {number} cannot be read: {e}"))),
            }
            if line.len() as u64 > LINE_LEN_MAX {
                let why = format!("line {number} is longer than {LINE_LEN_MAX} bytes");
                return Some(Err(why));
            }
            match String::from_utf8(line) {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => return Some(Ok((number, line))),
                Err(_) => return Some(Err(format!("line {number} is not UTF-8"))),
            }
        }
    }
}

fn parse(create: &Create, line: &str, number: u64) -> Result<NewTask, String> {
    let object = object(line)?;
    let task = task(create, &object)?;
    match (object.get("request_id"), &create.request_id) {
        (Some(id), _) => Ok(task.request_id(text(id, "request_id")?)),
        (None, Some(id)) => Ok(task.request_id(format!("{id}-{number}"))),
        (None, None) => Ok(task),
    }
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    let line: Once = serde_json::from_str(line).map_err(|e| format!("is no JSON: {e}"))?;
    match (line.twice, line.value) {
        (Some(key), _) => Err(format!(
            "{key:?} stands twice, and a key has one value; leave one of them out"
        )),
        (None, Value::Object(object)) => Ok(object),
        (None, _) => Err("give an object such as {\"payload\": \"text\"}".to_owned()),
    }
}

/// The task of a line: what the flags say, and then what the line says.
fn task(create: &Create, object: &Map<String, Value>) -> Result<NewTask, String> {
    let payload = match (object.get("payload"), object.get("payload_base64")) {
        (Some(_), Some(_)) => return Err("give payload or payload_base64, not both".into()),
        (Some(payload), None) => text(payload, "payload")?.as_bytes().to_vec(),
        (None, Some(payload)) => BASE64
            .decode(text(payload, "payload_base64")?.as_bytes())
            .map_err(|e| format!("payload_base64: {e}"))?,
        (None, None) => Vec::new(),
    };
    let mut task =
        with_flags(NewTask::new(&create.namespace, payload), create).map_err(|e| e.to_string())?;
    if object.contains_key("at") && object.contains_key("in") {
        return Err("give at or in, not both".to_owned());
    }
    for (key, value) in object {
        let of_key = |why: &dyn std::fmt::Display| format!("{key}: {why}");
        task = match key.as_str() {
            "payload" | "payload_base64" | "request_id" => task,
            "metadata" => {
                let pairs = value
                    .as_object()
                    .ok_or("metadata: give an object of texts")?;
                for (name, value) in pairs {
                    task = task.metadata(name, text(value, &format!("metadata {name:?}"))?);
                }
                task
            }
            "at" => {
                let at = moment::parse(text(value, key)?).map_err(|e| of_key(&e))?;
                task.at(zone::meant("at", at).map_err(|e| e.to_string())?)
            }
            "in" => task.after(moment::whole_seconds(text(value, key)?).map_err(|e| of_key(&e))?),
            "ttl" => task.ttl(moment::span(text(value, key)?).map_err(|e| of_key(&e))?),
            "priority" => task.priority(count(value, key)?),
            "max_attempts" => task.max_attempts(count(value, key)?),
            _ => {
                return Err(format!(
                    "{key:?} is not known; see z4t create --help for the keys of a line"
                ))
            }
        };
    }
    Ok(task)
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("{name}: give a text"))
}

fn count(value: &Value, name: &str) -> Result<u32, String> {
    value
        .as_u64()
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| format!("{name}: give a whole number"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::ffi::OsString;
    use std::time::Duration;

    use structopt::StructOpt;

    use super::*;
    use crate::options::{Command, Options};

    fn flags(line: &str) -> Create {
        let args = line.split(' ').map(OsString::from);
        match Options::from_iter_safe(args).unwrap().command {
            Command::Create(create) => create,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_says_more_than_the_flags() {
        let create = flags("z4t create ns --batch - --priority 3 --in 5s -m a=1 --request-id run");
        let line = r#"{"payload": "hi", "priority": 8, "metadata": {"b": "2"}}"#;
        let wanted = NewTask::new("ns", "hi")
            .metadata("a", "1")
            .metadata("b", "2")
            .after(Duration::from_secs(5))
            .priority(8)
            .request_id("run-7");
        assert_eq!(parse(&create, line, 7).unwrap(), wanted);
        let line = r#"{"payload_base64": "/wA=", "at": "1970-01-01T00:00:00Z", "request_id": "x"}"#;
        let wanted = NewTask::new("ns", [0xff, 0x00])
            .metadata("a", "1")
            .at(std::time::SystemTime::UNIX_EPOCH)
            .priority(3)
            .request_id("x");
        assert_eq!(parse(&create, line, 7).unwrap(), wanted);
    }

    #[test]
    fn mistakes_in_a_line_are_named() {
        let create = flags("z4t create ns --batch -");
        for (line, complaint) in [
            ("[]", "give an object"),
            ("{", "is no JSON"),
            (r#"{"payload": 1}"#, "payload: give a text"),
            (r#"{"payload": "a", "payload_base64": ""}"#, "not both"),
            (r#"{"payload_base64": "~"}"#, "payload_base64"),
            (r#"{"at": "now"}"#, "at: give a time"),
            (r#"{"in": "1s", "at": "2030-01-01T00:00:00Z"}"#, "not both"),
            (r#"{"in": "soon"}"#, "in: "),
            (r#"{"priority": -1}"#, "priority: give a whole number"),
            (r#"{"metadata": {"a": 1}}"#, "metadata \"a\""),
            (r#"{"delay": "1s"}"#, "\"delay\" is not known"),
            (r#"{"in": "1s", "in": "2s"}"#, "\"in\" stands twice"),
            (
                r#"{"metadata": {"a": "1", "a": "1"}}"#,
                "\"a\" stands twice",
            ),
        ] {
            let error = parse(&create, line, 1).unwrap_err();
            assert!(error.contains(complaint), "{line}: {error}");
        }
    }

    #[test]
    fn lines_have_numbers_and_a_bound() {
        let lines = Lines {
            input: &b"{}\n\n  \n{}"[..],
            number: 0,
        };
        let numbers: Vec<_> = lines.map(|line| line.unwrap().0).collect();
        assert_eq!(numbers, [1, 4]);
        let long = std::io::repeat(b'x').take(LINE_LEN_MAX + 10);
        let mut lines = Lines {
            input: BufReader::new(long),
            number: 0,
        };
        assert!(lines.next().unwrap().unwrap_err().contains("longer"));
    }
}
