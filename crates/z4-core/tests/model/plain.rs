//! The machine as one would write it with no store, no index and no cursor:
//! lists, searched from end to end. Slow, and plain enough to be believed.

use std::collections::BTreeMap;

use z4_core::command::{
    Command, CreateTasks, CreatedTask, Due, Grant, LeaseRefs, LeaseTasks, NewTask, Outcome,
};
use z4_core::limits;
use z4_core::state::NamespaceCounts;
use z4_core::task::{LeaseToken, WallTime};
use z4_core::{Code, Namespace, Refusal, TaskId};

const SECOND_NS: u64 = 1_000_000_000;
const MS_NS: u64 = 1_000_000;

struct Lease {
    consumer: String,
    token: LeaseToken,
    deadline_ns: u64,
}

struct Task {
    space: Namespace,
    id: TaskId,
    priority: u8,
    first_due_at_ns: u64,
    due_at_ns: u64,
    bytes: u64,
    lease: Option<Lease>,
    deliveries: u32,
}

struct Request {
    space: Namespace,
    request_id: String,
    content: Vec<NewTask>,
    made: Vec<CreatedTask>,
    expires_at_ns: u64,
}

#[derive(Default)]
pub struct Plain {
    now_ns: u64,
    /// The due time of the task last leased, for each priority: where a task that
    /// comes back stands in line.
    line_at_ns: BTreeMap<(Namespace, u8), u64>,
    tasks: Vec<Task>,
    requests: Vec<Request>,
    created: BTreeMap<Namespace, u64>,
    done: BTreeMap<Namespace, u64>,
    deliveries: BTreeMap<Namespace, u64>,
}

impl Plain {
    pub fn apply(&mut self, index: u64, stamp_ns: u64, commands: &[Command]) -> Vec<Outcome> {
        self.now_ns = self.now_ns.max(stamp_ns);
        let mut place = 0;
        let mut outcomes = Vec::new();
        for command in commands {
            outcomes.push(match command {
                Command::CreateTasks(create) => self.create(index, stamp_ns, place, create),
                Command::LeaseTasks(lease) => self.lease(index, lease),
                Command::AckTasks(refs) => self.end(refs, true),
                Command::ReleaseTasks(refs) => self.end(refs, false),
                Command::ExpireLeases => self.expire(),
            });
            place += command.units();
        }
        outcomes
    }

    fn create(&mut self, index: u64, stamp_ns: u64, place: u32, create: &CreateTasks) -> Outcome {
        if create.tasks.is_empty() {
            let rule = format!(
                "has 0 elements; it must have 1 to {}",
                limits::CREATE_COUNT_MAX
            );
            return Outcome::Refused(Refusal::invalid("tasks", rule));
        }
        let now_ns = self.now_ns;
        let named = !create.request_id.is_empty();
        let known = self.requests.iter().find(|request| {
            named
                && request.space == create.namespace
                && request.request_id == create.request_id
                && request.expires_at_ns > now_ns
        });
        if let Some(known) = known {
            if known.content == create.tasks {
                return Outcome::Created(known.made.clone());
            }
            let message = format!(
                "request_id {} was used with other content in namespace {}; use a new one",
                create.request_id, create.namespace
            );
            return Outcome::Refused(Refusal::new(Code::AlreadyExists, message));
        }
        let mut made = Vec::new();
        for (n, task) in (place..).zip(&create.tasks) {
            let (due_at_ns, deliver_at) = match task.due {
                Due::Now => (now_ns, WallTime::from_ns(now_ns)),
                Due::At(at) => (now_ns.max(at.as_ns()), at),
                Due::AfterSeconds(s) => {
                    let at_ns = now_ns + s * SECOND_NS;
                    (at_ns, WallTime::from_ns(at_ns))
                }
            };
            let id = TaskId::new(stamp_ns, index, n);
            made.push(CreatedTask { id, deliver_at });
            let labels = task.metadata.iter().map(|(k, v)| k.len() + v.len());
            self.tasks.push(Task {
                space: create.namespace.clone(),
                id,
                priority: task.priority.get(),
                first_due_at_ns: due_at_ns,
                due_at_ns,
                bytes: (task.payload.len() + labels.sum::<usize>()) as u64,
                lease: None,
                deliveries: 0,
            });
        }
        *self.created.entry(create.namespace.clone()).or_default() += made.len() as u64;
        if named {
            self.requests.push(Request {
                space: create.namespace.clone(),
                request_id: create.request_id.clone(),
                content: create.tasks.clone(),
                made: made.clone(),
                expires_at_ns: now_ns + limits::DEDUPE_MS_DEFAULT * MS_NS,
            });
        }
        Outcome::Created(made)
    }

