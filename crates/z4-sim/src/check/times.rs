//! Promise 2: no task is delivered before its time by the machine's clock, nor
//! after its time to live, nor more often than it may fail.

use std::collections::BTreeMap;

use z4_core::command::{Due, Ended, Grant, LeaseLost, NewTask};
use z4_core::task::expires_at_ns;
use z4_core::TaskId;

const MS_NS: u64 = 1_000_000;

/// When a task may be delivered.
struct When {
    /// From then on.
    due_ns: u64,
    /// When it last fell due for the first time: its age counts from there.
    first_ns: u64,
    ttl_ms: u64,
    max_attempts: u32,
    /// Its failures are counted from there.
    forgiven: bool,
}

#[derive(Default)]
pub(crate) struct Times {
    /// Machine time, by the stamps of the log.
    now_ns: u64,
    tasks: BTreeMap<TaskId, When>,
}

impl Times {
    /// The machine's time at an entry with this stamp.
    pub(crate) fn at(&mut self, stamp_ns: u64) -> u64 {
        self.now_ns = self.now_ns.max(stamp_ns);
        self.now_ns
    }

    /// The machine's time.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn due(&self, due: Due) -> u64 {
        match due {
            Due::Now => self.now_ns,
            Due::At(time) => time.as_ns().max(self.now_ns),
            Due::AfterSeconds(seconds) => self.now_ns + seconds * 1_000_000_000,
        }
    }

    /// A task was created.
    pub(crate) fn created(&mut self, new: &NewTask, id: TaskId) {
        let due_ns = self.due(new.due);
        let when = When {
            due_ns,
            first_ns: due_ns,
            ttl_ms: new.ttl_ms,
            max_attempts: new.max_attempts,
            forgiven: false,
        };
        self.tasks.insert(id, when);
    }

    /// A task got another time.
    pub(crate) fn rescheduled(&mut self, id: TaskId, due: Due) {
        let due_ns = self.due(due);
        if let Some(when) = self.tasks.get_mut(&id) {
            when.due_ns = due_ns;
            when.first_ns = due_ns;
        }
    }

    /// A dead letter is tried again, now.
    pub(crate) fn redriven(&mut self, id: TaskId) {
        self.rescheduled(id, Due::Now);
        if let Some(when) = self.tasks.get_mut(&id) {
            // One that keeps its attempts has one more, beyond its limit.
            when.forgiven = true;
        }
    }

    /// Leases were ended; whose tasks wait again is due when the answer says, and not
    /// before it was first due. Whether one waits for its time again.
    pub(crate) fn came_back(
        &mut self,
        ids: impl Iterator<Item = TaskId>,
        ended: &[Result<Ended, LeaseLost>],
    ) -> Result<bool, String> {
        let (mut waits, now_ns) = (false, self.now_ns);
        for (id, ended) in ids.zip(ended) {
            if let (Ok(Ended::Waiting { due_at_ns }), Some(when)) = (ended, self.tasks.get_mut(&id))
            {
                when.due_ns = *due_at_ns;
                waits |= when.first_ns > now_ns;
                if *due_at_ns < when.first_ns {
                    return Err(format!(
                        "promise 2: task {id} came back {} us before it was first due",
                        (when.first_ns - due_at_ns) / 1_000
                    ));
                }
            }
        }
        Ok(waits)
    }

    /// Whether a task is too old at this machine time.
    pub(crate) fn is_too_old(&self, id: TaskId, at_ns: u64) -> bool {
        let when = self.tasks.get(&id);
        let until_ns = when.and_then(|when| expires_at_ns(when.first_ns, when.ttl_ms));
        until_ns.is_some_and(|until_ns| until_ns <= at_ns)
    }

    /// A task was leased for so long, at most so long ahead of its time; the former is 0
    /// when nobody said it.
    pub(crate) fn granted(
        &self,
        (lease_ms, ahead_ms): (u64, u64),
        grant: &Grant,
    ) -> Result<(), String> {
        let (id, now_ns) = (grant.id, self.now_ns);
        let Some(when) = self.tasks.get(&id) else {
            return Err(format!("task {id} was leased and never created"));
        };
        let ahead_ns = ahead_ms * MS_NS;
        if when.due_ns > now_ns + ahead_ns {
            return Err(format!(
                "promise 2: task {id} was leased {} us before it was due",
                (when.due_ns - now_ns) / 1_000
            ));
        }
        // Whoever delivers it goes by what the grant says.
        if grant.due_at_ns != when.first_ns || when.due_ns > now_ns.max(grant.due_at_ns) {
            return Err(format!(
                "promise 2: task {id} was first due at {} and is due at {}, its lease says {}",
                when.first_ns, when.due_ns, grant.due_at_ns
            ));
        }
        let from_ns = now_ns.max(when.due_ns);
        if lease_ms > 0 && grant.deadline_ns != from_ns + lease_ms * MS_NS {
            return Err(format!(
                "promise 3: the lease of task {id} does not last {lease_ms} ms from its due time",
            ));
        }
        if self.is_too_old(id, now_ns) {
            return Err(format!(
                "promise 2: task {id} was leased after its time to live"
            ));
        }
        if when.max_attempts > 0 && grant.attempt > when.max_attempts && !when.forgiven {
            return Err(format!(
                "promise 2: task {id} is tried for the {}th time, and may be {} times",
                grant.attempt, when.max_attempts
            ));
        }
        Ok(())
    }
}
