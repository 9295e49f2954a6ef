//! What clients ask for.

use rand::Rng;
use z4_core::command::{
    CreateTasks, Due, NamespacePatch, NewTask, RedriveTasks, RescheduleTasks, SetNamespace,
    TaskRefs,
};
use z4_core::task::{Priority, WallTime};
use z4_core::Command;

use super::Op;
use crate::spaces::{ALPHA, BETA, DELTA, GAMMA};
use crate::world::{World, MS};

impl World {
    /// What a client does next.
    pub(super) fn think(&mut self) -> Op {
        let known = self.checks.creates.some_acked(&mut self.rng);
        let Some((namespace, task)) = known else {
            return self.create();
        };
        let space = self.space_of(&namespace);
        let ids = vec![task];
        let command = match self.rng.gen_range(0..100) {
            0..=19 => {
                let floor = self.checks.reads.floor();
                return Op::Get { space, task, floor };
            }
            20..=23 => Command::CancelTasks(TaskRefs { namespace, ids }),
            24..=26 => {
                let due = self.due();
                Command::RescheduleTasks(RescheduleTasks {
                    namespace,
                    ids,
                    due,
                })
            }
            27..=32 => match self.checks.ends.some_dead(&mut self.rng) {
                Some((namespace, task)) => {
                    let keep_attempts = self.rng.gen();
                    let ids = vec![task];
                    let redrive = RedriveTasks {
                        namespace,
                        ids,
                        keep_attempts,
                    };
                    return Op::Change(Command::RedriveTasks(redrive), task);
                }
                None => return self.create(),
            },
            33 => match self.checks.ends.some_dead(&mut self.rng) {
                Some((namespace, task)) => {
                    let ids = vec![task];
                    let purge = Command::PurgeTasks(TaskRefs { namespace, ids });
                    return Op::Change(purge, task);
                }
                None => return self.create(),
            },
            34 => return self.pause_or_go_on(),
            35 if self.one_in(3) => {
                let delta = self.namespaces[DELTA].clone();
                return Op::Delete(Command::DeleteNamespace(delta));
            }
            36..=38 => return self.change_principal().unwrap_or_else(|| self.create()),
            _ => return self.create(),
        };
        Op::Change(command, task)
    }

    fn pause_or_go_on(&mut self) -> Op {
        let patch = NamespacePatch {
            paused: Some(self.one_in(3)),
            ..NamespacePatch::default()
        };
        Op::Settings(Command::SetNamespace(SetNamespace {
            namespace: self.namespaces[GAMMA].clone(),
            patch,
        }))
    }

    fn create(&mut self) -> Op {
        self.requests += 1;
        let space = [ALPHA, ALPHA, ALPHA, BETA, BETA, GAMMA, DELTA][self.rng.gen_range(0..7)];
        // After a deletion nothing of its settings is left, so that a clock which
        // jumps by an hour makes it forget requests that are tried still.
        let forgets = self.options.hours && space == DELTA;
        let request_id = if self.one_in(6) || forgets {
            String::new()
        } else {
            format!("r{}", self.requests)
        };
        let count = self.rng.gen_range(1..4);
        let tasks = (0..count)
            .map(|place| self.new_task(space, place))
            .collect();
        Op::Create(CreateTasks {
            namespace: self.namespaces[space].clone(),
            request_id,
            tasks,
        })
    }

    fn new_task(&mut self, space: usize, place: u64) -> NewTask {
        // Which request and which task of it: no two tasks are alike, so that
        // one that is made twice is seen.
        let payload = format!("{}.{place}", self.requests).into_bytes();
        let level = [5, 5, 5, 9, 0, 3][self.rng.gen_range(0..6)];
        NewTask {
            metadata: Vec::new(),
            payload,
            due: self.due(),
            priority: Priority::new(level).unwrap_or_default(),
            max_attempts: match space {
                // Its backoff is not ours to set for good: it comes anew after
                // each deletion.
                DELTA => 3,
                ALPHA => [0, 0, 0, 0, 2][self.rng.gen_range(0..5)],
                _ => 0,
            },
            ttl_ms: [0, 0, 0, 0, 500, 3_000][self.rng.gen_range(0..6)],
        }
    }

    fn due(&mut self) -> Due {
        let ahead_ns = self.rng.gen_range(0..4_000) * MS;
        match self.rng.gen_range(0..4) {
            0 => Due::Now,
            1 => Due::AfterSeconds(self.rng.gen_range(1..4)),
            _ => Due::At(WallTime::from_ns(self.wall_ns() + ahead_ns)),
        }
    }
}
