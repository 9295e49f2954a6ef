//! `z4t consume --exec`: every task runs as often as it must, and what cannot be
//! done ends among the dead letters until somebody mends it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use z4_e2e::{command, tool, wait, Cluster, Tool};

const LIMIT: Duration = Duration::from_secs(120);

/// A line of the shell that notes a run in a file of the task. The payload is
/// the number of the task.
const NOTE: &str = "read n; echo \"$Z4_ATTEMPT $Z4_DELIVERIES $Z4_TASK_ID $Z4_NAMESPACE\" >> $n";

/// A peer, a folder for the commands to write to, a namespace of that many
/// tasks whose failures wait but a moment.
struct Bench {
    _cluster: Cluster,
    tool: Tool,
    folder: TempDir,
    /// Ids by number.
    ids: Vec<String>,
}

impl Bench {
    fn of(count: usize) -> Self {
        let cluster = Cluster::single();
        let tool = Tool::at(&cluster.peers[0]);
        let folder = TempDir::with_prefix("z4-exec-").unwrap();
        let _ = tool.text(&[
            "ns",
            "set",
            "work",
            "--max-attempts",
            "3",
            "--backoff-min",
            "20ms",
            "--backoff-max",
            "50ms",
        ]);
        let mut batch = String::new();
        for n in 0..count {
            writeln!(batch, "{{\"payload\": \"{n}\"}}").unwrap();
        }
        let path = folder.path().join("batch");
        fs::write(&path, batch).unwrap();
        let ids = tool.create_batch("work", &path);
        assert_eq!(ids.len(), count);
        let runs = folder.path().join("runs");
        fs::create_dir(runs).unwrap();
        Self {
            _cluster: cluster,
            tool,
            folder,
            ids,
        }
    }

    fn runs(&self) -> std::path::PathBuf {
        self.folder.path().join("runs")
    }

    /// A script that runs in the folder of runs and notes each.
    fn script(&self, rest: &str) -> String {
        format!("cd {}; {NOTE}; {rest}", self.runs().display())
    }

    /// Attempt and deliveries of each run of each task, in the order of runs.
    fn noted(&self) -> BTreeMap<usize, Vec<(u32, u32)>> {
        let mut noted = BTreeMap::new();
        for n in 0..self.ids.len() {
            let text = fs::read_to_string(self.runs().join(n.to_string())).unwrap_or_default();
            let run = |line: &str| {
                let words: Vec<&str> = line.split(' ').collect();
                assert_eq!(words[2..], [self.ids[n].as_str(), "work"], "task {n}");
                (words[0].parse().unwrap(), words[1].parse().unwrap())
            };
            noted.insert(n, text.lines().map(run).collect());
        }
        noted
    }

    fn consume(&self, script: &str) -> Child {
        let flags = ["--exec", script, "--max-in-flight", "16"];
        self.tool
            .start(&[&["consume", "work"], &flags[..]].concat())
    }

    /// Waits until nothing waits and nothing is held, then sends SIGTERM.
    fn finish(&self, consumer: Child) {
        wait::until("all tasks end", LIMIT, || {
            // Of one moment: a task that fails between two reads is in neither place.
            let [pending, leased] = self.tool.counts("work", ["pending", "leased"]);
            let open = pending + leased;
            wait::check(open == 0, || format!("{open} are open"))
        });
        terminate(consumer);
    }

    fn dead(&self, flags: &[&str]) -> Vec<Value> {
        let command = [&["dead", "list", "work", "--limit", "0"], flags].concat();
        self.tool.json_lines(&command)
    }
}

/// SIGTERM, and a good end.
#[track_caller]
fn terminate(mut child: Child) {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").arg(&pid).status();
    assert!(sent.unwrap().success());
    let status = command::wait(&mut child, LIMIT).expect("it ends by SIGTERM");
    assert_eq!(status.code(), Some(0), "{status:?}");
}

