//! Kills between every two durable steps.
//!
//! Each test runs a scenario in a child process (this test binary again) that
//! dies at a mark as by kill -9, opens what is left, and checks that it is a
//! state from which nothing acknowledged is missing.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use tempfile::TempDir;
use z4_consensus::Identity;
use z4_core::invariants::state_hash;

use super::machine::carry;
use super::*;
use crate::MemDisk;

const SCENARIO: &str = "Z4_TEST_SCENARIO";
const ROOT: &str = "Z4_TEST_ROOT";
const MARK: &str = "Z4_TEST_ABORT_AT";

/// Runs a scenario in a child until it dies at `mark`.
fn die(scenario: &str, root: &Path, mark: &str) {
    let output = Process::new(std::env::current_exe().unwrap())
        .args(["tests::crash::child", "--exact", "--ignored", "--nocapture"])
        .env(SCENARIO, scenario)
        .env(ROOT, root)
        .env(MARK, mark)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    use std::os::unix::process::ExitStatusExt;
    const SIGABRT: i32 = 6;
    assert_eq!(
        output.status.signal(),
        Some(SIGABRT),
        "{scenario} never came to {mark}: {said}"
    );
}

#[test]
#[ignore = "the child of the crash tests"]
fn child() {
    let Ok(scenario) = std::env::var(SCENARIO) else {
        return;
    };
    let root = PathBuf::from(std::env::var(ROOT).unwrap());
    match scenario.as_str() {
        "bootstrap" => drop(founded(&root)),
        "again" => super::survivor::found_again(&root),
        "restore" => super::restore::restored(&root),
        "join" => open(&root).unwrap().join(newcomer()).unwrap(),
        "install" => install(&root),
        "replace" => replace(&root),
        "flush" => flush(&root),
        other => panic!("no scenario {other}"),
    }
    crate::step::step("end");
}

// ---- founding ----

#[test]
fn founding_is_finished_after_a_crash() {
    for mark in [
        "state.created",
        "bootstrap.begun",
        "bootstrap.applied",
        "bootstrap.owned",
        "bootstrap.committed",
        "flush.begun",
        "bootstrap.flushed",
        "log.reset.bound_lowered",
        "log.reset.written",
        "bootstrap.log_reset",
        "bootstrap.bounded",
        "end",
    ] {
        let dir = TempDir::new().unwrap();
        die("bootstrap", dir.path(), mark);
        // Whether it finishes at the next start or at the one after that.
        for _ in 0..2 {
            let mut store = open(dir.path()).unwrap();
            if mark == "state.created" {
                assert_eq!(store.identity(), None);
                continue;
            }
            assert_eq!(store.identity().unwrap().cluster_id, CLUSTER, "{mark}");
            assert_eq!(store.applied().position, at(1, 1));
            assert_eq!(store.applied().membership.voter_count(), 1);
            assert_eq!(store.log().cut().unwrap(), at(1, 1));
            assert_eq!(store.log().hard_state().unwrap().commit, 1);
            assert!(store.bootstrap([1; 16], "x").is_err());
        }
        if mark == "state.created" {
            drop(founded(dir.path()));
        }
    }
}

#[test]
fn founding_again_is_finished_after_a_crash() {
    for mark in [
        "bootstrap.begun",
        "state.committed",
        "bootstrap.applied",
        "bootstrap.owned",
        "bootstrap.committed",
        "bootstrap.flushed",
        "log.reset.written",
        "bootstrap.log_reset",
        "bootstrap.bounded",
        "end",
    ] {
        let dir = TempDir::new().unwrap();
        super::survivor::survive(dir.path());
        die("again", dir.path(), mark);
        for _ in 0..2 {
            super::survivor::check_founded_again(dir.path(), mark);
        }
    }
}

#[test]
fn a_restoration_is_whole_or_refused_after_a_crash() {
    for mark in [
        "state.committed",
        "test.begun",
        "test.rows",
        "test.checked",
        "test.settled",
    ] {
        let dir = TempDir::new().unwrap();
        die("restore", dir.path(), mark);
        let refused = open(dir.path()).map(drop).unwrap_err();
        assert!(
            matches!(refused, StorageError::NotEmpty { .. }),
            "{mark}: {refused}"
        );
        assert!(refused.to_string().contains("erase"), "{mark}: {refused}");
    }
    for mark in [
        "bootstrap.begun",
        "bootstrap.owned",
        "bootstrap.flushed",
        "bootstrap.log_reset",
        "bootstrap.bounded",
        "end",
    ] {
        let dir = TempDir::new().unwrap();
        die("restore", dir.path(), mark);
        for _ in 0..2 {
            super::restore::check_restored(dir.path(), mark);
        }
    }
}

