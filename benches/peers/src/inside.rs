//! The tasks that are inside a system, from their create to the acknowledgement of
//! their consumer.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use tokio::sync::oneshot;

/// Bytes of a task.
pub const BODY: usize = 256;

/// The body of task `id` of run `run`: both numbers, and bytes that no codec makes
/// smaller.
#[must_use]
pub fn body(run: u64, id: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(BODY);
    body.extend_from_slice(&run.to_be_bytes());
    body.extend_from_slice(&id.to_be_bytes());
    let mut state = (run << 32) ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1;
    while body.len() < BODY {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body
}

/// The run and the id of a body; `None` when it is none.
#[must_use]
pub fn read_body(body: &[u8]) -> Option<(u64, u64)> {
    let (run, rest) = body.split_first_chunk()?;
    let (id, _) = rest.split_first_chunk()?;
    (body.len() == BODY).then(|| (u64::from_be_bytes(*run), u64::from_be_bytes(*id)))
}

/// The callers that wait for the end of their tasks.
pub struct Inside {
    run: u64,
    waiting: RefCell<HashMap<u64, oneshot::Sender<()>>>,
    twice: Cell<u64>,
    errors: RefCell<Vec<String>>,
}

impl Inside {
    /// Nothing is inside yet.
    #[must_use]
    pub fn new(run: u64) -> Self {
        Self {
            run,
            waiting: RefCell::default(),
            twice: Cell::default(),
            errors: RefCell::default(),
        }
    }

    /// A task goes in; ready when it is acknowledged.
    pub fn enter(&self, id: u64) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, done);
        ended
    }

    /// A task was delivered, and its acknowledgement is confirmed.
    pub fn taken(&self, task: &[u8]) {
        match read_body(task) {
            Some((run, id)) if run == self.run => {
                match self.waiting.borrow_mut().remove(&id) {
                    // Nobody waits any more after the end of the run.
                    Some(done) => drop(done.send(())),
                    None => self.twice.set(self.twice.get() + 1),
                }
            }
            _ => self.failed("a task was delivered that nobody created".to_owned()),
        }
    }

    /// A consumer met an error.
    pub fn failed(&self, error: String) {
        self.errors.borrow_mut().push(error);
    }

    /// Tasks that ended more often than once.
    #[must_use]
    pub fn twice(&self) -> u64 {
        self.twice.get()
    }

    /// The errors that consumers met since the last call.
    #[must_use]
    pub fn take_errors(&self) -> Vec<String> {
        std::mem::take(&mut *self.errors.borrow_mut())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_task_ends_once_and_a_second_end_is_counted() {
        let inside = Inside::new(7);
        let mut ended = inside.enter(3);
        assert!(ended.try_recv().is_err());
        inside.taken(&body(7, 3));
        ended.try_recv().unwrap();
        assert_eq!(inside.twice(), 0);
        inside.taken(&body(7, 3));
        assert_eq!(inside.twice(), 1);
        inside.taken(&body(8, 3));
        inside.taken(b"short");
        assert_eq!(inside.take_errors().len(), 2);
    }

    #[test]
    fn a_body_has_its_numbers() {
        assert_eq!(body(1, 2).len(), BODY);
        assert_eq!(read_body(&body(1, 2)), Some((1, 2)));
        assert_ne!(body(1, 2)[16..], body(1, 3)[16..]);
        assert_eq!(read_body(&[0; 10]), None);
    }
}
