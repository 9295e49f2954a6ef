//! `z4t` and input that nobody expects: whatever the arguments, the tasks and the
//! files that it writes to are, it says in one line what is wrong, and never
//! panics.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use z4_e2e::command::{self, Finished};
use z4_e2e::{binaries, tool};

use crate::z4t_life::single;

const LIMIT: Duration = Duration::from_secs(90);

/// The exit code of a Rust program that panicked.
const PANICKED: i32 = 101;

#[track_caller]
fn no_panic(done: &Finished) {
    assert_ne!(done.code, PANICKED, "{done:?}");
    assert!(!done.stderr.contains("panicked"), "{done:?}");
}

/// One line on standard error, and nothing in it that a terminal obeys.
#[track_caller]
fn one_plain_line(done: &Finished) {
    let line = done.stderr.strip_suffix('\n').unwrap_or(&done.stderr);
    assert!(line.starts_with("z4t: "), "{done:?}");
    assert!(!line.contains(char::is_control), "{done:?}");
}

#[test]
fn payloads_wider_than_65535_characters_are_shown_whole() {
    let (_cluster, tool) = single();
    let folder = TempDir::with_prefix("z4-wide-").unwrap();
    let path = folder.path().join("payload");
    let path = path.to_str().unwrap();
    // The widths of the formatting macros of Rust end between the two.
    for len in [65_535, 65_536, 1 << 20] {
        let namespace = format!("wide-{len}");
        let payload = "a".repeat(len);
        fs::write(path, &payload).unwrap();
        let id = tool.text(&["create", &namespace, "--file", path]);
        let id = id.trim_end();
        let listed = tool.text(&["list", &namespace, "--body"]);
        let row = listed.lines().nth(1).unwrap();
        assert!(row.starts_with(id) && row.ends_with(&payload), "{len}");
        // The header is not as wide as the payload.
        assert!(listed.len() < len + 1_000, "{}", listed.len());
        let task = &tool.json_lines(&["list", &namespace, "--body"])[0];
        assert_eq!(task["payload"], *payload, "{len}");
        assert!(tool.text(&["get", &namespace, id]).contains(&payload));

        let leased = tool.text(&["lease", &namespace, "--wait", "20s"]);
        let row = leased.lines().nth(1).unwrap();
        assert!(row.ends_with(&payload), "{len}");
        let lease = row.split(' ').next().unwrap();
        let nack = ["nack", &namespace, lease, "--permanent"];
        assert!(tool.text(&nack).contains("dead"), "{len}");
        let dead = tool.text(&["dead", "list", &namespace, "--body"]);
        assert!(dead.trim_end().ends_with(&payload), "{len}");
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_refused_by_every_command() {
    const BAD: &[u8] = b"k=\xff\xfe";
    let lines = [
        "info -t X",
        "status -o X",
        "health --timeout X",
        "add-peer -p X --id a",
        "add-peer -p a:1 --id X",
        "remove-peer -id X",
        "transfer-leader --id X",
        "verify -t a:1,X",
        "create X x",
        "create b x -m X",
        "create b x -mX",
        "create b x --request-id X",
        "create b x --in X",
        "create b x --at=X",
        "create b x --priority X",
        "create b x --ttl X",
        "get X x",
        "get b X",
        "stream X",
        "stream b --limit X",
        "consume X",
        "consume b --exec X",
        "consume b --consumer-id X",
        "consume b --count X",
        "lease X",
        "lease b --wait X",
        "lease b --consumer-id X",
        "ack b X",
        "ack X a:1",
        "nack b a:1 --error X",
        "nack b a:1 --delay X",
        "extend b X",
        "release b X",
        "cancel b X",
        "reschedule b X --in 1s",
        "run-now b X",
        "list X",
        "list b --state X",
        "list b --from X",
        "explain b X",
        "dead list X",
        "dead redrive b X",
        "dead purge b --reason X",
        "ns list -o X",
        "ns get X",
        "ns set X --lease 5s",
        "ns set b --dead-keep X",
        "ns pause X",
        "ns resume X",
        "ns delete X",
        "ns stats X",
        "completions X",
        "X",
        "ns X",
        "-X",
        "--X",
        "list b --nope X",
        "list b --nope=X",
        "list b -x X",
        "-t X list b",
        "create b x -m a=b -- X",
        "help X",
    ];
    for line in lines {
        let mut command = command::clean(&binaries::find("z4t"));
        for word in line.split(' ') {
            let (before, after) = match word.split_once('X') {
                Some((before, after)) => (before, Some(after)),
                None => (word, None),
            };
            let mut bytes = before.as_bytes().to_vec();
            if let Some(after) = after {
                bytes.extend(BAD);
                bytes.extend(after.as_bytes());
            }
            command.arg(OsStr::from_bytes(&bytes));
        }
        let done = command::run(command, LIMIT);
        no_panic(&done);
        assert_eq!(done.code, 2, "{line}: {done:?}");
        one_plain_line(&done);
    }
}

#[test]
fn bytes_are_taken_where_they_may_be() {
    let (_cluster, tool) = single();
    let folder = TempDir::with_prefix("z4-bytes-").unwrap();
    let path = folder.path().join(OsStr::from_bytes(b"pay\xffload"));
    fs::write(&path, b"\xff\x00").unwrap();
    let mut command = tool.command(&["create", "bytes", "-m", "k=v"]);
    command.arg(OsStr::from_bytes(b"\xff\xfe"));
    assert_eq!(command::run(command, LIMIT).code, 0);
    let mut command = tool.command(&["create", "bytes"]);
    command.arg("--file").arg(&path);
    assert_eq!(command::run(command, LIMIT).code, 0);
    let tasks = tool.json_lines(&["list", "bytes", "--body"]);
    let payloads: Vec<_> = tasks.iter().map(|t| &t["payload_base64"]).collect();
    assert_eq!(payloads, ["//4=", "/wA="]);
    // Beside one that may be, one that may not is found.
    let mut command = tool.command(&["create", "bytes"]);
    command.arg(OsStr::from_bytes(b"\xff")).args(["-m"]);
    command.arg(OsStr::from_bytes(b"k=\xff"));
    let done = command::run(command, LIMIT);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("UTF-8"), "{done:?}");
}

#[test]
fn nothing_that_is_shown_commands_the_terminal() {
    let (_cluster, tool) = single();
    // Clears the screen, in seven bits and in eight; deletes; turns the writing.
    let odd = "\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\r";
    let id = tool.text(&["create", "odd", odd, "-m", &format!("k={odd}")]);
    let id = id.trim_end();
    let leased = tool.json_lines(&["lease", "odd", "--wait", "20s"]);
    let lease = leased[0]["lease"].as_str().unwrap();
    assert_eq!(leased[0]["task"]["payload"], odd, "JSON keeps the value");
    let _ = tool.text(&["nack", "odd", lease, "--error", odd, "--permanent"]);
    for command in [
        &["list", "odd", "--body"][..],
        &["list", "odd", "--body", "-o", "json"],
        &["dead", "list", "odd", "--body"],
        &["get", "odd", id],
        &["get", "odd", id, "-o", "json"],
        &["explain", "odd", id],
    ] {
        let text = tool.text(command);
        let told = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(told), "{command:?}: {text:?}");
    }
    for command in [
        &["get", odd, id][..],
        &["get", "odd", odd],
        &["list", "odd", "--state", odd],
        &["ns", "delete", odd],
        &["-t", odd, "info"],
        &[odd],
    ] {
        let done = tool.run(command);
        assert_ne!(done.code, 0, "{command:?}: {done:?}");
        one_plain_line(&done);
    }
}

