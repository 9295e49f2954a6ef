//! What the shell around the machine relies on: names, ids, events.

use super::*;
use z4_core::command::{HeldLeases, ResumeLeases};
use z4_core::task::Phase;

#[test]
fn names_that_begin_alike_share_nothing() {
    let mut store = Store::new();
    for name in ["a.b", "aa", "a-"] {
        store.create(name, Due::Now);
    }
    assert_eq!(store.lease("a", 9), vec![]);
    let made = store.create("a", Due::Now);
    for other in ["a.b", "aa", "a-"] {
        assert!(!store.exists(other, made.id));
        assert_eq!(store.lease(other, 9).len(), 1);
    }
    let grant = store.lease("a", 9).remove(0);
    assert!(!store.ack("a.b", &grant), "of another namespace");
    assert!(!store.ack("nowhere", &grant), "of no namespace");
    assert!(store.ack("a", &grant));
}

#[test]
fn ids_are_what_the_leader_foretold() {
    let mut store = Store::new();
    let refused = create(
        "a",
        "r",
        vec![
            NewTask {
                metadata: vec![("b".into(), "".into()); 2],
                ..NewTask::default()
            };
            3
        ],
    );
    let good = create("a", "", vec![task(Due::Now); 2]);
    assert_eq!(refused.units(), 3);
    let before = TaskId::new(START_NS, 1, 3);
    let (outcomes, _) = store.apply_all(vec![refused, Command::Pulse, good.clone()]);
    assert!(matches!(outcomes[0], Outcome::Refused(_)));
    let Outcome::Created(made) = &outcomes[2] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(made[0].id, before);
    // An entry whose stamp is behind machine time keeps its own stamp in ids,
    // and machine time in what is due.
    store.now_ns -= SECOND_NS;
    let (outcomes, _) = store.apply_all(vec![good]);
    let Outcome::Created(made) = &outcomes[0] else {
        panic!("{outcomes:?}");
    };
    assert_eq!(made[1].id, TaskId::new(START_NS - SECOND_NS, 2, 1));
    assert_eq!(made[1].deliver_at, WallTime::from_ns(START_NS));
}

#[test]
fn events_tell_what_happened() {
    let mut store = Store::new();
    let later = Due::AfterSeconds(60);
    let (_, events) = store.apply_all(vec![
        create("a", "", vec![task(later), task(Due::Now)]),
        create("b", "", vec![task(later)]),
    ]);
    let due = |name, due_at_ns| Event::Due {
        namespace: space(name),
        due_at_ns,
    };
    let minute_ns = START_NS + 60 * SECOND_NS;
    assert_eq!(events, [due("a", START_NS), due("b", minute_ns)]);
    let (outcomes, events) = store.apply_all(vec![lease("a", &[("c", 1)])]);
    let Outcome::Leased { grants, .. } = &outcomes[0] else {
        panic!("{outcomes:?}");
    };
    let leased = Event::Leased {
        namespace: space("a"),
        stamp_ns: START_NS,
        takers: vec![Taker {
            consumer: "c".into(),
            room: 1,
        }],
        grants: grants.clone(),
        more: false,
    };
    assert_eq!(events, [leased]);
    let resume = Command::ResumeLeases(ResumeLeases {
        held: HeldLeases {
            refs: refs("a", &[&grants[0]]),
            consumer: "c".into(),
        },
        by: "d".into(),
    });
    let resumed = Event::Resumed {
        namespace: space("a"),
        leases: vec![grants[0].key()],
        by: "d".into(),
    };
    assert_eq!(store.apply_all(vec![resume.clone()]).1, [resumed]);
    assert_eq!(store.apply_all(vec![resume]).1, [], "it has it already");
    let release = Command::ReleaseTasks(HeldLeases::of_anybody(refs("a", &[&grants[0]])));
    let (_, events) = store.apply_all(vec![release.clone()]);
    let ended = Event::Ended {
        namespace: space("a"),
        leases: vec![(grants[0].id, grants[0].token)],
    };
    assert_eq!(events, [ended, due("a", START_NS)]);
    assert_eq!(store.apply_all(vec![release]).1, [], "nothing was ended");
    let grants = store.lease("a", 1);
    store.now_ns = minute_ns - 1;
    let (_, events) = store.apply_all(vec![Command::Pulse]);
    let (_, status) = find_task(store.machine.state(), &space("a"), grants[0].id)
        .unwrap()
        .unwrap();
    let Phase::Waiting { due_at_ns } = status.unwrap().phase else {
        panic!("it expired");
    };
    assert!(due_at_ns > minute_ns);
    let ended = Event::Ended {
        namespace: space("a"),
        leases: vec![(grants[0].id, grants[0].token)],
    };
    assert_eq!(events, [ended, due("a", due_at_ns)]);
    let (_, events) = store.apply_all(vec![set("b", no_backoff())]);
    let changed = Event::Namespace {
        namespace: space("b"),
    };
    assert_eq!(events, [changed]);
}
