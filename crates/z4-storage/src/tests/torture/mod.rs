//! Torture: files that are cut anywhere, and files with any bit flipped. A peer
//! has all that was durable, or it says that it must be added anew; it never goes
//! on with less, and it never hangs.
//!
//! The log is cut at each of its last 4,096 bytes and has 2,000 bits flipped, the
//! lists of files (MANIFEST) 500 and the tables (SST) 2,000; pieces of snapshots
//! are beaten in z4-rpc, where their checksums are. `Z4_TORTURE=1` does all of
//! it; without, one in 61 is done. Lists that lost their end (`lists`) are few, and are
//! cut at all places at each run.

mod judge;
mod lists;
mod peer;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::mpsc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use self::judge::{asked, copy};
use self::peer::Peer;
use super::damage::{peer, wal};
use super::*;

/// A peer that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Ends the process, with what it was at, when not dropped in time.
struct Watchdog(#[allow(dead_code)] mpsc::Sender<()>);

impl Watchdog {
    fn set(what: &str) -> Self {
        let (alive, dropped) = mpsc::channel();
        let what = what.to_owned();
        std::thread::spawn(move || {
            if dropped.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{what}: it hangs");
                std::process::abort();
            }
        });
        Self(alive)
    }
}

/// How much is done: one in so many. `Z4_TORTURE=1` does all of it.
fn torture_step() -> usize {
    std::env::var("Z4_TORTURE").map_or(61, |step| step.parse().unwrap())
}

/// What a peer does with a write-ahead log that was changed: whether it refused.
/// It panics when the peer goes on without an entry that was synced.
fn refuses(whole: &Path, name: &OsStr, bytes: &[u8], what: &str) -> bool {
    let dir = TempDir::new().unwrap();
    let copied = Process::new("cp")
        .args(["-r", "--"])
        .args([whole.join("peer"), whole.join("db"), dir.path().to_owned()])
        .status();
    assert!(copied.unwrap().success());
    std::fs::write(dir.path().join("peer/log").join(name), bytes).unwrap();
    let _watchdog = Watchdog::set(what);
    match open(dir.path()) {
        Err(e) => {
            assert!(e.to_string().contains("add it anew"), "{what}: {e}");
            true
        }
        Ok(store) => {
            let log = store.log();
            assert_eq!(log.last().unwrap(), at(230, 3), "{what}: silently lost");
            let entries = log.entries(2, 231, u64::MAX).unwrap();
            assert_eq!(entries.len(), 229, "{what}");
            assert_eq!(log.hard_state().unwrap().commit, 230, "{what}");
            false
        }
    }
}

#[test]
fn no_cut_and_no_flipped_bit_of_the_log_loses_a_synced_entry_in_silence() {
    let dir = peer();
    let store = open(dir.path()).unwrap();
    // In one term, and faster than the bound is synced.
    for index in 201..=230 {
        append(store.log().as_ref(), index, index, 3);
    }
    drop(store);
    let path = wal(dir.path());
    let name = path.file_name().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut borne) = (0, 0);
    let mut count = |refuses: bool| match refuses {
        true => refused += 1,
        false => borne += 1,
    };
    let from = whole.len().saturating_sub(4_096);
    for len in (from..whole.len()).step_by(torture_step()) {
        count(refuses(
            dir.path(),
            name,
            &whole[..len],
            &format!("cut at {len}"),
        ));
    }
    let mut rng = rand::rngs::StdRng::seed_from_u64(4);
    for _ in 0..2_000 / torture_step() {
        let bit = rng.gen_range(0..whole.len() * 8);
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        count(refuses(dir.path(), name, &bytes, &format!("bit {bit}")));
    }
    println!("log: {refused} refused, {borne} borne, silent loss 0, hangs 0");
    assert!(refused > borne, "{refused} refused, {borne} borne");
}

/// A peer with tables of both databases, and some of the log behind them.
fn peer_with_tables() -> TempDir {
    let mut peer = Peer::founded(8);
    // A compaction removes tables, without which no older state can be opened.
    peer.hold_compactions();
    peer.go_on(400);
    peer.flush();
    peer.flush_log();
    // The state is not where the tables of the log end.
    peer.go_on(15);
    peer.flush();
    peer.go_on(15);
    peer.end().0
}

/// The files of both databases of which the name fits, from the root.
fn files(root: &Path, fits: impl Fn(&OsStr) -> bool) -> Vec<PathBuf> {
    let names = |folder: &Path| {
        let listed = std::fs::read_dir(root.join(folder)).unwrap();
        listed.map(|entry| entry.unwrap().file_name())
    };
    let db = Path::new("db");
    let states = names(db).filter(|name| name.to_string_lossy().starts_with("state-"));
    let mut folders: Vec<_> = states.map(|name| db.join(name)).collect();
    folders.insert(0, "peer/log".into());
    let mut found = Vec::new();
    for folder in folders {
        let fitting = names(&folder).filter(|name| fits(name));
        found.extend(fitting.map(|name| folder.join(name)));
    }
    found
}

/// Flips `count` bits, each in a peer of its own, in files that take turns.
fn flip(whole: &Path, files: &[PathBuf], count: usize, seed: u64) -> (usize, usize) {
    // A copy too: a start writes the lists of files anew.
    let sound = TempDir::new().unwrap();
    copy(whole, sound.path());
    let expected = asked(sound.path(), "sound").unwrap();
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let (mut refused, mut borne) = (0, 0);
    for n in 0..count.div_ceil(torture_step()) {
        let dir = TempDir::new().unwrap();
        copy(whole, dir.path());
        let name = &files[n % files.len()];
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let bit = rng.gen_range(0..bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bytes).unwrap();
        let what = format!("bit {bit} of {}", name.display());
        match asked(dir.path(), &what) {
            Err(_) => refused += 1,
            Ok(answer) => {
                let same = answer.whole == expected.whole;
                assert!(same, "{what}: {answer:?} is not {expected:?}, in silence");
                borne += 1;
            }
        }
    }
    (refused, borne)
}

#[test]
fn no_flipped_bit_of_a_list_of_files_changes_an_answer_in_silence() {
    let dir = peer_with_tables();
    let files = files(dir.path(), |name| {
        name.to_string_lossy().starts_with("MANIFEST")
    });
    assert_eq!(files.len(), 2);
    let (refused, borne) = flip(dir.path(), &files, 500, 5);
    println!("MANIFEST: {refused} refused, {borne} borne, silent loss 0, hangs 0");
    assert!(refused > borne, "{refused} refused, {borne} borne");
}

#[test]
fn no_flipped_bit_of_a_table_changes_an_answer_in_silence() {
    let dir = peer_with_tables();
    let files = files(dir.path(), |name| {
        Path::new(name).extension().is_some_and(|e| e == "sst")
    });
    assert!(files.len() >= 2, "{files:?}");
    let (refused, borne) = flip(dir.path(), &files, 2_000, 6);
    println!("SST: {refused} refused, {borne} borne, silent loss 0, hangs 0");
    assert!(refused > borne, "{refused} refused, {borne} borne");
}
