//! The machine as one would write it with no store, no index and no cursor:
//! lists, searched from end to end. Slow, and plain enough to be believed.

mod access;
mod change;
mod create;
mod end;
mod lease;
mod spaces;
mod time;

use std::collections::BTreeMap;

use z4_core::access::{Principal, PrincipalName};
use z4_core::command::{Command, CreatedTask, NewTask, Outcome};
use z4_core::state::{NamespaceConfig, NamespaceCounts};
use z4_core::task::{DeathReason, LeaseToken, Phase, TaskStatus};
use z4_core::time::{MS_NS, SECOND_NS};
use z4_core::{Code, Namespace, Refusal, TaskId};

#[derive(Default)]
pub struct Plain {
    now_ns: u64,
    /// Of the entry.
    index: u64,
    stamp_ns: u64,
    ordinal: u32,
    numbers: u32,
    /// What happened that no outcome tells of, and how often.
    pub unseen: BTreeMap<&'static str, u64>,
    spaces: BTreeMap<Namespace, Space>,
    pub principals: BTreeMap<PrincipalName, Principal>,
}

/// A namespace.
pub struct Space {
    pub number: u32,
    pub config: NamespaceConfig,
    pub paused_at_ns: Option<u64>,
    pub deleting: bool,
    tasks: Vec<Task>,
    requests: Vec<Request>,
    /// The due time of the task last taken out, for each priority: where a task
    /// that comes back at once stands in line.
    line_ns: [u64; 10],
    bucket: Bucket,
    /// Dead letters that were pushed out by others.
    trimmed: u64,
    /// What is counted; of tasks that are here nothing is.
    gone: NamespaceCounts,
}

struct Task {
    id: TaskId,
    priority: u8,
    bytes: u64,
    max_attempts: u32,
    ttl_ms: u64,
    first_due_ns: u64,
    place: Place,
    deliveries: u32,
    failures: u32,
    /// Given back in a row by who had it in hand.
    returns: u32,
    error: String,
    /// The alarm of its age has not rung yet.
    alarm: bool,
    /// Leased or moved at least once.
    touched: bool,
}

#[derive(Clone)]
enum Place {
    Waiting {
        due_ns: u64,
    },
    Leased {
        consumer: String,
        token: LeaseToken,
        deadline_ns: u64,
    },
    Dead {
        at_ns: u64,
        reason: DeathReason,
        forget_ns: Option<u64>,
    },
}

struct Request {
    request_id: String,
    content: Vec<NewTask>,
    made: Vec<CreatedTask>,
    expires_ns: u64,
}

/// A leaky bucket: each delivery fills it, time empties it.
#[derive(Default)]
struct Bucket {
    level_ns: u64,
    at_ns: u64,
}

impl Plain {
    pub fn apply(&mut self, index: u64, stamp_ns: u64, commands: &[Command]) -> Vec<Outcome> {
        self.now_ns = self.now_ns.max(stamp_ns);
        (self.index, self.stamp_ns, self.ordinal) = (index, stamp_ns, 0);
        let mut outcomes = Vec::new();
        for command in commands {
            outcomes.push(match command.check() {
                Ok(()) => self.apply_one(command),
                Err(refusal) => Outcome::Refused(refusal),
            });
            self.ordinal += command.units();
            for space in self.spaces.values_mut() {
                let trimmed = std::mem::take(&mut space.trimmed);
                *self.unseen.entry("pushed out").or_default() += trimmed;
            }
        }
        self.forget_requests();
        outcomes
    }

