//! Every command of `z4t` that changes tasks, for people and as JSON, and its
//! complaints.

use serde_json::Value;
use z4_e2e::{wait, Cluster, Tool};

pub(crate) fn single() -> (Cluster, Tool) {
    let cluster = Cluster::single();
    let tool = Tool::at(&cluster.peers[0]);
    (cluster, tool)
}

/// Creates a task; its id.
#[track_caller]
pub(crate) fn made(tool: &Tool, namespace: &str, flags: &[&str]) -> String {
    let text = tool.text(&[&["create", namespace, "hello"], flags].concat());
    let id = text.trim_end();
    assert_eq!(id.len(), 26, "{text}");
    id.to_owned()
}

/// Leases one task; `ID:TOKEN`.
#[track_caller]
pub(crate) fn leased(tool: &Tool, namespace: &str, flags: &[&str]) -> String {
    let command = [&["lease", namespace, "--wait", "20s"], flags].concat();
    let deliveries = tool.json_lines(&command);
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    deliveries[0]["lease"].as_str().unwrap().to_owned()
}

pub(crate) fn id_of(lease: &str) -> &str {
    lease.split(':').next().unwrap()
}

#[test]
fn create_with_all_it_may_say() {
    let (_cluster, tool) = single();
    let flags = [
        "--priority",
        "8",
        "--max-attempts",
        "4",
        "--ttl",
        "2h",
        "--in",
        "1h",
        "-m",
        "lang=de",
    ];
    let command = [&["create", "made", "hi"], &flags[..]].concat();
    let task = tool.json(&command);
    let id = task["id"].as_str().unwrap();
    let seen = tool.json(&["get", "made", id]);
    for (name, expected) in [
        ("priority", Value::from(8)),
        ("max_attempts", 4.into()),
        ("ttl", "2h".into()),
        ("state", "scheduled".into()),
        ("attempt", 1.into()),
        ("failures", 0.into()),
        ("payload", "hi".into()),
    ] {
        assert_eq!(seen[name], expected, "{name}: {seen}");
    }
    assert_eq!(seen["metadata"]["lang"], "de", "{seen}");
    assert_eq!(seen["due_at"], seen["deliver_at"], "{seen}");
    let text = tool.text(&["get", "made", id]);
    for line in ["priority    8", "attempt     1 of 4", "ttl         2h"] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    // Nothing said: the middle priority, for ever, the namespace's attempts.
    let plain = tool.json(&["get", "made", &made(&tool, "made", &[])]);
    assert_eq!(plain["priority"], 5, "{plain}");
    assert_eq!(plain["max_attempts"], 0, "{plain}");
    assert!(plain.get("ttl").is_none(), "{plain}");
    for (flag, value, word) in [
        ("--priority", "10", "priority"),
        ("--max-attempts", "4000000000", "--max-attempts"),
        ("--ttl", "101y", "ttl"),
        ("--ttl", "0s", "ttl"),
    ] {
        tool.refused(&["create", "made", "x", flag, value], 1, &[word]);
    }
    for (flag, value, word) in [
        ("--priority", "high", "--priority"),
        ("--ttl", "soon", "--ttl"),
        ("--in", "1500ms", "whole seconds"),
    ] {
        tool.refused(&["create", "made", "x", flag, value], 2, &[word]);
    }
}

