//! What `z4t` shows of many tasks, and what it says beside it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use z4_e2e::{command, http, Peer, Tool};

use crate::z4t_life::{leased, made, single};

/// What a list printed, and what it said on standard error.
#[track_caller]
fn listed(tool: &Tool, flags: &[&str]) -> (Vec<String>, String) {
    let done = tool.run(&[flags, &["-o", "json"]].concat());
    assert_eq!(done.code, 0, "{flags:?}: {done:?}");
    let ids = z4_e2e::tool::lines(&done.stdout);
    let ids = ids.iter().map(|t| t["id"].as_str().unwrap().to_owned());
    (ids.collect(), done.stderr)
}

#[test]
fn a_list_says_that_there_is_more_and_goes_on() {
    let (_cluster, tool) = single();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("batch");
    fs::write(&path, "{\"in\": \"1h\"}\n".repeat(250)).unwrap();
    let ids = tool.create_batch("long", &path);
    let mut seen = Vec::new();
    let mut flags = vec!["list".to_owned(), "long".to_owned()];
    loop {
        let words: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (page, said) = listed(&tool, &words);
        seen.extend(page);
        let Some((_, rest)) = said.split_once("--page-token ") else {
            assert_eq!(said, "", "the last page says nothing");
            break;
        };
        assert!(
            said.contains("there are more than these 100: --limit 0"),
            "{said}"
        );
        flags.truncate(2);
        let token = rest.split(' ').next().unwrap().to_owned();
        flags.extend(["--page-token".to_owned(), token]);
    }
    assert_eq!(seen, ids, "each once, in order");
    // As many as there are: nothing more to say.
    let (page, said) = listed(&tool, &["list", "long", "--limit", "250"]);
    assert_eq!((page.len(), said.as_str()), (250, ""));
    tool.refused(
        &["list", "long", "--page-token", "00"],
        1,
        &["--page-token"],
    );
}

#[test]
fn a_list_by_due_time() {
    let (_cluster, tool) = single();
    let ids = ["3h", "1h", "2h"].map(|delay| made(&tool, "due", &["--in", delay]));
    let sorted = [&ids[1], &ids[2], &ids[0]].map(String::as_str);
    let by_due = ["list", "due", "--sort", "due"];
    let (all, said) = listed(&tool, &by_due);
    assert_eq!(
        (all, said.as_str()),
        (sorted.map(str::to_owned).to_vec(), "")
    );
    let (first, said) = listed(&tool, &[&by_due[..], &["--limit", "2"]].concat());
    assert_eq!(first, sorted[..2]);
    assert!(said.contains("the first 2 of 3 tasks"), "{said}");
    let text = tool.text(&by_due);
    let second = text.lines().nth(1).unwrap();
    assert!(second.starts_with(sorted[0]), "{text}");
    tool.refused(&["list", "due", "--sort", "size"], 2, &["due"]);
}

#[test]
fn metadata_is_shown_and_picks() {
    let (_cluster, tool) = single();
    let ids = [["to=a", "n=1"], ["to=b", "n=2"], ["to=a", "n=3"]]
        .map(|[to, n]| made(&tool, "meta", &["-m", to, "-m", n, "--in", "1h"]));
    assert!(!tool.text(&["list", "meta"]).contains("to=a"));
    let text = tool.text(&["list", "meta", "--metadata"]);
    assert!(
        text.contains("n=2 to=b") && !text.contains("hello"),
        "{text}"
    );
    let one = tool
        .json_lines(&["list", "meta", "--metadata"])
        .swap_remove(0);
    assert_eq!(one["metadata"]["to"], "a", "{one}");
    assert!(one.get("payload").is_none(), "{one}");

    let (found, said) = listed(&tool, &["list", "meta", "--where", "to=a"]);
    assert_eq!(found, [ids[0].as_str(), &ids[2]]);
    assert_eq!(
        said,
        "z4t: 2 of 3 tasks that were looked at match --where\n"
    );
    let both = ["list", "meta", "--where", "to=a", "--where", "n=3"];
    assert_eq!(listed(&tool, &both).0, [ids[2].as_str()]);
    let none = ["list", "meta", "--where", "to=a", "--limit", "1"];
    let (found, said) = listed(&tool, &none);
    assert_eq!(found, [ids[0].as_str()]);
    assert!(said.contains("may be more than these 1"), "{said}");
    let twice = ["list", "meta", "--where", "to=a", "--where", "to=b"];
    tool.refused(&twice, 2, &["--where to=a and --where to=b"]);
    // The dead have the same flags.
    let _ = tool.text(&["run-now", "meta", &ids[1]]);
    let lease = leased(&tool, "meta", &[]);
    let _ = tool.text(&["nack", "meta", &lease, "--permanent"]);
    let dead = ["dead", "list", "meta", "--metadata", "--where", "to=b"];
    let done = tool.run(&dead);
    assert!(done.stdout.contains("n=2 to=b"), "{done:?}");
    assert!(done.stderr.contains("1 of 1 tasks"), "{done:?}");
}

