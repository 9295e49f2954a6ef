//! Whether the shell will find what it is to run, as far as that can be told
//! before the first task.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{access, Access};

/// Looks for the program that `command` begins with. A command that begins with
/// anything but a plain word is for the shell to judge.
///
/// # Errors
/// Why it cannot be run.
pub(crate) fn check(command: &str) -> Result<(), String> {
    let Some(word) = first_word(command) else {
        return Ok(());
    };
    if word.contains('/') {
        let path = Path::new(word);
        let file = path.metadata().map_err(|e| format!("{word}: {e}"))?;
        let may_run = file.is_file() && access(path, Access::EXEC_OK).is_ok();
        return match may_run {
            true => Ok(()),
            false => Err(format!("{word} is not executable")),
        };
    }
    // A program on the path, or a word that the shell knows.
    let found = Command::new("sh")
        .args(["-c", "command -v \"$1\"", "sh", word])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match found {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{word}: not found")),
        Err(e) => Err(format!("sh cannot be started: {e}")),
    }
}

fn first_word(command: &str) -> Option<&str> {
    let command = command.trim_start();
    let end = command.find([' ', '\t', '\n', ';', '|', '&']);
    let (word, rest) = command.split_at(end.unwrap_or(command.len()));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/+@:,-".contains(c);
    // `name ()` defines a function.
    let is_function = rest.trim_start().starts_with('(');
    let is_word = !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain);
    (is_word && !is_function).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_programs_are_looked_for() {
        for command in [
            "cat > x",
            " sh -c 'x'",
            "/bin/sh",
            "cd /tmp && ./run",
            "exit 1",
            "if true; then :; fi",
        ] {
            assert_eq!(check(command), Ok(()), "{command}");
        }
        for (command, why) in [
            ("z4-no-such-program x", "not found"),
            ("z4-no-such-program|cat", "not found"),
            ("./no/such/file \"$X\"", "No such file"),
            ("/etc/passwd", "not executable"),
            ("/tmp", "not executable"),
        ] {
            let said = check(command).err().unwrap_or_default();
            assert!(said.contains(why), "{command}: {said}");
        }
    }

    #[test]
    fn what_only_the_shell_understands_is_left_to_it() {
        for command in [
            "$PROGRAM x",
            "A=1 nope",
            "( nope )",
            "nope () { :; }; nope",
            "'no pe'",
            "[ -e x ]",
            "",
            "~/x",
        ] {
            assert_eq!(first_word(command), None, "{command}");
        }
    }
}