// ---- joining ----

pub(super) fn newcomer() -> Identity {
    Identity {
        cluster_id: CLUSTER,
        raft_id: 4,
        peer_id: "peer1".into(),
    }
}

#[test]
fn joining_is_finished_or_repeated_after_a_crash() {
    for mark in [
        "state.created",
        "join.identified",
        "log.reset.written",
        "join.bounded",
        "end",
    ] {
        let dir = TempDir::new().unwrap();
        die("join", dir.path(), mark);
        let mut store = open(dir.path()).unwrap();
        let known = (mark != "state.created").then(newcomer);
        assert_eq!(store.identity(), known.as_ref(), "{mark}");
        let next = Identity {
            raft_id: 5,
            ..newcomer()
        };
        store.join(next.clone()).unwrap();
        drop(store);
        assert_eq!(open(dir.path()).unwrap().identity(), Some(&next));
    }
}

// ---- installing a snapshot ----

/// Entries `from..=to` of term 2.
fn apply_term_2(machine: &mut impl StateMachine, from: u64, to: u64) {
    for index in from..=to {
        let mut entry = committed(index, &[create(1)]);
        entry.position.term = 2;
        machine.apply(vec![entry]).unwrap();
    }
}

/// A leader that has a snapshot at 10 of term 1 and one at 50 of term 2, and a
/// follower that stands on the first, has a log up to 80 of term 1 that nobody
/// committed behind 20, and has been sent the second.
fn install(root: &Path) {
    let leader = founded(&root.join("leader"));
    let mut source = machine(&leader);
    apply(&mut source, 2, 10);
    source.checkpoint().unwrap();
    apply_term_2(&mut source, 11, 50);
    source.checkpoint().unwrap();
    let hash = state_hash(&leader.view()).unwrap();
    std::fs::write(root.join("hash"), hash.to_string()).unwrap();

    let (from, to) = (root.join("leader/db"), root.join("follower/db"));
    let mut follower = open(&root.join("follower")).unwrap();
    follower.join(newcomer()).unwrap();
    let mut target = machine(&follower);
    carry(&from, &to, at(10, 1));
    target.install(at(10, 1)).unwrap();
    let reset = |position: Position| {
        let hard_state = HardState {
            term: position.term,
            commit: position.index,
            ..HardState::default()
        };
        follower.log().reset(position, &hard_state).unwrap();
    };
    reset(at(10, 1));
    append_uncommitted(follower.log().as_ref(), 11, 80, 1, 20);
    apply(&mut target, 11, 20);
    std::fs::write(root.join("ready"), "").unwrap();
    carry(&from, &to, at(50, 2));
    target.install(at(50, 2)).unwrap();
    reset(at(50, 2));
}

#[test]
fn an_installation_is_whole_or_undone_after_a_crash() {
    // Marks that come twice are of the first installation: then the check below
    // asks for that one.
    for (mark, position) in [
        ("install.moved", at(0, 0)),
        ("install.verified", at(0, 0)),
        ("install.switched", at(10, 1)),
        ("end", at(50, 2)),
    ] {
        let dir = TempDir::new().unwrap();
        die("install", dir.path(), mark);
        check_installed(dir.path(), position, mark);
    }
}

fn check_installed(root: &Path, position: Position, mark: &str) {
    for _ in 0..2 {
        let store = open(&root.join("follower")).unwrap();
        let log = store.log();
        assert_eq!(store.applied().position, position, "{mark}");
        assert_eq!(log.term(position.index).unwrap(), Some(position.term));
        assert_eq!(log.cut().unwrap(), position);
        assert_eq!(log.last().unwrap(), position, "{mark}");
        assert!(log.hard_state().unwrap().commit >= position.index);
        assert!(log.hard_state().unwrap().term >= position.term);
        if position == at(50, 2) {
            let hash = std::fs::read_to_string(root.join("hash")).unwrap();
            let found = state_hash(&store.view()).unwrap();
            assert_eq!(found.to_string(), hash);
        }
    }
}