#[test]
fn a_thousand_tasks_of_which_each_tenth_fails_twice() {
    const COUNT: usize = 1_000;
    let bench = Bench::of(COUNT);
    // Its own count: the lines of the file.
    let script = bench.script(
        "case $n in *0) c=0; while read -r line; do c=$((c+1)); done < $n; \
         if [ $c -lt 3 ]; then echo ignored >&2; echo \"try $c of $n\" >&2; exit 1; fi;; esac",
    );
    let deliveries = (COUNT + 2 * COUNT / 10).to_string();
    let command = bench.tool.command(&[
        "consume",
        "work",
        "--exec",
        &script,
        "--max-in-flight",
        "16",
        "--count",
        &deliveries,
        "-o",
        "json",
    ]);
    let done = command::run(command, LIMIT);
    assert_eq!(done.code, 0, "{}", done.stderr);

    for (n, runs) in bench.noted() {
        let expected: &[_] = match n % 10 {
            0 => &[(1, 1), (2, 2), (3, 3)],
            _ => &[(1, 1)],
        };
        assert_eq!(runs, expected, "task {n}");
    }
    let numbers: HashMap<&str, usize> = (0..).zip(&bench.ids).map(|(n, id)| (&**id, n)).collect();
    let mut outcomes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for line in tool::lines(&done.stdout) {
        let n = numbers[line["id"].as_str().unwrap()];
        let runs = outcomes.entry(n).or_default();
        assert_eq!(line["attempt"], runs.len() + 1, "{line}");
        runs.push(line["outcome"].as_str().unwrap().to_owned());
    }
    for (n, outcomes) in outcomes {
        let expected = match n % 10 {
            0 => vec![
                format!("failed: try 1 of {n}"),
                format!("failed: try 2 of {n}"),
                "done".to_owned(),
            ],
            _ => vec!["done".to_owned()],
        };
        assert_eq!(outcomes, expected, "task {n}");
    }
    let counts = bench.tool.json(&["ns", "get", "work"])["counts"].clone();
    for (name, count) in [
        ("created", 1_000),
        ("done", 1_000),
        ("deliveries", 1_200),
        ("failures", 200),
        ("pending", 0),
        ("leased", 0),
        ("dead", 0),
        ("bytes", 0),
    ] {
        assert_eq!(counts[name], count, "{name} of {counts}");
    }
}

/// What becomes of task `n` until the world is mended.
fn fate(n: usize) -> Option<(&'static str, u32, String)> {
    match n % 10 {
        1 => Some(("attempts", 3, format!("no disk for {n}"))),
        2 => Some(("permanent", 1, format!("bad address {n}"))),
        3 => Some(("attempts", 3, "exit code 7".to_owned())),
        4 => Some(("attempts", 3, "ended by signal 9".to_owned())),
        5 => Some(("permanent", 1, "exit code 100".to_owned())),
        _ => None,
    }
}

const POISON: &str = "[ -e mended ] || case $n in \
    *1) echo first line >&2; printf \"no disk for $n\" >&2; exit 1;; \
    *2) echo bad address $n >&2; exit 100;; \
    *3) exit 7;; \
    *4) kill -9 $$;; \
    *5) exit 100;; \
    esac";

#[test]
fn poison_ends_in_the_dead_letters_and_is_done_when_it_is_mended() {
    const COUNT: usize = 60;
    let bench = Bench::of(COUNT);
    let script = bench.script(POISON);
    bench.finish(bench.consume(&script));
    assert_eq!(bench.tool.count("work", "done"), 30);
    assert_eq!(bench.tool.count("work", "dead"), 30);

    // Each with its reason, last error and failures, and run so often.
    let dead = bench.dead(&["--body"]);
    let mut seen = BTreeMap::new();
    for task in &dead {
        let n: usize = task["payload"].as_str().unwrap().parse().unwrap();
        assert_eq!(task["id"], *bench.ids[n]);
        assert_eq!(task["state"], "dead", "{task}");
        assert!(task["died_at"].is_string(), "{task}");
        let (reason, failures, error) = fate(n).unwrap_or_else(|| panic!("{n} is no poison"));
        assert_eq!(task["death_reason"], reason, "{task}");
        assert_eq!(task["failures"], failures, "{task}");
        assert_eq!(task["last_error"], *error, "{task}");
        seen.insert(n, failures);
    }
    let poison: Vec<usize> = (0..COUNT).filter(|n| fate(*n).is_some()).collect();
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), poison);
    for (n, runs) in bench.noted() {
        let count = seen.get(&n).copied().unwrap_or(1);
        let expected: Vec<_> = (1..=count).map(|attempt| (attempt, attempt)).collect();
        assert_eq!(runs, expected, "task {n}");
    }
    let table = bench.tool.text(&["dead", "list", "work"]);
    assert_eq!(table.lines().count(), 31, "{table}");
    let line = table.lines().find(|line| line.contains(&bench.ids[1]));
    let line = line.unwrap_or_else(|| panic!("{table}"));
    assert!(
        line.contains("attempts") && line.contains("no disk for 1"),
        "{line}"
    );
    assert_eq!(bench.dead(&["--reason", "permanent"]).len(), 12);
    assert_eq!(bench.dead(&["--reason", "ttl"]).len(), 0);

    redrive_and_purge(&bench, &script);
}