/// How many pages of tasks a peer was asked for.
fn pages(peer: &Peer) -> u64 {
    let (_, body) = http::get(&peer.metrics_address(), "/metrics").unwrap();
    let is_list = |l: &&str| l.starts_with("z4_rpc_requests_total") && l.contains("ListTasks");
    let counts = body.lines().filter(is_list);
    let counts = counts.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum::<f64>() as u64
}

#[test]
fn a_rare_task_is_found_in_few_calls_and_the_list_goes_on_behind_it() {
    let (cluster, tool) = single();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("batch");
    let line = |n: usize| match n % 150 {
        149 => "{\"in\": \"1h\", \"metadata\": {\"to\": \"a\"}}\n",
        _ => "{\"in\": \"1h\"}\n",
    };
    fs::write(&path, (0..450).map(line).collect::<String>()).unwrap();
    let ids = tool.create_batch("rare", &path);
    let one = ["list", "rare", "--where", "to=a", "--limit", "1"];
    let mut token = Vec::new();
    for found in [149, 299] {
        let before = pages(&cluster.peers[0]);
        let flags: Vec<&str> = one.into_iter().chain(token.iter().copied()).collect();
        let (shown, said) = listed(&tool, &flags);
        assert_eq!(shown, [ids[found].as_str()]);
        assert!(said.contains("1 of 150 tasks"), "{said}");
        let asked = pages(&cluster.peers[0]) - before;
        assert!(asked < 10, "{asked} pages for one task");
        let next = said.split("--page-token ").nth(1).unwrap();
        let next = next.split_whitespace().next().unwrap().to_owned();
        token = vec!["--page-token", next.leak()];
    }
}

/// `z4t` on a terminal: `script` is one, and copies what it shows.
fn on_a_terminal(tool: &Tool, zone: &str, arguments: &[&str]) -> String {
    let z4t = tool.command(arguments);
    let words = std::iter::once(z4t.get_program()).chain(z4t.get_args());
    let words: Vec<_> = words
        .map(|w| format!("'{}'", w.to_str().unwrap()))
        .collect();
    let mut script = Command::new("script");
    script
        .args(["-qec", &words.join(" "), "/dev/null"])
        .env("TZ", zone);
    let done = command::run(script, Duration::from_secs(90));
    assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    done.stdout
}

#[test]
fn a_terminal_shows_local_time_and_programs_utc() {
    const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
    let (_cluster, tool) = single();
    let id = made(&tool, "clock", &["--at", "2030-07-31T06:00:00Z"]);
    for command in [&["get", "clock", &id][..], &["list", "clock"]] {
        let shown = on_a_terminal(&tool, ZONE, command);
        assert!(shown.contains("2030-07-31T08:00:00+02:00"), "{shown}");
        for flags in [&["--utc"][..], &["-o", "json"]] {
            let shown = on_a_terminal(&tool, ZONE, &[command, flags].concat());
            assert!(shown.contains("2030-07-31T06:00:00Z"), "{shown}");
        }
        let text = tool.text(command);
        assert!(text.contains("2030-07-31T06:00:00Z"), "no terminal: {text}");
        let text = tool.text(&[command, &["--tz", "-05:30"]].concat());
        assert!(text.contains("2030-07-31T00:30:00-05:30"), "{text}");
    }
}

#[test]
fn stream_and_consume_say_on_a_terminal_that_they_take() {
    let (_cluster, tool) = single();
    for (command, count) in [("stream", "--limit"), ("consume", "--count")] {
        let _ = made(&tool, "taken", &[]);
        let shown = on_a_terminal(&tool, "UTC", &[command, "taken", count, "1"]);
        let said = shown.matches("takes the tasks of \"taken\"").count();
        assert_eq!(said, 1, "{shown}");
        assert!(shown.contains("acks") && shown.contains("hello"), "{shown}");
        // Nothing is said to programs, nor where a command does the work.
        let _ = made(&tool, "taken", &[]);
        let _ = tool.text(&[command, "taken", count, "1"]);
    }
    let _ = made(&tool, "taken", &[]);
    let flags = ["consume", "taken", "--count", "1", "--exec", "cat"];
    let shown = on_a_terminal(&tool, "UTC", &flags);
    assert!(!shown.contains("takes the tasks"), "{shown}");
}
