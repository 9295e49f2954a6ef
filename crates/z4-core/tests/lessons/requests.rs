//! Request ids: a repeated create makes nothing twice.

use super::*;

#[test]
fn a_repeated_request_makes_one_task() {
    let mut store = Store::new();
    let ask = |tasks| create("a", "r", tasks);
    let first = store.apply(ask(vec![task(Due::Now)]));
    store.now_ns += SECOND_NS;
    assert_eq!(store.apply(ask(vec![task(Due::Now)])), first);
    // Also when the task is gone, and over a restart.
    let grant = store.lease("a", 9).remove(0);
    assert!(store.ack("a", &grant));
    let state = std::mem::take(store.machine.state_mut());
    store.machine = Machine::open(state).unwrap();
    assert_eq!(store.apply(ask(vec![task(Due::Now)])), first);
    assert_eq!(store.lease("a", 9), vec![]);
    let other = store.apply(ask(vec![task(Due::AfterSeconds(1))]));
    let Outcome::Refused(refusal) = other else {
        panic!("{other:?}");
    };
    assert_eq!(refusal.code, Code::AlreadyExists);
    // Another namespace is another matter.
    let elsewhere = store.apply(create("b", "r", vec![task(Due::Now)]));
    assert!(matches!(elsewhere, Outcome::Created(_)));
}

#[test]
fn a_request_is_remembered_for_the_window_and_then_forgotten() {
    let mut store = Store::new();
    let window_ns = limits::DEDUPE_MS_DEFAULT * 1_000_000;
    let ask = || create("a", "r", vec![task(Due::Now)]);
    let first = store.apply(ask());
    store.now_ns = START_NS + window_ns - 1;
    assert_eq!(store.apply(ask()), first);
    store.now_ns = START_NS + window_ns;
    // Outdated, though its row is still there.
    let second = store.apply(ask());
    assert_ne!(second, first);
    assert_eq!(store.apply(ask()), second, "the new one is remembered");
    store.now_ns += window_ns;
    store.apply(Command::Pulse);
    let key = RowKey::Request {
        namespace: store.machine.namespaces().next().unwrap().1.id,
        request_id: "r".into(),
    };
    assert_eq!(store.machine.state().get(&key).unwrap(), None);
}

#[test]
fn an_entry_forgets_a_few_requests_and_the_next_ones_the_rest() {
    let mut store = Store::new();
    let count = 3 * limits::FORGET_COUNT_MAX / 2;
    for n in 0..count {
        store.apply(create("a", &format!("r{n}"), vec![task(Due::Now)]));
    }
    let left = |store: &Store| {
        let mut rows = 0;
        let (from, to) = RowKey::request_expiries(0);
        let mut visit = |_, row| {
            rows += usize::from(row == Row::RequestExpiry);
            true
        };
        store.machine.state().scan(&from, &to, &mut visit).unwrap();
        rows
    };
    assert_eq!(left(&store), count);
    store.now_ns += limits::DEDUPE_MS_DEFAULT * 1_000_000;
    store.apply(Command::Pulse);
    assert_eq!(left(&store), count - limits::FORGET_COUNT_MAX);
    store.apply(Command::Pulse);
    assert_eq!(left(&store), 0);
}

#[test]
fn contents_that_look_alike_are_told_apart() {
    let label = |key: &str, value: &str| NewTask {
        metadata: vec![(key.into(), value.into())],
        ..NewTask::default()
    };
    let payload = |bytes: &[u8]| NewTask {
        payload: bytes.to_vec(),
        ..NewTask::default()
    };
    let contents = [
        vec![label("ab", "c")],
        vec![label("a", "bc")],
        vec![payload(b"ab"), payload(b"")],
        vec![payload(b"a"), payload(b"b")],
        vec![payload(b"ab")],
        vec![task(Due::AfterSeconds(1))],
        vec![task(Due::At(WallTime {
            seconds: 1,
            nanos: 0,
        }))],
        vec![task(Due::At(WallTime {
            seconds: 0,
            nanos: 1,
        }))],
    ];
    for (n, first) in contents.iter().enumerate() {
        for (m, second) in contents.iter().enumerate() {
            let mut store = Store::new();
            store.apply(create("a", "r", first.clone()));
            let again = store.apply(create("a", "r", second.clone()));
            assert_eq!(matches!(again, Outcome::Created(_)), n == m, "{n} and {m}");
        }
    }
}
