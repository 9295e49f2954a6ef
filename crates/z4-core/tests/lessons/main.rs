//! What an earlier implementation got wrong, as tests of the machine.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod fields;
mod leases;
mod life;
mod requests;
mod returns;
mod shell;
mod times;

use z4_core::command::{
    Command, CreateTasks, CreatedTask, Due, Ended, Extend, ExtendLeases, Grant, LeaseLost,
    LeaseRefs, LeaseTasks, Nack, NackTasks, NamespacePatch, NewTask, Outcome, RedriveTasks,
    RescheduleTasks, SetNamespace, Taker, TaskRefs,
};
use z4_core::invariants::check;
use z4_core::state::{find_task, NamespaceCounts, RateLimit, Row, RowKey};
use z4_core::task::{LeaseToken, Priority, WallTime};
use z4_core::time::SECOND_NS;
use z4_core::{limits, Code, Event, Machine, MemState, Namespace, TaskId, View};

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
        check(self.machine.state()).unwrap().verdict().unwrap();
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
            Outcome::Ended { results, .. } => results[0].is_ok(),
            other => panic!("{other:?}"),
        }
    }

    fn set(&mut self, name: &str, patch: NamespacePatch) {
        let outcome = self.apply(set(name, patch));
        assert!(
            matches!(outcome, Outcome::NamespaceSet { .. }),
            "{outcome:?}"
        );
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
        ahead_ms: 0,
    })
}

fn refs(name: &str, grants: &[&Grant]) -> LeaseRefs {
    LeaseRefs {
        namespace: space(name),
        leases: grants.iter().map(|grant| (grant.id, grant.token)).collect(),
    }
}

fn set(name: &str, patch: NamespacePatch) -> Command {
    Command::SetNamespace(SetNamespace {
        namespace: space(name),
        patch,
    })
}

/// Who fails comes again at once.
fn no_backoff() -> NamespacePatch {
    NamespacePatch {
        backoff_min_ms: Some(0),
        backoff_max_ms: Some(0),
        ..NamespacePatch::default()
    }
}

fn at(ns: u64) -> Due {
    Due::At(WallTime::from_ns(ns))
}
