//! A namespace moves from one cluster to another: `z4t export` and `z4t import`.

use std::fs;

use serde_json::Value;
use z4_e2e::{Cluster, Tool};

/// What must be the same of a task in both clusters.
fn kept(task: &Value) -> Value {
    let mut kept = serde_json::Map::new();
    for key in [
        "payload",
        "payload_base64",
        "metadata",
        "due_at",
        "priority",
        "max_attempts",
        "ttl",
    ] {
        if let Some(value) = task.get(key) {
            kept.insert(key.to_owned(), value.clone());
        }
    }
    Value::Object(kept)
}

fn tasks(tool: &Tool, namespace: &str) -> Vec<Value> {
    let listed = tool.json_lines(&["list", namespace, "--limit", "0", "--body"]);
    listed.iter().map(kept).collect()
}

#[test]
fn a_namespace_moves_between_clusters() {
    let (from, to) = (Cluster::single(), Cluster::single());
    let (old, new) = (Tool::at(&from.peers[0]), Tool::at(&to.peers[0]));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tasks.jsonl");
    let path = file.to_str().unwrap();
    let mut lines = String::from(
        "{\"payload_base64\": \"/wA=\", \"at\": \"2040-01-01T00:00:00.123456789Z\", \"ttl\": \"90s\"}\n\
         {\"payload\": \"a \\\"text\\\"\\n\", \"in\": \"2h\", \"metadata\": {\"k\": \"v\"}, \"priority\": 9}\n",
    );
    for n in 0..1_500 {
        lines += &format!("{{\"payload\": \"{n}\", \"in\": \"1h\", \"max_attempts\": 7}}\n");
    }
    fs::write(&file, lines).unwrap();
    assert_eq!(old.create_batch("moved", &file).len(), 1_502);

    let exported = old.text(&["export", "moved"]);
    assert_eq!(exported.lines().count(), 1_502);
    fs::write(&file, &exported).unwrap();
    let said = new.text(&["import", "moved", path]);
    assert_eq!(said, "1502 tasks were imported\n");
    let (before, after) = (tasks(&old, "moved"), tasks(&new, "moved"));
    let sorted = |tasks: Vec<Value>| {
        let mut texts: Vec<_> = tasks.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(before), sorted(after));

    // One file twice makes nothing new, in part or as a whole.
    for skip in ["0", "1000"] {
        let _ = new.text(&["import", "moved", path, "--skip", skip]);
        assert_eq!(new.count("moved", "created"), 1_502);
    }
    // A line that is wrong is named, and where to go on.
    let mut lines: Vec<&str> = exported.lines().collect();
    lines[700] = "{\"payload\": \"without an id\"}";
    fs::write(&file, lines.join("\n")).unwrap();
    let words = ["line 701", "request_id", "--skip 700"];
    new.refused(&["import", "other", path], 1, &words);
    assert_eq!(new.count("other", "created"), 700);
    fs::write(&file, &exported).unwrap();
    let _ = new.text(&["import", "other", path, "--skip", "700"]);
    assert_eq!(new.count("other", "created"), 1_502);
    // An export goes on behind a page.
    let page = old.run(&["list", "moved", "--limit", "1000"]).stderr;
    let token = page.split_once("--page-token ").unwrap().1;
    let token = token.split_whitespace().next().unwrap();
    let rest = old.text(&["export", "moved", "--page-token", token]);
    assert_eq!(rest.lines().count(), 502);
}