#[test]
fn leases_by_hand() {
    let (_cluster, tool) = single();
    assert_eq!(tool.text(&["lease", "hand"]), "", "nothing is due");
    let id = made(&tool, "hand", &[]);
    let flags = ["--consumer-id", "me", "--lease", "1m", "-o", "json"];
    let text = tool.text(&[&["lease", "hand", "--max", "5"], &flags[..]].concat());
    let delivery: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(delivery["task"]["id"], *id, "{delivery}");
    assert_eq!(delivery["task"]["payload"], "hello", "{delivery}");
    assert_eq!(delivery["attempt"], 1, "{delivery}");
    let first = delivery["lease"].as_str().unwrap();
    assert!(first.starts_with(&format!("{id}:")), "{first}");
    let seen = tool.json(&["get", "hand", &id]);
    assert_eq!(seen["state"], "leased", "{seen}");
    assert_eq!(seen["consumer_id"], "me", "{seen}");
    assert_eq!(seen["lease_deadline"], delivery["lease_deadline"], "{seen}");

    // Extended, nacked, and the token is stale from then on.
    let text = tool.text(&["extend", "hand", first, "--lease", "10m"]);
    assert!(text.starts_with(&format!("{id} extended 2")), "{text}");
    let result = &tool.json_lines(&["extend", "hand", first])[0];
    assert_eq!(result["outcome"], "extended", "{result}");
    assert_eq!(result["lease"], first, "{result}");
    let seen = tool.json(&["get", "hand", &id]);
    assert_eq!(seen["lease_deadline"], result["lease_deadline"], "{seen}");
    let nack = ["nack", "hand", first, "--error", "no disk", "--delay", "0s"];
    let text = tool.text(&nack);
    assert!(text.starts_with(&format!("{id} waiting 2")), "{text}");
    let said = tool.refused(&["ack", "hand", first], 1, &["1 of 1", "not done"]);
    assert!(said.starts_with(&format!("{id} expired ")), "{said}");
    let second = leased(&tool, "hand", &[]);
    let said = tool.refused(&["ack", "hand", first, "-o", "json"], 1, &["not done"]);
    let result: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(result["outcome"], "taken", "{result}");
    assert!(!result["message"].as_str().unwrap().is_empty(), "{result}");
    let seen = tool.json(&["get", "hand", &id]);
    assert_eq!(seen["last_error"], "no disk", "{seen}");
    assert_eq!(
        (&seen["attempt"], &seen["deliveries"]),
        (&2.into(), &2.into())
    );

    // Released: no failure; then done, then gone.
    let text = tool.text(&["release", "hand", &second]);
    assert!(text.starts_with(&format!("{id} waiting 2")), "{text}");
    let third = leased(&tool, "hand", &[]);
    let seen = tool.json(&["get", "hand", &id]);
    assert_eq!(
        (&seen["attempt"], &seen["deliveries"]),
        (&2.into(), &3.into())
    );
    assert_eq!(tool.text(&["ack", "hand", &third]), format!("{id} done\n"));
    let said = tool.refused(&["ack", "hand", &third], 1, &["not done"]);
    assert!(said.starts_with(&format!("{id} gone ")), "{said}");
    tool.refused(&["get", "hand", &id], 1, &[&id]);
    several_at_once(&tool);
    for bad in ["x", "x:y", ":1", "x:-1"] {
        tool.refused(&["ack", "hand", bad], 2, &["ID:TOKEN"]);
    }
    let said = tool.refused(&["ack", "hand", "x:1"], 1, &["not done"]);
    assert!(
        said.contains("x invalid the task id must be 26 characters"),
        "{said}"
    );
    tool.refused(&["ack", "hand"], 2, &["ID:TOKEN"]);
}

/// Each of several leases has its own answer.
fn several_at_once(tool: &Tool) {
    for _ in 0..2 {
        made(tool, "hand", &[]);
    }
    let (one, two) = (leased(tool, "hand", &[]), leased(tool, "hand", &[]));
    let stale = format!("{}:999999999", id_of(&one));
    let command = ["ack", "hand", &one, &stale, &two];
    let said = tool.refused(&command, 1, &["1 of 3", "not done"]);
    let words: Vec<Vec<&str>> = said.lines().map(|l| l.split(' ').collect()).collect();
    assert_eq!(words[0][..2], [id_of(&one), "done"], "{said}");
    assert_eq!(words[1][0], id_of(&one), "{said}");
    assert!(["gone", "taken"].contains(&words[1][1]), "{said}");
    assert_eq!(words[2][..2], [id_of(&two), "done"], "{said}");
    let id = made(tool, "hand", &[]);
    let lease = leased(tool, "hand", &[]);
    let command = ["nack", "hand", &lease, "--permanent", "--error", "never"];
    assert_eq!(tool.text(&command), format!("{id} dead permanent\n"));
    let said = tool.refused(&["release", "hand", &lease], 1, &["not done"]);
    assert!(said.starts_with(&format!("{id} already_dead ")), "{said}");
}

