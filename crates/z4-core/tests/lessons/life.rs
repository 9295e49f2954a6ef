//! Ages, limits on dead letters, and deletions: what of them the shell and the
//! store rely on.

use super::*;

fn aged(ttl_ms: u64) -> NewTask {
    NewTask {
        ttl_ms,
        ..NewTask::default()
    }
}

impl Store {
    fn timer_from_ns(&self) -> u64 {
        match self.machine.state().get(&RowKey::Meta).unwrap() {
            Some(Row::Meta(meta)) => meta.timer_from_ns,
            other => panic!("{other:?}"),
        }
    }

    fn counts(&self) -> NamespaceCounts {
        let (_, row) = self.machine.namespaces().next().unwrap();
        row.counts.clone()
    }
}

/// Consumers learn that their leases are gone, and then that the name is free.
#[test]
fn a_deletion_ends_leases_aloud() {
    let mut store = Store::new();
    store.apply(create("a", "r", vec![task(Due::Now); 3]));
    let grants = store.lease("a", 2);
    let (outcomes, events) = store.apply_all(vec![
        Command::DeleteNamespace(space("a")),
        create("a", "", vec![task(Due::Now)]),
        Command::Pulse,
        create("a", "r", vec![task(Due::Now)]),
    ]);
    assert!(matches!(&outcomes[1], Outcome::Refused(r) if r.code == Code::Precondition));
    assert_eq!(outcomes[2], Outcome::Pulsed { count: 4 });
    assert!(matches!(&outcomes[3], Outcome::Created(_)), "a new one");
    let ended = Event::Ended {
        namespace: space("a"),
        leases: grants.iter().map(|g| (g.id, g.token)).collect(),
    };
    let gone = Event::Namespace {
        namespace: space("a"),
    };
    let due = Event::Due {
        namespace: space("a"),
        due_at_ns: START_NS,
    };
    assert_eq!(events, [ended, gone, due]);
    let (_, row) = store.machine.namespaces().next().unwrap();
    assert_eq!((row.id.0, row.counts.created), (1, 1));
}

/// Tasks that are done in time leave deleted timers behind; the next scan begins
/// above them.
#[test]
fn timers_that_never_fired_are_not_crossed_again() {
    let mut store = Store::new();
    store.apply(create("a", "", vec![aged(10_000); 50]));
    for grant in store.lease("a", 50) {
        assert!(store.ack("a", &grant));
    }
    store.now_ns += 20 * SECOND_NS;
    assert_eq!(store.apply(Command::Pulse), Outcome::Pulsed { count: 0 });
    assert_eq!(store.timer_from_ns(), store.now_ns);
    // What is set since is found.
    store.apply(create("a", "", vec![aged(1)]));
    store.now_ns += SECOND_NS;
    assert_eq!(
        store.machine.pulse_next_ns(),
        Some(store.now_ns - SECOND_NS + 1_000_000)
    );
    assert_eq!(store.apply(Command::Pulse), Outcome::Pulsed { count: 1 });
    assert_eq!(store.counts().dead, 1);
}

/// A pulse finds a task too old and a dead letter to be forgotten; the burial of
/// the one pushes the other out first. An earlier machine stopped there.
#[test]
fn a_burial_may_push_out_what_the_same_pulse_would_forget() {
    let mut store = Store::new();
    store.set(
        "a",
        NamespacePatch {
            dead_keep_ms: Some(2),
            dead_keep_count: Some(1),
            ..NamespacePatch::default()
        },
    );
    store.apply(create("a", "", vec![aged(1), aged(2)]));
    store.now_ns += 1_000_000;
    assert_eq!(store.apply(Command::Pulse), Outcome::Pulsed { count: 1 });
    store.now_ns += 5_000_000;
    assert_eq!(store.apply(Command::Pulse), Outcome::Pulsed { count: 1 });
    let counts = store.counts();
    assert_eq!((counts.dead, counts.purged), (1, 1));
    store.now_ns += 2_000_000;
    assert_eq!(store.apply(Command::Pulse), Outcome::Pulsed { count: 1 });
    assert_eq!(store.counts().purged, 2);
}

/// Two die at one time, the second with the lower id, after the first letters
/// of the namespace had been moved up to the first.
#[test]
fn who_dies_at_the_same_time_is_kept_in_sight() {
    let mut store = Store::new();
    let once = NewTask {
        max_attempts: 1,
        ..NewTask::default()
    };
    store.apply(create("a", "", vec![once; 3]));
    let grants = store.lease("a", 3);
    let bury = |store: &mut Store, n: usize| {
        store.apply(Command::NackTasks(NackTasks {
            namespace: space("a"),
            nacks: vec![Nack {
                id: grants[n].id,
                token: grants[n].token,
                delay_ms: None,
                error: String::new(),
                permanent: false,
            }],
        }))
    };
    bury(&mut store, 2);
    bury(&mut store, 1);
    // Moves the start of the dead letters up to the last one.
    store.apply(Command::PurgeTasks(TaskRefs {
        namespace: space("a"),
        ids: vec![grants[1].id],
    }));
    // The checks of the store say whether it is below that start.
    bury(&mut store, 0);
    assert_eq!(store.counts().dead, 2);
}
