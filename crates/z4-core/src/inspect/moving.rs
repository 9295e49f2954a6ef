//! Questions put to a view that moves on while they are answered.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;

use super::{list, Bounds, Place, TaskFilter, TaskKind};
use crate::command::{
    Command, CreateTasks, LeaseRefs, LeaseTasks, NewTask, Outcome, Taker, TaskRefs,
};
use crate::state::{find_namespace, find_task, Row, RowKey, StateError};
use crate::task::Namespace;
use crate::{Machine, MemState, TaskId, View};

/// Shows one state for so many reads, then another.
struct Moving<'a> {
    before: &'a MemState,
    after: &'a MemState,
    left: Cell<u32>,
}

impl Moving<'_> {
    fn now(&self) -> &MemState {
        match self.left.get() {
            0 => self.after,
            left => {
                self.left.set(left - 1);
                self.before
            }
        }
    }
}

impl View for Moving<'_> {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.now().get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        self.now().scan(from, to, visit)
    }
}

fn name() -> Namespace {
    Namespace::new("n").unwrap()
}

fn apply(machine: &mut Machine<MemState>, index: u64, command: Command) -> Outcome {
    let outcomes = machine.apply_entry(index, index * 1_000, vec![command], &mut Vec::new());
    outcomes.unwrap().remove(0)
}

/// Twelve tasks of which eight are leased; then the same after six of these were
/// acknowledged, two of the others leased and two cancelled.
fn two_states() -> (MemState, MemState, Vec<TaskId>) {
    let mut machine = Machine::open(MemState::new()).unwrap();
    let create = Command::CreateTasks(CreateTasks {
        namespace: name(),
        request_id: String::new(),
        tasks: vec![NewTask::default(); 12],
    });
    let Outcome::Created(created) = apply(&mut machine, 1, create) else {
        panic!("not created")
    };
    let lease = |room| {
        Command::LeaseTasks(LeaseTasks {
            namespace: name(),
            takers: vec![Taker {
                consumer: "w".into(),
                room,
            }],
            lease_ms: 0,
            ahead_ms: 0,
        })
    };
    let Outcome::Leased { grants, .. } = apply(&mut machine, 2, lease(8)) else {
        panic!("not leased")
    };
    let before = machine.state().clone();
    let leases = grants.iter().take(6).map(|grant| (grant.id, grant.token));
    let ack = Command::AckTasks(LeaseRefs {
        namespace: name(),
        leases: leases.collect(),
    });
    apply(&mut machine, 3, ack);
    apply(&mut machine, 4, lease(2));
    let ids: Vec<TaskId> = created.iter().map(|task| task.id).collect();
    let cancel = Command::CancelTasks(TaskRefs {
        namespace: name(),
        ids: ids[10..].to_vec(),
    });
    apply(&mut machine, 5, cancel);
    (before, machine.into_state(), ids)
}

#[test]
fn a_task_is_shown_as_it_was_before_or_after() {
    let (before, after, ids) = two_states();
    for reads in 0..6 {
        for id in &ids {
            let moving = Moving {
                before: &before,
                after: &after,
                left: Cell::new(reads),
            };
            let seen = find_task(&moving, &name(), *id).unwrap();
            let was = find_task(&before, &name(), *id).unwrap();
            let is = find_task(&after, &name(), *id).unwrap();
            assert!(seen == was || seen == is, "after {reads} reads: {seen:?}");
        }
    }
}

#[test]
fn a_page_shows_each_task_as_it_was_before_or_after() {
    let (before, after, _) = two_states();
    let kinds = [None, Some(TaskKind::Waiting), Some(TaskKind::Leased)];
    for (kind, rows) in kinds.into_iter().flat_map(|k| [1, 4, 100].map(|r| (k, r))) {
        for reads in 0..12 {
            let moving = Moving {
                before: &before,
                after: &after,
                left: Cell::new(reads),
            };
            let row = find_namespace(&before, &name()).unwrap().unwrap();
            let filter = TaskFilter {
                kind,
                ..TaskFilter::default()
            };
            let bounds = Bounds {
                tasks: 100,
                rows,
                bytes: 1 << 30,
                with_body: false,
            };
            let page = list(&moving, &row, &filter, Place::default(), bounds).unwrap();
            for listed in page.tasks {
                let seen = Some((listed.body, listed.status));
                let as_in = |state: &MemState| {
                    let found = find_task(state, &name(), listed.id).unwrap();
                    found.map(|(body, status)| {
                        let untouched = crate::machine::untouched(&body);
                        (body, status.unwrap_or(untouched))
                    })
                };
                assert!(
                    seen == as_in(&before) || seen == as_in(&after),
                    "{kind:?}, {rows} rows, after {reads} reads: {seen:?}"
                );
            }
        }
    }
}
