//! What a person is told when the cluster does not answer.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{channel, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use z4_e2e::{command, wait, Cluster, Tool};

const LIMIT: Duration = Duration::from_secs(60);

/// Three peers of which two are dead, and the place of the one that is left.
fn without_quorum(cluster: &mut Cluster) -> usize {
    let leader = cluster.wait_leader();
    let left = cluster.others(leader)[0];
    for n in cluster.others(left) {
        cluster.peers[n].kill();
    }
    left
}

/// Every command of one question says what its peer says, in good time: what is
/// missing, and never that an outcome is unknown, for nothing was sent anywhere.
#[test]
fn without_a_quorum_each_command_says_what_is_missing() {
    let mut cluster = Cluster::three();
    let left = without_quorum(&mut cluster);
    let tool = Tool::at(&cluster.peers[left]);
    wait::until("the one that is left knows of no leader", LIMIT, || {
        let done = tool.run(&["health"]);
        wait::check(done.code == 1, || format!("{done:?}"))
    });
    let id = "00000000000000000000000000";
    let commands: [&[&str]; 13] = [
        &["health"],
        &["create", "n", "x"],
        &["create", "n", "x", "--timeout", "1s"],
        &["get", "n", id],
        &["list", "n"],
        &["list", "n", "--timeout", "1s"],
        &["lease", "n"],
        &["ns", "list"],
        &["ns", "stats", "n"],
        &["ns", "delete", "n", "--wait"],
        &["dead", "redrive", "n"],
        &["dead", "purge", "n"],
        &["verify", "--timeout", "10s"],
    ];
    let ask = &|arguments: &[&str]| {
        let start = Instant::now();
        let done = tool.run(arguments);
        let took = start.elapsed();
        assert_eq!(done.code, 1, "{arguments:?}: {done:?}");
        let said = done.stderr.trim_end();
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {done:?}");
        let missing = "no leader is known: 2 of 3 voters must be up";
        assert!(said.contains(missing), "{arguments:?}: {done:?}");
        assert!(!said.contains("outcome"), "{arguments:?}: {done:?}");
        assert!(took < Duration::from_secs(25), "{arguments:?}: {took:?}");
    };
    // Each waits for most of its time.
    thread::scope(|scope| {
        for arguments in commands {
            scope.spawn(move || ask(arguments));
        }
    });
}

/// Lines of a pipe as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    rx
}

#[track_caller]
fn line_with(lines: &Receiver<String>, words: &str) -> String {
    let end = Instant::now() + LIMIT;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) if line.contains(words) => return line,
            Ok(_) => {}
            Err(error) => panic!("{words}: {error}"),
        }
    }
}

fn start(tool: &Tool, arguments: &[&str]) -> (Child, Receiver<String>, Receiver<String>) {
    let mut command = tool.command(arguments);
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let out = lines(child.stdout.take().unwrap());
    let error = lines(child.stderr.take().unwrap());
    (child, out, error)
}

/// A consumer whose stream was open before says so too: nothing comes on it, and
/// the peer cannot tell.
#[test]
fn consume_and_stream_say_that_they_wait_and_go_on() {
    for (verb, is_open_before) in [("consume", true), ("consume", false), ("stream", true)] {
        let mut cluster = Cluster::three();
        let leader = cluster.wait_leader();
        let left = cluster.others(leader)[0];
        let tool = Tool::at(&cluster.peers[left]);
        let mut running = None;
        if is_open_before {
            let _ = tool.text(&["create", "n", "first"]);
            let (child, out, error) = start(&tool, &[verb, "n"]);
            line_with(&out, "first");
            running = Some((child, out, error));
        }
        for n in cluster.others(left) {
            cluster.peers[n].kill();
        }
        let (mut child, out, error) = running.unwrap_or_else(|| start(&tool, &[verb, "n"]));
        let said = line_with(&error, "waiting for the cluster");
        let missing = "2 of 3 voters must be up";
        assert!(said.contains(missing), "{verb}: {said}");
        cluster.start_missing();
        line_with(&error, "back after");
        let _ = tool.text(&["create", "n", "second"]);
        line_with(&out, "second");
        let again = error.try_iter().filter(|line| line.contains("waiting"));
        assert_eq!(again.count(), 0, "{verb}: it is said once");
        child.kill().unwrap();
        assert!(command::wait(&mut child, LIMIT).is_some());
    }
}
