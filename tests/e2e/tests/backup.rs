//! Backups of a cluster at work, and new clusters that are made of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::ready;
use futures::StreamExt;
use serde_json::Value;
use z4_e2e::command::{self, Finished};
use z4_e2e::load::Load;
use z4_e2e::{create, http, wait, Client, Cluster, Edit, Peer, PeerSpec, Reader, Tool};
use z4_proto::generated::admin::BackupRequest;

use crate::z4t_life::{id_of, leased, made, single};

const LIMIT: Duration = Duration::from_secs(60);

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Makes a backup, and gives what z4t says of it.
fn back_up(tool: &Tool, path: &Path) -> Value {
    let made = tool.json(&["backup", text(path)]);
    let checked = tool.json(&["backup", "verify", text(path)]);
    assert_eq!(made, checked);
    assert_eq!(made["bytes"], fs::metadata(path).unwrap().len(), "{made}");
    made
}

/// The command that restores a file at a peer that is not started.
fn restore(peer: &Peer, path: &str, flags: &[&str]) -> Finished {
    let mut command = peer.command();
    command.args(["restore", "--from", path]).args(flags);
    command::run(command, LIMIT)
}

/// A new peer with what is in the file.
fn restored(id: &str, path: &Path, flags: &[&str]) -> (Peer, String) {
    let mut peer = Peer::new(PeerSpec::waiting(id));
    let done = restore(&peer, text(path), flags);
    assert_eq!(done.code, 0, "{done:?}");
    peer.start();
    peer.wait_ready();
    (peer, done.stdout)
}

/// The backup that a cluster says it was restored from.
fn origin(tool: &Tool) -> Value {
    let verdict = tool.json(&["verify"]);
    assert_eq!(verdict["ok"], true, "{verdict}");
    verdict["origin"].clone()
}

fn age(peer: &Peer) -> Option<f64> {
    let (_, body) = http::get(&peer.metrics_address(), "/metrics").unwrap();
    let line = body
        .lines()
        .find_map(|line| line.strip_prefix("z4_last_backup_age_seconds "));
    line.map(|age| age.parse().unwrap())
}

/// Creates tasks that are not due yet, one after the other, until told to stop; the ids of
/// those that were acknowledged go to `acked`.
fn keep_creating(client: &Client, stop: &AtomicBool, acked: &std::sync::Mutex<Vec<String>>) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let request = create("kept", format!("{n}")).in_seconds(3_600);
        let id = client
            .create(&request)
            .unwrap()
            .get_task()
            .get_id()
            .to_owned();
        acked.lock().unwrap().push(id);
        n += 1;
    }
}

