//! A command for a task, by way of the shell.

mod metadata;
mod program;
mod running;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::Arc;
use std::thread;

use futures::channel::oneshot;
use rustix::process::{waitid, Pid, WaitId, WaitIdOptions};
use tempfile::NamedTempFile;
use z4_client::{Delivery, Failure};

use crate::limits::LOOK_EVERY;
use crate::quiet;
use crate::show;
pub(super) use program::check;
pub(super) use running::Running;

/// The exit code that says: no try will ever succeed.
const PERMANENT: i32 = 100;
/// The exit code of a shell that may not run what it found.
const NOT_EXECUTABLE: i32 = 126;
/// The exit code of a shell that did not find what it is to run.
const NOT_FOUND: i32 = 127;
/// Longest part of a line of the command's standard error that is kept, in bytes:
/// what the peers keep of it.
const ERROR_LEN_MAX: usize = z4_core::limits::ERROR_LEN_MAX;

/// How to run it.
#[derive(Clone, Debug)]
pub(super) struct Exec {
    pub command: String,
    /// Its standard output goes to our standard error: ours has the results.
    pub output_to_error: bool,
    pub running: Arc<Running>,
}

/// How a command ended.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    Done,
    Failed(Failure),
    /// It could not be run at all, and the next one could not either: the task is
    /// not to blame.
    NotRun(String),
    /// It was ended, or not started, because all are to end.
    Ended,
}

impl Exec {
    /// Runs the command for a task, on a thread of its own, to its end.
    pub(super) async fn run(&self, delivery: Delivery) -> Outcome {
        let exec = self.clone();
        let (done, result) = oneshot::channel();
        let spawned = thread::Builder::new()
            .name("z4t-exec".into())
            .spawn(move || {
                // Nobody waits any more when the consumer has ended.
                let _ = done.send(exec.run_here(delivery).unwrap_or_else(Outcome::NotRun));
            });
        match spawned {
            Ok(_) => result
                .await
                .unwrap_or_else(|_| Outcome::Failed(Failure::new("the thread of it ended"))),
            Err(e) => Outcome::NotRun(no_thread(&e)),
        }
    }

    /// `Err`: why it could not be run.
    fn run_here(&self, mut delivery: Delivery) -> Result<Outcome, String> {
        if self.running.is_ending() {
            return Ok(Outcome::Ended);
        }
        let payload = std::mem::take(&mut delivery.task.payload);
        // The file of the metadata is there for as long as the command.
        let (mut child, _metadata) = self.start(&delivery)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group = group.ok_or("the system gave it no process id")?;
        self.running.began(group);
        let said = talk(&mut child, payload).map(|said| self.listen(&said));
        if said.is_err() {
            let _ = child.kill();
        }
        // Not reaped yet: its number must not name another process while it may be
        // sent a signal.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(group), options) {}
        self.running.ended(group);
        let status = child
            .wait()
            .map_err(|e| format!("the command cannot be waited for: {e}"))?;
        let outcome = judge(status, &said?);
        match outcome {
            Outcome::Done => Ok(outcome),
            _ if self.running.is_ending() => Ok(Outcome::Ended),
            _ => Ok(outcome),
        }
    }

    fn start(&self, delivery: &Delivery) -> Result<(Child, Option<NamedTempFile>), String> {
        let json = show::metadata_json(&delivery.task).to_string();
        let mut command = self.shell(delivery);
        let file = |command: &mut Command, by_file| {
            metadata::give(command, &json, by_file)
                .map_err(|e| format!("the file of the metadata cannot be written: {e}"))
        };
        let mut metadata = file(&mut command, false)?;
        let mut child = command.spawn();
        let is_too_long = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ArgumentListTooLong;
        if metadata.is_none() && child.as_ref().err().is_some_and(is_too_long) {
            metadata = file(&mut command, true)?;
            child = command.spawn();
        }
        let child = child.map_err(|e| format!("sh cannot be started: {e}"))?;
        Ok((child, metadata))
    }

    fn shell(&self, delivery: &Delivery) -> Command {
        let task = &delivery.task;
        let stdout = match self.output_to_error {
            true => Stdio::from(std::io::stderr()),
            false => Stdio::inherit(),
        };
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(&self.command)
            // The token is for this program, and not for what it runs.
            .env_remove("Z4_TOKEN")
            .env("Z4_TASK_ID", &task.id)
            .env("Z4_NAMESPACE", &task.namespace)
            .env("Z4_ATTEMPT", delivery.attempt.to_string())
            .env("Z4_DELIVERIES", delivery.deliveries.to_string())
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            // Ctrl-C is for us: commands that run are waited for.
            .process_group(0);
        quiet::not_for(&mut command);
        command
    }

