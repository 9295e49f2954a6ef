//! The checks themselves: a state that lost or gained a row is found out, and
//! the fingerprint of a state is what it was.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_core::access::{Grant, Principal, PrincipalName, Role, Scope, Token};
use z4_core::command::{
    CreateTasks, Due, LeaseTasks, NamespacePatch, NewTask, SetNamespace, Taker,
};
use z4_core::invariants::{self, state_hash};
use z4_core::limits::{GRANTS_MAX, NAMES_MAX, PRINCIPALS_MAX, TOKENS_MAX, VIOLATIONS_MAX};
use z4_core::state::{Row, RowKey};
use z4_core::task::{LeaseToken, Phase, Priority, TaskStatus};
use z4_core::{Command, Machine, MemState, Namespace, State, TaskId, View};

fn check(state: &MemState) -> Result<(), Vec<String>> {
    invariants::check(state).unwrap().verdict()
}

/// A store with a fresh, a leased and a returned task, a dead letter, a time to
/// live, and a request id.
fn store() -> MemState {
    let mut machine = Machine::open(MemState::new()).unwrap();
    let namespace = Namespace::new("a").unwrap();
    let create = |request_id: &str, due, max_attempts| {
        let task = NewTask {
            max_attempts,
            ttl_ms: 3_600_000,
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
            ahead_ms: 0,
        })
    };
    let keep = Command::SetNamespace(SetNamespace {
        namespace: namespace.clone(),
        patch: NamespacePatch {
            dead_keep_ms: Some(60_000),
            ..NamespacePatch::default()
        },
    });
    let second_ns = 1_000_000_000;
    let entries = [
        vec![create("", Due::Now, 0), lease(10)],
        vec![Command::Pulse, keep],
        vec![create("r", Due::Now, 0), lease(60_000)],
        vec![create("", Due::AfterSeconds(60), 0)],
        vec![create("", Due::Now, 1), lease(10), lease(10)],
        vec![Command::Pulse],
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
    assert_eq!(kinds.len(), 10, "a row of every kind: {kinds:?}");
    assert_eq!(invariants::check(&whole).unwrap().rows, rows.len() as u64);
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
            RowKey::Dead { at_ns, .. } | RowKey::Timer { at_ns, .. } => *at_ns += 1,
            RowKey::Request { request_id, .. } => request_id.push('x'),
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
    let mut wrong = vec![row.clone(); 16];
    wrong[0].counts.created += 1;
    wrong[1].counts.pending += 1;
    wrong[2].counts.leased += 1;
    wrong[3].counts.bytes += 1;
    wrong[4].queues[4].count += 1;
    wrong[5].queues[4].cursor.0 = u64::MAX;
    wrong[6].queues[4].consumed_ns = u64::MAX;
    wrong[7].counts.dead += 1;
    wrong[8].counts.done += 1;
    wrong[9].counts.cancelled += 1;
    wrong[10].counts.purged += 1;
    wrong[11].counts.failures = wrong[11].counts.deliveries + 1;
    wrong[12].dead_from.0 = u64::MAX;
    wrong[13].deleting = Some(TaskId::from_bytes([0xff; 16]));
    wrong[14].id.0 += 1;
    wrong[15].queues[3].count += 1;
    for row in wrong {
        let mut broken = whole.clone();
        broken.put(key.clone(), Row::Namespace(row.clone()));
        assert!(check(&broken).is_err(), "{row:?}");
    }
    let mut twin = whole.clone();
    let other = RowKey::Namespace(Namespace::new("b").unwrap());
    twin.put(other, Row::Namespace(row));
    assert!(check(&twin).is_err(), "two namespaces of one number");
    let Some(Row::Meta(meta)) = whole.get(&RowKey::Meta).unwrap() else {
        panic!("no meta row");
    };
    let mut wrong = vec![meta; 4];
    wrong[0].forget_from_ns = u64::MAX;
    wrong[1].timer_from_ns = u64::MAX;
    wrong[2].namespace_next = 0;
    wrong[3].stamp_ns = 0;
    for meta in wrong {
        let mut broken = whole.clone();
        broken.put(RowKey::Meta, Row::Meta(meta.clone()));
        assert!(check(&broken).is_err(), "{meta:?}");
    }
}

