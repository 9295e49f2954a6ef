//! The wall clock of one peer is wrong, by up to half a second, and jumps, also
//! back, by up to a second, while it leads: its stamps are the cluster's time. Nothing
//! comes early by that time, no lease ends before its deadline, ids stay unique.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rand::Rng;

use super::{Done, Kind, Stage};
use crate::cluster::SETTLE_LIMIT;
use crate::peer::Peer;

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "wrong clock",
    weight: 3,
    run,
}];

/// The least difference that counts as seen, in milliseconds.
const SEEN_MS: i64 = 80;
/// How far it is off at most, in milliseconds.
const MOST_MS: i64 = 500;
/// What is loaded before the peer to change what it takes for the time.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The library that changes what a process takes for the time, if it is there.
pub fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let paths = folders.map(|folder| folder.path().join(LIBRARY));
    paths.into_iter().find(|path| path.is_file())
}

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    let library = library().ok_or("libfaketime is gone")?;
    let n = stage.member();
    let offsets = stage.cluster.peers[n].data().with_file_name("clock");
    let from_ns = stage.now_ns();
    let first = skew(stage);
    set(&offsets, first)?;
    let text = |path: &Path| path.display().to_string();
    stage.cluster.peers[n].variables = vec![
        ("LD_PRELOAD".into(), text(&library)),
        ("FAKETIME_TIMESTAMP_FILE".into(), text(&offsets)),
        ("FAKETIME_NO_CACHE".into(), "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
    ];
    stage.cluster.peers[n].kill();
    stage.cluster.peers[n].start(false)?;
    stage.cluster.settle(SETTLE_LIMIT)?;
    let seen_ms = difference_ms(&stage.cluster.peers[n]);
    let mut led = 0;
    for _ in 0..stage.rng.gen_range(2..5) {
        led += u64::from(stage.cluster.transfer(n).is_ok());
        stage.hold(1_000..3_000);
        let jump = skew(stage);
        set(&offsets, jump)?;
        stage.hold(500..2_000);
    }
    stage.cluster.peers[n].variables.clear();
    stage.cluster.peers[n].kill();
    let end_ns = stage.now_ns();
    stage.cluster.peers[n].start(false)?;
    let is_seen = led > 0 && seen_ms.is_some_and(|ms| ms.abs() >= SEEN_MS);
    let id = stage.cluster.peers[n].id();
    let seen = format!("{id} {} ms off, led {led} times", seen_ms.unwrap_or(0));
    Ok(Done::from_end(from_ns, end_ns, is_seen.then_some(seen)))
}

/// So many milliseconds at most, forth or back, and enough to be seen.
fn skew(stage: &mut Stage<'_>) -> i64 {
    let ms = stage.rng.gen_range(2 * SEEN_MS..MOST_MS);
    if stage.rng.gen_bool(0.5) {
        ms
    } else {
        -ms
    }
}

fn set(offsets: &Path, ms: i64) -> Result<(), String> {
    // Replaced at once: a peer that finds the file empty would have the right
    // time for a moment.
    let next = offsets.with_extension("next");
    let text = format!("{:+.3}\n", ms as f64 / 1_000.0);
    let done = fs::write(&next, text).and_then(|()| fs::rename(&next, offsets));
    done.map_err(|e| format!("{}: {e}", offsets.display()))
}

/// How far the time that a peer wrote with its last log line is from the time at
/// which, by the system's clock, the line was written.
fn difference_ms(peer: &Peer) -> Option<i64> {
    let written = fs::metadata(peer.log_path()).ok()?.modified().ok()?;
    let line = peer.log_end(1);
    let at = line.find("\"ts\":\"")? + 6;
    // 2026-01-31T23:59:59.123456789Z: only the time of day is of interest.
    let text = line.get(at + 11..at + 23)?;
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let their_ms = (part(0, 2)? * 3_600 + part(3, 5)? * 60 + part(6, 8)?) * 1_000 + part(9, 12)?;
    let day_ms = 86_400_000;
    let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    let our_ms = written.as_millis() as i64 % day_ms;
    let difference = their_ms - our_ms;
    // Days have an end.
    Some((difference + day_ms / 2).rem_euclid(day_ms) - day_ms / 2)
}
