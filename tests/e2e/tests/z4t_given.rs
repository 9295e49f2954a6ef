//! What `z4t` takes on its command line, and how it speaks of what it does not.

use z4_e2e::{command, Tool};

use crate::z4t_life::{leased, made, single};

/// Where daylight saving begins and ends, whatever the machine has of zones.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// The due time of a task that is created with these flags in [`ZONE`], and what
/// was said.
#[track_caller]
fn due(tool: &Tool, flags: &[&str]) -> (String, String) {
    let command = [&["create", "when", "x", "-o", "json"], flags].concat();
    let mut z4t = tool.command(&command);
    z4t.env("TZ", ZONE);
    let done = command::run(z4t, std::time::Duration::from_secs(60));
    assert_eq!(done.code, 0, "{flags:?}: {done:?}");
    let task: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    (task["deliver_at"].as_str().unwrap().to_owned(), done.stderr)
}

#[test]
fn times_are_taken_as_people_write_them() {
    let (_cluster, tool) = single();
    for at in [
        "2030-01-31T07:00:00Z",
        "2030-01-31 07:00:00Z",
        "2030-01-31 08:00+01:00",
    ] {
        let seven = ("2030-01-31T07:00:00Z".to_owned(), String::new());
        assert_eq!(due(&tool, &["--at", at]), seven, "{at}");
    }
    let (time, said) = due(&tool, &["--at", "2030-07-31 08:00"]);
    assert_eq!(time, "2030-07-31T06:00:00Z");
    assert!(
        said.contains("--at") && said.contains("2030-07-31T08:00:00+02:00"),
        "{said}"
    );
    assert!(
        said.contains("local zone") && said.contains("--tz"),
        "{said}"
    );
    for (tz, expected) in [
        ("--tz=+03:00", "2030-07-31T05:00:00Z"),
        ("--tz=-0530", "2030-07-31T13:30:00Z"),
        ("--utc", "2030-07-31T08:00:00Z"),
    ] {
        let named = due(&tool, &["--at", "2030-07-31 08:00", tz]);
        assert_eq!(named, (expected.to_owned(), String::new()), "{tz}");
    }
    for (at, words) in [
        ("2030-03-31 02:30", ["there is no", "03:30:00+02:00"]),
        ("2030-10-27 02:30", ["comes twice", "02:30:00+02:00"]),
    ] {
        let mut z4t = tool.command(&["create", "when", "x", "--at", at]);
        z4t.env("TZ", ZONE);
        let done = command::run(z4t, std::time::Duration::from_secs(60));
        assert_eq!(done.code, 2, "{done:?}");
        assert!(words.iter().all(|w| done.stderr.contains(w)), "{done:?}");
    }
    tool.refused(
        &["create", "when", "x", "--tz", "Mars/Base", "--in", "1h"],
        2,
        &["--tz"],
    );
}

#[test]
fn a_key_of_metadata_has_one_value() {
    let (_cluster, tool) = single();
    let twice = ["create", "once", "x", "-m", "to=a", "-m", "to=b"];
    tool.refused(&twice, 2, &["-m to=a and -m to=b", "one value"]);
    tool.refused(&["list", "once"], 1, &["once"]);
}

#[test]
fn a_payload_that_looks_like_a_flag_is_helped() {
    let (_cluster, tool) = single();
    for payload in ["-5", "-x", "--not-a-flag"] {
        tool.refused(&["create", "odd", payload], 2, &["create NAMESPACE -- "]);
        let id = tool.text(&["create", "odd", "--", payload]);
        let task = tool.json(&["get", "odd", id.trim()]);
        assert_eq!(task["payload"], payload);
    }
    let lease = leased(&tool, "odd", &[]);
    let nack = ["nack", "odd", &lease, "--error", "-boom"];
    tool.refused(&nack, 2, &["--error"]);
}

/// Each flag whose value the peer checks, with a value that it does not take.
#[test]
fn errors_name_flags() {
    let (_cluster, tool) = single();
    let id = made(&tool, "named", &[]);
    let lease = leased(&tool, "named", &[]);
    let long = "x".repeat(300);
    let two = [
        "--from",
        "2031-01-01T00:00:00Z",
        "--to",
        "2030-01-01T00:00:00Z",
    ];
    let far = "0abc";
    let cases: &[(&[&str], &str)] = &[
        (
            &["create", "named", "x", "--priority", "10"],
            "--priority must be 0 to 9",
        ),
        (
            &["create", "named", "x", "--max-attempts", "1000001"],
            "--max-attempts is",
        ),
        (&["create", "named", "x", "--ttl", "0s"], "--ttl is"),
        (
            &["create", "named", "x", "--request-id", &long],
            "--request-id is",
        ),
        (&["create", "a b", "x"], "the namespace must"),
        (&["get", "named", far], "the task id must"),
        (
            &["list", "named", two[0], two[1], two[2], two[3]],
            "--from must be before --to",
        ),
        (&["list", "named", "--page-token", "x"], "--page-token must"),
        (&["lease", "named", "--max", "1025"], "--max is"),
        (&["lease", "named", "--wait", "61s"], "--wait is"),
        (&["lease", "named", "--lease", "1ms"], "--lease is"),
        (&["lease", "named", "--consumer-id", &long], "--consumer-id"),
        (
            &["dead", "redrive", "named", &id, "--limit", "1"],
            "give task ids, or --from",
        ),
        (&["reschedule", "named", &id, "--in", "200years"], "--in is"),
        (&["ns", "set", "named", "--lease", "1ms"], "--lease is"),
        (
            &["ns", "set", "named", "--dedupe-window", "1000days"],
            "--dedupe-window is",
        ),
        (
            &["ns", "set", "named", "--max-attempts", "1000001"],
            "--max-attempts is",
        ),
        (
            &["ns", "set", "named", "--backoff-min", "200years"],
            "--backoff-min is",
        ),
        (
            &["ns", "set", "named", "--backoff-max", "1ms"],
            "above --backoff-max, which",
        ),
        (&["ns", "set", "named", "--rate", "2000000/h"], "--rate is"),
        (&["ns", "set", "named", "--rate", "2/30days"], "--rate is"),
        (
            &["ns", "set", "named", "--rate-per-s", "1000001"],
            "--rate-per-s is",
        ),
        (
            &["ns", "set", "named", "--rate-burst", "1000001"],
            "--rate-burst is",
        ),
        (
            &["ns", "set", "named", "--dead-keep", "200years"],
            "--dead-keep is",
        ),
        (&["ns", "set", "a b", "--lease", "1s"], "the namespace must"),
        (&["remove-peer", "--id", "a b"], "--id must"),
    ];
    for (arguments, said) in cases {
        tool.refused(arguments, 1, &[said]);
    }
    let refused = tool.run(&["extend", "named", &lease, "--lease", "1ms"]);
    assert!(refused.stdout.contains("--lease is"), "{refused:?}");
}

#[test]
fn a_lease_whose_answer_was_lost_is_asked_for_again() {
    let (_cluster, tool) = single();
    let _ = made(&tool, "again", &[]);
    let lease = &["lease", "again", "--consumer-id", "worker-7", "-o", "json"];
    let first = tool.text(lease);
    assert_eq!(tool.text(lease), "", "a call without it takes what is new");
    let again = tool.text(&[&lease[..], &["--resume"]].concat());
    let token = |text: &str| {
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        line["lease"].clone()
    };
    assert!(!token(&first).is_null(), "{first}");
    assert_eq!(token(&again), token(&first));
    let done = tool.run(&["lease", "again", "--resume"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("--consumer-id"), "{done:?}");
}