    fn apply_one(&mut self, command: &Command) -> Outcome {
        match command {
            Command::CreateTasks(create) => self.create(create),
            Command::LeaseTasks(lease) => self.lease(lease),
            Command::AckTasks(refs) => self.ack(refs),
            Command::ReleaseTasks(held) => self.release(held),
            Command::ReturnTasks(held) => self.return_tasks(held),
            Command::NackTasks(nacks) => self.nack(nacks),
            Command::ExtendLeases(extends) => self.extend(extends),
            Command::ResumeLeases(resume) => self.resume(resume),
            Command::CancelTasks(refs) => self.cancel(refs),
            Command::RescheduleTasks(change) => self.reschedule(change),
            Command::RedriveTasks(redrive) => self.redrive(redrive),
            Command::PurgeTasks(refs) => self.purge(refs),
            Command::SetNamespace(set) => self.set_namespace(set),
            Command::DeleteNamespace(name) => self.delete_namespace(name),
            Command::ChangePrincipal(change) => self.change_principal(change),
            Command::Pulse => self.pulse(),
            Command::Mark { id } => Outcome::Marked { id: *id },
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.unseen.entry(what).or_default() += 1;
    }

    pub fn space(&self, name: &Namespace) -> Option<&Space> {
        self.spaces.get(name)
    }

    /// The space of a name; appears if it is new.
    fn ensure(&mut self, name: &Namespace) -> &mut Space {
        let numbers = &mut self.numbers;
        self.spaces.entry(name.clone()).or_insert_with(|| {
            *numbers += 1;
            Space {
                number: *numbers - 1,
                config: NamespaceConfig::default(),
                paused_at_ns: None,
                deleting: false,
                tasks: Vec::new(),
                requests: Vec::new(),
                line_ns: [0; 10],
                bucket: Bucket::default(),
                trimmed: 0,
                gone: NamespaceCounts::default(),
            }
        })
    }

    /// The next time at which something is to happen by itself.
    pub fn pulse_next(&self) -> Option<u64> {
        if self.spaces.values().any(|space| space.deleting) {
            return Some(self.now_ns);
        }
        let tasks = self.spaces.values().flat_map(|space| &space.tasks);
        tasks.filter_map(Task::next_alarm).min()
    }
}

impl Space {
    pub fn counts(&self) -> NamespaceCounts {
        let mut counts = self.gone.clone();
        for task in &self.tasks {
            match task.place {
                Place::Waiting { .. } => counts.pending += 1,
                Place::Leased { .. } => counts.leased += 1,
                Place::Dead { .. } => counts.dead += 1,
            }
            counts.bytes += task.bytes;
        }
        counts
    }

    pub fn due_next_after(&self, after_ns: Option<u64>) -> Option<u64> {
        let due = self.tasks.iter().filter_map(|task| match task.place {
            Place::Waiting { due_ns } => Some(due_ns),
            _ => None,
        });
        due.filter(|at_ns| after_ns.is_none_or(|after_ns| *at_ns > after_ns))
            .min()
    }

    /// Every task, and its status if it was ever leased or moved.
    pub fn statuses(&self) -> impl Iterator<Item = (TaskId, Option<TaskStatus>)> + '_ {
        let status = |task: &Task| task.touched.then(|| task.status());
        self.tasks.iter().map(move |task| (task.id, status(task)))
    }

    fn find(&self, id: TaskId) -> Option<usize> {
        self.tasks.iter().position(|task| task.id == id)
    }
}

impl Task {
    fn expires_ns(&self) -> Option<u64> {
        (self.ttl_ms > 0).then(|| self.first_due_ns.saturating_add(self.ttl_ms * MS_NS))
    }

    fn too_old(&self, now_ns: u64) -> bool {
        self.expires_ns().is_some_and(|at_ns| at_ns <= now_ns)
    }

    /// Tells whether this consumer has it; everybody has the empty name.
    fn is_held_by(&self, holder: &str) -> bool {
        holder.is_empty()
            || matches!(&self.place, Place::Leased { consumer, .. } if consumer == holder)
    }

    /// When something is to happen to it by itself.
    fn next_alarm(&self) -> Option<u64> {
        let age = self.expires_ns().filter(|_| self.alarm);
        match self.place {
            Place::Waiting { .. } => age,
            Place::Leased { deadline_ns, .. } => age.into_iter().chain([deadline_ns]).min(),
            Place::Dead { forget_ns, .. } => forget_ns,
        }
    }

    fn status(&self) -> TaskStatus {
        let phase = match self.place.clone() {
            Place::Waiting { due_ns } => Phase::Waiting { due_at_ns: due_ns },
            Place::Leased {
                consumer,
                token,
                deadline_ns,
            } => Phase::Leased {
                consumer,
                token,
                deadline_ns,
            },
            Place::Dead {
                at_ns,
                reason,
                forget_ns,
            } => Phase::Dead {
                at_ns,
                reason,
                forget_at_ns: forget_ns.unwrap_or(0),
            },
        };
        TaskStatus {
            phase,
            deliveries: self.deliveries,
            failures: self.failures,
            returns: self.returns,
            first_due_at_ns: self.first_due_ns,
            priority: z4_core::task::Priority::new(self.priority).unwrap(),
            bytes: self.bytes,
            max_attempts: self.max_attempts,
            ttl_ms: self.ttl_ms,
            last_error: self.error.clone(),
        }
    }
}

/// A refusal; the words are the machine's own.
fn refused(code: Code) -> Outcome {
    Outcome::Refused(Refusal::new(code, ""))
}
