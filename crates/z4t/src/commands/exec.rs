//! A command for a task, by way of the shell.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use futures::channel::oneshot;
use z4_client::{Delivery, Failure};

use crate::show;

/// The exit code that says: no try will ever succeed.
const PERMANENT: i32 = 100;
/// Longest part of a line of the command's standard error that is kept, in bytes:
/// what the peers keep of it.
const ERROR_LEN_MAX: usize = z4_core::limits::ERROR_LEN_MAX;

/// How to run it.
#[derive(Clone, Debug)]
pub(super) struct Exec {
    pub command: String,
    /// Its standard output goes to our standard error: ours has the results.
    pub output_to_error: bool,
}

impl Exec {
    /// Runs the command for a task, on a thread of its own, to its end.
    pub(super) async fn run(&self, delivery: Delivery) -> Result<(), Failure> {
        let exec = self.clone();
        let (done, result) = oneshot::channel();
        let spawned = thread::Builder::new()
            .name("z4t-exec".into())
            .spawn(move || {
                // Nobody waits any more when the consumer has ended.
                let _ = done.send(exec.run_here(&delivery));
            });
        match spawned {
            Ok(_) => result
                .await
                .unwrap_or_else(|_| Err(Failure::new("the thread of the command ended"))),
            // Too much at once: the task is not to blame.
            Err(_) => Err(Failure::release()),
        }
    }

    fn run_here(&self, delivery: &Delivery) -> Result<(), Failure> {
        let task = &delivery.task;
        let stdout = match self.output_to_error {
            true => Stdio::from(std::io::stderr()),
            false => Stdio::inherit(),
        };
        let child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .env("Z4_TASK_ID", &task.id)
            .env("Z4_NAMESPACE", &task.namespace)
            .env("Z4_ATTEMPT", delivery.attempt.to_string())
            .env("Z4_DELIVERIES", delivery.deliveries.to_string())
            .env("Z4_METADATA", show::metadata_json(task).to_string())
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            // Ctrl-C is for us: commands that run are waited for.
            .process_group(0)
            .spawn();
        let mut child = child.map_err(|e| Failure::new(format!("sh cannot be started: {e}")))?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let last_line = thread::scope(|scope| {
            scope.spawn(move || {
                if let Some(mut stdin) = stdin {
                    // A command that does not read its payload is free to.
                    let _ = stdin.write_all(&task.payload);
                }
            });
            stderr.map_or_else(String::new, |stderr| pass_on(BufReader::new(stderr)))
        });
        let status = child
            .wait()
            .map_err(|e| Failure::new(format!("the command cannot be waited for: {e}")))?;
        judge(status, &last_line)
    }
}

fn judge(status: ExitStatus, last_line: &str) -> Result<(), Failure> {
    let said = |what: String| match last_line {
        "" => what,
        line => line.to_owned(),
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(PERMANENT), _) => Err(Failure::permanent(said(format!("exit code {PERMANENT}")))),
        (Some(code), _) => Err(Failure::new(said(format!("exit code {code}")))),
        (None, Some(signal)) => Err(Failure::new(said(format!("ended by signal {signal}")))),
        (None, None) => Err(Failure::new(said("ended without an exit code".to_owned()))),
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

    fn judged(script: &str) -> Result<(), Failure> {
        let (status, last_line) = run(script);
        judge(status, &last_line)
    }

    #[test]
    fn exit_codes_are_judged() {
        assert_eq!(judged("echo warning >&2"), Ok(()));
        assert_eq!(judged("exit 3"), Err(Failure::new("exit code 3")));
        assert_eq!(
            judged("echo first >&2; echo no disk >&2; exit 1"),
            Err(Failure::new("no disk"))
        );
        assert_eq!(
            judged("echo bad input >&2; exit 100"),
            Err(Failure::permanent("bad input"))
        );
        assert_eq!(judged("kill -9 $$"), Err(Failure::new("ended by signal 9")));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let text = "ü".repeat(ERROR_LEN_MAX);
        assert_eq!(shortened(&text).len(), ERROR_LEN_MAX);
        let text = format!("x{text}");
        assert_eq!(shortened(&text).len(), ERROR_LEN_MAX - 1);
    }
}
