//! What an earlier implementation got wrong, as tests of the machine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use z4_core::command::{
    Command, CreateTasks, CreatedTask, Due, Grant, LeaseRefs, LeaseTasks, NewTask, Outcome, Taker,
};
use z4_core::invariants::check;
use z4_core::state::{find_task, Row, RowKey};
use z4_core::task::{LeaseToken, Priority, WallTime};
use z4_core::{limits, Code, Event, Machine, MemState, Namespace, TaskId, View};

const SECOND_NS: u64 = 1_000_000_000;
const START_NS: u64 = 1_000 * SECOND_NS;

struct Store {
    machine: Machine<MemState>,
    index: u64,
    now_ns: u64,
}

impl Store {
    fn new() -> Self {
        Self {
            machine: Machine::open(MemState::new()).unwrap(),
            index: 0,
            now_ns: START_NS,
        }
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.apply_all(vec![command]).0.remove(0)
    }

    fn apply_all(&mut self, commands: Vec<Command>) -> (Vec<Outcome>, Vec<Event>) {
        self.index += 1;
        let mut events = Vec::new();
        let outcomes = self
            .machine
            .apply_entry(self.index, self.now_ns, commands, &mut events)
            .unwrap();
        check(self.machine.state()).unwrap();
        (outcomes, events)
    }

    fn create(&mut self, name: &str, due: Due) -> CreatedTask {
        match self.apply(create(name, "", vec![task(due)])) {
            Outcome::Created(tasks) => tasks[0],
            other => panic!("{other:?}"),
        }
    }

    fn lease(&mut self, name: &str, room: u32) -> Vec<Grant> {
        match self.apply(lease(name, &[("c", room)])) {
            Outcome::Leased { grants, .. } => grants,
            other => panic!("{other:?}"),
        }
    }

    fn ack(&mut self, name: &str, grant: &Grant) -> bool {
        match self.apply(Command::AckTasks(refs(name, &[grant]))) {
            Outcome::Ended(ended) => ended[0],
            other => panic!("{other:?}"),
        }
    }

    fn exists(&self, name: &str, id: TaskId) -> bool {
        let found = find_task(self.machine.state(), &space(name), id);
        found.unwrap().is_some()
    }
}