#[test]
fn spans_beyond_every_clock_are_taken_or_refused() {
    let (_cluster, tool) = single();
    let id = tool.text(&["create", "far", "x"]);
    let id = id.trim_end();
    let far = "500000000000years";
    for command in [
        &["--timeout", far, "info"][..],
        &["--timeout", far, "list", "far"],
        &["--timeout", far, "consume", "far", "--count", "0"],
        &["lease", "far", "--wait", far],
        &["lease", "far", "--lease", far],
        &["consume", "far", "--lease", far],
        &["create", "far", "x", "--in", far],
        &["create", "far", "x", "--ttl", far],
        &[
            "create",
            "far",
            "x",
            "--at",
            "9999-12-31T23:59:59.999999999Z",
        ],
        &["reschedule", "far", id, "--in", far],
        &["nack", "far", "a:1", "--delay", far],
        &["extend", "far", "a:18446744073709551615", "--lease", far],
        &["ns", "set", "far", "--lease", far, "--dead-keep", far],
        &["ns", "set", "far", "--backoff-max", far],
        &[
            "list",
            "far",
            "--from",
            "0000-01-01T00:00:00Z",
            "--limit",
            "0",
        ],
    ] {
        let done = tool.run(command);
        no_panic(&done);
        assert!((0..=2).contains(&done.code), "{command:?}: {done:?}");
    }
}

