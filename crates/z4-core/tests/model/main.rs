//! The machine against a plain model of it, driven at random: after each entry
//! the outcomes, counts, settings, tasks and due times are the same, the
//! invariants hold, and a replica that is reopened now and then has the same
//! rows.
//!
//! `Z4_MODEL_STEPS` (of each walk) and `Z4_MODEL_SEED` (of the first one) choose
//! longer or other walks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod plain;
mod seen;

use plain::Plain;
use seen::Seen;
use z4_core::command::{Command, Outcome};
use z4_core::invariants::{check, state_hash};
use z4_core::state::{due_next_after, find_namespace, principals, Row, RowKey};
use z4_core::walk::{Walk, SPACES};
use z4_core::{Machine, MemState, Namespace, NamespaceId, View};

// A longer walk is asked for from outside; the machine sees none of it.
#[allow(clippy::disallowed_methods)]
fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |text| text.parse().expect("a number"))
}

/// Walks, side by side: a million steps together.
macro_rules! walks {
    ($($name:ident: $number:expr,)*) => {
        $(#[test]
        fn $name() {
            walk(setting("Z4_MODEL_SEED", 42) + $number);
        })*
    };
}

walks! {
    the_machine_does_as_the_plain_model: 0,
    the_machine_does_as_the_plain_model_on_a_second_walk: 1,
    the_machine_does_as_the_plain_model_on_a_third_walk: 2,
    the_machine_does_as_the_plain_model_on_a_fourth_walk: 3,
}

fn walk(seed: u64) {
    let steps = setting("Z4_MODEL_STEPS", 250_000);
    let mut pair = Pair::new(seed);
    for step in 0..steps {
        pair.step(&format!("seed {seed}, step {step}"));
    }
    // A walk that never came by something has tested little of it.
    pair.seen.merge(&pair.plain.unseen);
    pair.seen.assert_often(steps);
}

struct Pair {
    walk: Walk,
    plain: Plain,
    machine: Machine<MemState>,
    /// Reopened now and then, and its rows stay the same.
    twin: Option<Machine<MemState>>,
    index: u64,
    seen: Seen,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let open = || Machine::open(MemState::new()).unwrap();
        Self {
            walk: Walk::new(seed),
            plain: Plain::default(),
            machine: open(),
            twin: Some(open()),
            index: 0,
            seen: Seen::default(),
        }
    }

    fn step(&mut self, at: &str) {
        self.index += 1;
        let (stamp_ns, commands) = self.walk.step();
        let want = self.plain.apply(self.index, stamp_ns, &commands);
        let mut events = Vec::new();
        let got = self
            .machine
            .apply_entry(self.index, stamp_ns, commands.clone(), &mut events)
            .unwrap_or_else(|e| panic!("{at}: {e} after {commands:?}"));
        for ((got, want), command) in got.iter().zip(&want).zip(&commands) {
            assert!(same(got, want), "{at}: {got:?}, not {want:?}: {command:?}");
        }
        let report = check(self.machine.state()).unwrap();
        if let Err(broken) = report.verdict() {
            panic!("{at}: {broken:?} after {commands:?}");
        }
        self.compare(at, &commands);
        self.follow(at, stamp_ns, commands.clone());
        self.seen.note(self.index, &commands, &got);
        self.walk.learn(&commands, &got);
    }

    fn compare(&self, at: &str, commands: &[Command]) {
        let state = self.machine.state();
        for name in SPACES {
            let name = Namespace::new(name).unwrap();
            let row = find_namespace(state, &name).unwrap();
            let (row, space) = match (row, self.plain.space(&name)) {
                (Some(row), Some(space)) => (row, space),
                (None, None) => continue,
                (row, _) => panic!("{at}: {name} has {row:?} after {commands:?}"),
            };
            let got = (row.id.0, &row.config, row.paused_at_ns, row.counts);
            let want = (
                space.number,
                &space.config,
                space.paused_at_ns,
                space.counts(),
            );
            assert_eq!(got, want, "{at}: {name} after {commands:?}");
            assert_eq!(row.deleting.is_some(), space.deleting, "{at}: {name}");
            for after_ns in [None, Some(self.machine.stamp_ns())] {
                let next = due_next_after(state, &name, after_ns).unwrap();
                assert_eq!(next, space.due_next_after(after_ns), "{at}: {name}");
            }
            for (id, want) in space.statuses() {
                let key = RowKey::Status(NamespaceId(space.number), id);
                let got = state.get(&key).unwrap();
                assert_eq!(got, want.map(Row::Status), "{at}: {id} after {commands:?}");
            }
        }
        let got = principals(state).unwrap();
        let want: Vec<_> = self.plain.principals.clone().into_iter().collect();
        assert_eq!(got, want, "{at}: after {commands:?}");
        // A timer that went before it rang may cost a pulse, but none is missed.
        let want = self.plain.pulse_next();
        let got = self.machine.pulse_next_ns();
        let early = want.is_none_or(|want| got.is_some_and(|got| got <= want));
        assert!(early, "{at}: a pulse at {got:?}, not {want:?}");
    }

    /// Lets the twin apply the same, reopening it now and then.
    fn follow(&mut self, at: &str, stamp_ns: u64, commands: Vec<Command>) {
        let mut twin = self.twin.take().unwrap();
        twin.apply_entry(self.index, stamp_ns, commands, &mut Vec::new())
            .unwrap();
        assert_eq!(twin.state(), self.machine.state(), "{at}");
        if self.index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60 == 0 {
            twin = Machine::open(twin.into_state()).unwrap();
            assert_eq!(twin.pulse_next_ns(), self.plain.pulse_next(), "{at}");
            let hash = |machine: &Machine<MemState>| state_hash(machine.state()).unwrap();
            assert_eq!(hash(&twin), hash(&self.machine), "{at}");
        }
        self.twin = Some(twin);
    }
}

/// Refusals are compared by their code: the words are the machine's.
fn same(got: &Outcome, want: &Outcome) -> bool {
    match (got, want) {
        (Outcome::Refused(got), Outcome::Refused(want)) => got.code == want.code,
        _ => got == want,
    }
}
