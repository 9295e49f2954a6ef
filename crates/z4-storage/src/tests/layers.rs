//! The write-back layer over RocksDB: what readers see meanwhile, what reaches the
//! disk, and how much stays in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use z4_consensus::Membership;
use z4_core::command::{Ended, LeaseRefs};
use z4_core::state::{Row, RowKey};
use z4_core::{NamespaceId, Outcome, State, TaskId, View};

use super::*;
use crate::limits::LAYER_BUFFERS_MAX;
use crate::TaskStore as _;

/// A row whose contents are one number.
fn numbered(n: u64) -> Row {
    Row::Due {
        touched: false,
        bytes: n,
        max_attempts: 0,
        ttl_ms: 0,
    }
}

fn key(namespace: u32, place: u64) -> RowKey {
    RowKey::due(
        NamespaceId(namespace),
        Default::default(),
        place,
        TaskId::default(),
    )
}

fn numbers(view: &impl View) -> Vec<u64> {
    let mut seen = Vec::new();
    let (from, to) = (key(0, 0), key(9, 0));
    view.scan(&from, &to, &mut |_, row| {
        if let Row::Due { bytes, .. } = row {
            seen.push(bytes);
        }
        true
    })
    .unwrap();
    seen
}

#[test]
fn a_reader_sees_whole_batches_while_they_are_written_and_flushed() {
    const BATCHES: u64 = 100_000;
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    let mut state = store.state();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let view = store.view();
            let is_over = &is_over;
            scope.spawn(move || {
                let (mut last, mut looks) = (0, 0);
                while !is_over.load(Ordering::Relaxed) || looks == 0 {
                    let position = view.position().index;
                    let seen = numbers(&view);
                    // Each batch moves one row and writes three, all with its number.
                    assert!(
                        seen.is_empty() || seen.len() == 3 && seen.iter().all(|n| *n == seen[0]),
                        "a part of a batch: {seen:?}"
                    );
                    let now = seen.first().copied().unwrap_or(0);
                    assert!(
                        now >= last && now >= position,
                        "{now} after {last}, {position}"
                    );
                    last = now;
                    looks += 1;
                }
            });
        }
        let flusher = state.flusher();
        let is_over = &is_over;
        scope.spawn(move || {
            let mut flusher = flusher;
            while !is_over.load(Ordering::Relaxed) {
                flusher().unwrap();
            }
        });
        for n in 1..=BATCHES {
            state.delete(&key(1, n - 1));
            state.put_new(key(1, n), numbered(n));
            state.put(key(0, 0), numbered(n));
            state.put(key(2, 0), numbered(n));
            state.commit(at(n, 1), None).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(numbers(&store.view()), [BATCHES; 3]);
}

#[test]
fn what_is_read_at_once_says_of_which_commit_it_is() {
    const BATCHES: u64 = 50_000;
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    let mut state = store.state();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (view, is_over) = (store.view(), &is_over);
            scope.spawn(move || {
                let mut looks = 0;
                while !is_over.load(Ordering::Relaxed) || looks == 0 {
                    view.at_once(|moment, rows| {
                        let seen = match rows.get(&key(0, 0)).unwrap() {
                            Some(Row::Due { bytes, .. }) => bytes,
                            _ => 0,
                        };
                        assert_eq!(seen, moment.position.index);
                        // Every seventh commit raises the level.
                        assert_eq!(u64::from(moment.membership.level), seen / 7);
                    });
                    looks += 1;
                }
            });
        }
        let (mut flusher, is_over) = (state.flusher(), &is_over);
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                flusher().unwrap();
            }
        });
        for n in 1..=BATCHES {
            state.put(key(0, 0), numbered(n));
            let membership = Membership {
                level: (n / 7) as u32,
                ..Membership::default()
            };
            let membership = n.is_multiple_of(7).then_some(&membership);
            state.commit(at(n, 1), membership).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_task_that_ends_between_two_flushes_never_reaches_the_disk() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut machine = machine(&store);
    let mut index = 1;
    let mut run = |machine: &mut TaskMachine<RocksState>, command: Command| {
        index += 1;
        let outcomes = machine.apply(vec![committed(index, &[command])]).unwrap();
        outcomes.into_iter().flatten().next().unwrap()
    };
    for _ in 0..3 {
        run(&mut machine, create(5));
        let Outcome::Leased { grants, .. } = run(&mut machine, lease(5)) else {
            panic!("no lease");
        };
        let leases: Vec<_> = grants.iter().map(|g| (g.id, g.token)).collect();
        let acked = run(
            &mut machine,
            Command::AckTasks(LeaseRefs {
                namespace: Namespace::new("ns").unwrap(),
                leases,
            }),
        );
        let Outcome::Ended { results, .. } = acked else {
            panic!("no end");
        };
        assert_eq!(results, vec![Ok(Ended::Done); 5]);
    }
    machine.flusher()().unwrap();
    let db = store.live().db();
    let rows = db.db().full_iterator(rocksdb::IteratorMode::Start);
    let tables: Vec<u8> = rows.map(|row| row.unwrap().0[0]).collect();
    // Position and members; the machine's own row; the namespace.
    assert_eq!(tables, [0, 0, 1, 2]);
    // No deletion went there either: those four are all that was ever written, the
    // position twice.
    let written = db.db().property_int_value("rocksdb.estimate-num-keys");
    assert_eq!(written.unwrap(), Some(5));
}

#[test]
fn what_is_in_memory_is_bounded() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut state = store.state();
    let live = store.live();
    let asks_bytes = crate::db::write_buffer_bytes(dir.path());
    let bound_bytes = LAYER_BUFFERS_MAX * asks_bytes;
    let (mut most, mut place) = (0, 0);
    while place < 3 * (bound_bytes as u64 / 128) {
        for _ in 0..asks_bytes / 1_024 {
            place += 1;
            state.put_new(key(1, place), numbered(place));
        }
        state.commit(at(place, 1), None).unwrap();
        let bytes = live.rows().unwritten_bytes();
        most = most.max(bytes);
        // Whoever applies asks for a flush, long before it has to wait.
        assert_eq!(live.rows().wants_flush(), bytes >= asks_bytes);
    }
    assert!(most > asks_bytes && most < bound_bytes, "{most}");
    assert_eq!(numbers(&store.view()).len() as u64, place);
}
