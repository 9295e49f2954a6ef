//! Every command of `z4t` that shows tasks and namespaces or changes many at once,
//! for people and as JSON, and its complaints.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use z4_e2e::{wait, Cluster, Tool};

use crate::z4t_life::{id_of, leased, made, single};

#[test]
fn lists_by_state_time_and_page() {
    let (_cluster, tool) = single();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("batch");
    let line = "{\"payload\": \"p\", \"in\": \"1h\"}\n";
    fs::write(&path, line.repeat(2_345)).unwrap();
    let ids = tool.create_batch("many", &path);
    // More than two pages of the peer.
    let listed = tool.json_lines(&["list", "many", "--limit", "0"]);
    let listed: Vec<&str> = listed.iter().map(|t| t["id"].as_str().unwrap()).collect();
    assert_eq!(listed, ids, "in the order of creation, each once");
    let text = tool.text(&["list", "many", "--limit", "0"]);
    assert_eq!(text.lines().count(), 2_346, "one header");
    let hundred = tool.run(&["list", "many"]);
    assert_eq!(hundred.stdout.lines().count(), 101);
    let few = tool.run(&["list", "many", "--limit", "7", "--body", "-o", "json"]);
    let few = z4_e2e::tool::lines(&few.stdout);
    assert_eq!(few.len(), 7);
    assert_eq!(few[0]["payload"], "p");

    let held = tool.json(&["run-now", "many", &ids[3]])["id"].clone();
    let lease = leased(&tool, "many", &["--consumer-id", "holder"]);
    assert_eq!(held, id_of(&lease));
    let _ = tool.text(&["run-now", "many", &ids[4]]);
    let dead = leased(&tool, "many", &[]);
    let _ = tool.text(&["nack", "many", &dead, "--permanent"]);
    for (state, expected) in [
        ("leased", vec![id_of(&lease)]),
        ("dead", vec![ids[4].as_str()]),
    ] {
        let listed = tool.json_lines(&["list", "many", "--state", state]);
        let listed: Vec<&str> = listed.iter().map(|t| t["id"].as_str().unwrap()).collect();
        assert_eq!(listed, expected, "{state}");
        let text = tool.text(&["list", "many", "--state", state]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(expected[0]) && text.contains(state), "{text}");
    }
    let all = ["list", "many", "--limit", "0"];
    let waiting = tool.json_lines(&[&all[..], &["--state", "scheduled"]].concat());
    assert_eq!(waiting.len(), 2_343);
    let middle = waiting[1_000]["due_at"].as_str().unwrap();
    let of = |bound: &str| {
        let flags = ["--state", "scheduled", bound, middle];
        tool.json_lines(&[&all[..], &flags].concat()).len()
    };
    let (before, after) = (of("--to"), of("--from"));
    assert_eq!(before + after, 2_343, "each is on one side of {middle}");
    assert!(before > 0 && after > 0, "{before} {after}");
    let text = tool.text(&["list", "many", "--to", "1999-01-01T00:00:00Z"]);
    assert_eq!(text.lines().count(), 1, "a header: {text}");
    tool.refused(&["list", "nobody"], 1, &["nobody"]);
    tool.refused(&["list", "many", "--state", "done"], 2, &["scheduled"]);
    let bounds = [
        "--from",
        "2030-01-01T00:00:00Z",
        "--to",
        "2029-01-01T00:00:00Z",
    ];
    tool.refused(&[&["list", "many"], &bounds[..]].concat(), 1, &["from"]);
}

/// The first reason of an explanation.
#[track_caller]
fn reason(tool: &Tool, namespace: &str, id: &str, kind: &str) -> Value {
    let explained = tool.json(&["explain", namespace, id]);
    assert_eq!(explained["task"]["id"], *id, "{explained}");
    let reasons = explained["reasons"].as_array().unwrap();
    let found = reasons.iter().find(|reason| reason["kind"] == kind);
    let found = found.unwrap_or_else(|| panic!("{kind} is not in {explained}"));
    assert!(
        !found["message"].as_str().unwrap().is_empty(),
        "{explained}"
    );
    let text = tool.text(&["explain", namespace, id]);
    assert!(text.contains(&format!("- {kind}: ")), "{text}");
    found.clone()
}

