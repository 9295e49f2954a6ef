//! Runs the tools of the system.

use std::process::{Command, Stdio};

/// Runs a program to its end without input; what it printed.
///
/// # Errors
/// The command line and what it said, when it fails or is not there.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{program} {}: {}: {}",
        arguments.join(" "),
        output.status,
        said.trim()
    ))
}

/// Runs a command line of words without quotes.
///
/// # Errors
/// As [`run`].
pub fn line(command: &str) -> Result<String, String> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    run(program, &words.collect::<Vec<_>>())
}
