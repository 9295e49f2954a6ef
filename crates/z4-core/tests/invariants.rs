//! The checks themselves: a state that lost or gained a row is found out, and
//! the fingerprint of a state is what it was.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_core::command::{CreateTasks, Due, LeaseTasks, NewTask, Taker};
use z4_core::invariants::{check, state_hash};
use z4_core::state::{Row, RowKey};
use z4_core::task::Priority;
use z4_core::{Command, Machine, MemState, Namespace, State, View};

/// A store with a fresh, a leased and a returned task, and a request id.
fn store() -> MemState {
    let mut machine = Machine::open(MemState::new()).unwrap();
    let namespace = Namespace::new("a").unwrap();
    let create = |request_id: &str, due| {
        let task = NewTask {
            metadata: vec![("k".into(), "v".into())],
            payload: vec![1, 2, 3],
            due,
            ..NewTask::default()
        };
        Command::CreateTasks(CreateTasks {
            namespace: namespace.clone(),
            request_id: request_id.into(),
            tasks: vec![task],
        })
    };
    let lease = |lease_ms| {
        let taker = Taker {
            consumer: "c".into(),
            room: 1,
        };
        Command::LeaseTasks(LeaseTasks {
            namespace: namespace.clone(),
            takers: vec![taker],
            lease_ms,
        })
    };
    let second_ns = 1_000_000_000;
    let entries = [
        vec![create("", Due::Now), lease(1)],
        vec![Command::ExpireLeases],
        vec![create("r", Due::Now), lease(60_000)],
        vec![create("", Due::AfterSeconds(60))],
        vec![create("", Due::Now), lease(1)],
        vec![Command::ExpireLeases],
    ];
    for (n, commands) in (1..).zip(entries) {
        machine
            .apply_entry(n, n * second_ns, commands, &mut Vec::new())
            .unwrap();
    }
    machine.into_state()
}

fn rows(state: &MemState) -> Vec<(RowKey, Row)> {
    let mut rows = Vec::new();
    let mut visit = |key, row| {
        rows.push((key, row));
        true
    };
    state.scan(&RowKey::Meta, &RowKey::End, &mut visit).unwrap();
    rows
}

#[test]
fn a_lost_row_is_found_out() {
    let whole = store();
    check(&whole).unwrap();
    let rows = rows(&whole);
    let kinds: std::collections::BTreeSet<_> = rows
        .iter()
        .map(|(_, row)| {
            format!("{row:?}")
                .split([' ', '('])
                .next()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(kinds.len(), 8, "a row of every kind: {kinds:?}");
    for (key, _) in rows {
        let mut broken = whole.clone();
        broken.delete(&key);
        assert!(check(&broken).is_err(), "{key:?} is not missed");
        assert_ne!(state_hash(&broken), state_hash(&whole), "{key:?}");
    }
}

#[test]
fn a_row_at_another_place_is_found_out() {
    let whole = store();
    for (key, row) in rows(&whole) {
        let mut moved = key.clone();
        match &mut moved {
            RowKey::Due { due_at_ns, .. } => *due_at_ns += 1,
            RowKey::Lease { deadline_ns, .. } => *deadline_ns += 1,
            RowKey::RequestExpiry { expires_at_ns, .. } => *expires_at_ns += 1,
            RowKey::Body(namespace, _) | RowKey::Status(namespace, _) => namespace.0 += 1,
            _ => continue,
        }
        let mut broken = whole.clone();
        broken.delete(&key);
        broken.put(moved.clone(), row.clone());
        assert!(check(&broken).is_err(), "{key:?} moved to {moved:?}");
        let mut broken = whole.clone();
        broken.put(moved.clone(), row);
        assert!(check(&broken).is_err(), "{key:?} doubled to {moved:?}");
    }
}

#[test]
fn wrong_counts_and_cursors_are_found_out() {
    let whole = store();
    let key = RowKey::Namespace(Namespace::new("a").unwrap());
    let Some(Row::Namespace(row)) = whole.get(&key).unwrap() else {
        panic!("no namespace");
    };
    let mut wrong = vec![row.clone(); 7];
    wrong[0].counts.created += 1;
    wrong[1].counts.pending += 1;
    wrong[2].counts.leased += 1;
    wrong[3].counts.bytes += 1;
    wrong[4].queues[4].count += 1;
    wrong[5].queues[4].cursor.0 = u64::MAX;
    wrong[6].queues[4].consumed_ns = u64::MAX;
    for row in wrong {
        let mut broken = whole.clone();
        broken.put(key.clone(), Row::Namespace(row.clone()));
        assert!(check(&broken).is_err(), "{row:?}");
    }
}

#[test]
fn a_copy_that_differs_from_the_body_is_found_out() {
    let whole = store();
    let mut seen = 0;
    for (key, row) in rows(&whole) {
        let wrong = match row {
            Row::Due { touched, bytes } => vec![
                Row::Due {
                    touched,
                    bytes: bytes + 1,
                },
                Row::Due {
                    touched: !touched,
                    bytes,
                },
            ],
            Row::Status(status) => {
                let mut wrong = vec![status; 3];
                wrong[0].bytes += 1;
                wrong[1].first_due_at_ns -= 1;
                wrong[2].priority = Priority::new(9).unwrap();
                wrong.into_iter().map(Row::Status).collect()
            }
            _ => continue,
        };
        for row in wrong {
            let mut broken = whole.clone();
            broken.put(key.clone(), row.clone());
            assert!(check(&broken).is_err(), "{key:?}: {row:?}");
            assert_ne!(state_hash(&broken), state_hash(&whole), "{row:?}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen}");
}

/// Replicas of different versions compare fingerprints: this one was taken once
/// and must stay.
#[test]
fn a_fingerprint_is_the_same_in_every_version() {
    let hash = state_hash(&store()).unwrap();
    assert_eq!(format!("{hash:032x}"), "970608ec588f95211afbe9d3be933fe8");
}