#[test]
fn explain_says_why() {
    let (_cluster, tool) = single();
    let later = made(&tool, "why", &["--in", "3h"]);
    let found = reason(&tool, "why", &later, "not_due");
    assert!(found["until"].is_string(), "{found}");
    let id = made(&tool, "why", &[]);
    reason(&tool, "why", &id, "no_consumer");
    let _ = tool.text(&["ns", "pause", "why"]);
    let found = reason(&tool, "why", &id, "paused");
    assert!(found["since"].is_string(), "{found}");
    let _ = tool.text(&["ns", "resume", "why"]);
    let lease = leased(&tool, "why", &["--consumer-id", "worker-1"]);
    let found = reason(&tool, "why", &id, "leased");
    assert!(found["until"].is_string(), "{found}");
    let message = found["message"].as_str().unwrap();
    assert!(message.contains("attempt 1"), "{found}");
    assert!(
        found["message"].as_str().unwrap().contains("worker-1"),
        "{found}"
    );
    let _ = tool.text(&["nack", "why", &lease, "--delay", "1h", "--error", "no ink"]);
    let found = reason(&tool, "why", &id, "backoff");
    let message = found["message"].as_str().unwrap();
    assert!(
        message.contains("once") && message.contains("no ink"),
        "{found}"
    );
    assert_eq!(found["count"], 1, "{found}");
    let _ = tool.text(&["run-now", "why", &id]);
    let lease = leased(&tool, "why", &[]);
    let _ = tool.text(&["nack", "why", &lease, "--permanent"]);
    reason(&tool, "why", &id, "dead");
    // A rate of one in a long while is used up by the first.
    for flags in [["--rate-per-s", "1"], ["--leased-max", "1"]] {
        let _ = tool.text(&[&["ns", "set", "slow"], &flags[..]].concat());
    }
    let (first, second) = (made(&tool, "slow", &[]), made(&tool, "slow", &[]));
    let lease = leased(&tool, "slow", &[]);
    assert_eq!(id_of(&lease), first);
    let found = reason(&tool, "slow", &second, "leased_max");
    assert_eq!(found["count"], 1, "{found}");
}

