//! `z4t` at one peer, with what is looked at in its answers.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::binaries;
use crate::command::{self, Finished};
use crate::peer::Peer;
use crate::tls;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(90);

/// `z4t` at one peer.
#[derive(Debug, Clone)]
pub struct Tool {
    target: String,
}

impl Tool {
    /// The tool at `peer`.
    #[must_use]
    pub fn at(peer: &Peer) -> Self {
        Self {
            target: peer.service_address(),
        }
    }

    /// The command with these arguments, not started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command::clean(&binaries::find("z4t"));
        tls::prepare(&mut command, [self.target.as_str()]);
        command.args(["-t", &self.target]).args(arguments);
        command
    }

    /// Starts the command; its output is piped and nobody reads it before the
    /// end, so it is for commands that say little.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().expect("z4t starts")
    }

    /// Runs the command to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        command::run(self.command(arguments), LIMIT)
    }

    /// What a command prints that succeeds without a complaint.
    ///
    /// # Panics
    /// When it fails or complains.
    #[track_caller]
    #[must_use]
    pub fn text(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
        assert_eq!(done.stderr, "", "{arguments:?}: {done:?}");
        done.stdout
    }

    /// The same with `-o json`: one value.
    ///
    /// # Panics
    /// When it fails, or what it prints is no single value.
    #[track_caller]
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{arguments:?}: {e}: {text}"))
    }

    /// The same for lists: a value on each line.
    ///
    /// # Panics
    /// When it fails, or a line is no value.
    #[track_caller]
    #[must_use]
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        lines(&self.text(&[arguments, &["-o", "json"]].concat()))
    }

    /// Runs a command that must fail with `code` and one line on standard error
    /// that has each of `words`; what it printed.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str], code: i32, words: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.code, code, "{arguments:?}: {done:?}");
        let complaint = done.stderr.trim_end();
        assert_eq!(complaint.lines().count(), 1, "{arguments:?}: {done:?}");
        assert!(complaint.starts_with("z4t: "), "{arguments:?}: {done:?}");
        for word in words {
            assert!(complaint.contains(word), "{word}: {arguments:?}: {done:?}");
        }
        done.stdout
    }

    /// Creates a task for each line of the file at `path`; their ids.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    #[must_use]
    pub fn create_batch(&self, namespace: &str, path: &Path) -> Vec<String> {
        let path = path.to_str().expect("a path of ours is text");
        let done = self.run(&["create", namespace, "--batch", path]);
        assert_eq!(done.code, 0, "{done:?}");
        done.stdout.lines().map(str::to_owned).collect()
    }

    /// A count of a namespace, as `ns get` has it.
    ///
    /// # Panics
    /// When there is no such namespace.
    #[track_caller]
    #[must_use]
    pub fn count(&self, namespace: &str, name: &str) -> u64 {
        let [count] = self.counts(namespace, [name]);
        count
    }

    /// Counts of a namespace at one moment, as `ns get` has them.
    ///
    /// # Panics
    /// When there is no such namespace.
    #[track_caller]
    #[must_use]
    pub fn counts<const N: usize>(&self, namespace: &str, names: [&str; N]) -> [u64; N] {
        let value = self.json(&["ns", "get", namespace]);
        names.map(|name| {
            let count = value["counts"][name].as_u64();
            count.unwrap_or_else(|| panic!("{name} is not in {value}"))
        })
    }
}

/// A value of each line.
///
/// # Panics
/// When a line is no value.
#[track_caller]
#[must_use]
pub fn lines(text: &str) -> Vec<Value> {
    let line = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|e| panic!("{line} is no JSON: {e}"))
    };
    text.lines().map(line).collect()
}