/// Runs `z4t` by way of the shell, which opens and closes files for it.
fn by_shell(tool: &tool::Tool, arguments: &[&str], files: &str) -> Finished {
    let z4t = tool.command(arguments);
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("\"$@\" {files}"));
    shell.arg("sh").arg(z4t.get_program()).args(z4t.get_args());
    command::run(shell, LIMIT)
}

#[test]
fn a_lease_that_cannot_be_printed_is_named_all_the_same() {
    let (_cluster, tool) = single();
    for output in ["text", "json"] {
        let id = tool.text(&["create", "full", "x"]);
        let lease = ["lease", "full", "--wait", "20s", "-o", output];
        let done = by_shell(&tool, &lease, "> /dev/full");
        assert_eq!(done.code, 1, "{done:?}");
        one_plain_line(&done);
        let named = done.stderr.split_whitespace().last().unwrap();
        assert!(named.starts_with(id.trim_end()), "{done:?}");
        let acked = tool.text(&["ack", "full", named]);
        assert_eq!(acked, format!("{} done\n", id.trim_end()));
    }
}

#[test]
fn files_that_are_closed_full_or_gone_are_no_panic() {
    let (_cluster, tool) = single();
    let folder = TempDir::with_prefix("z4-files-").unwrap();
    let path = folder.path().join("batch");
    let line = format!("{{\"payload\": \"{}\"}}\n", "x".repeat(1_000));
    fs::write(&path, line.repeat(300)).unwrap();
    assert_eq!(tool.create_batch("files", &path).len(), 300);
    fs::write(&path, line.repeat(20)).unwrap();
    for files in [
        "<&-",
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        "> /dev/full",
        "> /dev/full 2> /dev/full",
        "| head -c 10 > /dev/null",
        "2>&1 | true",
    ] {
        // Nobody waits for tasks that are not there.
        for namespace in ["work", "streamed"] {
            assert_eq!(tool.create_batch(namespace, &path).len(), 20);
        }
        for command in [
            &["create", "files", "-"][..],
            &["create", "files", "--batch", "-"],
            &["list", "files", "--body", "--limit", "0"],
            &["list", "files", "--body", "--limit", "0", "-o", "json"],
            &["info"],
            &["status"],
            &["ns", "list"],
            &["consume", "work", "--count", "5"],
            &[
                "consume",
                "work",
                "--count",
                "5",
                "--exec",
                "cat; echo e >&2",
            ],
            &["stream", "streamed", "--limit", "5"],
            &["list", "--help"],
            &["nope"],
        ] {
            let shown = by_shell(&tool, command, files);
            no_panic(&shown);
            // A full disk is told, wherever standard error is not full too.
            let wrote = !matches!(command[0], "nope" | "create");
            if files == "> /dev/full" && wrote && !command.contains(&"--exec") {
                assert_eq!(shown.code, 1, "{command:?}: {shown:?}");
                assert!(shown.stderr.contains("No space left"), "{shown:?}");
            }
        }
    }
}
