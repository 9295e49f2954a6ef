//! Promise 2: no task is delivered before its time by the machine's clock.

use std::collections::BTreeMap;

use z4_core::command::{Due, NewTask};
use z4_core::TaskId;

#[derive(Default)]
pub(crate) struct Times {
    /// Machine time, by the stamps of the log.
    now_ns: u64,
    due_ns: BTreeMap<TaskId, u64>,
}

impl Times {
    /// The machine's time at an entry with this stamp.
    pub(crate) fn at(&mut self, stamp_ns: u64) -> u64 {
        self.now_ns = self.now_ns.max(stamp_ns);
        self.now_ns
    }

    /// A task was created; a repeated request changes nothing.
    pub(crate) fn created(&mut self, new: &NewTask, id: TaskId) {
        let due_ns = match new.due {
            Due::Now => self.now_ns,
            Due::At(time) => time.as_ns(),
            Due::AfterSeconds(seconds) => self.now_ns + seconds * 1_000_000_000,
        };
        self.due_ns.entry(id).or_insert(due_ns);
    }

    /// A task was leased.
    pub(crate) fn granted(&self, id: TaskId) -> Result<(), String> {
        match self.due_ns.get(&id) {
            Some(due_ns) if *due_ns <= self.now_ns => Ok(()),
            Some(due_ns) => Err(format!(
                "promise 2: task {id} was leased {} ms before it was due",
                (due_ns - self.now_ns) / 1_000_000
            )),
            None => Err(format!("task {id} was leased and never created")),
        }
    }
}
