//! The dispatcher with a machine, in one thread.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::command::{CreateTasks, Due, LeaseTasks, NewTask, Outcome};
use crate::task::WallTime;
use crate::{invariants, Machine, MemState};

mod ahead;
mod credit;
mod gate;
mod riders;
mod timing;
mod turns;

const MS: u64 = 1_000_000;

/// A leader in one thread: a machine, a dispatcher, and the commands between.
struct Leader {
    machine: Machine<MemState>,
    dispatcher: Dispatcher,
    index: u64,
    now_ns: u64,
    wake_at_ns: Option<u64>,
}

impl Leader {
    fn new() -> Self {
        let mut dispatcher = Dispatcher::new();
        dispatcher.become_leader(1);
        Self {
            machine: Machine::open(MemState::new()).unwrap(),
            dispatcher,
            index: 0,
            now_ns: 1_000 * MS,
            wake_at_ns: None,
        }
    }

    /// Polls at the time it is and returns the lease commands.
    fn poll(&mut self) -> Vec<LeaseTasks> {
        let poll = self.poll_all();
        let lease = |command| match command {
            Command::LeaseTasks(lease) => Some(lease),
            _ => None,
        };
        poll.into_iter().filter_map(lease).collect()
    }

    fn poll_all(&mut self) -> Vec<Command> {
        let poll = self.dispatcher.poll(self.now_ns, self.machine.state());
        let poll = poll.unwrap();
        if let Some(wake) = poll.wake_at_ns {
            assert!(wake > self.now_ns, "a wake in the past spins");
        }
        self.wake_at_ns = poll.wake_at_ns;
        poll.commands
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.apply_entry(vec![command]).remove(0)
    }

    /// Applies the commands of one entry.
    fn apply_entry(&mut self, commands: Vec<Command>) -> Vec<Outcome> {
        self.index += 1;
        let mut events = Vec::new();
        let stamp_ns = self.now_ns.max(self.machine.stamp_ns() + 1);
        let outcomes = self
            .machine
            .apply_entry(self.index, stamp_ns, commands, &mut events);
        let report = invariants::check(self.machine.state()).unwrap();
        report.verdict().unwrap();
        for event in &events {
            self.dispatcher.on_event(event);
        }
        let deadline_ns = self.machine.pulse_next_ns();
        self.dispatcher.set_pulse(deadline_ns);
        outcomes.unwrap()
    }

    fn create(&mut self, name: &str, count: usize, due: Due) {
        let outcome = self.apply(creation(name, count, due));
        assert!(matches!(outcome, Outcome::Created(_)), "{outcome:?}");
    }

    fn report(&mut self, consumer: &str, name: &str, received: u64, allowed: u64) {
        self.dispatcher.consumer_report(ConsumerReport {
            consumer: consumer.into(),
            namespace: space(name),
            received_total: received,
            allowed_total: allowed,
            lease_ms: 0,
        });
    }

    /// Applies a lease command; how many each taker got.
    fn grant(&mut self, lease: LeaseTasks) -> BTreeMap<String, u64> {
        let mut got = BTreeMap::new();
        let outcome = self.apply(Command::LeaseTasks(lease));
        let Outcome::Leased { grants, .. } = outcome else {
            panic!("{outcome:?}");
        };
        for grant in grants {
            *got.entry(grant.consumer).or_default() += 1;
        }
        got
    }

    /// Polls and applies until nothing is to be done within `ns`.
    fn run_for(&mut self, ns: u64) -> BTreeMap<String, u64> {
        let end_ns = self.now_ns + ns;
        let mut total = BTreeMap::new();
        loop {
            for lease in self.poll() {
                for (name, count) in self.grant(lease) {
                    *total.entry(name).or_default() += count;
                }
            }
            match self.wake_at_ns.filter(|wake| *wake <= end_ns) {
                Some(wake) if self.now_ns < wake => self.now_ns = wake,
                // What was applied may have changed the wake.
                _ if self.poll_is_idle() => break,
                _ => {}
            }
        }
        self.now_ns = end_ns;
        total
    }

    fn poll_is_idle(&mut self) -> bool {
        let poll = self.dispatcher.wakes.first().map(|(at, _)| *at);
        poll.is_none_or(|at| at > self.now_ns + 10 * MS)
    }
}

fn creation(name: &str, count: usize, due: Due) -> Command {
    let task = NewTask {
        due,
        ..NewTask::default()
    };
    Command::CreateTasks(CreateTasks {
        namespace: space(name),
        request_id: String::new(),
        tasks: vec![task; count],
    })
}

fn space(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn room(lease: &LeaseTasks) -> u32 {
    lease.takers.iter().map(|taker| taker.room).sum()
}
