//! The task machine over both stores.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use z4_core::invariants::{check, state_hash};
use z4_core::{Outcome, View};

use super::*;
use crate::machine::AppliedEvents;
use crate::{incoming_dir, snapshot_dir, MemDisk};

fn names(store: &Store) -> u128 {
    state_hash(&store.view()).unwrap()
}

#[test]
fn both_stores_come_to_the_same_state() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut real = machine(&store);
    let disk = MemDisk::default();
    disk.bootstrap(store.applied().clone());
    let (mem, applied) = disk.open();
    let mut model = TaskMachine::open(mem, applied, Box::new(|_| ())).unwrap();
    for index in (2..40).step_by(2) {
        let run = vec![
            committed(index, &[create(3), lease(2)]),
            committed(index + 1, &[lease(1), Command::Pulse]),
        ];
        assert_eq!(real.apply(run.clone()).unwrap(), model.apply(run).unwrap());
    }
    check(&store.view()).unwrap().verdict().unwrap();
    let hash = state_hash(model.machine().state()).unwrap();
    assert_eq!(names(&store), hash);
    // A machine opened anew goes on as the old one would.
    drop(real);
    let mut again =
        TaskMachine::open(store.state(), model.applied().clone(), Box::new(|_| ())).unwrap();
    let run = vec![committed(40, &[lease(100)])];
    assert_eq!(again.apply(run.clone()).unwrap(), model.apply(run).unwrap());
}

#[test]
fn events_come_after_the_commit_they_tell_of() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let view = store.view();
    let told: Arc<Mutex<Vec<(AppliedEvents, u64)>>> = Arc::default();
    let sink = {
        let (told, view) = (Arc::clone(&told), view.clone());
        Box::new(move |e| told.lock().unwrap().push((e, view.position().index)))
    };
    let mut machine = TaskMachine::open(store.state(), store.applied().clone(), sink).unwrap();
    let replies = machine
        .apply(vec![
            committed(2, &[create(2)]),
            Committed {
                position: at(3, 1),
                ..Committed::default_empty()
            },
            committed(4, &[lease(1)]),
        ])
        .unwrap();
    assert!(matches!(replies[0][..], [Outcome::Created(_)]));
    assert!(replies[1].is_empty());
    assert!(matches!(&replies[2][..], [Outcome::Leased { grants, .. }] if grants.len() == 1));
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2, "one at the opening, one for the run");
    assert_eq!(told[0].0.events.len(), 0);
    let (events, seen) = &told[1];
    assert!(events.events.len() >= 2);
    assert_eq!((events.position, *seen), (at(4, 1), 4));
    assert_eq!(events.stamp_ns, 4_000);
    assert!(events.pulse_next_ns.is_some());
}

trait Empty {
    fn default_empty() -> Self;
}
impl Empty for Committed {
    fn default_empty() -> Self {
        Committed {
            position: at(0, 0),
            stamp_ns: 0,
            commands: Vec::new(),
            membership: None,
        }
    }
}

#[test]
fn a_command_that_does_not_decode_stops_the_machine() {
    let dir = TempDir::new().unwrap();
    let mut machine = machine(&founded(dir.path()));
    let mut entry = committed(2, &[]);
    entry.commands = vec![vec![0xff, 0xff, 0xff]];
    assert!(machine.apply(vec![entry]).is_err());
    let replayed = committed(1, &[]);
    assert!(
        machine.apply(vec![replayed]).is_err(),
        "an entry comes once"
    );
}

/// Copies the files of a snapshot to where another peer receives them.
pub(crate) fn carry(from: &std::path::Path, to: &std::path::Path, position: Position) {
    let (from, to) = (snapshot_dir(from, position), incoming_dir(to, position));
    std::fs::create_dir_all(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_snapshot_carries_the_state_to_another_peer() {
    let (home, away) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let leader = founded(home.path());
    let mut source = machine(&leader);
    apply(&mut source, 2, 50);
    let made = source.checkpoint().unwrap();
    assert_eq!(made, *source.applied());
    assert_eq!(source.checkpoint().unwrap(), made, "again at one position");
    let hash = names(&leader);
    apply(&mut source, 51, 60);
    carry(
        &home.path().join("db"),
        &away.path().join("db"),
        made.position,
    );

    // The directory is cleaned at start, so it is opened first.
    let follower = open(away.path()).unwrap();
    carry(
        &home.path().join("db"),
        &away.path().join("db"),
        made.position,
    );
    let reader = follower.view();
    let mut target = machine(&follower);
    let old = std::fs::read_dir(away.path().join("db")).unwrap().count();
    target.install(made.position).unwrap();
    assert_eq!(*target.applied(), made);
    assert_eq!(names(&follower), hash);
    assert_eq!(reader.position(), made.position);
    let mut rows = 0;
    reader
        .scan(
            &z4_core::state::RowKey::Meta,
            &z4_core::state::RowKey::End,
            &mut |_, _| {
                rows += 1;
                true
            },
        )
        .unwrap();
    assert!(rows > 49, "a reader from before follows");
    assert_eq!(
        std::fs::read_dir(away.path().join("db")).unwrap().count(),
        old,
        "the old state is gone"
    );
    apply(&mut target, 51, 60);
    assert_eq!(names(&follower), names(&leader));
    assert_eq!(target.flusher()().unwrap(), at(60, 1));

    source.drop_snapshot(made.position);
    assert!(!snapshot_dir(&home.path().join("db"), made.position).exists());
    assert!(target.install(made.position).is_err(), "not received");
}

#[test]
fn a_snapshot_of_another_position_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut machine = machine(&store);
    apply(&mut machine, 2, 5);
    let made = machine.checkpoint().unwrap();
    let db = dir.path().join("db");
    carry(&db, &db, made.position);
    std::fs::rename(
        incoming_dir(&db, made.position),
        incoming_dir(&db, at(9, 1)),
    )
    .unwrap();
    assert!(machine.install(at(9, 1)).unwrap_err().0.contains("9-1"));
}

#[test]
fn a_simulated_disk_forgets_what_was_not_flushed() {
    let disk = MemDisk::default();
    let (mem, applied) = disk.open();
    let mut machine = TaskMachine::open(mem, applied, Box::new(|_| ())).unwrap();
    let mut flush = machine.flusher();
    apply(&mut machine, 2, 5);
    assert_eq!(flush().unwrap(), at(5, 1));
    let hash = state_hash(machine.machine().state()).unwrap();
    apply(&mut machine, 6, 9);
    let made = machine.checkpoint().unwrap();
    let other = MemDisk::default();
    assert!(disk.snapshots.carry(&other.incoming, made.position));
    let whole = state_hash(machine.machine().state()).unwrap();

    let (mem, applied) = disk.open();
    assert_eq!(applied.position, at(5, 1));
    assert_eq!(state_hash(&mem).unwrap(), hash);

    let mut follower =
        TaskMachine::open(MemDisk::open(&disk).0, applied, Box::new(|_| ())).unwrap();
    assert!(follower.install(made.position).is_err());
    let (mem, _) = MemDisk::default().open();
    drop(mem);
    assert!(
        !other.snapshots.carry(&disk.incoming, made.position),
        "made, not received"
    );
    assert!(other.incoming.carry(&disk.incoming, made.position));
    follower.install(made.position).unwrap();
    assert_eq!(state_hash(follower.machine().state()).unwrap(), whole);
    assert_eq!(disk.open().1.position, made.position, "durable at once");
}
