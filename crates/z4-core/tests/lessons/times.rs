//! When tasks are due, and in which order they go.

use super::*;

#[test]
fn a_task_created_below_the_cursor_is_delivered() {
    let mut store = Store::new();
    let far = store.create("a", at(START_NS + 100 * SECOND_NS));
    store.create("a", Due::Now);
    assert_eq!(store.lease("a", 9).len(), 1);
    // The cursor stands at the far task now.
    let near = store.create("a", at(START_NS + 10 * SECOND_NS));
    store.now_ns = START_NS + 10 * SECOND_NS;
    assert_eq!(store.lease("a", 9)[0].id, near.id);
    store.now_ns = START_NS + 100 * SECOND_NS;
    assert_eq!(store.lease("a", 9)[0].id, far.id);
}

#[test]
fn neither_time_given_means_now() {
    let mut store = Store::new();
    let made = store.create("a", Due::Now);
    assert_eq!(made.deliver_at, WallTime::from_ns(START_NS));
    assert_eq!(store.lease("a", 1)[0].id, made.id);
}

#[test]
fn a_time_in_the_past_is_due_at_once_and_reads_back_as_asked() {
    let mut store = Store::new();
    for seconds in [i64::MIN, -1, 0, 5] {
        let asked = WallTime { seconds, nanos: 7 };
        let made = store.create("a", Due::At(asked));
        assert_eq!(made.deliver_at, asked);
        let (body, _) = find_task(store.machine.state(), &space("a"), made.id)
            .unwrap()
            .unwrap();
        assert_eq!(body.deliver_at, asked);
        assert_eq!(store.lease("a", 1)[0].id, made.id);
    }
}

#[test]
fn nothing_is_delivered_before_its_time_by_the_machine_clock() {
    let mut store = Store::new();
    let due_at_ns = START_NS + 5 * SECOND_NS;
    store.create("a", at(due_at_ns));
    store.create("a", Due::AfterSeconds(5));
    store.now_ns = due_at_ns - 1;
    assert_eq!(store.lease("a", 9), vec![]);
    store.now_ns = due_at_ns;
    assert_eq!(store.lease("a", 9).len(), 2);
    // Nor on the way of a scan that takes what is due.
    let made = [at(due_at_ns), at(due_at_ns + 1)].map(|due| store.create("a", due));
    let grants = store.lease("a", 9);
    assert_eq!((grants.len(), grants[0].id), (1, made[0].id));
}

#[test]
fn a_backlog_older_than_its_first_consumer_is_delivered_whole() {
    let mut store = Store::new();
    for _ in 0..500 {
        store.create("a", Due::Now);
    }
    store.now_ns += 86_400 * SECOND_NS;
    assert_eq!(store.lease("a", 1_000).len(), 500);
}

#[test]
fn priorities_go_first_then_times_then_ids() {
    let mut store = Store::new();
    let new = |priority, due| NewTask {
        priority: Priority::new(priority).unwrap(),
        due,
        ..NewTask::default()
    };
    let tasks = vec![
        new(5, at(START_NS + 2)),
        new(5, at(START_NS + 1)),
        new(5, at(START_NS + 1)),
        new(9, at(START_NS + 3)),
        new(0, Due::Now),
    ];
    let Outcome::Created(made) = store.apply(create("a", "", tasks)) else {
        panic!("refused");
    };
    store.now_ns += 3;
    let order: Vec<_> = store.lease("a", 9).iter().map(|grant| grant.id).collect();
    let want: Vec<_> = [3, 1, 2, 0, 4].map(|n: usize| made[n].id).into();
    assert_eq!(order, want);
}
