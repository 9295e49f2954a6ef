//! Creates, and request ids.

use z4_core::command::{CreateTasks, CreatedTask, Due, Outcome};
use z4_core::task::WallTime;
use z4_core::{limits, Code, TaskId};

use super::{refused, Place, Plain, Request, Task, MS_NS, SECOND_NS};

impl Plain {
    pub fn create(&mut self, create: &CreateTasks) -> Outcome {
        let (index, stamp_ns, now_ns) = (self.index, self.stamp_ns, self.now_ns);
        let first = self.ordinal;
        let named = !create.request_id.is_empty();
        if let Some(space) = self.spaces.get(&create.namespace) {
            let known = space.requests.iter().find(|request| {
                named && request.request_id == create.request_id && request.expires_ns > now_ns
            });
            if let Some(known) = known {
                if known.content == create.tasks {
                    return Outcome::Created(known.made.clone());
                }
                return refused(Code::AlreadyExists);
            }
            if space.deleting {
                return refused(Code::Precondition);
            }
            let (config, counts) = (&space.config, space.counts());
            let bytes: u64 = create.tasks.iter().map(|task| task.bytes()).sum();
            let count = create.tasks.len() as u64;
            if config.pending_max > 0 && counts.pending + count > config.pending_max
                || config.bytes_max > 0 && counts.bytes + bytes > config.bytes_max
            {
                return refused(Code::Exhausted);
            }
        }
        let space = self.ensure(&create.namespace);
        let mut made = Vec::new();
        for (n, new) in (first..).zip(&create.tasks) {
            let (due_ns, deliver_at) = due(new.due, now_ns);
            let id = TaskId::new(stamp_ns, index, n);
            made.push(CreatedTask { id, deliver_at });
            space.tasks.push(Task {
                id,
                priority: new.priority.get(),
                bytes: new.bytes(),
                max_attempts: new.max_attempts,
                ttl_ms: new.ttl_ms,
                first_due_ns: due_ns,
                place: Place::Waiting { due_ns },
                deliveries: 0,
                failures: 0,
                returns: 0,
                error: String::new(),
                alarm: new.ttl_ms > 0,
                touched: false,
            });
        }
        space.gone.created += made.len() as u64;
        if named {
            let expires_ns = now_ns + space.config.dedupe_ms * MS_NS;
            space
                .requests
                .retain(|request| request.request_id != create.request_id);
            space.requests.push(Request {
                request_id: create.request_id.clone(),
                content: create.tasks.clone(),
                made: made.clone(),
                expires_ns,
            });
        }
        Outcome::Created(made)
    }

    /// After each entry a few request ids that are outdated are forgotten.
    pub fn forget_requests(&mut self) {
        let now_ns = self.now_ns;
        let mut outdated = Vec::new();
        for (name, space) in &self.spaces {
            for request in space.requests.iter().filter(|r| r.expires_ns <= now_ns) {
                let id = request.request_id.clone();
                outdated.push((request.expires_ns, space.number, id, name.clone()));
            }
        }
        outdated.sort();
        for (_, _, id, name) in outdated.into_iter().take(limits::FORGET_COUNT_MAX) {
            let space = self.spaces.get_mut(&name).unwrap();
            space.requests.retain(|request| request.request_id != id);
        }
    }
}

pub fn due(due: Due, now_ns: u64) -> (u64, WallTime) {
    match due {
        Due::Now => (now_ns, WallTime::from_ns(now_ns)),
        Due::At(at) => (now_ns.max(at.as_ns()), at),
        Due::AfterSeconds(seconds) => {
            let at_ns = now_ns + seconds * SECOND_NS;
            (at_ns, WallTime::from_ns(at_ns))
        }
    }
}
