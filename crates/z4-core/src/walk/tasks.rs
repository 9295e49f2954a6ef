//! What the walk asks for.

use super::{Walk, REMEMBERED, SECOND_NS};
use crate::command::{
    Command, CreateTasks, Due, Extend, ExtendLeases, HeldLeases, LeaseRefs, LeaseTasks, Nack,
    NackTasks, NewTask, RedriveTasks, RescheduleTasks, ResumeLeases, Taker, TaskRefs,
};
use crate::limits;
use crate::task::{LeaseToken, Namespace, Priority, TaskId, WallTime};

impl Walk {
    pub(super) fn create(&mut self) -> Command {
        if !self.creates.is_empty() && self.dice.one_in(6) {
            let again = self.dice.one_of(&self.creates);
            return Command::CreateTasks(again);
        }
        let request_id = match self.dice.below(3) {
            0 => format!("r{}", self.dice.below(40)),
            _ => String::new(),
        };
        // None at all is against the rules.
        let count = self.dice.below(4);
        let create = CreateTasks {
            namespace: self.space(),
            request_id,
            tasks: (0..count).map(|_| self.new_task()).collect(),
        };
        if !create.request_id.is_empty() && !create.tasks.is_empty() {
            self.creates.push(create.clone());
            if self.creates.len() > REMEMBERED {
                self.creates.remove(0);
            }
        }
        Command::CreateTasks(create)
    }

    fn new_task(&mut self) -> NewTask {
        let priority = self.dice.one_of(&[5, 5, 5, 9, 0, 3]);
        NewTask {
            metadata: vec![("k".into(), "v".repeat(self.dice.below(4) as usize))],
            payload: vec![7; self.dice.below(9) as usize],
            due: self.due(),
            priority: Priority::new(priority).expect("below 10"),
            max_attempts: self.dice.one_of(&[0, 0, 0, 1, 2, 3]),
            ttl_ms: self.dice.one_of(&[0, 0, 0, 1, 500, 5_000, 60_000]),
        }
    }

    fn due(&mut self) -> Due {
        match self.dice.below(5) {
            0..=2 => Due::Now,
            3 => {
                let about_ns = self.stamp_ns + 5 * SECOND_NS;
                let past_ns = self.dice.below(40) * SECOND_NS / 4;
                Due::At(WallTime::from_ns(about_ns - past_ns))
            }
            _ => Due::AfterSeconds(self.dice.between(1, 20)),
        }
    }

    pub(super) fn lease(&mut self) -> Command {
        let count = self.dice.between(1, 3);
        let taker = |n| Taker {
            consumer: format!("c{n}"),
            room: self.dice.between(1, 4) as u32,
        };
        let takers = (0..count).map(taker).collect();
        Command::LeaseTasks(LeaseTasks {
            namespace: self.space(),
            takers,
            lease_ms: self.dice.one_of(&[0, 10, 500, 500, 3_000]),
            ahead_ms: self.dice.one_of(&[0, 0, 16, 1_000]),
        })
    }

    pub(super) fn ack(&mut self) -> Command {
        Command::AckTasks(self.refs())
    }

    pub(super) fn release(&mut self) -> Command {
        let held = HeldLeases {
            refs: self.refs(),
            consumer: self.dice.one_of(&["", "", "c1", "c2"]).into(),
        };
        match self.dice.below(2) {
            0 => Command::ReleaseTasks(held),
            _ => Command::ReturnTasks(held),
        }
    }

    pub(super) fn resume(&mut self) -> Command {
        Command::ResumeLeases(ResumeLeases {
            held: HeldLeases {
                refs: self.refs(),
                consumer: self.dice.one_of(&["c1", "c2", "c3"]).into(),
            },
            by: self.dice.one_of(&["c1", "c2", "c9"]).into(),
        })
    }

    /// Now and then a consumer gives back whatever it gets, at once and several
    /// times: by chance alone a task is never returned so often in a row.
    pub(super) fn stubborn_step(&mut self) -> Option<Command> {
        if self.stubborn == 0 {
            if !self.dice.one_in(400) {
                return None;
            }
            self.stubborn = 12;
        }
        self.stubborn -= 1;
        self.stamp_ns += 1;
        let namespace = Namespace::new(super::SPACES[0]).expect("a name of the walk is a name");
        let its = self.leases.iter().rev().filter(|l| l.0 == namespace);
        let leases: Vec<_> = its.map(|(_, id, token)| (*id, *token)).take(8).collect();
        if self.stubborn % 2 == 1 || leases.is_empty() {
            let takers = vec![Taker {
                consumer: "c1".into(),
                room: 3,
            }];
            return Some(Command::LeaseTasks(LeaseTasks {
                namespace,
                takers,
                lease_ms: 3_000,
                ahead_ms: 0,
            }));
        }
        let refs = LeaseRefs { namespace, leases };
        Some(Command::ReturnTasks(HeldLeases::of_anybody(refs)))
    }

