//! The machine against a plain model of it, driven at random: after each entry
//! the outcomes, counts and due times are the same, the invariants hold, and a
//! replica that is reopened now and then has the same state.
//!
//! `Z4_MODEL_STEPS` and `Z4_MODEL_SEED` choose a longer or another walk.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod plain;

use plain::Plain;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use z4_core::command::{Command, CreateTasks, Due, LeaseRefs, LeaseTasks, NewTask, Outcome, Taker};
use z4_core::invariants::{check, state_hash};
use z4_core::state::{due_next_after, find_namespace, find_task};
use z4_core::task::{LeaseToken, Phase, Priority, WallTime};
use z4_core::{Machine, MemState, Namespace, TaskId};

const SECOND_NS: u64 = 1_000_000_000;
/// Names that begin alike.
const SPACES: [&str; 4] = ["a", "a-b", "a.", "aa"];

// A longer walk is asked for from outside; the machine sees none of it.
#[allow(clippy::disallowed_methods)]
fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn the_machine_does_as_the_plain_model() {
    let steps = setting("Z4_MODEL_STEPS", 20_000);
    let seed = setting("Z4_MODEL_SEED", 42);
    let mut walk = Walk::new(seed);
    for step in 0..steps {
        walk.step(&format!("seed {seed}, step {step}"));
    }
    // A walk that never came by these has tested little.
    let seen = walk.seen;
    let few = steps / 200;
    for (what, count) in [
        ("created", seen.created),
        ("repeated", seen.repeated),
        ("refused", seen.refused),
        ("granted", seen.granted),
        ("again", seen.again),
        ("acked", seen.acked),
        ("stale", seen.stale),
        ("expired", seen.expired),
        ("more", seen.more),
    ] {
        assert!(count >= few, "only {count} {what}");
    }
}

/// How often the walk came by what matters.
#[derive(Default)]
struct Seen {
    created: u64,
    repeated: u64,
    refused: u64,
    granted: u64,
    again: u64,
    acked: u64,
    stale: u64,
    expired: u64,
    more: u64,
}