fn redrive_and_purge(bench: &Bench, script: &str) {
    let tool = &bench.tool;
    // Not mended yet: one comes again, and dies again of the same, from the first
    // attempt on.
    let said = tool.text(&["dead", "redrive", "work", &bench.ids[1]]);
    assert_eq!(said, "1 redriven\n");
    bench.finish(bench.consume(script));
    let runs = bench.noted().remove(&1).unwrap();
    let expected = [(1, 1), (2, 2), (3, 3), (1, 4), (2, 5), (3, 6)];
    assert_eq!(
        runs, expected,
        "an attempt counts failures, deliveries go on"
    );
    // With its failures kept it has one more.
    let flags = ["--keep-attempts", "-o", "json"];
    let command = [&["dead", "redrive", "work", &bench.ids[1]], &flags[..]].concat();
    assert_eq!(tool.text(&command), "{\n  \"redriven\": 1\n}\n");
    bench.finish(bench.consume(script));
    assert_eq!(bench.noted()[&1].len(), 7);
    assert_eq!(tool.count("work", "dead"), 30);

    // One is purged by name, one by what it died of, the oldest of them.
    let said = tool.text(&["dead", "purge", "work", &bench.ids[2]]);
    assert_eq!(said, "1 purged\n");
    let flags = ["--reason", "permanent", "--limit", "1", "-o", "json"];
    let said = tool.text(&[&["dead", "purge", "work"], &flags[..]].concat());
    assert_eq!(said, "{\n  \"purged\": 1\n}\n");
    tool.refused(&["get", "work", &bench.ids[2]], 1, &[&bench.ids[2]]);

    fs::write(bench.runs().join("mended"), "").unwrap();
    assert_eq!(tool.text(&["dead", "redrive", "work"]), "28 redriven\n");
    bench.finish(bench.consume(script));
    let counts = tool.json(&["ns", "get", "work"])["counts"].clone();
    let of = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(
        (of("done"), of("dead"), of("purged")),
        (58, 0, 2),
        "{counts}"
    );
    assert_eq!(tool.text(&["dead", "redrive", "work"]), "0 redriven\n");
    assert_eq!(tool.text(&["dead", "purge", "work"]), "0 purged\n");
    assert!(bench.dead(&[]).is_empty());
}

#[test]
fn a_command_gets_the_task_as_it_was_made() {
    let bench = Bench::of(0);
    let payload: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let file = bench.folder.path().join("payload");
    fs::write(&file, &payload).unwrap();
    let quoted = "say=it's \"so\" $HOME\n";
    let id = bench.tool.text(&[
        "create",
        "work",
        "--file",
        file.to_str().unwrap(),
        "-m",
        quoted,
    ]);
    let script = format!(
        "cd {}; cat > payload; printf %s \"$Z4_METADATA\" > metadata; echo $Z4_TASK_ID > id",
        bench.runs().display()
    );
    // What the command prints stands where the results do not.
    let script = format!("{script}; echo noise");
    let flags = ["--exec", &script, "--count", "1", "-o", "text"];
    let done = bench.tool.run(&[&["consume", "work"], &flags[..]].concat());
    let expected = format!("{} attempt 1 done\n", id.trim_end());
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, expected.as_str()),
        "{}",
        done.stderr
    );
    assert_eq!(done.stderr, "noise\n");
    let read = |name: &str| fs::read(bench.runs().join(name)).unwrap();
    assert!(
        read("payload") == payload,
        "{} bytes",
        read("payload").len()
    );
    assert_eq!(read("id"), id.as_bytes());
    let metadata: Value = serde_json::from_slice(&read("metadata")).unwrap();
    assert_eq!(metadata["say"], quoted.trim_start_matches("say="));
    // A command that does not read its payload is free to; one that a signal
    // ends before it reads is no trouble either.
    let id = bench
        .tool
        .text(&["create", "work", "--file", file.to_str().unwrap()]);
    let flags = ["--exec", "kill -9 $$", "--count", "1", "-o", "json"];
    let done = bench.tool.run(&[&["consume", "work"], &flags[..]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let told = format!(
        "z4t: task {} attempt 1 failed: ended by signal 9; ",
        id.trim_end()
    );
    assert!(done.stderr.starts_with(&told), "{done:?}");
    let line = &tool::lines(&done.stdout)[0];
    assert_eq!(line["id"], id.trim_end(), "{line}");
    assert_eq!(line["outcome"], "failed: ended by signal 9", "{line}");
}

#[test]
fn a_signal_waits_for_the_commands_that_run() {
    let bench = Bench::of(1);
    let script = bench.script("while [ ! -e go ]; do sleep 0.05; done; echo end > ended");
    let consumer = bench.consume(&script);
    let started = bench.runs().join("0");
    wait::until("the command starts", LIMIT, || {
        wait::check(Path::new(&started).exists(), || "it does not".to_owned())
    });
    let pid = consumer.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(sent.unwrap().success());
    // It takes nothing more, and its command still runs.
    let next = bench.tool.text(&["create", "work", "1"]);
    let mut consumer = consumer;
    let early = command::wait(&mut consumer, Duration::from_millis(700));
    assert!(early.is_none(), "{early:?}");
    fs::write(bench.runs().join("go"), "").unwrap();
    let status = command::wait(&mut consumer, LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(bench.runs().join("ended").exists());
    assert_eq!(bench.tool.count("work", "done"), 1);
    let left = bench.tool.json(&["get", "work", next.trim_end()]);
    assert_eq!(left["state"], "scheduled", "{left}");
    assert_eq!(left["failures"], 0, "{left}");
}
