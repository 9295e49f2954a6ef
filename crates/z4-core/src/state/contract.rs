//! What every [`State`] must do, as one suite run on each implementation.
//!
//! For tests: [`run`] panics with the broken rule. An implementation outside
//! this crate calls it from a test of its own:
//!
//! ```
//! use z4_core::state::{contract, MemState};
//! contract::run(MemState::new);
//! ```

// A suite that finds a broken rule has to say so and stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{
    MetaRow, NamespaceConfig, NamespaceCounts, NamespaceRow, QueueHead, RateMark, RateWindow,
    RequestRow, Row, RowKey, State, View,
};
use crate::access::{Grant, Principal, PrincipalName, Role, Scope, Token};
use crate::command::{CreatedTask, NamespacePatch};
use crate::settings::SETTINGS;
use crate::task::{
    DeathReason, LeaseToken, Namespace, NamespaceId, Phase, Priority, TaskBody, TaskId, TaskStatus,
    WallTime,
};

/// Runs the suite; `make` gives a fresh, empty store each time.
///
/// # Panics
/// When the implementation breaks a rule.
pub fn run<S: State>(mut make: impl FnMut() -> S) {
    an_empty_store_has_nothing(&make());
    reads_see_writes(&mut make());
    every_kind_of_row_reads_back(&mut make());
    scans_are_in_key_order(&mut make());
    scans_include_from_and_exclude_to(&mut make());
    empty_and_reversed_ranges_visit_nothing(&mut make());
    scans_stop_when_told(&mut make());
    scans_do_not_see_what_was_deleted(&mut make());
    what_was_deleted_can_come_back(&mut make());
    what_is_new_hides_no_older_row(&mut make());
    names_that_begin_alike_are_apart(&mut make());
    extreme_numbers_keep_their_order(&mut make());
    many_rows(&mut make());
}

fn an_empty_store_has_nothing(state: &impl View) {
    assert_eq!(state.get(&RowKey::Meta).unwrap(), None);
    assert_eq!(all(state), vec![]);
}

fn reads_see_writes(state: &mut impl State) {
    state.put(RowKey::Meta, meta(1));
    assert_eq!(state.get(&RowKey::Meta).unwrap(), Some(meta(1)), "put");
    state.put(RowKey::Meta, meta(2));
    assert_eq!(
        state.get(&RowKey::Meta).unwrap(),
        Some(meta(2)),
        "overwrite"
    );
    assert_eq!(
        all(state),
        vec![(RowKey::Meta, meta(2))],
        "one row, not two"
    );
    state.delete(&RowKey::Meta);
    assert_eq!(state.get(&RowKey::Meta).unwrap(), None, "delete");
    state.delete(&RowKey::Meta);
    assert_eq!(all(state), vec![], "a second delete does nothing");
}

fn every_kind_of_row_reads_back(state: &mut impl State) {
    let rows = one_of_each();
    for (key, row) in &rows {
        state.put(key.clone(), row.clone());
    }
    for (key, row) in &rows {
        assert_eq!(state.get(key).unwrap().as_ref(), Some(row), "{key:?}");
    }
    assert_eq!(all(state), rows, "a scan gives what gets give");
}

