//! The pulse: leases that expire, tasks that are too old, dead letters that are
//! forgotten.

use z4_core::command::{Ended, Outcome};
use z4_core::task::DeathReason;
use z4_core::{limits, Namespace, TaskId};

use super::{Place, Plain, Space, Task};

impl Plain {
    pub fn pulse(&mut self) -> Outcome {
        let count = self.expire() + self.ring() + self.delete_step();
        Outcome::Pulsed {
            count: count as u32,
        }
    }

    fn expire(&mut self) -> usize {
        let now_ns = self.now_ns;
        let over = self.first(|task| match task.place {
            Place::Leased { deadline_ns, .. } => Some(deadline_ns),
            _ => None,
        });
        for (_, _, name, id) in &over {
            let space = self.spaces.get_mut(name).unwrap();
            let place = space.find(*id).unwrap();
            let dead = matches!(
                space.fail(place, now_ns, None, "the lease expired", false),
                Ended::Dead(_)
            );
            self.note(if dead {
                "died as its lease expired"
            } else {
                "expired"
            });
        }
        over.len()
    }

    fn ring(&mut self) -> usize {
        let now_ns = self.now_ns;
        let alarm = |task: &Task| match task.place {
            Place::Dead { forget_ns, .. } => forget_ns,
            _ => task.expires_ns().filter(|_| task.alarm),
        };
        let mut count = 0;
        for (_, _, name, id) in self.first(alarm) {
            let space = self.spaces.get_mut(&name).unwrap();
            // One that died may have pushed this one out.
            let Some(place) = space.find(id) else {
                self.note("pushed out in the pulse that would forget it");
                continue;
            };
            count += 1;
            let what = match space.tasks[place].place {
                Place::Waiting { .. } => {
                    space.bury(place, now_ns, DeathReason::Ttl);
                    "died as it waited"
                }
                Place::Leased { .. } => {
                    space.tasks[place].alarm = false;
                    "grew too old under a lease"
                }
                Place::Dead { .. } => {
                    space.drop_dead(id);
                    "forgotten"
                }
            };
            self.note(what);
        }
        count
    }

    /// The tasks of which this time has come, the earliest first, as many as one
    /// pulse deals with.
    fn first(&self, at: impl Fn(&Task) -> Option<u64>) -> Vec<(u64, u32, Namespace, TaskId)> {
        let mut all = Vec::new();
        for (name, space) in &self.spaces {
            let Space { number, tasks, .. } = space;
            for task in tasks {
                if let Some(at_ns) = at(task).filter(|at_ns| *at_ns <= self.now_ns) {
                    all.push((at_ns, *number, name.clone(), task.id));
                }
            }
        }
        all.sort_unstable();
        all.truncate(limits::PULSE_COUNT_MAX);
        all
    }
}