#[test]
fn a_backup_under_load_is_restored_with_nothing_lost() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_settled();
    let follower = cluster.others(leader)[0];
    let tool = Tool::at(&cluster.peers[follower]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("first");
    let held = made(&tool, "held", &[]);
    let lease = leased(&tool, "held", &["--consumer-id", "before", "--lease", "1h"]);
    assert_eq!(id_of(&lease), held);

    // Creates, leases and acks at full speed while the backup is made.
    let load = Load::start(&cluster.clients(), "busy", 4, Duration::ZERO);
    let reader = Reader::open(&cluster.peers[leader].client(), "busy");
    let (stop, acked) = (AtomicBool::new(false), std::sync::Mutex::default());
    let client = cluster.peers[leader].client();
    let (before, backup) = std::thread::scope(|scope| {
        scope.spawn(|| keep_creating(&client, &stop, &acked));
        load.wait_for_more(200, LIMIT);
        reader.wait_for(50, LIMIT);
        let before: Vec<String> = acked.lock().unwrap().clone();
        let backup = back_up(&tool, &path);
        load.wait_for_more(50, LIMIT);
        stop.store(true, Ordering::Relaxed);
        (before, backup)
    });
    assert!(before.len() > 20, "{} tasks are no load", before.len());
    let told = load.finish();
    assert!(told.refused.is_empty() && told.unknown.is_empty());
    drop(reader.stop());
    assert!(age(&cluster.peers[follower]).is_some_and(|age| age < 60.0));
    assert_eq!(age(&cluster.peers[leader]), None);

    // What stands still is backed up as it is verified.
    let second = folder.path().join("second");
    wait::until("a backup has the hash of a verification", LIMIT, || {
        let verdict = tool.json(&["verify"]);
        let again = back_up(&tool, &second);
        let hash = &verdict["members"][0]["state_hash"];
        wait::check(*hash == again["state_hash"], || {
            format!("{verdict} {again}")
        })
    });

    let (peer, said) = restored("restored1", &path, &[]);
    let hash = backup["state_hash"].as_str().unwrap();
    assert!(said.contains(hash) && said.contains("ns resume"), "{said}");
    let tool = Tool::at(&peer);
    let info: Value = serde_json::from_str(&tool.text(&["info"])).unwrap();
    assert_ne!(info["cluster_id"], backup["cluster_id"]);
    let found = origin(&tool);
    for name in ["cluster_id", "index", "state_hash"] {
        assert_eq!(found[name], backup[name], "{name}: {found}");
    }
    assert!(tool
        .text(&["verify"])
        .contains(&format!("state hash {hash}")));
    let listed = tool.json_lines(&["list", "kept", "--limit", "0"]);
    let there: BTreeSet<&str> = listed.iter().map(|t| t["id"].as_str().unwrap()).collect();
    for id in &before {
        assert!(there.contains(id.as_str()), "{id} is lost");
    }
    for namespace in ["kept", "busy", "held"] {
        let seen = tool.json(&["ns", "get", namespace]);
        assert!(seen["paused_at"].is_string(), "{seen}");
    }
    // Who held a lease before has none now, nor when somebody else has one.
    let seen = tool.json(&["get", "held", &held]);
    assert_eq!(
        (&seen["state"], &seen["failures"]),
        (&"scheduled".into(), &0.into()),
        "{seen}"
    );
    tool.refused(&["ack", "held", &lease], 1, &["not done"]);
    let _ = tool.text(&["ns", "resume", "held"]);
    let anew = leased(&tool, "held", &["--lease", "1h"]);
    assert_eq!(id_of(&anew), held);
    assert_ne!(anew, lease);
    let number = |lease: &str| lease.split(':').nth(1).unwrap().to_owned();
    assert_ne!(number(&anew), number(&lease));
    tool.refused(&["ack", "held", &lease], 1, &["not done"]);
    let _ = tool.text(&["ack", "held", &anew]);

    // Others join, and know where they came from.
    let mut grown = Cluster { peers: vec![peer] };
    for n in 1..3 {
        let mut next = Peer::started(PeerSpec::waiting(&format!("restored{}", n + 1)));
        next.wait_answers();
        grown.peers.push(next);
        grown.join(n);
    }
    grown.wait_settled();
    let last = Tool::at(&grown.peers[2]);
    assert_eq!(origin(&last), found);
    let _ = made(&last, "after", &[]);
    grown.kill_all();
    grown.start_missing();
    grown.wait_settled();
    assert_eq!(origin(&last), found);
}