    pub(super) fn nack(&mut self) -> Command {
        let LeaseRefs { namespace, leases } = self.refs();
        let nack = |(id, token)| Nack {
            id,
            token,
            delay_ms: match self.dice.below(5) {
                0..=2 => None,
                3 => Some(0),
                _ => Some(self.dice.one_of(&[1, 500, 5_000, limits::DELAY_MS_MAX])),
            },
            error: "e".repeat(self.dice.below(3) as usize),
            permanent: self.dice.one_in(10),
        };
        let nacks = leases.into_iter().map(nack).collect();
        Command::NackTasks(NackTasks { namespace, nacks })
    }

    pub(super) fn extend(&mut self) -> Command {
        let LeaseRefs { namespace, leases } = self.refs();
        let extend = |(id, token)| Extend {
            id,
            token,
            lease_ms: self.dice.one_of(&[0, 10, 1_000, 10_000]),
        };
        let extends = leases.into_iter().map(extend).collect();
        Command::ExtendLeases(ExtendLeases { namespace, extends })
    }

    /// Leases of one namespace, most of them among the last that were granted;
    /// now and then one that never was, or the same twice.
    fn refs(&mut self) -> LeaseRefs {
        let Some((namespace, ..)) = self.leases.last() else {
            return LeaseRefs {
                namespace: self.space(),
                leases: vec![(TaskId::default(), LeaseToken(1))],
            };
        };
        let namespace = match self.dice.below(3) {
            0 => namespace.clone(),
            _ => self.dice.one_of(&self.leases).0,
        };
        let count = self.dice.between(1, 5) as usize;
        let its = self.leases.iter().rev().filter(|l| l.0 == namespace);
        let mut leases: Vec<_> = its.map(|(_, id, token)| (*id, *token)).collect();
        let skip = self.dice.below(3) as usize;
        if skip + count <= leases.len() {
            leases.drain(..skip);
        }
        leases.truncate(count);
        match self.dice.below(12) {
            0 => leases.push(leases[0]),
            1 => leases.push((leases[0].0, LeaseToken(1))),
            2 => leases.push((TaskId::default(), LeaseToken(1))),
            3 if !self.tasks.is_empty() => {
                // Of another namespace, perhaps, or one that only waits.
                let (_, id) = self.dice.one_of(&self.tasks);
                leases.push((id, LeaseToken(1)));
            }
            _ => {}
        }
        LeaseRefs { namespace, leases }
    }

    pub(super) fn cancel(&mut self) -> Command {
        let (namespace, ids) = self.some_tasks();
        Command::CancelTasks(TaskRefs { namespace, ids })
    }

    pub(super) fn purge(&mut self) -> Command {
        let (namespace, ids) = self.some_tasks();
        Command::PurgeTasks(TaskRefs { namespace, ids })
    }

    pub(super) fn cancel_or_purge(&mut self) -> Command {
        if self.dice.one_in(2) {
            self.cancel()
        } else {
            self.purge()
        }
    }

    pub(super) fn reschedule(&mut self) -> Command {
        let (namespace, ids) = self.some_tasks();
        let due = self.due();
        Command::RescheduleTasks(RescheduleTasks {
            namespace,
            ids,
            due,
        })
    }

    pub(super) fn redrive(&mut self) -> Command {
        let (namespace, ids) = self.some_tasks();
        let keep_attempts = self.dice.one_in(2);
        Command::RedriveTasks(RedriveTasks {
            namespace,
            ids,
            keep_attempts,
        })
    }

    fn some_tasks(&mut self) -> (Namespace, Vec<TaskId>) {
        if self.tasks.is_empty() {
            return (self.space(), vec![TaskId::default()]);
        }
        let (namespace, id) = self.dice.one_of(&self.tasks);
        let mut ids = vec![id];
        for _ in 0..self.dice.below(4) {
            let (other, id) = self.dice.one_of(&self.tasks);
            if other == namespace || self.dice.one_in(20) {
                ids.push(id);
            }
        }
        (namespace, ids)
    }
}
