//! What a peer may and may not start on.

use tempfile::TempDir;
use z4_consensus::Identity;
use z4_proto::level::LEVEL_MAX;

use super::*;

fn named(peer_id: &str, raft_id: u64, cluster: u8) -> Identity {
    Identity {
        cluster_id: [cluster; 16],
        raft_id,
        peer_id: peer_id.into(),
    }
}

#[test]
fn a_founded_cluster_is_there_after_a_restart() {
    let dir = TempDir::new().unwrap();
    drop(founded(dir.path()));
    let mut store = open(dir.path()).unwrap();
    assert_eq!(store.identity(), Some(&named("peer1", 1, 7)));
    assert_eq!(store.applied().position, at(1, 1));
    assert_eq!(
        store.applied().membership.find("peer1").unwrap().1.address,
        "127.0.0.1:1"
    );
    let log = store.log();
    assert_eq!(
        (log.cut().unwrap(), log.last().unwrap()),
        (at(1, 1), at(1, 1))
    );
    assert_eq!(log.hard_state().unwrap().commit, 1);
    let again = store.bootstrap([8; 16], "x").unwrap_err();
    assert!(matches!(again, StorageError::NotEmpty { .. }), "{again}");
}

#[test]
fn an_empty_peer_waits_and_joins() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path()).unwrap();
    assert_eq!(store.identity(), None);
    let stranger = store.join(named("peer2", 2, 7)).unwrap_err();
    assert!(
        matches!(stranger, StorageError::OtherPeer { .. }),
        "{stranger}"
    );
    store.join(named("peer1", 2, 7)).unwrap();
    // A vote under an identity that is replaced does not bind the next one.
    store
        .log()
        .write(&LogWrite {
            hard_state: Some(HardState {
                term: 9,
                vote: 3,
                ..HardState::default()
            }),
            sync: true,
            ..LogWrite::default()
        })
        .unwrap();
    drop(store);
    let mut store = open(dir.path()).unwrap();
    assert_eq!(store.identity(), Some(&named("peer1", 2, 7)));
    assert_eq!(store.log().hard_state().unwrap().term, 9);
    store.join(named("peer1", 5, 8)).unwrap();
    assert_eq!(store.log().hard_state().unwrap(), HardState::default());
    store
        .log()
        .reset(
            at(10, 2),
            &HardState {
                term: 2,
                commit: 10,
                ..HardState::default()
            },
        )
        .unwrap();
    let late = store.join(named("peer1", 6, 8)).unwrap_err();
    assert!(matches!(late, StorageError::NotEmpty { .. }), "{late}");
}

#[test]
fn a_second_opener_is_refused() {
    let dir = TempDir::new().unwrap();
    let _first = founded(dir.path());
    let second = open(dir.path()).unwrap_err();
    assert!(
        second.to_string().contains("in use by another process"),
        "{second}"
    );
    // Also with only one of the two directories shared.
    let mut other = options(TempDir::new().unwrap().path(), "peer1");
    other.db_dir = dir.path().join("db");
    assert!(matches!(
        Store::open(other).unwrap_err(),
        StorageError::InUse { .. }
    ));
}

#[test]
fn a_directory_of_another_peer_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(founded(dir.path()));
    let other = Store::open(options(dir.path(), "peer2")).unwrap_err();
    assert!(matches!(other, StorageError::OtherPeer { .. }), "{other}");
    // The task data alone tells, too.
    let mut only_db = options(TempDir::new().unwrap().path(), "peer2");
    only_db.db_dir = dir.path().join("db");
    assert!(matches!(
        Store::open(only_db).unwrap_err(),
        StorageError::OtherPeer { .. }
    ));
}

#[test]
fn directories_of_two_clusters_are_refused() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    drop(founded(one.path()));
    let mut store = open(two.path()).unwrap();
    store.bootstrap([9; 16], "127.0.0.1:1").unwrap();
    drop(store);
    let mut mixed = options(one.path(), "peer1");
    mixed.db_dir = two.path().join("db");
    let e = Store::open(mixed).unwrap_err();
    assert!(matches!(e, StorageError::Mismatch { .. }), "{e}");
}