    /// Waits for the end of the command's standard error; its last line. Once all
    /// commands were ended, what still holds it open is not waited for.
    fn listen(&self, said: &mpsc::Receiver<String>) -> String {
        loop {
            match said.recv_timeout(LOOK_EVERY) {
                Ok(line) => return line,
                Err(RecvTimeoutError::Timeout) if !self.running.is_over() => {}
                Err(_) => return String::new(),
            }
        }
    }
}

/// Gives the command its payload and passes on what it says; its last line comes
/// when it has said all.
fn talk(child: &mut Child, payload: Vec<u8>) -> Result<mpsc::Receiver<String>, String> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let (last_line, said) = mpsc::channel();
    let thread = |name: &str| thread::Builder::new().name(name.into());
    let writer = thread("z4t-payload").spawn(move || {
        if let Some(mut stdin) = stdin {
            // A command that does not read its payload is free to.
            let _ = stdin.write_all(&payload);
        }
    });
    let reader = thread("z4t-stderr").spawn(move || {
        if let Some(stderr) = stderr {
            // Nobody waits for it any more when all commands were ended.
            let _ = last_line.send(pass_on(BufReader::new(stderr)));
        }
    });
    match writer.and(reader) {
        Ok(_) => Ok(said),
        Err(e) => Err(no_thread(&e)),
    }
}

fn no_thread(error: &std::io::Error) -> String {
    format!("the system gives no thread for it: {error}; a lower --max-in-flight needs fewer")
}

fn judge(status: ExitStatus, last_line: &str) -> Outcome {
    let said = |what: String| match last_line {
        "" => what,
        line => line.to_owned(),
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Outcome::Done,
        (Some(PERMANENT), _) => {
            Outcome::Failed(Failure::permanent(said(format!("exit code {PERMANENT}"))))
        }
        (Some(code @ (NOT_EXECUTABLE | NOT_FOUND)), _) => Outcome::NotRun(format!(
            "exit code {code}: {}",
            said("no reason given".into())
        )),
        (Some(code), _) => Outcome::Failed(Failure::new(said(format!("exit code {code}")))),
        (None, Some(signal)) => {
            Outcome::Failed(Failure::new(said(format!("ended by signal {signal}"))))
        }
        (None, None) => Outcome::Failed(Failure::new(said("ended without an exit code".into()))),
    }
}

/// Copies to our standard error; the last line that is not empty.
fn pass_on(mut input: impl BufRead) -> String {
    let mut last = String::new();
    loop {
        let mut line = Vec::new();
        // A line without an end must not fill the memory.
        let mut bounded = input.by_ref().take(64 << 10);
        match bounded.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return last,
            Ok(_) => {}
        }
        // With no standard error there is nobody to tell.
        let _ = std::io::stderr().write_all(&line);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if !text.is_empty() {
            last = shortened(text).to_owned();
        }
    }
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(ERROR_LEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn run(script: &str) -> (ExitStatus, String) {
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        (output.status, pass_on(output.stderr.as_slice()))
    }

    fn judged(script: &str) -> Outcome {
        let (status, last_line) = run(script);
        judge(status, &last_line)
    }

    fn failed(error: &str) -> Outcome {
        Outcome::Failed(Failure::new(error))
    }

    #[test]
    fn exit_codes_are_judged() {
        assert_eq!(judged("echo warning >&2"), Outcome::Done);
        assert_eq!(judged("exit 3"), failed("exit code 3"));
        assert_eq!(
            judged("echo first >&2; echo no disk >&2; exit 1"),
            failed("no disk")
        );
        assert_eq!(
            judged("echo bad input >&2; exit 100"),
            Outcome::Failed(Failure::permanent("bad input"))
        );
        assert_eq!(judged("kill -9 $$"), failed("ended by signal 9"));
        for (script, word) in [("z4-no-such-program", "not found"), ("/etc/passwd", "126")] {
            let outcome = judged(script);
            let is_told = matches!(&outcome, Outcome::NotRun(why) if why.contains(word));
            assert!(is_told, "{script}: {outcome:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = "ü".repeat(ERROR_LEN_MAX);
        assert_eq!(shortened(&text).len(), ERROR_LEN_MAX);
        let text = format!("x{text}");
        assert_eq!(shortened(&text).len(), ERROR_LEN_MAX - 1);
    }
}
