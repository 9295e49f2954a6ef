//! A task that comes back stands at the head of the line, and never below what
//! was consumed: a scan from there would cross all its tombstones.

use super::*;
use z4_core::command::HeldLeases;
use z4_core::state::{find_namespace, QueueHead, State, StateError};
use z4_core::task::Phase;

const COUNT: usize = 50;
/// Rank of the default priority.
const RANK: usize = 4;

/// How a task comes back.
#[derive(Clone, Copy, Debug)]
enum Way {
    Release,
    Return,
    Nack,
    Expiry,
}

/// What is left in the queue when it does.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Nothing,
    Due,
    Future,
}

impl Store {
    fn head(&self) -> QueueHead {
        let row = find_namespace(self.machine.state(), &space("a")).unwrap();
        row.unwrap().queues[RANK].clone()
    }

    fn place(&self, id: TaskId) -> u64 {
        let found = find_task(self.machine.state(), &space("a"), id).unwrap();
        match found.unwrap().1.unwrap().phase {
            Phase::Waiting { due_at_ns } => due_at_ns,
            elsewhere => panic!("{elsewhere:?}"),
        }
    }

    /// Consumes `COUNT` tasks, the first of which goes back later.
    fn consume(&mut self, rest: Rest) -> Grant {
        self.set("a", no_backoff());
        for _ in 0..COUNT {
            self.create("a", Due::Now);
            self.now_ns += 1;
        }
        match rest {
            Rest::Nothing => {}
            Rest::Due => drop(self.create("a", Due::Now)),
            Rest::Future => drop(self.create("a", Due::AfterSeconds(3_600))),
        }
        let first = self.lease("a", 1).remove(0);
        let others = self.lease("a", COUNT as u32 - 1);
        for grant in &others {
            assert!(self.ack("a", grant));
        }
        first
    }

    fn give_back(&mut self, grant: &Grant, way: Way) {
        let outcome = match way {
            Way::Release => self.apply(Command::ReleaseTasks(HeldLeases::of_anybody(refs(
                "a",
                &[grant],
            )))),
            Way::Return => self.apply(Command::ReturnTasks(HeldLeases::of_anybody(refs(
                "a",
                &[grant],
            )))),
            Way::Nack => self.apply(nack("a", grant, Some(0))),
            Way::Expiry => {
                self.now_ns = grant.deadline_ns;
                self.apply(Command::Pulse)
            }
        };
        let back = match &outcome {
            Outcome::Ended { results, .. } => matches!(results[..], [Ok(Ended::Waiting { .. })]),
            other => *other == Outcome::Pulsed { count: 1 },
        };
        assert!(back, "{outcome:?}");
    }
}

#[test]
fn a_task_that_is_returned_again_and_again_waits_longer_each_time() {
    let mut store = Store::new();
    let patch = NamespacePatch {
        backoff_min_ms: Some(1_000),
        backoff_max_ms: Some(3_000),
        ..NamespacePatch::default()
    };
    store.set("a", patch);
    let id = store.create("a", Due::Now).id;
    let mut waits = Vec::new();
    for nth in 1..=9 {
        let grant = store.lease("a", 1).remove(0);
        assert_eq!(
            (grant.id, grant.attempt, grant.deliveries),
            (id, 1, 2 * nth - 1)
        );
        // One that was never in hand costs nothing, however often.
        store.give_back(&grant, Way::Release);
        let grant = store.lease("a", 1).remove(0);
        store.give_back(&grant, Way::Return);
        let due_at_ns = store.place(id);
        waits.push(due_at_ns.saturating_sub(store.now_ns) / 1_000_000);
        store.now_ns = store.now_ns.max(due_at_ns);
    }
    for (wait_ms, base_ms) in waits
        .iter()
        .zip([0, 0, 0, 1_000, 2_000, 3_000, 3_000, 3_000])
    {
        // A quarter of it is jitter.
        assert!(wait_ms.abs_diff(base_ms) <= base_ms / 4, "{waits:?}");
    }
}

#[test]
fn a_failure_and_a_move_begin_the_count_anew() {
    for way in [Way::Nack, Way::Expiry] {
        let mut store = Store::new();
        store.set("a", no_backoff());
        store.create("a", Due::Now);
        for _ in 0..3 {
            let grant = store.lease("a", 1).remove(0);
            store.give_back(&grant, Way::Return);
        }
        let grant = store.lease("a", 1).remove(0);
        store.give_back(&grant, way);
        let patch = NamespacePatch {
            backoff_min_ms: Some(60_000),
            backoff_max_ms: Some(60_000),
            ..NamespacePatch::default()
        };
        store.set("a", patch);
        for nth in 1..=4 {
            let grant = store.lease("a", 1).remove(0);
            store.give_back(&grant, Way::Return);
            let waits = store.place(grant.id) > store.now_ns;
            assert_eq!(waits, nth == 4, "{way:?}, return {nth}");
        }
    }
}

#[test]
fn what_comes_back_is_next_and_not_below_what_was_consumed() {
    for rest in [Rest::Nothing, Rest::Due, Rest::Future] {
        for way in [Way::Release, Way::Return, Way::Nack, Way::Expiry] {
            let mut store = Store::new();
            let first = store.consume(rest);
            let before = store.head();
            let last_ns = START_NS + COUNT as u64 - 1;
            assert_eq!(before.consumed_ns, last_ns, "{rest:?}");
            store.give_back(&first, way);
            let (place_ns, head) = (store.place(first.id), store.head());
            assert_eq!(place_ns, last_ns, "{rest:?}, {way:?}");
            assert_eq!(head.cursor, (place_ns, first.id));
            // A task created since is behind it.
            store.create("a", Due::Now);
            let again = store.lease("a", 1).remove(0);
            let failures = u32::from(matches!(way, Way::Nack | Way::Expiry));
            assert_eq!((again.id, again.attempt), (first.id, 1 + failures));
            assert_eq!(again.due_at_ns, first.due_at_ns, "first due");
            // What it left behind is not crossed again either.
            assert_eq!(store.head().consumed_ns, last_ns);
            assert!(store.head().cursor.0 >= last_ns);
        }
    }
}