fn space(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn task(due: Due) -> NewTask {
    NewTask {
        due,
        ..NewTask::default()
    }
}

fn create(name: &str, request_id: &str, tasks: Vec<NewTask>) -> Command {
    Command::CreateTasks(CreateTasks {
        namespace: space(name),
        request_id: request_id.into(),
        tasks,
    })
}

fn lease(name: &str, takers: &[(&str, u32)]) -> Command {
    let taker = |(consumer, room): &(&str, u32)| Taker {
        consumer: (*consumer).into(),
        room: *room,
    };
    Command::LeaseTasks(LeaseTasks {
        namespace: space(name),
        takers: takers.iter().map(taker).collect(),
        lease_ms: 0,
    })
}

fn refs(name: &str, grants: &[&Grant]) -> LeaseRefs {
    LeaseRefs {
        namespace: space(name),
        leases: grants.iter().map(|grant| (grant.id, grant.token)).collect(),
    }
}

fn at(ns: u64) -> Due {
    Due::At(WallTime::from_ns(ns))
}

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
fn a_late_ack_with_an_old_token_changes_nothing() {
    let mut store = Store::new();
    store.create("a", Due::Now);
    let first = store.lease("a", 1).remove(0);
    store.now_ns = first.deadline_ns;
    store.apply(Command::ExpireLeases);
    let second = store.lease("a", 1).remove(0);
    assert_eq!((second.id, second.attempt), (first.id, 2));
    let (_, status) = find_task(store.machine.state(), &space("a"), first.id)
        .unwrap()
        .unwrap();
    assert_eq!(status.unwrap().failures, 1);
    assert!(second.token > first.token);
    assert!(!store.ack("a", &first), "the old token");
    assert!(store.exists("a", first.id));
    assert!(store.ack("a", &second), "the new token");
    assert!(!store.exists("a", first.id));
    assert!(!store.ack("a", &second), "an ack is final");
}

#[test]
fn an_ack_at_the_deadline_is_refused_without_a_pulse_too() {
    let mut store = Store::new();
    store.create("a", Due::Now);
    let grant = store.lease("a", 1).remove(0);
    store.now_ns = grant.deadline_ns;
    assert!(!store.ack("a", &grant));
    store.now_ns = START_NS;
    assert!(!store.ack("a", &grant), "a clock set back revives no lease");
    assert_eq!(store.lease("a", 1), vec![], "leased until the pulse");
    store.apply(Command::ExpireLeases);
    assert_eq!(store.lease("a", 1)[0].id, grant.id);
}

#[test]
fn a_lease_counts_from_its_grant_not_from_the_creation() {
    let mut store = Store::new();
    store.create("a", Due::Now);
    store.now_ns += 3_600 * SECOND_NS;
    let grant = store.lease("a", 1).remove(0);
    let lease_ns = limits::LEASE_MS_DEFAULT * 1_000_000;
    assert_eq!(grant.deadline_ns, store.now_ns + lease_ns);
    assert_eq!(
        store.apply(Command::ExpireLeases),
        Outcome::Expired { count: 0 }
    );
    assert!(store.ack("a", &grant));
}

#[test]
fn a_released_task_comes_again_without_a_failure() {
    let mut store = Store::new();
    let made = store.create("a", Due::Now);
    let grant = store.lease("a", 1).remove(0);
    let release = Command::ReleaseTasks(refs("a", &[&grant, &grant]));
    assert_eq!(store.apply(release), Outcome::Ended(vec![true, false]));
    let (_, status) = find_task(store.machine.state(), &space("a"), made.id)
        .unwrap()
        .unwrap();
    let status = status.unwrap();
    assert_eq!((status.deliveries, status.failures), (1, 0));
    let again = store.lease("a", 1).remove(0);
    assert_eq!((again.id, again.attempt), (made.id, 2));
    assert_eq!(again.due_at_ns, grant.due_at_ns);
}

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
    store.apply(Command::ExpireLeases);
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
    store.apply(Command::ExpireLeases);
    assert_eq!(left(&store), count - limits::FORGET_COUNT_MAX);
    store.apply(Command::ExpireLeases);
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

#[test]
fn tasks_are_dealt_one_each_in_turn() {
    let mut store = Store::new();
    store.apply(create("a", "", vec![task(Due::Now); 7]));
    let ask = lease("a", &[("c", 1), ("d", 3), ("e", 2)]);
    let Outcome::Leased { grants, more } = store.apply(ask) else {
        panic!("refused");
    };
    let order: Vec<_> = grants.iter().map(|grant| grant.consumer.as_str()).collect();
    assert_eq!(order, ["c", "d", "e", "d", "e", "d"]);
    assert!(more, "one is left");
    let Outcome::Leased { more, .. } = store.apply(lease("a", &[("c", 1)])) else {
        panic!("refused");
    };
    assert!(!more, "none is left");
}

#[test]
fn one_command_hands_out_no_more_than_its_limit() {
    let mut store = Store::new();
    let count = limits::LEASE_COUNT_MAX + 1;
    store.apply(create("a", "", vec![task(Due::Now); count]));
    let Outcome::Leased { grants, more } = store.apply(lease("a", &[("c", u32::MAX)])) else {
        panic!("refused");
    };
    assert_eq!((grants.len(), more), (limits::LEASE_COUNT_MAX, true));
    store.now_ns = grants[0].deadline_ns;
    store.apply(lease("a", &[("c", u32::MAX)]));
    let expired = store.apply(Command::ExpireLeases);
    let full = limits::EXPIRE_COUNT_MAX as u32;
    assert_eq!(expired, Outcome::Expired { count: full });
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
    let (outcomes, _) = store.apply_all(vec![refused, Command::ExpireLeases, good.clone()]);
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
    let release = Command::ReleaseTasks(refs("a", &[&grants[0]]));
    let (_, events) = store.apply_all(vec![release.clone()]);
    let ended = Event::Ended {
        namespace: space("a"),
        consumers: vec![("c".into(), 1)],
    };
    assert_eq!(events, [ended, due("a", START_NS)]);
    assert_eq!(store.apply_all(vec![release]).1, [], "nothing was ended");
    store.lease("a", 1);
    store.now_ns = minute_ns - 1;
    let (_, events) = store.apply_all(vec![Command::ExpireLeases]);
    assert_eq!(events, [due("a", START_NS)]);
}

#[test]
fn wrong_fields_are_refused_and_change_nothing() {
    let mut store = Store::new();
    let new = |change: &dyn Fn(&mut NewTask)| {
        let mut task = NewTask::default();
        change(&mut task);
        create("a", "", vec![task])
    };
    let label = |key: &str| (key.to_owned(), String::new());
    let taker = |consumer: &str, room| lease("a", &[(consumer, room)]);
    let no_refs = LeaseRefs {
        namespace: space("a"),
        leases: vec![],
    };
    let many = vec![(TaskId::default(), LeaseToken(0)); limits::ACK_COUNT_MAX + 1];
    let many_refs = LeaseRefs {
        namespace: space("a"),
        leases: many,
    };
    let wrong = [
        ("tasks", create("a", "", vec![])),
        (
            "tasks",
            create(
                "a",
                "",
                vec![NewTask::default(); limits::CREATE_COUNT_MAX + 1],
            ),
        ),
        (
            "request_id",
            create("a", &"r".repeat(257), vec![task(Due::Now)]),
        ),
        (
            "payload",
            new(&|t| t.payload = vec![0; limits::PAYLOAD_LEN_MAX + 1]),
        ),
        (
            "metadata",
            new(&|t| t.metadata = vec![label(&"k".repeat(65_537))]),
        ),
        (
            "metadata",
            new(&|t| t.metadata = vec![label("b"), label("a")]),
        ),
        (
            "metadata",
            new(&|t| t.metadata = (0..1_025).map(|n| label(&format!("{n:05}"))).collect()),
        ),
        (
            "deliver_at",
            new(&|t| {
                t.due = Due::At(WallTime {
                    seconds: 0,
                    nanos: -1,
                })
            }),
        ),
        (
            "deliver_at",
            new(&|t| {
                t.due = Due::At(WallTime {
                    seconds: i64::MAX,
                    nanos: 0,
                })
            }),
        ),
        ("tts_seconds", new(&|t| t.due = Due::AfterSeconds(0))),
        ("tts_seconds", new(&|t| t.due = Due::AfterSeconds(u64::MAX))),
        ("takers", lease("a", &[])),
        ("takers", lease("a", &[("c", 1); 257])),
        ("consumer", taker("", 1)),
        ("consumer", taker(&"c".repeat(257), 1)),
        ("room", taker("c", 0)),
        ("leases", Command::AckTasks(no_refs)),
        ("leases", Command::ReleaseTasks(many_refs)),
    ];
    for (field, command) in wrong {
        let outcome = store.apply(command);
        let Outcome::Refused(refusal) = &outcome else {
            panic!("{field}: {outcome:?}");
        };
        assert_eq!(refusal.code, Code::Invalid);
        assert!(refusal.message.starts_with(field), "{field}: {refusal}");
    }
    assert_eq!(store.machine.namespaces().count(), 0);
}
