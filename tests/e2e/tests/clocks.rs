//! A peer whose clock is an hour ahead does not deliver an hour early, also when it is made
//! the leader: it hands over.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use z4_e2e::command::z4t;
use z4_e2e::load::Load;
use z4_e2e::{create, http, wait, Cluster, Edit, Peer, PeerSpec, Reader};

const LIMIT: Duration = Duration::from_secs(20);
/// The level from which on a leader heeds its clock is reached 10 s after the last peer came.
const LEVEL_LIMIT: Duration = Duration::from_secs(40);
const HOUR_S: f64 = 3_600.0;

/// The library that changes what a process takes for the time.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut paths = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let found = paths.find(|path| path.is_file());
    found.expect("libfaketime is there: scripts/setup installs it")
}

/// Has the peers that go by this file be off by so many seconds from now on.
fn set_clock(file: &Path, seconds: f64) {
    // Replaced at once: a peer that finds the file empty would have the right time.
    let next = file.with_extension("next");
    fs::write(&next, format!("{seconds:+.3}\n")).unwrap();
    fs::rename(&next, file).unwrap();
}

/// The value of a metric, with these labels as they are written.
fn metric(peer: &Peer, series: &str) -> Result<f64, String> {
    let (_, body) = http::get(&peer.metrics_address(), "/metrics")?;
    let line = body.lines().find_map(|line| line.strip_prefix(series));
    let value = line.ok_or_else(|| format!("no {series}"))?;
    value.trim().parse().map_err(|_| format!("{series}{value}"))
}

/// Waits until one peer has measured the clock of another one to be off by so much.
#[track_caller]
fn wait_offset(at: &Peer, of: &str, seconds: f64) {
    let series = format!("z4_clock_offset_seconds{{peer=\"{of}\"}}");
    wait::until("the clock is measured", LIMIT, || {
        let offset = metric(at, &series)?;
        wait::check((offset - seconds).abs() < 1.0, || format!("{offset}"))
    });
}

#[test]
fn a_leader_an_hour_ahead_hands_over_and_nothing_comes_early() {
    let folder = tempfile::tempdir().unwrap();
    let offsets = folder.path().join("clock");
    set_clock(&offsets, 0.0);
    let wrong = PeerSpec::waiting("peer3")
        .with("LD_PRELOAD", &library().display().to_string())
        .with("FAKETIME_TIMESTAMP_FILE", &offsets.display().to_string())
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let specs = vec![
        PeerSpec::bootstrap("peer1"),
        PeerSpec::waiting("peer2"),
        wrong,
    ];
    let mut cluster = Cluster::formed(specs);
    let client = cluster.peers[0].client();
    wait::until("the level is raised", LEVEL_LIMIT, || {
        let info = client.info().map_err(|e| e.to_string())?;
        wait::check(info.get_level() >= 2, || format!("{}", info.get_level()))
    });
    let load = Load::start(&cluster.clients(), "clocks", 2, Duration::from_millis(5));
    load.wait_for_more(20, LIMIT);
    wait_offset(&cluster.peers[0], "peer3", 0.0);

    set_clock(&offsets, HOUR_S);
    wait_offset(&cluster.peers[0], "peer3", HOUR_S);
    wait_offset(&cluster.peers[2], "peer1", -HOUR_S);
    let target = cluster.peers[0].service_address();
    let shown = z4t(&["-t", &target, "status"]);
    assert!(shown.stdout.contains("+3600."), "{shown:?}");

    // Tasks that wait while the wrong one is made the leader, again and again.
    let reader = Reader::open(&client, "due");
    let mut count = 0;
    let wrong_at = cluster.peers[2].service_address();
    for _ in 0..4 {
        for _ in 0..5 {
            let request = create("due", "later").in_seconds(2);
            wait::until("it is created", LIMIT, || {
                client.create(&request).map_err(|e| e.to_string())
            });
            count += 1;
        }
        let asked = z4t(&["-t", &wrong_at, "-id", "peer3", "transfer-leader"]);
        // It may have handed over before it could say so.
        assert!(
            asked.code == 0 || asked.stderr.contains("retry"),
            "{asked:?}"
        );
        load.wait_for_more(20, LIMIT);
    }
    for one in reader.wait_for(count, LIMIT) {
        assert_eq!(one.early(), None, "{}", one.text());
        let due = z4_e2e::request::instant(one.task.get_deliver_at());
        let late = one.at.duration_since(due).unwrap_or_default();
        assert!(late < Duration::from_secs(5), "late by {late:?}");
    }
    let log = cluster.peers[2].log();
    assert!(log.contains("the clock of this leader is wrong"), "{log}");
    let leader = cluster.wait_leader();
    assert_ne!(leader, 2, "the leadership moved");
    assert_eq!(metric(&cluster.peers[2], "z4_clock_refuses").unwrap(), 0.0);

    let told = load.finish();
    assert!(told.refused.is_empty(), "{:?}", told.refused);
}
