//! Tasks: create, get, stream.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::time::SystemTime;

use futures::executor::block_on;
use futures::StreamExt;
use z4_core::limits::PAYLOAD_LEN_MAX;
use z4_proto::collection::{CreateTaskRequest, GetTaskRequest, StreamTasksRequest};
use z4_proto::collection_grpc::CollectionClient;

use crate::error::Error;
use crate::options::{Create, Get, Output, Stream};
use crate::show;
use crate::target::{Peers, Repeat};

pub(super) fn create(create: Create, out: &mut impl Write) -> Result<(), Error> {
    let mut request = CreateTaskRequest::default();
    request.set_payload(payload(&create)?);
    request.set_namespace(create.namespace);
    request.set_metadata(create.metadata.into_iter().collect());
    // With a request id a second peer can be asked when the first goes away
    // with the request in hand.
    request.set_request_id(create.request_id.unwrap_or_else(made_up_id));
    if let Some(at) = create.at {
        request.set_deliver_at(at.into());
    }
    request.set_tts_seconds(create.delay_s.unwrap_or_default());
    let answer = Peers::new(&create.target).ask(Repeat::Safe, |channel, option| {
        CollectionClient::new(channel).create_task_opt(&request, option)
    })?;
    match create.output {
        Output::Text => writeln!(out, "{}", answer.get_task().get_id())?,
        Output::Json => writeln!(out, "{:#}", show::task_json(answer.get_task()))?,
    }
    Ok(())
}

pub(super) fn get(get: &Get, out: &mut impl Write) -> Result<(), Error> {
    let mut request = GetTaskRequest::default();
    request.set_namespace(get.namespace.clone());
    request.set_task_id(get.task_id.clone());
    let task = Peers::new(&get.target).ask(Repeat::Safe, |channel, option| {
        CollectionClient::new(channel).get_task_opt(&request, option)
    })?;
    match get.output {
        Output::Text => write!(out, "{}", show::task_text(&task))?,
        Output::Json => writeln!(out, "{:#}", show::task_json(&task))?,
    }
    Ok(())
}

pub(super) fn stream(stream: &Stream, out: &mut impl Write) -> Result<(), Error> {
    let mut request = StreamTasksRequest::default();
    request.set_namespace(stream.namespace.clone());
    let mut left = stream.limit.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    Peers::new(&stream.target).follow(|channel| {
        let mut tasks = CollectionClient::new(channel).get_task_stream(&request)?;
        while let Some(task) = block_on(tasks.next()) {
            let task = task?;
            match stream.output {
                Output::Text => writeln!(out, "{}", show::task_line(&task))?,
                Output::Json => writeln!(out, "{}", show::task_json(&task))?,
            }
            // The task is done for the cluster: nobody may wait for a buffer.
            out.flush()?;
            left -= 1;
            if left == 0 {
                tasks.cancel();
                return Ok(true);
            }
        }
        Ok(false)
    })
}

/// The payload, from wherever the command line says.
fn payload(create: &Create) -> Result<Vec<u8>, Error> {
    if let Some(path) = &create.file {
        let name = path.display().to_string();
        let file = File::open(path)
            .map_err(|e| Error::Input(format!("cannot open {name}: {e}; give another --file")))?;
        return read_payload(file, &name);
    }
    match create.payload.clone() {
        Some(text) if text == "-" => read_payload(std::io::stdin().lock(), "standard input"),
        Some(text) => Ok(text.into_vec()),
        None => Ok(Vec::new()),
    }
}

fn read_payload(input: impl Read, name: &str) -> Result<Vec<u8>, Error> {
    let mut payload = Vec::new();
    // One byte more than allowed is enough to know.
    input
        .take(PAYLOAD_LEN_MAX as u64 + 1)
        .read_to_end(&mut payload)
        .map_err(|e| Error::Input(format!("cannot read {name}: {e}")))?;
    if payload.len() > PAYLOAD_LEN_MAX {
        return Err(Error::Input(format!(
            "{name} is larger than a payload may be ({PAYLOAD_LEN_MAX} bytes); store it elsewhere and send a reference"
        )));
    }
    Ok(payload)
}

/// An id that no other run makes up: the time and 64 random bits, which the
/// standard library draws for its hash tables.
fn made_up_id() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let random = RandomState::new().hash_one(now);
    format!("z4t-{now:x}-{random:016x}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_payload_is_read_up_to_its_limit() {
        let full = vec![7; PAYLOAD_LEN_MAX];
        assert_eq!(
            read_payload(full.as_slice(), "it").unwrap().len(),
            PAYLOAD_LEN_MAX
        );
        let error = read_payload(std::io::repeat(7), "it")
            .unwrap_err()
            .to_string();
        assert!(error.contains("1048576"), "{error}");
    }

    #[test]
    fn made_up_ids_differ() {
        assert_ne!(made_up_id(), made_up_id());
    }
}