#[test]
fn a_copy_that_differs_from_the_body_is_found_out() {
    let whole = store();
    let mut seen = 0;
    for (key, row) in rows(&whole) {
        let wrong = match row {
            Row::Due {
                touched,
                bytes,
                max_attempts,
                ttl_ms,
            } => [
                (1, 0, 0, false),
                (0, 1, 0, false),
                (0, 0, 1, false),
                (0, 0, 0, true),
            ]
            .map(|(more_bytes, more_attempts, more_ms, other)| Row::Due {
                touched: touched != other,
                bytes: bytes + more_bytes,
                max_attempts: max_attempts + more_attempts,
                ttl_ms: ttl_ms + more_ms,
            })
            .into(),
            Row::Lease { consumer, token } => vec![
                Row::Lease {
                    consumer: "d".into(),
                    token,
                },
                Row::Lease {
                    consumer,
                    token: LeaseToken(token.0 + 1),
                },
            ],
            Row::Status(status) => wrong_statuses(&status),
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
    assert!(seen >= 30, "only {seen}");
}

/// Every field but those that nothing else tells of.
fn wrong_statuses(status: &TaskStatus) -> Vec<Row> {
    let mut wrong = vec![status.clone(); 8];
    wrong[0].bytes += 1;
    wrong[1].first_due_at_ns = 1;
    wrong[2].priority = Priority::new(9).unwrap();
    wrong[3].max_attempts += 1;
    wrong[4].ttl_ms += 1;
    wrong[5].failures = status.deliveries + 1;
    wrong[6].first_due_at_ns += 1;
    match &mut wrong[7].phase {
        Phase::Waiting { due_at_ns } => *due_at_ns += 1,
        Phase::Leased { deadline_ns, .. } => *deadline_ns += 1,
        Phase::Dead { forget_at_ns, .. } => *forget_at_ns += 1,
    }
    if matches!(status.phase, Phase::Dead { .. }) {
        // Nothing counts the age of a dead letter any more.
        wrong.remove(6);
    }
    wrong.into_iter().map(Row::Status).collect()
}

#[test]
fn principals_that_cannot_be_are_found_out() {
    let grant = |role, scope: &str| Grant {
        role,
        scope: Scope::new(scope).unwrap(),
    };
    let token = |id, created_at_ns, expires_at_ns| Token {
        id,
        secret_hash: [1; 32],
        created_at_ns,
        expires_at_ns,
    };
    let whole = Principal {
        grants: vec![grant(Role::Admin, "*")],
        names: vec!["a.z4".into()],
        tokens: vec![token(1, 5, 0), token(2, 5, 6)],
    };
    let having = |others: &[&Principal]| {
        let mut state = store();
        for (n, principal) in others.iter().enumerate() {
            let key = RowKey::Principal(PrincipalName::new(&format!("p{n}")).unwrap());
            state.put(key, Row::Principal(Box::new((*principal).clone())));
        }
        state
    };
    check(&having(&[&whole])).unwrap();
    assert_ne!(state_hash(&having(&[&whole])), state_hash(&store()));
    let mut wrong = vec![whole.clone(); 11];
    wrong[0].grants = vec![grant(Role::Admin, "a")];
    wrong[1].grants = vec![grant(Role::Reader, "a"); 2];
    let many = |n| grant(Role::Reader, &format!("a{n}"));
    wrong[2].grants = (0..=GRANTS_MAX).map(many).collect();
    wrong[3].names = vec![String::new()];
    wrong[4].names = vec!["a.z4".into(); 2];
    wrong[5].names = (0..=NAMES_MAX).map(|n| format!("{n}.z4")).collect();
    wrong[6].tokens = vec![token(1, 5, 0), token(1, 5, 0)];
    wrong[7].tokens = (0..=TOKENS_MAX as u64).map(|n| token(n, 5, 0)).collect();
    wrong[8].tokens = vec![token(1, 5, 5)];
    wrong[9].tokens = vec![token(1, u64::MAX, 0)];
    wrong[10].tokens = vec![token(1, 5, 4)];
    for principal in wrong {
        let broken = having(&[&principal]);
        assert!(check(&broken).is_err(), "{principal:?}");
        assert_ne!(state_hash(&broken), state_hash(&having(&[&whole])));
    }
    let mut namesake = whole.clone();
    namesake.tokens.clear();
    assert!(
        check(&having(&[&whole, &namesake])).is_err(),
        "a name of two"
    );
    let mut twin = whole.clone();
    twin.names.clear();
    assert!(check(&having(&[&whole, &twin])).is_err(), "a token of two");
    let none = Principal::default();
    check(&having(&vec![&none; PRINCIPALS_MAX])).unwrap();
    let many = having(&vec![&none; PRINCIPALS_MAX + 1]);
    assert!(check(&many).is_err(), "one principal too many");
    let mut other_kind = store();
    let key = RowKey::Principal(PrincipalName::new("p").unwrap());
    other_kind.put(key, Row::Timer);
    assert!(check(&other_kind).is_err(), "a row of another kind");
}

/// A state in which something of a principal is another one.
#[test]
fn all_of_a_principal_counts_in_the_fingerprint() {
    let grant = |role, scope| Grant {
        role,
        scope: Scope::new(scope).unwrap(),
    };
    let whole = Principal {
        grants: vec![grant(Role::Reader, "a")],
        names: vec!["a.z4".into()],
        tokens: vec![Token {
            id: 1,
            secret_hash: [1; 32],
            created_at_ns: 2,
            expires_at_ns: 3,
        }],
    };
    let mut all = vec![whole; 9];
    all[1].grants[0].role = Role::Producer;
    all[2].grants[0].scope = Scope::all();
    all[3].names[0] = "b.z4".into();
    all[4].tokens[0].id = 9;
    all[5].tokens[0].secret_hash[31] = 9;
    all[6].tokens[0].created_at_ns = 9;
    all[7].tokens[0].expires_at_ns = 9;
    all[8].tokens.clear();
    let hash = |principal: Principal| {
        let mut state = MemState::new();
        let key = RowKey::Principal(PrincipalName::new("p").unwrap());
        state.put(key, Row::Principal(Box::new(principal)));
        state_hash(&state).unwrap()
    };
    let hashes: std::collections::BTreeSet<_> = all.into_iter().map(hash).collect();
    assert_eq!(hashes.len(), 9);
}

#[test]
fn a_report_is_bounded() {
    let mut state = store();
    for n in 0..10 * VIOLATIONS_MAX as u64 {
        let id = TaskId::new(n, n, 0);
        state.put(RowKey::dead(z4_core::NamespaceId(9), n, id), Row::Dead);
    }
    let report = invariants::check(&state).unwrap();
    assert_eq!(report.violations.len(), VIOLATIONS_MAX);
    assert_eq!(report.violations_more, 9 * VIOLATIONS_MAX as u64);
    let broken = report.verdict().unwrap_err();
    assert!(broken.last().unwrap().contains("900 more"));
}

/// Replicas of different versions compare fingerprints: this one was taken once
/// and must stay.
#[test]
fn a_fingerprint_is_the_same_in_every_version() {
    let hash = state_hash(&store()).unwrap();
    assert_eq!(format!("{hash:032x}"), "279bdf89a2e678fc1b342e7482da60b3");
}