#[test]
fn task_data_without_its_log_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(founded(dir.path()));
    std::fs::remove_dir_all(dir.path().join("peer")).unwrap();
    let e = open(dir.path()).unwrap_err();
    assert!(matches!(e, StorageError::Mismatch { .. }), "{e}");
}

#[test]
fn a_log_without_its_task_data_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(founded(dir.path()));
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let e = open(dir.path()).unwrap_err();
    assert!(matches!(e, StorageError::StateLost { .. }), "{e}");
}

#[test]
fn a_newer_format_is_refused() {
    let db = format!("z4 db {}\n", LEVEL_MAX + 1);
    for (name, format) in [("db", db.as_str()), ("peer", "z4 peer 2\n")] {
        let dir = TempDir::new().unwrap();
        drop(founded(dir.path()));
        std::fs::write(dir.path().join(name).join("FORMAT"), format).unwrap();
        let e = open(dir.path()).unwrap_err();
        assert!(matches!(e, StorageError::NewerFormat { .. }), "{e}");
        assert!(e.to_string().contains(format.trim()), "{e}");
    }
}

/// An older version, which knows lesser formats only, ends before it takes for damaged what
/// it cannot read.
#[test]
fn the_format_names_the_level_that_is_needed() {
    let dir = TempDir::new().unwrap();
    let format = || std::fs::read_to_string(dir.path().join("db/FORMAT")).unwrap();
    drop(open(dir.path()).unwrap());
    assert_eq!(format(), "z4 db 1\n");
    let mut store = founded(dir.path());
    assert_eq!(format(), format!("z4 db {LEVEL_MAX}\n"));
    drop(store);
    store = open(dir.path()).unwrap();
    assert_eq!(store.applied().membership.level, LEVEL_MAX);
}

#[test]
fn a_removed_peer_knows_it_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut store = founded(dir.path());
    assert!(!store.is_removed());
    store.mark_removed().unwrap();
    drop(store);
    assert!(open(dir.path()).unwrap().is_removed());
}

#[test]
fn leftovers_are_cleaned_at_start() {
    let dir = TempDir::new().unwrap();
    drop(founded(dir.path()));
    let db = dir.path().join("db");
    for name in ["state-9-9-9", "snapshots/4-4", "incoming/5-5"] {
        std::fs::create_dir_all(db.join(name)).unwrap();
    }
    drop(open(dir.path()).unwrap());
    for name in ["state-9-9-9", "snapshots/4-4", "incoming/5-5"] {
        assert!(!db.join(name).exists(), "{name}");
    }
}

#[test]
fn a_commit_index_behind_the_applied_one_is_raised() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    append(store.log().as_ref(), 2, 9, 1);
    store
        .log()
        .write(&LogWrite {
            hard_state: Some(HardState {
                term: 1,
                vote: 1,
                commit: 4,
                ..HardState::default()
            }),
            sync: true,
            ..LogWrite::default()
        })
        .unwrap();
    let mut machine = machine(&store);
    apply(&mut machine, 2, 7);
    machine.flusher()().unwrap();
    drop((machine, store));
    let store = open(dir.path()).unwrap();
    assert_eq!(store.applied().position, at(7, 1));
    let hard_state = store.log().hard_state().unwrap();
    assert_eq!((hard_state.commit, hard_state.vote), (7, 1));
}

#[test]
fn a_state_behind_the_cut_of_the_log_is_refused() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    append(store.log().as_ref(), 2, 9, 1);
    store.log().cut_through(at(6, 1)).unwrap();
    drop(store);
    let e = open(dir.path()).unwrap_err();
    assert!(matches!(e, StorageError::StateLost { .. }), "{e}");
}