fn scans_are_in_key_order(state: &mut impl State) {
    let mut rows = one_of_each();
    for (key, row) in rows.iter().rev() {
        state.put(key.clone(), row.clone());
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(all(state), rows);
}

fn scans_include_from_and_exclude_to(state: &mut impl State) {
    for n in 0..5 {
        state.put(due(1, 4, n, 0), due_row(false));
    }
    let range = |from, to| keys(state, &due(1, 4, from, 0), &due(1, 4, to, 0));
    assert_eq!(range(1, 3), vec![due(1, 4, 1, 0), due(1, 4, 2, 0)]);
    assert_eq!(range(4, 9), vec![due(1, 4, 4, 0)]);
    assert_eq!(
        keys(state, &due(1, 4, 3, 1), &RowKey::End),
        vec![due(1, 4, 4, 0)],
        "a start between two rows"
    );
}

fn empty_and_reversed_ranges_visit_nothing(state: &mut impl State) {
    state.put(due(1, 4, 5, 0), due_row(false));
    for (from, to) in [(5, 5), (9, 1), (0, 5), (6, 9)] {
        let found = keys(state, &due(1, 4, from, 0), &due(1, 4, to, 0));
        assert_eq!(found, vec![], "{from} to {to}");
    }
    assert_eq!(keys(state, &RowKey::End, &RowKey::Meta), vec![]);
    assert_eq!(keys(state, &RowKey::End, &RowKey::End), vec![]);
}

fn scans_stop_when_told(state: &mut impl State) {
    for n in 0..10 {
        state.put(due(1, 4, n, 0), due_row(false));
    }
    let mut seen = 0;
    let mut visit = |_, _| {
        seen += 1;
        seen < 3
    };
    state.scan(&RowKey::Meta, &RowKey::End, &mut visit).unwrap();
    assert_eq!(seen, 3);
}

fn scans_do_not_see_what_was_deleted(state: &mut impl State) {
    for n in 0..10 {
        state.put(due(1, 4, n, 0), due_row(false));
    }
    for n in (0..10).filter(|n| n % 3 != 0) {
        state.delete(&due(1, 4, n, 0));
    }
    let left: Vec<_> = [0, 3, 6, 9].map(|n| due(1, 4, n, 0)).into();
    assert_eq!(keys(state, &RowKey::Meta, &RowKey::End), left);
    assert_eq!(
        keys(state, &due(1, 4, 1, 0), &due(1, 4, 3, 0)),
        vec![],
        "nothing but deleted rows"
    );
}

fn what_was_deleted_can_come_back(state: &mut impl State) {
    let key = due(1, 4, 1, 0);
    state.put(key.clone(), due_row(false));
    state.delete(&key);
    state.put(key.clone(), due_row(true));
    let row = due_row(true);
    assert_eq!(state.get(&key).unwrap(), Some(row.clone()));
    assert_eq!(all(state), vec![(key, row)]);
}

fn what_is_new_hides_no_older_row(state: &mut impl State) {
    state.put(RowKey::Meta, meta(1));
    for number in 2..4 {
        state.delete(&RowKey::Meta);
        state.put_new(RowKey::Meta, meta(number));
        assert_eq!(state.get(&RowKey::Meta).unwrap(), Some(meta(number)));
    }
    state.delete(&RowKey::Meta);
    assert_eq!(all(state), vec![], "an older row came back");
}

fn names_that_begin_alike_are_apart(state: &mut impl State) {
    let names = ["a", "a-", "a.b", "aa", "ab", "b", "B"];
    for (n, name) in (0..).zip(names) {
        state.put(name_key(name), namespace(n));
        for id in ["", "r", "r1", "r\0", "é"] {
            let key = request_key(n, &format!("{name}{id}"));
            state.put(key, request(u64::from(n)));
        }
    }
    for (n, name) in (0..).zip(names) {
        let row = state.get(&name_key(name)).unwrap();
        assert_eq!(row, Some(namespace(n)), "{name}");
        let row = state.get(&request_key(n, name)).unwrap();
        assert_eq!(row, Some(request(u64::from(n))), "{name}");
    }
    assert_eq!(state.get(&request_key(0, "a.")).unwrap(), None);
    assert_sorted(state);
    let mut sorted: Vec<_> = names.map(name_key).into();
    sorted.sort();
    let (from, to) = RowKey::namespaces();
    assert_eq!(keys(state, &from, &to), sorted, "names in their order");
}

fn extreme_numbers_keep_their_order(state: &mut impl State) {
    let numbers = [0, 1, 255, 256, 1 << 32, u64::MAX - 1, u64::MAX];
    for at_ns in numbers {
        for namespace in [0, 1, 255, 256, u32::MAX] {
            let id = TaskId::from_bytes([0xff; 16]);
            let namespace = NamespaceId(namespace);
            state.put(due(namespace.0, 9, at_ns, 7), due_row(false));
            let lease = RowKey::Lease {
                deadline_ns: at_ns,
                namespace,
                id,
            };
            state.put(lease, lease_row());
            state.put(RowKey::dead(namespace, at_ns, id), Row::Dead);
            state.put(RowKey::timer(at_ns, namespace, id), Row::Timer);
            let expiry = RowKey::RequestExpiry {
                expires_at_ns: at_ns,
                namespace,
                request_id: String::new(),
            };
            state.put(expiry, Row::RequestExpiry);
        }
    }
    assert_eq!(all(state).len(), numbers.len() * 5 * 5);
    assert_sorted(state);
    let (from, to) = RowKey::leases();
    assert_eq!(keys(state, &from, &to).len(), numbers.len() * 5);
    for namespace in [0, 255, u32::MAX] {
        let (from, to) = RowKey::dead_letters(NamespaceId(namespace), (256, TaskId::default()));
        assert_eq!(keys(state, &from, &to).len(), 4);
    }
    let (from, to) = RowKey::timers(256);
    assert_eq!(keys(state, &from, &to).len(), 4 * 5);
    let (from, to) = RowKey::request_expiries(256);
    assert_eq!(keys(state, &from, &to).len(), 4 * 5);
    let (from, to) = (due(1, 9, 0, 0), RowKey::queue_end(NamespaceId(1), 9));
    assert_eq!(keys(state, &from, &to).len(), numbers.len());
}

fn many_rows(state: &mut impl State) {
    const COUNT: u64 = 5_000;
    // A step that is prime to the count visits every place, out of order.
    for n in 0..COUNT {
        let at = n * 1_999 % COUNT;
        state.put(due(1, 4, at, at), due_row(false));
    }
    for at in 0..COUNT / 2 {
        state.delete(&due(1, 4, at, at));
    }
    let found = keys(state, &RowKey::Meta, &RowKey::End);
    let left: Vec<_> = (COUNT / 2..COUNT).map(|at| due(1, 4, at, at)).collect();
    assert_eq!(found, left);
}

fn all(view: &impl View) -> Vec<(RowKey, Row)> {
    let mut rows = Vec::new();
    let mut visit = |key, row| {
        rows.push((key, row));
        true
    };
    view.scan(&RowKey::Meta, &RowKey::End, &mut visit).unwrap();
    rows
}

fn keys(view: &impl View, from: &RowKey, to: &RowKey) -> Vec<RowKey> {
    let mut keys = Vec::new();
    let mut visit = |key, _| {
        keys.push(key);
        true
    };
    view.scan(from, to, &mut visit).unwrap();
    keys
}

fn assert_sorted(view: &impl View) {
    let rows = all(view);
    for pair in rows.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{pair:?} are out of order");
    }
}