/// The cursor stands at the future task: to go there would be to wait for it.
#[test]
fn what_comes_back_does_not_wait_for_a_future_task() {
    let mut store = Store::new();
    let first = store.consume(Rest::Future);
    assert!(store.head().cursor.0 > store.now_ns);
    store.give_back(&first, Way::Release);
    assert!(store.place(first.id) <= store.now_ns);
    assert_eq!(store.lease("a", 9).len(), 1);
}

#[test]
fn a_queue_at_another_priority_does_not_move_the_place() {
    let mut store = Store::new();
    store.create("a", Due::Now);
    let grant = store.lease("a", 1).remove(0);
    store.now_ns += SECOND_NS;
    let urgent = NewTask {
        priority: Priority::new(9).unwrap(),
        ..NewTask::default()
    };
    store.apply(create("a", "", vec![urgent]));
    assert_eq!(store.lease("a", 1).len(), 1);
    store.give_back(&grant, Way::Release);
    assert_eq!(store.place(grant.id), grant.due_at_ns);
}

/// A drained queue forgets nothing: a create in the very time of what was
/// consumed is found, and so is one that comes back after it.
#[test]
fn a_drained_queue_finds_what_comes_at_the_same_time() {
    let mut store = Store::new();
    let first = store.consume(Rest::Nothing);
    store.now_ns = START_NS;
    let made = store.create("a", Due::Now);
    store.give_back(&first, Way::Release);
    let ids: Vec<_> = store.lease("a", 9).iter().map(|grant| grant.id).collect();
    assert_eq!(ids, [first.id, made.id]);
}

/// Bodies are large and may be on disk: a machine whose bodies cannot be read
/// leases, extends, gives back, fails, expires, buries and acks.
#[test]
fn no_body_is_read_after_the_create() {
    let mut machine = Machine::open(Bodiless(MemState::new())).unwrap();
    let mut index = 0;
    let mut apply = |command| {
        index += 1;
        let outcomes = machine.apply_entry(
            index,
            START_NS + index * SECOND_NS,
            vec![command],
            &mut Vec::new(),
        );
        outcomes.unwrap().remove(0)
    };
    let large = NewTask {
        payload: vec![7; 1_000],
        ..NewTask::default()
    };
    apply(create("a", "", vec![large; 2]));
    apply(set("a", no_backoff()));
    let mut lease = |lease_ms, then: &dyn Fn(Grant) -> Command| {
        let ask = LeaseTasks {
            namespace: space("a"),
            takers: vec![Taker {
                consumer: "c".into(),
                room: 1,
            }],
            lease_ms,
            ahead_ms: 0,
        };
        let Outcome::Leased { grants, .. } = apply(Command::LeaseTasks(ask)) else {
            panic!("refused");
        };
        apply(then(grants[0].clone()))
    };
    let release =
        |grant: Grant| Command::ReleaseTasks(HeldLeases::of_anybody(refs("a", &[&grant])));
    let ended = |outcome| match outcome {
        Outcome::Ended { results, .. } => results[0],
        other => panic!("{other:?}"),
    };
    let ack = |grant: Grant| Command::AckTasks(refs("a", &[&grant]));
    assert_eq!(ended(lease(60_000, &ack)), Ok(Ended::Done));
    assert!(ended(lease(60_000, &release)).is_ok());
    assert!(ended(lease(60_000, &|grant| nack("a", &grant, None))).is_ok());
    let expired = lease(10, &|_| Command::Pulse);
    assert_eq!(expired, Outcome::Pulsed { count: 1 });
    let extended = lease(1_001, &|grant| {
        Command::ExtendLeases(ExtendLeases {
            namespace: space("a"),
            extends: vec![Extend {
                id: grant.id,
                token: grant.token,
                lease_ms: 10,
            }],
        })
    });
    assert!(matches!(extended, Outcome::Extended { results, .. } if results[0].is_ok()));
    let mut once = one_attempt();
    once.dead_keep_count = Some(1);
    apply(set("a", once));
    assert_eq!(apply(Command::Pulse), Outcome::Pulsed { count: 1 });
    let (_, row) = machine.namespaces().next().unwrap();
    assert_eq!((row.counts.bytes, row.counts.done), (1_000, 1));
    assert_eq!((row.counts.dead, row.counts.failures), (1, 3));
    check(&machine.state().0).unwrap().verdict().unwrap();
}

fn nack(name: &str, grant: &Grant, delay_ms: Option<u64>) -> Command {
    Command::NackTasks(NackTasks {
        namespace: space(name),
        nacks: vec![Nack {
            id: grant.id,
            token: grant.token,
            delay_ms,
            error: "no".into(),
            permanent: false,
        }],
    })
}

fn one_attempt() -> NamespacePatch {
    NamespacePatch {
        max_attempts: Some(1),
        ..NamespacePatch::default()
    }
}

/// A store that fails to read a body.
struct Bodiless(MemState);

impl View for Bodiless {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        if matches!(key, RowKey::Body(..)) {
            return Err(StateError(format!("{key:?} was read")));
        }
        self.0.get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        self.0.scan(from, to, visit)
    }
}

impl State for Bodiless {
    fn put(&mut self, key: RowKey, row: Row) {
        self.0.put(key, row);
    }

    fn delete(&mut self, key: &RowKey) {
        self.0.delete(key);
    }
}