struct Walk {
    rng: StdRng,
    plain: Plain,
    machine: Machine<MemState>,
    /// Reopened now and then, and its state stays the same.
    twin: Option<Machine<MemState>>,
    index: u64,
    stamp_ns: u64,
    /// Leases that were granted once.
    old: Vec<(Namespace, TaskId, LeaseToken)>,
    creates: Vec<CreateTasks>,
    seen: Seen,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let open = || Machine::open(MemState::new()).unwrap();
        Self {
            rng: StdRng::seed_from_u64(seed),
            plain: Plain::default(),
            machine: open(),
            twin: Some(open()),
            index: 0,
            stamp_ns: 1_000 * SECOND_NS,
            old: Vec::new(),
            creates: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn step(&mut self, at: &str) {
        self.index += self.rng.gen_range(1..3);
        self.stamp_ns = match self.rng.gen_range(0..100) {
            // The clock of a new leader may be behind.
            0..=9 => self
                .stamp_ns
                .saturating_sub(self.rng.gen_range(0..SECOND_NS)),
            10..=12 => self.stamp_ns + self.rng.gen_range(0..300 * SECOND_NS),
            _ => self.stamp_ns + self.rng.gen_range(1..SECOND_NS),
        };
        let count = self.rng.gen_range(1..4);
        let commands: Vec<_> = (0..count).map(|_| self.command()).collect();
        let want = self.plain.apply(self.index, self.stamp_ns, &commands);
        let mut events = Vec::new();
        let got = self
            .machine
            .apply_entry(self.index, self.stamp_ns, commands.clone(), &mut events)
            .unwrap();
        assert_eq!(got, want, "{at}: {commands:?}");
        if let Err(broken) = check(self.machine.state()) {
            panic!("{at}: {broken:?} after {commands:?}");
        }
        self.compare(at);
        self.follow(at, commands);
        for outcome in got {
            self.note(outcome);
        }
    }

    fn compare(&self, at: &str) {
        let state = self.machine.state();
        for name in SPACES {
            let space = Namespace::new(name).unwrap();
            let row = find_namespace(state, &space).unwrap();
            let counts = row.map(|row| row.counts);
            assert_eq!(counts, self.plain.counts(&space), "{at}: {name}");
            for after_ns in [None, Some(self.machine.stamp_ns())] {
                let next = due_next_after(state, &space, after_ns).unwrap();
                let want = self.plain.due_next_after(&space, after_ns);
                assert_eq!(next, want, "{at}: {name} after {after_ns:?}");
            }
        }
        let deadline = self.machine.lease_deadline_next_ns();
        assert_eq!(deadline, self.plain.deadline_next(), "{at}");
        for (space, id, token, consumer) in self.plain.leases() {
            let (_, status) = find_task(state, &space, id).unwrap().expect(at);
            let phase = status.expect(at).phase;
            assert!(
                matches!(&phase, Phase::Leased { token: t, consumer: c, .. }
                    if *t == token && *c == consumer),
                "{at}: {id} is {phase:?}"
            );
        }
    }

    /// Lets the twin apply the same, reopening it now and then.
    fn follow(&mut self, at: &str, commands: Vec<Command>) {
        let mut twin = self.twin.take().unwrap();
        if self.rng.gen_bool(0.1) {
            twin = Machine::open(twin.into_state()).unwrap();
        }
        twin.apply_entry(self.index, self.stamp_ns, commands, &mut Vec::new())
            .unwrap();
        if self.index.is_multiple_of(16) {
            let hash = |machine: &Machine<MemState>| state_hash(machine.state()).unwrap();
            assert_eq!(hash(&twin), hash(&self.machine), "{at}");
        }
        assert_eq!(twin.state(), self.machine.state(), "{at}");
        self.twin = Some(twin);
    }

    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Created(tasks) => {
                let fresh = tasks
                    .iter()
                    .any(|task| task.id.as_bytes()[8..] >= self.sequence()[..]);
                self.seen.created += u64::from(fresh);
                self.seen.repeated += u64::from(!fresh);
            }
            Outcome::Leased { grants, more } => {
                self.seen.granted += u64::from(!grants.is_empty());
                self.seen.again += u64::from(grants.iter().any(|grant| grant.attempt > 1));
                self.seen.more += u64::from(more);
            }
            Outcome::Ended(ended) => {
                self.seen.acked += u64::from(ended.contains(&true));
                self.seen.stale += u64::from(ended.contains(&false));
            }
            Outcome::Expired { count } => self.seen.expired += u64::from(count),
            Outcome::Refused(_) => self.seen.refused += 1,
        }
    }

    /// The bytes of the first sequence of the entry that was just applied.
    fn sequence(&self) -> [u8; 8] {
        (self.index << 20).to_be_bytes()
    }

    fn command(&mut self) -> Command {
        match self.rng.gen_range(0..100) {
            0..=19 => Command::CreateTasks(self.create()),
            20..=54 => Command::LeaseTasks(self.lease()),
            55..=88 => Command::AckTasks(self.refs()),
            89..=94 => Command::ReleaseTasks(self.refs()),
            _ => Command::ExpireLeases,
        }
    }

    fn space(&mut self) -> Namespace {
        Namespace::new(SPACES[self.rng.gen_range(0..SPACES.len())]).unwrap()
    }

    fn create(&mut self) -> CreateTasks {
        if !self.creates.is_empty() && self.rng.gen_bool(0.15) {
            let place = self.rng.gen_range(0..self.creates.len());
            return self.creates[place].clone();
        }
        let request_id = match self.rng.gen_range(0..3) {
            0 => format!("r{}", self.rng.gen_range(0..40)),
            _ => String::new(),
        };
        // None at all is against the rules.
        let count = self.rng.gen_range(0..4);
        let create = CreateTasks {
            namespace: self.space(),
            request_id,
            tasks: (0..count).map(|_| self.new_task()).collect(),
        };
        if !create.request_id.is_empty() && !create.tasks.is_empty() {
            self.creates.push(create.clone());
            if self.creates.len() > 20 {
                self.creates.remove(0);
            }
        }
        create
    }

    fn new_task(&mut self) -> NewTask {
        let about_ns = self.stamp_ns + 10 * SECOND_NS;
        let due = match self.rng.gen_range(0..4) {
            0 | 1 => Due::Now,
            2 => {
                let past = self.rng.gen_range(0..20 * SECOND_NS);
                Due::At(WallTime::from_ns(about_ns - past))
            }
            _ => Due::AfterSeconds(self.rng.gen_range(1..20)),
        };
        NewTask {
            metadata: vec![("k".into(), "v".repeat(self.rng.gen_range(0..4)))],
            payload: vec![7; self.rng.gen_range(0..9)],
            due,
            priority: Priority::new(self.rng.gen_range(0..10)).unwrap(),
        }
    }

    fn lease(&mut self) -> LeaseTasks {
        let count = self.rng.gen_range(1..4);
        let taker = |n| Taker {
            consumer: format!("c{n}"),
            room: self.rng.gen_range(1..5),
        };
        let takers = (0..count).map(taker).collect();
        LeaseTasks {
            namespace: self.space(),
            takers,
            lease_ms: [0, 1, 500, 3_000][self.rng.gen_range(0..4)],
        }
    }

    /// Leases of one namespace: live ones, and now and then one of old.
    fn refs(&mut self) -> LeaseRefs {
        let live = self.plain.leases();
        for (space, id, token, _) in &live {
            self.old.push((space.clone(), *id, *token));
        }
        let surplus = self.old.len().saturating_sub(200);
        self.old.drain(..surplus);
        let namespace = match live.is_empty() {
            true => self.space(),
            false => live[self.rng.gen_range(0..live.len())].0.clone(),
        };
        let mut leases: Vec<_> = live
            .iter()
            .filter(|(space, ..)| *space == namespace)
            .map(|(_, id, token, _)| (*id, *token))
            .collect();
        leases.truncate(self.rng.gen_range(1..9));
        if self.rng.gen_bool(0.3) || leases.is_empty() {
            let old = match self.old.is_empty() {
                true => (TaskId::default(), LeaseToken(1)),
                false => {
                    let place = self.rng.gen_range(0..self.old.len());
                    (self.old[place].1, self.old[place].2)
                }
            };
            leases.push(old);
        }
        LeaseRefs { namespace, leases }
    }
}
