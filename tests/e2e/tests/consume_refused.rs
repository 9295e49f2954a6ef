//! `z4t consume --exec` when not all goes well: answers that come too late,
//! commands that cannot be run, signals that will not wait, metadata that no
//! environment holds. Whoever looks on learns which task it was and what is next.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use z4_e2e::{command, tool, wait, Tool};

use crate::z4t_life::{leased, made, single};

const LIMIT: Duration = Duration::from_secs(120);

fn folder() -> TempDir {
    TempDir::with_prefix("z4-refused-").unwrap()
}

/// Starts a consumer that runs `script` in the folder `dir`; both its outputs are
/// piped.
fn start(tool: &Tool, dir: &Path, script: &str, flags: &[&str]) -> Child {
    let script = format!("cd {}; {script}", dir.display());
    let mut command = tool.command(&[&["consume", "work", "--exec", &script], flags].concat());
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn kill(signal: &str, child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status();
    assert!(sent.unwrap().success());
}

/// Exit status, standard output, standard error.
#[track_caller]
fn ended(mut child: Child) -> (ExitStatus, String, String) {
    let status = command::wait(&mut child, LIMIT).expect("it ends");
    let read = |from: &mut dyn Read| {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    };
    let out = child.stdout.take().map(|mut out| read(&mut out));
    let err = child.stderr.take().map(|mut err| read(&mut err));
    (status, out.unwrap_or_default(), err.unwrap_or_default())
}

#[track_caller]
fn exists(path: &Path) {
    wait::until("the command comes so far", LIMIT, || {
        wait::check(path.exists(), || format!("{} is not there", path.display()))
    });
}

/// A consumer that sleeps while its lease expires, and what became of the task
/// meanwhile: its command was done, and its ack is refused.
#[track_caller]
fn refused(meanwhile: impl Fn(&Tool), outcome: &str) {
    let (_cluster, tool) = single();
    let folder = folder();
    let id = made(&tool, "work", &[]);
    let _ = tool.text(&[
        "ns",
        "set",
        "work",
        "--backoff-min",
        "10ms",
        "--backoff-max",
        "10ms",
    ]);
    let script = "echo > began; while [ ! -e go ]; do sleep 0.05; done";
    let flags = ["--lease", "1s", "--count", "1", "-o", "json"];
    let consumer = start(&tool, folder.path(), script, &flags);
    exists(&folder.path().join("began"));
    kill("-STOP", &consumer);
    wait::until("the lease expires", LIMIT, || {
        let task = tool.json(&["get", "work", &id]);
        wait::check(task["state"] == "scheduled", || task.to_string())
    });
    meanwhile(&tool);
    fs::write(folder.path().join("go"), "").unwrap();
    kill("-CONT", &consumer);
    let (status, out, err) = ended(consumer);
    assert_eq!(status.code(), Some(3), "{err}");
    let told = format!("z4t: task {id} attempt 1 done, but its answer was refused ({outcome})");
    assert!(err.lines().any(|line| line.starts_with(&told)), "{err}");
    let count = "z4t: 1 answers were refused";
    assert!(err.lines().last().unwrap().starts_with(count), "{err}");
    let line = &tool::lines(&out)[0];
    assert_eq!(line["id"], *id, "{line}");
    assert_eq!(line["outcome"], format!("refused: {outcome}"), "{line}");
}

#[test]
fn an_ack_after_the_lease_expired_is_told_and_counted() {
    refused(|_| (), "expired");
}

#[test]
fn an_ack_of_a_task_that_another_holds_is_told_and_counted() {
    let take = |tool: &Tool| drop(leased(tool, "work", &["--lease", "1h"]));
    refused(take, "taken");
}

#[test]
fn an_ack_of_a_task_that_another_did_is_told_and_counted() {
    let take = |tool: &Tool| {
        let lease = leased(tool, "work", &["--lease", "1h"]);
        let _ = tool.text(&["ack", "work", &lease]);
    };
    refused(take, "gone");
}

#[test]
fn a_failure_says_which_task_which_attempt_and_when_it_is_next() {
    let (_cluster, tool) = single();
    let id = made(&tool, "work", &[]);
    let flags = [
        "--max-attempts",
        "2",
        "--backoff-min",
        "1s",
        "--backoff-max",
        "1s",
    ];
    let _ = tool.text(&[&["ns", "set", "work"], &flags[..]].concat());
    let script = "printf 'no \\033[31mdisk' >&2; exit 1";
    let done = tool.run(&["consume", "work", "--exec", script, "--count", "2"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{done:?}");
    let told: Vec<_> = done.stderr.match_indices("z4t: task ").collect();
    assert_eq!(told.len(), 2, "{done:?}");
    let line = |at: usize| done.stderr[told[at].0..].lines().next().unwrap();
    // What a command says cannot command the terminal by way of our line.
    let first = format!("z4t: task {id} attempt 1 failed: no \\u{{1b}}[31mdisk; next try at 2");
    assert!(line(0).starts_with(&first), "{done:?}");
    let second =
        format!("z4t: task {id} attempt 2 failed: no \\u{{1b}}[31mdisk; it is a dead letter");
    assert!(line(1).starts_with(&second), "{done:?}");
    assert!(line(1).ends_with("(attempts)"), "{done:?}");
}

/// Nothing was counted against the task, and it waits for a consumer that can.
#[track_caller]
fn unharmed(tool: &Tool, id: &str, deliveries: u32) {
    let task = tool.json(&["get", "work", id]);
    assert_eq!(task["state"], "scheduled", "{task}");
    assert_eq!(task["failures"], 0, "{task}");
    assert_eq!(task["attempt"], 1, "{task}");
    // It may come once more while its consumer ends, and is given back again.
    assert!(
        task["deliveries"].as_u64() >= Some(deliveries.into()),
        "{task}"
    );
}

#[test]
fn a_command_that_cannot_be_run_costs_no_attempt() {
    let (_cluster, tool) = single();
    let folder = folder();
    let id = made(&tool, "work", &[]);
    let plain = folder.path().join("plain");
    fs::write(&plain, "#!/bin/sh\n").unwrap();
    let plain = plain.to_str().unwrap();
    // A plain program is looked for before the first task is taken.
    for (exec, word) in [
        ("z4-no-such-program \"$Z4_TASK_ID\"", "not found"),
        ("./z4/no/such/file", "No such file"),
        (plain, "not executable"),
    ] {
        tool.refused(&["consume", "work", "--exec", exec], 4, &["--exec", word]);
        unharmed(&tool, &id, 0);
    }
    // What only the shell can know is known after the first task.
    let later = format!("cd / && {plain}");
    let execs = [
        "cd / && ./z4-no-such-file",
        "$Z4_NOTHING z4-no-such-program",
        &later,
    ];
    for (deliveries, exec) in (1..).zip(execs) {
        let command = ["consume", "work", "--exec", exec, "-o", "json"];
        let done = tool.run(&command);
        assert_eq!(done.code, 4, "{exec}: {done:?}");
        let last = done.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("z4t: the command cannot be run: exit code 12"),
            "{done:?}"
        );
        let line = &tool::lines(&done.stdout)[0];
        assert_eq!(line["outcome"], "given back", "{exec}: {line}");
        unharmed(&tool, &id, deliveries);
    }
}

/// Lines of standard error up to the one that has `word`.
#[track_caller]
fn read_until(lines: &mut impl Iterator<Item = std::io::Result<String>>, word: &str) -> String {
    let found = lines.map(Result::unwrap).find(|line| line.contains(word));
    found.unwrap_or_else(|| panic!("no line has {word}"))
}

#[test]
fn a_second_signal_ends_the_commands_and_gives_their_tasks_back() {
    let (_cluster, tool) = single();
    let folder = folder();
    let ids: Vec<_> = ["gentle", "deaf"]
        .map(|name| tool.text(&["create", "work", name]).trim_end().to_owned())
        .into();
    let wait_for_ever = "while :; do sleep 0.05; done";
    let script = format!(
        "read n; echo $$ > pid.$n; case $n in \
         gentle) trap 'echo > ended.$n; exit 1' TERM;; deaf) trap '' TERM;; esac; \
         echo > began.$n; {wait_for_ever}"
    );
    let mut consumer = start(&tool, folder.path(), &script, &[]);
    for name in ["gentle", "deaf"] {
        exists(&folder.path().join(format!("began.{name}")));
    }
    let mut lines = BufReader::new(consumer.stderr.take().unwrap()).lines();
    kill("-INT", &consumer);
    let told = read_until(&mut lines, "are waited for");
    assert!(
        told.contains("2 commands") && told.contains("second"),
        "{told}"
    );
    kill("-INT", &consumer);
    let told = read_until(&mut lines, "SIGKILL");
    assert!(told.contains("2 commands are ended"), "{told}");
    let (status, ..) = ended(consumer);
    assert_eq!(status.code(), Some(130), "{status:?}");
    let told = read_until(&mut lines, "second signal");
    assert!(told.contains("given back"), "{told}");
    assert!(
        folder.path().join("ended.gentle").exists(),
        "it had time to tidy up"
    );
    for name in ["gentle", "deaf"] {
        let pid = fs::read_to_string(folder.path().join(format!("pid.{name}"))).unwrap();
        let process = Path::new("/proc").join(pid.trim());
        assert!(!process.exists(), "{name} still runs");
    }
    for id in ids {
        unharmed(&tool, &id, 1);
    }
}

#[test]
fn metadata_that_no_variable_holds_goes_by_file() {
    let (_cluster, tool) = single();
    let folder = folder();
    // As JSON six times as long: far beyond what Linux takes for one variable.
    let value = "\u{1}".repeat(60_000);
    let id = made(&tool, "work", &["-m", &format!("k={value}")]);
    let small = made(&tool, "work", &["-m", "k=v"]);
    let script = format!(
        "cd {}; echo \"$Z4_METADATA_FILE\" > name.$Z4_TASK_ID; \
         if [ -n \"$Z4_METADATA_FILE\" ]; then \
         [ -z \"$Z4_METADATA\" ] && cat \"$Z4_METADATA_FILE\" > large; \
         stat -c %a \"$Z4_METADATA_FILE\" > mode; else echo \"$Z4_METADATA\" > small; fi",
        folder.path().display()
    );
    let done = tool.run(&["consume", "work", "--exec", &script, "--count", "2"]);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let metadata: Value = serde_json::from_str(&read("large")).unwrap();
    assert_eq!(metadata["k"].as_str().map(str::len), Some(60_000));
    assert!(metadata["k"] == *value);
    assert_eq!(read("mode"), "600\n");
    let name = read(&format!("name.{id}"));
    assert!(!Path::new(name.trim_end()).exists(), "{name} was left");
    // What a variable holds is in the variable alone.
    assert_eq!(read("small"), "{\"k\":\"v\"}\n");
    assert_eq!(read(&format!("name.{small}")), "\n");
}