/// Rows of every kind, with every field set, in key order.
fn one_of_each() -> Vec<(RowKey, Row)> {
    let id = TaskId::new(10, 20, 30);
    let space = NamespaceId(7);
    let status = |phase| TaskStatus {
        phase,
        deliveries: 2,
        failures: 1,
        returns: 1,
        first_due_at_ns: 3,
        priority: Priority::default(),
        bytes: 2,
        max_attempts: 7,
        ttl_ms: 8,
        last_error: "é".into(),
    };
    let waiting = status(Phase::Waiting { due_at_ns: 5 });
    let leased = status(Phase::Leased {
        consumer: "~1.2.3".into(),
        token: LeaseToken(4),
        deadline_ns: 6,
    });
    let dead = status(Phase::Dead {
        at_ns: 10,
        reason: DeathReason::Permanent,
        forget_at_ns: 11,
    });
    let late = TaskId::new(11, 21, 31);
    let lease = RowKey::Lease {
        deadline_ns: 6,
        namespace: space,
        id,
    };
    let expiry = RowKey::RequestExpiry {
        expires_at_ns: 9,
        namespace: space,
        request_id: "r".into(),
    };
    vec![
        (RowKey::Meta, meta(3)),
        (name_key("emails"), namespace(7)),
        (
            RowKey::Body(space, TaskId::default()),
            Row::Body(TaskBody::default()),
        ),
        (RowKey::Body(space, id), Row::Body(body())),
        (
            RowKey::Status(space, TaskId::default()),
            Row::Status(waiting),
        ),
        (RowKey::Status(space, id), Row::Status(leased)),
        (RowKey::Status(space, late), Row::Status(dead)),
        (due(7, 0, 5, 1), due_row(true)),
        (due(7, 4, 5, 2), due_row(false)),
        (lease, lease_row()),
        (request_key(7, "r"), request(9)),
        (expiry, Row::RequestExpiry),
        (RowKey::dead(space, 10, late), Row::Dead),
        (RowKey::timer(11, space, late), Row::Timer),
        (principal_key("a"), Row::Principal(Box::default())),
        (principal_key("a-b"), principal()),
    ]
}

