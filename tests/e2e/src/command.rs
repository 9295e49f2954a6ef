//! Runs a program to its end, within a bound.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `z4t` with these arguments.
///
/// # Panics
/// When it takes longer than 30 s, or is not there.
#[must_use]
pub fn z4t(arguments: &[&str]) -> Finished {
    let mut command = clean(&crate::binaries::find("z4t"));
    crate::tls::prepare(&mut command, arguments.iter().copied());
    command.args(arguments);
    run(command, Duration::from_secs(30))
}

/// Runs `command` with no input.
///
/// # Panics
/// When it takes longer than `limit`, or does not start.
#[must_use]
pub fn run(mut command: Command, limit: Duration) -> Finished {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{shown} does not start: {e}"));
    let stdout = gather(child.stdout.take().expect("it is piped"));
    let stderr = gather(child.stderr.take().expect("it is piped"));
    let status = wait(&mut child, limit);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let finished = Finished {
        code: status.and_then(|s| s.code()).unwrap_or(-1),
        stdout: stdout.join().expect("the reader does not panic"),
        stderr: stderr.join().expect("the reader does not panic"),
    };
    assert!(
        status.is_some(),
        "{shown} did not end within {limit:?}: {finished:?}"
    );
    finished
}

/// Waits for the end of `child`; `None` after `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

/// The program at `path`, without the `Z4_` variables of this one.
#[must_use]
pub fn clean(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("Z4_") {
            command.env_remove(name);
        }
    }
    command
}

fn gather(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