#[test]
fn a_second_installation_is_whole_or_undone_after_a_crash() {
    // `second:` marks count from where the follower was made ready.
    for mark in ["install.moved", "install.verified"] {
        let dir = TempDir::new().unwrap();
        die("install", dir.path(), &format!("second:{mark}"));
        let store = open(&dir.path().join("follower")).unwrap();
        assert_eq!(store.applied().position, at(10, 1), "not flushed since");
        assert_eq!(store.log().last().unwrap(), at(80, 1), "{mark}");
        assert_eq!(store.log().hard_state().unwrap().commit, 20);
    }
    for mark in [
        "install.switched",
        "log.reset.bound_lowered",
        "log.reset.written",
    ] {
        let dir = TempDir::new().unwrap();
        die("install", dir.path(), &format!("second:{mark}"));
        check_installed(dir.path(), at(50, 2), mark);
    }
}

// ---- replacing a suffix of the log ----

fn replace(root: &Path) {
    let store = founded(root);
    append_uncommitted(store.log().as_ref(), 2, 20, 1, 5);
    std::fs::write(root.join("ready"), "").unwrap();
    let write = LogWrite {
        entries: vec![entry(11, 1, 10), entry(12, 2, 10)],
        hard_state: None,
        sync: true,
    };
    store.log().write(&write).unwrap();
}

#[test]
fn a_replaced_suffix_does_not_look_like_a_lost_one() {
    for (mark, last) in [
        ("second:log.bound_lowered", at(20, 1)),
        ("second:log.written", at(12, 2)),
        ("end", at(12, 2)),
    ] {
        let dir = TempDir::new().unwrap();
        die("replace", dir.path(), mark);
        for _ in 0..2 {
            let store = open(dir.path()).unwrap();
            assert_eq!(store.log().last().unwrap(), last, "{mark}");
        }
    }
}

// ---- apply, flush, cut ----

const ENTRY_COUNT: u64 = 300;

/// Entries are logged, applied, flushed twice on the way, and the log is cut
/// where the flush says.
fn flush(root: &Path) {
    let store = founded(root);
    let log = store.log();
    let mut machine = machine(&store);
    let mut flush = machine.flusher();
    for index in 2..=ENTRY_COUNT {
        append_command(log.as_ref(), index);
        machine.apply(vec![logged(index)]).unwrap();
        if index == 100 || index == 200 {
            if index == 200 {
                std::fs::write(root.join("ready"), "").unwrap();
            }
            let durable = flush().unwrap();
            log.cut_through(durable).unwrap();
        }
    }
    crate::step::step("end");
}

fn logged(index: u64) -> Committed {
    committed(
        index,
        &[create(1), lease(u32::from(index.is_multiple_of(3)))],
    )
}

fn append_command(log: &impl LogStore, index: u64) {
    let write = LogWrite {
        entries: vec![entry(index, 1, 10)],
        hard_state: Some(HardState {
            term: 1,
            vote: 1,
            commit: index,
            ..HardState::default()
        }),
        // Durable against the death of the process, which is what is tried.
        sync: false,
    };
    log.write(&write).unwrap();
}

/// Hash of the state after entry `index`, by a machine in memory.
fn model(store: &Store, index: u64) -> u128 {
    let disk = MemDisk::default();
    disk.bootstrap(store.applied().clone());
    let (mem, mut applied) = disk.open();
    applied.position = at(1, 1);
    let mut machine = TaskMachine::open(mem, applied, Box::new(|_| ())).unwrap();
    for i in 2..=index {
        machine.apply(vec![logged(i)]).unwrap();
    }
    state_hash(machine.machine().state()).unwrap()
}

#[test]
fn what_was_not_flushed_is_replayed_from_the_log() {
    for (mark, durable) in [
        ("second:flush.begun", 100),
        // RocksDB has it in memory only.
        ("second:state.written", 100),
        ("second:flush.done", 200),
        ("end", 200),
    ] {
        let dir = TempDir::new().unwrap();
        die("flush", dir.path(), mark);
        let store = open(dir.path()).unwrap();
        let found = store.applied().position.index;
        assert_eq!(found, durable, "{mark}");
        assert_eq!(state_hash(&store.view()).unwrap(), model(&store, found));
        assert!(store.log().cut().unwrap().index <= found);

        let mut machine = machine(&store);
        let last = store.log().last().unwrap().index;
        let rest = store.log().entries(found + 1, last + 1, u64::MAX).unwrap();
        for entry in rest {
            machine.apply(vec![logged(entry.index)]).unwrap();
        }
        assert_eq!(machine.applied().position.index, last);
        assert_eq!(state_hash(&store.view()).unwrap(), model(&store, last));
    }
}