#[test]
fn namespaces_from_set_to_delete() {
    let (_cluster, tool) = single();
    let flags = [
        "--lease",
        "45s",
        "--max-attempts",
        "7",
        "--backoff-min",
        "2s",
        "--backoff-max",
        "1m",
        "--dedupe-window",
        "5m",
        "--pending-max",
        "100",
        "--bytes-max",
        "1000000",
        "--leased-max",
        "10",
        "--rate-per-s",
        "50",
        "--rate-burst",
        "5",
        "--dead-keep",
        "2h",
        "--dead-keep-count",
        "20",
    ];
    let shown = tool.json(&[&["ns", "set", "all"], &flags[..]].concat());
    let got = tool.json(&["ns", "get", "all"]);
    assert_eq!(shown, got);
    let settings = &got["settings"];
    for pair in flags.chunks(2) {
        let name = pair[0].trim_start_matches("--").replace('-', "_");
        let said = match &settings[&name] {
            Value::String(text) => text.clone(),
            number => number.to_string(),
        };
        assert_eq!(said, pair[1], "{name}: {settings}");
    }
    let text = tool.text(&["ns", "get", "all"]);
    for line in ["lease", "max attempts", "rate", "created"] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line}: {text}");
    }
    // One at a time: the rest stays. A limit goes away with 0, or forever.
    let text = tool.text(&[
        "ns",
        "set",
        "all",
        "--leased-max",
        "0",
        "--dead-keep",
        "forever",
    ]);
    assert!(
        text.contains("no limit") && text.contains("forever"),
        "{text}"
    );
    let settings = tool.json(&["ns", "get", "all"])["settings"].clone();
    assert_eq!(settings["leased_max"], 0, "{settings}");
    assert!(settings["dead_keep"].is_null(), "{settings}");
    assert_eq!(settings["max_attempts"], 7, "{settings}");

    assert_eq!(tool.text(&["ns", "pause", "all"]), "all paused\n");
    assert!(tool.json(&["ns", "get", "all"])["paused_at"].is_string());
    let _ = made(&tool, "all", &[]);
    assert_eq!(tool.text(&["lease", "all"]), "");
    assert_eq!(tool.text(&["ns", "resume", "all"]), "all resumed\n");
    assert!(tool.json(&["ns", "pause", "all"])["paused_at"].is_string());
    assert!(tool.json(&["ns", "resume", "all"])["paused_at"].is_null());

    let _ = made(&tool, "other", &["--priority", "9"]);
    let listed = tool.json_lines(&["ns", "list"]);
    let names: Vec<&str> = listed.iter().map(|n| n["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["all", "other"]);
    let text = tool.text(&["ns", "list"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    let stats = tool.json(&["ns", "stats", "other"]);
    assert_eq!(stats["counts"]["pending"], 1, "{stats}");
    assert_eq!(stats["pending_by_priority"][0], 1, "highest first: {stats}");
    assert_eq!(stats["consumers"], 0, "{stats}");
    assert!(stats["oldest_due_age_s"].is_number(), "{stats}");
    let text = tool.text(&["ns", "stats", "other"]);
    assert!(
        text.lines()
            .any(|l| l.starts_with("by priority") && l.ends_with("9: 1")),
        "{text}"
    );
    removed(&tool);
}

fn removed(tool: &Tool) {
    assert_eq!(
        tool.text(&["ns", "delete", "all", "--wait"]),
        "all deleted\n"
    );
    tool.refused(&["ns", "get", "all"], 1, &["all"]);
    let said = tool.json(&["ns", "delete", "other"]);
    assert_eq!(said["name"], "other", "{said}");
    wait::until("other goes", Duration::from_secs(30), || {
        let left = tool.text(&["ns", "list"]);
        wait::check(left.lines().count() == 1, || left.clone())
    });
    for command in ["get", "pause", "resume", "delete", "stats"] {
        tool.refused(&["ns", command, "nobody"], 1, &["nobody"]);
    }
    tool.refused(&["ns", "set", "all"], 2, &["setting"]);
    tool.refused(&["ns", "set", "all", "--lease", "1ms"], 1, &["lease"]);
    tool.refused(&["ns", "set", "a b", "--lease", "1s"], 1, &["name"]);
    tool.refused(&["ns", "frobnicate"], 2, &["frobnicate"]);
    tool.refused(&["ns"], 2, &["give a command"]);
    tool.refused(&["dead"], 2, &["give a command"]);
    tool.refused(&["dead", "list", "nobody"], 1, &["nobody"]);
    tool.refused(&["dead", "redrive", "nobody"], 1, &["nobody"]);
    tool.refused(&["dead", "purge", "x", "--keep-attempts"], 2, &["redrive"]);
}

#[test]
fn verify_says_ok() {
    let cluster = Cluster::three();
    let tool = Tool::at(&cluster.peers[2]);
    for n in 0..5 {
        let _ = made(
            &tool,
            "sound",
            &["--in", "1h", "--priority", &n.to_string()],
        );
    }
    let _ = made(&tool, "sound", &[]);
    let _ = leased(&tool, "sound", &[]);
    let text = tool.text(&["verify"]);
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words.len(), 3, "{text}");
    assert_eq!(words[0], "ok", "{text}");
    assert!(words[1].starts_with("index="), "{text}");
    let hash = words[2]
        .strip_prefix("hash=")
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(hash.len(), 32, "{text}");
    let verdict = tool.json(&["verify"]);
    assert_eq!(verdict["ok"], true, "{verdict}");
    let members = verdict["members"].as_array().unwrap();
    assert_eq!(members.len(), 3, "{verdict}");
    let hash = &members[0]["state_hash"];
    assert!(
        members.iter().all(|m| m["state_hash"] == *hash),
        "{verdict}"
    );
    assert!(
        members.iter().all(|m| m["rows"] == members[0]["rows"]),
        "{verdict}"
    );
}

/// Makes dead letters of `count` tasks, as many at once as one command takes.
fn die(tool: &Tool, namespace: &str, count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("batch");
    fs::write(&path, "{}\n".repeat(count)).unwrap();
    assert_eq!(tool.create_batch(namespace, &path).len(), count);
    let mut dead = 0;
    while dead < count {
        let leased = tool.json_lines(&["lease", namespace, "--max", "1024"]);
        assert!(!leased.is_empty(), "{dead} of {count}");
        let leases = leased.iter().map(|one| one["lease"].as_str().unwrap());
        let mut nack = vec!["nack", namespace, "--permanent"];
        nack.extend(leases);
        assert_eq!(tool.text(&nack).lines().count(), leased.len());
        dead += leased.len();
    }
}

#[test]
fn one_command_deals_with_all_dead_letters() {
    const COUNT: usize = 12_000;
    let (_cluster, tool) = single();
    die(&tool, "heap", COUNT);
    // More than one call redrives; it is told when not all have room.
    let _ = tool.text(&["ns", "set", "heap", "--pending-max", "11000"]);
    tool.refused(
        &["dead", "redrive", "heap"],
        1,
        &["pending_max", "11000 redriven before", "run it again"],
    );
    assert_eq!(tool.count("heap", "pending"), 11_000);
    let flags = ["--limit", "400", "-o", "json"];
    let said = tool.text(&[&["dead", "purge", "heap"], &flags[..]].concat());
    assert_eq!(said, "{\n  \"purged\": 400\n}\n");
    let _ = tool.text(&["ns", "set", "heap", "--pending-max", "0"]);
    assert_eq!(tool.text(&["dead", "redrive", "heap"]), "600 redriven\n");
    let counts = tool.json(&["ns", "get", "heap"])["counts"].clone();
    assert_eq!(counts["pending"], 11_600, "{counts}");
    assert_eq!(counts["purged"], 400, "{counts}");
    assert_eq!(counts["dead"], 0, "{counts}");
}