fn name_key(name: &str) -> RowKey {
    RowKey::Namespace(Namespace::new(name).unwrap())
}

fn principal_key(name: &str) -> RowKey {
    RowKey::Principal(PrincipalName::new(name).unwrap())
}

fn principal() -> Row {
    let grant = |role: Role| {
        let scope = Scope::new(if role == Role::Admin { "*" } else { "mail.*" });
        Grant::new(role, scope.unwrap()).unwrap()
    };
    let token = |id| Token {
        id,
        secret_hash: std::array::from_fn(|place| place as u8),
        created_at_ns: 18,
        expires_at_ns: id,
    };
    Row::Principal(Box::new(Principal {
        grants: Role::ALL.map(grant).into(),
        names: vec!["spiffe://z4/a".into(), "a.z4".into()],
        tokens: [0, 19, u64::MAX].map(token).into(),
    }))
}

fn due_row(touched: bool) -> Row {
    Row::Due {
        touched,
        bytes: 2,
        max_attempts: 3,
        ttl_ms: 4,
    }
}

fn lease_row() -> Row {
    Row::Lease {
        consumer: "c".into(),
        token: LeaseToken(u64::MAX),
    }
}

fn due(namespace: u32, rank: u8, due_at_ns: u64, index: u64) -> RowKey {
    RowKey::Due {
        namespace: NamespaceId(namespace),
        rank,
        due_at_ns,
        id: TaskId::new(0, index, 0),
    }
}

fn request_key(namespace: u32, request_id: &str) -> RowKey {
    RowKey::Request {
        namespace: NamespaceId(namespace),
        request_id: request_id.into(),
    }
}

fn meta(n: u32) -> Row {
    Row::Meta(MetaRow {
        stamp_ns: u64::from(n) + 100,
        namespace_next: n,
        forget_from_ns: u64::from(n) + 200,
        timer_from_ns: u64::from(n) + 300,
    })
}

fn namespace(n: u32) -> Row {
    let head = |rank: usize| QueueHead {
        count: rank as u64,
        cursor: (rank as u64 * 10, TaskId::new(rank as u64, 1, 1)),
        consumed_ns: rank as u64 * 9,
    };
    let (mut patch, mut config) = (NamespacePatch::default(), NamespaceConfig::default());
    for setting in SETTINGS {
        setting.give_one(&mut patch, 3);
    }
    patch.lay_over(&mut config);
    Row::Namespace(Box::new(NamespaceRow {
        id: NamespaceId(n),
        config,
        counts: NamespaceCounts {
            created: 10,
            pending: 3,
            leased: 4,
            done: 3,
            dead: 5,
            cancelled: 6,
            purged: 7,
            deliveries: 8,
            failures: 9,
            bytes: u64::MAX,
        },
        queues: std::array::from_fn(head),
        paused_at_ns: n.is_multiple_of(2).then_some(u64::from(n) + 1),
        deleting: n.is_multiple_of(3).then(|| TaskId::new(1, 2, 3)),
        dead_from: (3, TaskId::new(4, 5, 6)),
        rate_tat_ns: 13,
        window: RateWindow {
            before: mark(14),
            last: mark(15),
        },
        lateness_mean_ns: 16,
        leased_at_ns: 17,
    }))
}

fn mark(n: u64) -> RateMark {
    RateMark {
        at_ns: n,
        created: n + 1,
        deliveries: n + 2,
        done: n + 3,
    }
}

fn body() -> TaskBody {
    TaskBody {
        metadata: vec![("a".into(), String::new()), ("b".into(), "é".into())],
        payload: (0..=255).collect(),
        deliver_at: WallTime {
            seconds: -1,
            nanos: 999_999_999,
        },
        due_at_ns: 5,
        created_at_ns: 4,
        priority: Priority::default(),
        max_attempts: 6,
        ttl_ms: 7,
    }
}

fn request(n: u64) -> Row {
    let task = CreatedTask {
        id: TaskId::new(n, n, 0),
        deliver_at: WallTime::from_ns(n),
    };
    Row::Request(RequestRow {
        content_hash: u128::MAX - u128::from(n),
        tasks: vec![task; 3],
        expires_at_ns: n,
    })
}
