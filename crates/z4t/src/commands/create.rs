//! One task from the command line.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;

use futures::executor::block_on;
use z4_client::NewTask;
use z4_core::limits::PAYLOAD_LEN_MAX;

use super::connect;
use crate::error::Error;
use crate::options::{Create, Output};
use crate::show::{escape, task_json, Body};
use crate::zone;

pub(super) fn create(create: Create, out: &mut impl Write) -> Result<(), Error> {
    let mut task = with_flags(NewTask::new(&create.namespace, payload(&create)?), &create)?;
    if let Some(id) = &create.request_id {
        task = task.request_id(id);
    }
    let task = block_on(connect(&create.target)?.create(task))?;
    match create.output {
        Output::Text => writeln!(out, "{}", escape(&task.id))?,
        Output::Json => writeln!(out, "{:#}", task_json(&task, Body::Shown))?,
    }
    Ok(())
}

/// What the flags say of every task.
pub(super) fn with_flags(mut task: NewTask, create: &Create) -> Result<NewTask, Error> {
    for (key, value) in &create.metadata {
        task = task.metadata(key, value);
    }
    if let Some(time) = create.at {
        task = task.at(zone::meant("--at", time)?);
    }
    if let Some(delay) = create.delay {
        task = task.after(delay);
    }
    if let Some(priority) = create.priority {
        task = task.priority(priority);
    }
    if let Some(count) = create.max_attempts {
        task = task.max_attempts(count);
    }
    if let Some(ttl) = create.ttl {
        task = task.ttl(ttl);
    }
    Ok(task)
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
}