#[test]
fn a_state_that_is_restored_as_it_was_has_the_hash_of_its_backup() {
    let (_cluster, tool) = single();
    for n in 0..20 {
        let _ = made(
            &tool,
            "later",
            &["--in", "1h", "--priority", &format!("{}", n % 10)],
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, piped) = (folder.path().join("file"), folder.path().join("piped"));
    let mut command = tool.command(&["backup", "-"]);
    command.stdout(File::create(&piped).unwrap());
    assert!(command.stderr(Stdio::null()).status().unwrap().success());
    let backup = back_up(&tool, &path);
    assert_eq!(backup["tasks"], 20, "{backup}");
    assert_eq!(fs::read(&path).unwrap(), fs::read(&piped).unwrap());

    // By way of standard input.
    let mut peer = Peer::new(PeerSpec::waiting("other"));
    let mut command = peer.command();
    command.args(["restore", "--from", "-", "--resume"]);
    command.stdin(File::open(&piped).unwrap());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    peer.start();
    peer.wait_ready();
    let tool = Tool::at(&peer);
    let again = back_up(&tool, &folder.path().join("again"));
    assert_eq!(again["state_hash"], backup["state_hash"]);
    assert!(again["index"].as_u64() > backup["index"].as_u64());
    let seen = tool.json(&["ns", "get", "later"]);
    assert!(seen["paused_at"].is_null(), "{seen}");
}

/// A folder with the backup of a cluster of one, whose peer is killed.
fn a_backup() -> (tempfile::TempDir, PathBuf, Cluster) {
    let (mut cluster, tool) = single();
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines");
    // Each another one, so that a backup of them is not tiny.
    let mixed = |n: u128| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let payload = |n: u128| -> String {
        let parts = (n * 40..n * 40 + 40).map(|k| format!("{:x}", mixed(k)));
        parts.collect()
    };
    let line = |n| format!("{{\"payload\": \"{}\", \"in\": \"1h\"}}\n", payload(n));
    fs::write(&lines, (0..5_000).map(line).collect::<String>()).unwrap();
    assert_eq!(tool.create_batch("many", &lines).len(), 5_000);
    let path = folder.path().join("backup");
    back_up(&tool, &path);
    cluster.kill_all();
    (folder, path, cluster)
}

#[test]
fn what_is_no_whole_backup_founds_nothing_and_data_is_not_overwritten() {
    let (folder, path, cluster) = a_backup();
    let refused = restore(&cluster.peers[0], text(&path), &[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("empty directories"), "{refused:?}");

    let whole = fs::read(&path).unwrap();
    let bad = folder.path().join("bad");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 4;
    for (bytes, word) in [
        (&flipped[..], "damaged"),
        (&whole[..whole.len() - 1], "cut short"),
    ] {
        fs::write(&bad, bytes).unwrap();
        let tool = Tool::at(&cluster.peers[0]);
        tool.refused(&["backup", "verify", text(&bad)], 1, &[word]);
        let mut peer = Peer::new(PeerSpec::bootstrap("bad"));
        let refused = restore(&peer, text(&bad), &[]);
        assert_eq!(refused.code, 1, "{refused:?}");
        for word in [word, "no cluster was founded", "erase"] {
            assert!(refused.stderr.contains(word), "{word}: {refused:?}");
        }
        // Not even when it is told to found a cluster.
        let started = peer.run_to_end();
        assert_eq!(started.code, 1, "{started:?}");
        assert!(
            peer.log().contains("erase") || started.stderr.contains("erase"),
            "{started:?}"
        );
        peer.erase();
        assert_eq!(restore(&peer, text(&path), &[]).code, 0);
    }
}

#[test]
fn a_restoration_that_is_killed_is_refused_by_the_next_start() {
    let (_folder, path, _cluster) = a_backup();
    let whole = fs::read(&path).unwrap();
    for part in [whole.len() / 3, whole.len() - 40] {
        let mut peer = Peer::new(PeerSpec::bootstrap("killed"));
        let mut command = peer.command();
        command
            .args(["restore", "--from", "-"])
            .stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&whole[..part]).unwrap();
        wait::until("the restoration has begun", LIMIT, || {
            let marker = peer.peer_folder().join("RESTORING");
            wait::check(marker.exists(), || format!("no {}", marker.display()))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let started = peer.run_to_end();
        assert_eq!(started.code, 1, "{started:?}");
        assert!(started.stderr.contains("erase"), "{started:?}");
        peer.erase();
        let done = restore(&peer, text(&path), &[]);
        assert_eq!(done.code, 0, "{done:?}");
    }
}

/// The server must not send a second status to a client that goes while the stream is closed.
#[test]
fn clients_that_go_at_the_very_end_of_a_backup_harm_nobody() {
    let (cluster, tool) = single();
    made(&tool, "kept", &[]);
    let peer = &cluster.peers[0];
    let client = peer.client();
    let take = |count: usize| {
        let chunks = client.admin.backup(&BackupRequest::new()).unwrap();
        block_on(chunks.take(count).filter(|c| ready(c.is_ok())).count())
    };
    let all = take(usize::MAX);
    assert!(all > 0);
    let mut ends = 0;
    wait::until("clients went at the end", LIMIT, || {
        // One backup is made at a time, so some are refused. The last chunk is the last thing
        // that is taken: its stream is dropped, which cancels the call.
        while take(all) == all {
            ends += 1;
        }
        wait::check(ends >= 300, || format!("{ends} ends"))
    });
    assert!(tool.text(&["verify"]).contains("ok"));
}

#[test]
fn the_age_of_the_last_backup_outlives_the_process_and_a_damaged_note_stops_no_peer() {
    let (mut cluster, tool) = single();
    let folder = tempfile::tempdir().unwrap();
    back_up(&tool, &folder.path().join("file"));
    let made = Instant::now();
    let peer = &mut cluster.peers[0];
    wait::until("the age is shown", LIMIT, || {
        wait::check(age(peer).is_some(), || "none".to_owned())
    });
    peer.kill();
    peer.start();
    peer.wait_answers();
    peer.wait_ready();
    let least_s = made.elapsed().as_secs_f64() - 1.0;
    let shown_s = age(peer).expect("an age after the restart");
    assert!(
        (least_s..60.0).contains(&shown_s),
        "{shown_s} s, at least {least_s} s"
    );
    let _ = peer.terminate(LIMIT);
    let note = peer.peer_folder().join("BACKUP");
    let mut bytes = fs::read(&note).unwrap();
    bytes[0] ^= 1;
    fs::write(&note, bytes).unwrap();
    peer.start();
    peer.wait_answers();
    peer.wait_ready();
    assert!(peer.log().contains("its age is not shown"));
    assert_eq!(age(peer), None);
    back_up(&tool, &folder.path().join("second"));
    wait::until("the age is shown again", LIMIT, || {
        wait::check(age(peer).is_some(), || "none".to_owned())
    });
}

#[test]
fn a_peer_makes_one_backup_at_a_time_and_none_for_who_has_left() {
    let (cluster, tool) = single();
    let client = cluster.peers[0].client();
    let mut x = 1_u32;
    for _ in 0..40 {
        let bytes: Vec<u8> = (0..1_000_000)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect();
        client
            .create(&create("large", bytes).in_seconds(3_600))
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slow");
    let mut slow = tool.start(&["backup", text(&path), "--rate", "1MiB"]);
    wait::until("bytes come", LIMIT, || {
        let mut files = fs::read_dir(folder.path()).unwrap().flatten();
        let len = files.next().and_then(|file| file.metadata().ok());
        wait::check(len.is_some_and(|file| file.len() > 0), || "none".to_owned())
    });
    let other = folder.path().join("other");
    tool.refused(
        &["backup", text(&other)],
        1,
        &["one at a time", "another peer"],
    );
    assert!(!other.exists());
    // Its rate holds: a file of 40 MB takes more than half a minute.
    assert!(!path.exists() && slow.try_wait().unwrap().is_none());
    slow.kill().unwrap();
    slow.wait().unwrap();
    wait::until("another backup is made", LIMIT, || {
        let done = tool.run(&["backup", text(&other)]);
        wait::check(done.code == 0, || format!("{done:?}"))
    });
    assert!(fs::metadata(&other).unwrap().len() > 40_000_000);
}