    fn lease(&mut self, index: u64, lease: &LeaseTasks) -> Outcome {
        let now_ns = self.now_ns;
        let mut due: Vec<&mut Task> = self
            .tasks
            .iter_mut()
            .filter(|task| task.space == lease.namespace)
            .filter(|task| task.lease.is_none() && task.due_at_ns <= now_ns)
            .collect();
        due.sort_by_key(|task| (std::cmp::Reverse(task.priority), task.due_at_ns, task.id));
        let lease_ms = match lease.lease_ms {
            0 => limits::LEASE_MS_DEFAULT,
            ms => ms,
        };
        let mut rooms: Vec<u32> = lease.takers.iter().map(|taker| taker.room).collect();
        let mut turn = 0;
        let mut grants = Vec::new();
        let mut more = false;
        for task in due {
            if grants.len() == limits::LEASE_COUNT_MAX || rooms.iter().all(|room| *room == 0) {
                more = true;
                break;
            }
            while rooms[turn % rooms.len()] == 0 {
                turn += 1;
            }
            let seat = turn % rooms.len();
            rooms[seat] -= 1;
            turn += 1;
            let consumer = lease.takers[seat].consumer.clone();
            let token = LeaseToken(index);
            let deadline_ns = now_ns + lease_ms * MS_NS;
            task.deliveries += 1;
            let queue = (task.space.clone(), task.priority);
            self.line_at_ns.insert(queue, task.due_at_ns);
            grants.push(Grant {
                consumer: consumer.clone(),
                id: task.id,
                token,
                deadline_ns,
                due_at_ns: task.first_due_at_ns,
                attempt: task.deliveries,
            });
            task.lease = Some(Lease {
                consumer,
                token,
                deadline_ns,
            });
        }
        if !grants.is_empty() {
            let count = self.deliveries.entry(lease.namespace.clone()).or_default();
            *count += grants.len() as u64;
        }
        Outcome::Leased { grants, more }
    }

    fn end(&mut self, refs: &LeaseRefs, ack: bool) -> Outcome {
        let now_ns = self.now_ns;
        let mut ended = Vec::new();
        for (id, token) in &refs.leases {
            let place = self.tasks.iter().position(|task| {
                task.space == refs.namespace
                    && task.id == *id
                    && matches!(&task.lease, Some(lease)
                        if lease.token == *token && lease.deadline_ns > now_ns)
            });
            ended.push(place.is_some());
            match place {
                Some(place) if ack => {
                    self.tasks.remove(place);
                    *self.done.entry(refs.namespace.clone()).or_default() += 1;
                }
                Some(place) => give_back(&mut self.tasks[place], &self.line_at_ns),
                None => {}
            }
        }
        Outcome::Ended(ended)
    }

    fn expire(&mut self) -> Outcome {
        let now_ns = self.now_ns;
        let over = |task: &&mut Task| matches!(&task.lease, Some(l) if l.deadline_ns <= now_ns);
        let mut count = 0;
        for task in self.tasks.iter_mut().filter(over) {
            give_back(task, &self.line_at_ns);
            count += 1;
        }
        Outcome::Expired { count }
    }

    /// What the counts of a namespace must be; none when it never had a task.
    pub fn counts(&self, space: &Namespace) -> Option<NamespaceCounts> {
        let created = *self.created.get(space)?;
        let tasks = || self.tasks.iter().filter(|task| task.space == *space);
        let leased = tasks().filter(|task| task.lease.is_some()).count() as u64;
        Some(NamespaceCounts {
            created,
            pending: tasks().count() as u64 - leased,
            leased,
            done: self.done.get(space).copied().unwrap_or(0),
            deliveries: self.deliveries.get(space).copied().unwrap_or(0),
            bytes: tasks().map(|task| task.bytes).sum(),
        })
    }

    pub fn due_next_after(&self, space: &Namespace, after_ns: Option<u64>) -> Option<u64> {
        let waiting = self.tasks.iter().filter(|task| task.lease.is_none());
        let its = waiting.filter(|task| task.space == *space);
        let times = its.map(|task| task.due_at_ns);
        times
            .filter(|at| after_ns.is_none_or(|after| *at > after))
            .min()
    }

    pub fn deadline_next(&self) -> Option<u64> {
        let leases = self.tasks.iter().filter_map(|task| task.lease.as_ref());
        leases.map(|lease| lease.deadline_ns).min()
    }

    /// Every lease there is, with its holder.
    pub fn leases(&self) -> Vec<(Namespace, TaskId, LeaseToken, String)> {
        let lease = |task: &Task| {
            let lease = task.lease.as_ref()?;
            let space = task.space.clone();
            Some((space, task.id, lease.token, lease.consumer.clone()))
        };
        self.tasks.iter().filter_map(lease).collect()
    }
}

fn give_back(task: &mut Task, line_at_ns: &BTreeMap<(Namespace, u8), u64>) {
    task.lease = None;
    // What was leased was due, and nothing due later was leased before it.
    task.due_at_ns = line_at_ns[&(task.space.clone(), task.priority)];
    assert!(task.due_at_ns >= task.first_due_at_ns);
}
