#![allow(clippy::unwrap_used)]

use super::*;
use crate::command::{Command, CreateTasks, LeaseTasks, Nack, NackTasks, NewTask, Taker};
use crate::state::find_namespace;
use crate::task::{LeaseToken, Namespace};
use crate::{Machine, MemState};

const S: u64 = 1_000_000_000;

struct World {
    machine: Machine<MemState>,
    index: u64,
}

impl World {
    /// 30 tasks of 10 bytes each, due at 1 s, 2 s, …; at 20 s the first 16 are
    /// leased, the first 8 of these die, and the next 4 come back at 100 s.
    fn new() -> Self {
        let mut world = Self {
            machine: Machine::open(MemState::new()).unwrap(),
            index: 0,
        };
        let new = |due_s: u64| NewTask {
            payload: vec![0; 10],
            due: crate::command::Due::At(crate::task::WallTime::from_ns(due_s * S)),
            ..NewTask::default()
        };
        for namespace in ["m", "n", "o"] {
            world.apply(
                0,
                Command::CreateTasks(CreateTasks {
                    namespace: Namespace::new(namespace).unwrap(),
                    request_id: String::new(),
                    tasks: (1..=30).map(new).collect(),
                }),
            );
        }
        world.apply(
            20,
            Command::LeaseTasks(LeaseTasks {
                namespace: name(),
                takers: vec![Taker {
                    consumer: "w".into(),
                    room: 16,
                }],
                lease_ms: 60_000,
                ahead_ms: 0,
            }),
        );
        let token = LeaseToken(world.index);
        let leased: Vec<_> = world.ids(None).into_iter().take(16).collect();
        for (place, id) in leased.into_iter().enumerate().take(12) {
            let nack = Nack {
                id,
                token,
                delay_ms: Some(80_000 - place as u64),
                error: "e".into(),
                permanent: place < 8,
            };
            let nacks = vec![nack];
            world.apply(
                20,
                Command::NackTasks(NackTasks {
                    namespace: name(),
                    nacks,
                }),
            );
        }
        world
    }

    fn apply(&mut self, at_s: u64, command: Command) {
        self.index += 1;
        self.machine
            .apply_entry(self.index, at_s * S, vec![command], &mut Vec::new())
            .unwrap();
    }

    fn row(&self) -> NamespaceRow {
        let row = find_namespace(self.machine.state(), &name()).unwrap();
        row.unwrap()
    }

    fn page(&self, filter: &TaskFilter, from: Place, bounds: Bounds) -> Page {
        list(self.machine.state(), &self.row(), filter, from, bounds).unwrap()
    }

    fn all(&self, filter: &TaskFilter, bounds: Bounds) -> Vec<Listed> {
        let (mut found, mut from, mut pages) = (Vec::new(), Some(Place::default()), 0);
        while let Some(place) = from {
            let page = self.page(filter, place, bounds);
            assert!(page.tasks.len() <= bounds.tasks);
            assert!(page.next.is_none_or(|next| next > place || pages == 0));
            found.extend(page.tasks);
            from = page.next;
            pages += 1;
            assert!(pages < 100, "no end");
        }
        found
    }

    fn ids(&self, kind: Option<TaskKind>) -> Vec<TaskId> {
        let filter = TaskFilter {
            kind,
            ..TaskFilter::default()
        };
        let found = self.all(&filter, plenty());
        found.into_iter().map(|listed| listed.id).collect()
    }
}

fn name() -> Namespace {
    Namespace::new("n").unwrap()
}

fn plenty() -> Bounds {
    Bounds {
        tasks: 1_000,
        rows: 1_000,
        bytes: 1 << 30,
        with_body: true,
    }
}

#[test]
fn each_task_is_where_it_is_and_nowhere_else() {
    let world = World::new();
    assert_eq!(world.ids(None).len(), 30);
    assert_eq!(world.ids(Some(TaskKind::Dead)).len(), 8);
    assert_eq!(world.ids(Some(TaskKind::Leased)).len(), 4);
    assert_eq!(world.ids(Some(TaskKind::Waiting)).len(), 18);
    let mut apart: Vec<_> = [TaskKind::Dead, TaskKind::Leased, TaskKind::Waiting]
        .into_iter()
        .flat_map(|kind| world.ids(Some(kind)))
        .collect();
    apart.sort_unstable();
    assert_eq!(apart, world.ids(None), "in the order of creation");
}

#[test]
fn pages_of_every_size_make_the_same_list() {
    let world = World::new();
    let kinds = [TaskKind::Dead, TaskKind::Leased, TaskKind::Waiting];
    for kind in kinds.into_iter().map(Some).chain([None]) {
        let filter = TaskFilter {
            kind,
            ..TaskFilter::default()
        };
        let whole = world.all(&filter, plenty());
        for (tasks, rows, bytes) in [
            (1, 1_000, 1_000),
            (3, 1_000, 1_000),
            (1_000, 1, 1_000),
            (1_000, 7, 1_000),
            (1_000, 1_000, 1),
            (1_000, 1_000, 25),
        ] {
            let bounds = Bounds {
                tasks,
                rows,
                bytes,
                with_body: true,
            };
            let paged = world.all(&filter, bounds);
            assert_eq!(paged, whole, "{kind:?} {tasks} {rows} {bytes}");
        }
    }
}

#[test]
fn a_page_reads_no_more_than_it_may() {
    let world = World::new();
    let bounds = Bounds {
        bytes: 25,
        ..plenty()
    };
    // The third one reaches it.
    let page = world.page(&TaskFilter::default(), Place::default(), bounds);
    assert_eq!(page.tasks.len(), 3);
    assert!(page.next.is_some());
    // Rows that the filter leaves out count as well.
    let filter = TaskFilter {
        kind: Some(TaskKind::Waiting),
        ..TaskFilter::default()
    };
    let page = world.page(&filter, Place::default(), bounds);
    assert_eq!(page.tasks, []);
    assert!(page.next.is_some());
}

#[test]
fn times_are_those_of_the_state() {
    let world = World::new();
    let count = |kind, from_s: u64, to_s: u64| {
        let filter = TaskFilter {
            kind,
            from_ns: from_s * S,
            to_ns: Some(to_s * S),
        };
        world.all(&filter, plenty()).len()
    };
    // Due at 17 s to 30 s, and those that come back just before 100 s.
    assert_eq!(count(Some(TaskKind::Waiting), 17, 31), 14);
    assert_eq!(count(Some(TaskKind::Waiting), 18, 30), 12);
    assert_eq!(count(Some(TaskKind::Waiting), 99, 100), 4);
    assert_eq!(count(Some(TaskKind::Leased), 13, 15), 2);
    assert_eq!(count(Some(TaskKind::Dead), 20, 21), 8);
    assert_eq!(count(Some(TaskKind::Dead), 21, 99), 0);
    assert_eq!(count(Some(TaskKind::Dead), 0, 20), 0);
    assert_eq!(count(None, 20, 21), 9, "the dead and one that waits");
}

#[test]
fn bodies_are_left_out_unless_asked_for() {
    let world = World::new();
    for with_body in [false, true] {
        let bounds = Bounds {
            with_body,
            ..plenty()
        };
        for kind in [None, Some(TaskKind::Leased), Some(TaskKind::Dead)] {
            let filter = TaskFilter {
                kind,
                ..TaskFilter::default()
            };
            for listed in world.all(&filter, bounds) {
                assert_eq!(listed.body.payload.len(), if with_body { 10 } else { 0 });
                assert_eq!(listed.status.bytes, 10);
            }
        }
    }
}
