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
use crate::options::{Create, Import, Output};
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
    if create.atomic {
        return block_on(atomic(create, &client, lines, out));
    }
    let read = |line: &str, number| parse(create, line, number);
    let (created, wrong) = block_on(one_by_one(&client, lines, read, |task| {
        print(create, task, out)
    }))?;
    let advice = match create.request_id {
        Some(_) => "mend it and run it again with the same --request-id",
        None => "mend it and run it again without the lines that were created",
    };
    match wrong {
        None => Ok(()),
        Some((_, wrong)) => Err(Error::Input(format!(
            "{wrong}; {created} tasks were created: {advice}"
        ))),
    }
}

/// Creates the tasks that an export wrote; gives how many.
pub(super) async fn import(
    import: &Import,
    client: &Client,
    input: impl BufRead,
) -> Result<u64, Error> {
    let mut lines = Lines { input, number: 0 };
    while lines.number < import.skip && lines.read().map_err(Error::Input)?.is_some() {}
    let read = |line: &str, _| {
        let object = object(line)?;
        let new = task(NewTask::new(&import.namespace, payload(&object)?), &object)?;
        let id = object
            .get("request_id")
            .ok_or("request_id: it is missing")?;
        Ok(new.request_id(text(id, "request_id")?))
    };
    let (imported, wrong) = one_by_one(client, lines, read, |_| Ok(())).await?;
    match wrong {
        None => Ok(imported),
        Some((number, wrong)) => Err(Error::Input(format!(
            "{wrong}; all lines before it are imported, and {imported} tasks in all: mend it and run \
             it again with --skip {}",
            number.saturating_sub(1)
        ))),
    }
}

/// The first line that failed, and why.
type Wrong = (u64, String);

/// Many in flight; the answers in the order of the lines. Gives how many were created, and
/// the first that was not.
async fn one_by_one(
    client: &Client,
    mut lines: Lines<impl BufRead>,
    read: impl Fn(&str, u64) -> Result<NewTask, String>,
    mut tell: impl FnMut(&Task) -> Result<(), Error>,
) -> Result<(u64, Option<Wrong>), Error> {
    let producer = Producer::new(
        client,
        ProducerOptions {
            on_wait: Some(on_wait()),
            ..ProducerOptions::default()
        },
    );
    let mut progress = Progress::new("created", None);
    let mut sent: VecDeque<(u64, Sent)> = VecDeque::new();
    let mut wrong: Option<Wrong> = None;
    let mut created = 0;
    loop {
        let line = match wrong.is_some() {
            true => None,
            false => lines.next().transpose().unwrap_or_else(|why| {
                wrong = Some((lines.number, why));
                None
            }),
        };
        let is_over = line.is_none();
        if let Some((number, text)) = line {
            match read(&text, number) {
                Ok(task) => sent.push_back((number, producer.send(task).await)),
                Err(why) => wrong = Some((number, format!("line {number}: {why}"))),
            }
        }
        while sent.len() > ANSWERS_MAX || (is_over && !sent.is_empty()) {
            let Some((number, answer)) = sent.pop_front() else {
                break;
            };
            match answer.await {
                Ok(task) => {
                    created += 1;
                    tell(&task)?;
                    progress.at(created);
                }
                // The first one is told; the lines behind it are on their way.
                Err(error) => {
                    let why = (number, format!("line {number}: {}", told(&error)));
                    if wrong.as_ref().is_none_or(|(first, _)| number < *first) {
                        wrong = Some(why);
                    }
                }
            }
        }
        if is_over {
            break;
        }
    }
    progress.end();
    Ok((created, wrong))
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
        tasks.push(flagged(create, &object).map_err(wrong)?);
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

impl<R: BufRead> Lines<R> {
    /// The next line, an empty one too; `None` behind the last one.
    fn read(&mut self) -> Result<Option<String>, String> {
        self.number += 1;
        let number = self.number;
        let mut line = Vec::new();
        let mut bounded = self.input.by_ref().take(LINE_LEN_MAX + 1);
        match bounded.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(format!("line {number} cannot be read: {e}")),
        }
        if line.len() as u64 > LINE_LEN_MAX {
            return Err(format!("line {number} is longer than {LINE_LEN_MAX} bytes"));
        }
        let line = String::from_utf8(line);
        line.map(Some)
            .map_err(|_| format!("line {number} is not UTF-8"))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<(u64, String), String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read().transpose()? {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => return Some(Ok((self.number, line))),
                Err(why) => return Some(Err(why)),
            }
        }
    }
}

fn parse(create: &Create, line: &str, number: u64) -> Result<NewTask, String> {
    let object = object(line)?;
    let task = flagged(create, &object)?;
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
fn flagged(create: &Create, object: &Map<String, Value>) -> Result<NewTask, String> {
    let new = NewTask::new(&create.namespace, payload(object)?);
    task(with_flags(new, create).map_err(|e| e.to_string())?, object)
}

fn payload(object: &Map<String, Value>) -> Result<Vec<u8>, String> {
    match (object.get("payload"), object.get("payload_base64")) {
        (Some(_), Some(_)) => Err("give payload or payload_base64, not both".into()),
        (Some(payload), None) => Ok(text(payload, "payload")?.as_bytes().to_vec()),
        (None, Some(payload)) => BASE64
            .decode(text(payload, "payload_base64")?.as_bytes())
            .map_err(|e| format!("payload_base64: {e}")),
        (None, None) => Ok(Vec::new()),
    }
}

/// A task with what its line says.
fn task(mut task: NewTask, object: &Map<String, Value>) -> Result<NewTask, String> {
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
    fn an_exported_task_is_made_anew() {
        let mut old = Task::default();
        old.id = "06e5h".into();
        old.priority = 9;
        old.max_attempts = 3;
        old.ttl = Some(Duration::from_millis(1_500));
        old.metadata = [("a".to_owned(), "1".to_owned())].into();
        let due = std::time::SystemTime::UNIX_EPOCH + Duration::new(1_900_000_000, 123_456_789);
        old.deliver_at = Some(std::time::SystemTime::UNIX_EPOCH);
        old.due_at = Some(due);
        for bytes in [&b"text \"1\""[..], &[0xff, 0], &[0; 1 << 20]] {
            old.payload = bytes.to_vec();
            let line = crate::show::import_line(&old).to_string();
            assert!((line.len() as u64) < LINE_LEN_MAX);
            let object = object(&line).unwrap();
            let made = task(NewTask::new("ns", payload(&object).unwrap()), &object).unwrap();
            let wanted = NewTask::new("ns", bytes)
                .metadata("a", "1")
                .at(due)
                .priority(9)
                .max_attempts(3)
                .ttl(Duration::from_millis(1_500));
            assert_eq!(made, wanted);
            assert_eq!(object["request_id"], "06e5h");
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
