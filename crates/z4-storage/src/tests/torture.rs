//! Torture: files that are cut anywhere, and files with any bit flipped. A peer
//! has all that was durable, or it says that it must be added anew; it never goes
//! on with less, and it never hangs.
//!
//! The log is cut at each of its last 4,096 bytes and has 2,000 bits flipped, the
//! lists of files (MANIFEST) 500 and the tables (SST) 2,000; pieces of snapshots
//! are beaten in z4-rpc, where their checksums are. `Z4_TORTURE=1` does all of
//! it; without, one in 61 is done.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use tempfile::TempDir;

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
    let copied = Command::new("cp")
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

const TORTURED: &str = "Z4_TEST_TORTURED";

/// All that a peer holds, in one line.
fn answer(root: &Path) -> Result<String, String> {
    let store = open(root).map_err(|e| e.to_string())?;
    let log = store.log();
    let (last, hard_state) = (log.last().unwrap(), log.hard_state().unwrap());
    let entries = log.entries(2, last.index + 1, u64::MAX).unwrap();
    let entries = crc32c::crc32c(format!("{entries:?}").as_bytes());
    let state = z4_core::invariants::state_hash(&store.view()).unwrap();
    Ok(format!(
        "answer: {last:?} {hard_state:?} {entries} {state:?}"
    ))
}

#[test]
#[ignore = "the child of the tests below"]
fn answers() {
    let Ok(root) = std::env::var(TORTURED) else {
        return;
    };
    match answer(Path::new(&root)) {
        Ok(answer) => println!("{answer}"),
        Err(refusal) => {
            eprintln!("refused: {refusal}");
            std::process::exit(3);
        }
    }
}

/// What a peer does in a process of its own, for damage that it meets while it
/// reads ends it: `None`, it refused with the remedy; else its answer.
fn asked(root: &Path, what: &str) -> Option<String> {
    let output = TempDir::new().unwrap();
    let file = |name: &str| std::fs::File::create(output.path().join(name)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "tests::torture::answers",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(TORTURED, root)
        .stdin(Stdio::null())
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .unwrap();
    let since = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if since.elapsed() > LIMIT {
            let _ = child.kill();
            panic!("{what}: it hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let read = |name: &str| std::fs::read_to_string(output.path().join(name)).unwrap();
    if status.success() {
        let said = read("out");
        let at = said.find("answer: ");
        let answer = at.and_then(|at| said[at..].lines().next());
        return Some(
            answer
                .unwrap_or_else(|| panic!("{what}: {said}"))
                .to_owned(),
        );
    }
    let said = read("err");
    assert!(said.contains("add it anew"), "{what}: {status} {said}");
    None
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A peer with tables of both databases, and some of the log behind them.
fn peer_with_tables() -> TempDir {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut machine = machine(&store);
    append(store.log().as_ref(), 2, 400, 1);
    apply(&mut machine, 2, 400);
    machine.flusher()().unwrap();
    store.log().db().flush().unwrap();
    append(store.log().as_ref(), 401, 430, 1);
    drop((machine, store));
    dir
}

/// The files of both databases of which the name fits, from the root.
fn files(root: &Path, fits: impl Fn(&OsStr) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["peer/log", "db/state-0-0-0"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name();
            if fits(&name) {
                found.push(Path::new(folder).join(name));
            }
        }
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
            None => refused += 1,
            Some(answer) => {
                assert_eq!(answer, expected, "{what}: another answer, in silence");
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