#[test]
fn what_waits_is_moved_run_or_removed() {
    let (_cluster, tool) = single();
    let id = made(&tool, "wait", &["--in", "1h"]);
    let text = tool.text(&["reschedule", "wait", &id, "--in", "2h"]);
    assert_eq!(text, format!("{id} rescheduled\n"));
    let at = "2031-01-31T08:00:00+01:00";
    let task = tool.json(&["reschedule", "wait", &id, "--at", at]);
    assert_eq!(task["due_at"], "2031-01-31T07:00:00Z", "{task}");
    assert_eq!(task["id"], *id, "{task}");
    assert_eq!(
        tool.text(&["run-now", "wait", &id]),
        format!("{id} due now\n")
    );
    let lease = leased(&tool, "wait", &["--consumer-id", "holder"]);
    assert_eq!(id_of(&lease), id);
    // Held: each says who holds it.
    for command in [
        &["cancel", "wait", &id][..],
        &["run-now", "wait", &id],
        &["reschedule", "wait", &id, "--in", "1m"],
    ] {
        tool.refused(command, 1, &[&id, "holder", "until"]);
    }
    let _ = tool.text(&["release", "wait", &lease]);
    let task = tool.json(&["run-now", "wait", &id]);
    assert_eq!(task["state"], "scheduled", "{task}");
    let task = tool.json(&["cancel", "wait", &id]);
    assert_eq!(task["id"], *id, "{task}");
    assert_eq!(task["state"], "scheduled", "as it was: {task}");
    for command in [
        &["cancel", "wait", &id][..],
        &["get", "wait", &id],
        &["explain", "wait", &id],
        &["run-now", "wait", &id],
        &["reschedule", "wait", &id, "--in", "1m"],
    ] {
        tool.refused(command, 1, &[&id]);
    }
    let id = made(&tool, "wait", &["--in", "1h"]);
    assert_eq!(
        tool.text(&["cancel", "wait", &id]),
        format!("{id} cancelled\n")
    );
    let counts = &tool.json(&["ns", "get", "wait"])["counts"];
    assert_eq!(
        (&counts["cancelled"], &counts["pending"]),
        (&2.into(), &0.into())
    );
    tool.refused(&["cancel", "wait", "nonsense"], 1, &["the task id must be"]);
    tool.refused(&["reschedule", "wait", &id], 2, &["--in"]);
    tool.refused(
        &["reschedule", "wait", &id, "--at", "tomorrow"],
        2,
        &["--at"],
    );
}

#[test]
fn what_nobody_ends_fails_and_what_waits_too_long_dies() {
    let (_cluster, tool) = single();
    let id = made(&tool, "over", &[]);
    let _ = tool.text(&[
        "ns",
        "set",
        "over",
        "--backoff-min",
        "1h",
        "--backoff-max",
        "1h",
    ]);
    let lease = leased(&tool, "over", &["--lease", "10ms"]);
    let limit = std::time::Duration::from_secs(30);
    let seen = wait::until("the lease ends", limit, || {
        let seen = tool.json(&["get", "over", &id]);
        wait::check(seen["failures"] == 1, || seen.to_string())?;
        Ok(seen)
    });
    let error = seen["last_error"].as_str().unwrap();
    assert!(error.contains("expired"), "{seen}");
    assert_eq!(seen["attempt"], 2, "{seen}");
    let said = tool.refused(&["ack", "over", &lease], 1, &["not done"]);
    assert!(said.starts_with(&format!("{id} expired ")), "{said}");
    // A time to live runs while the namespace is paused, and anew when redriven.
    let _ = tool.text(&["ns", "pause", "over"]);
    let old = made(&tool, "over", &["--ttl", "100ms"]);
    let died = |count: u64| {
        wait::until("it dies", limit, || {
            let dead = tool.json_lines(&["dead", "list", "over", "--reason", "ttl"]);
            let is_it = dead.first().is_some_and(|task| task["id"] == *old);
            wait::check(is_it, || format!("{count}: {dead:?}"))
        });
    };
    died(1);
    let seen = tool.json(&["get", "over", &old]);
    assert_eq!(seen["failures"], 0, "{seen}");
    assert_eq!(seen["death_reason"], "ttl", "{seen}");
    assert_eq!(tool.text(&["dead", "redrive", "over"]), "1 redriven\n");
    died(2);
    assert_eq!(tool.text(&["dead", "purge", "over"]), "1 purged\n");
    tool.refused(&["get", "over", &old], 1, &[&old]);
    // A dead letter is kept for as long as it is to be, and no longer.
    let _ = tool.text(&["ns", "set", "over", "--dead-keep", "200ms"]);
    let _ = made(&tool, "over", &["--ttl", "10ms"]);
    wait::until("it is purged", limit, || {
        let purged = tool.count("over", "purged");
        wait::check(purged == 2, || format!("{purged} are purged"))
    });
    assert_eq!(tool.count("over", "dead"), 0);
}
