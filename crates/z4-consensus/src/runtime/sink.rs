//! Where an answer goes, and what the question holds until then.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::error::ProposeError;
use crate::limits;
use crate::log::Position;

/// What a proposal answers when it was committed and applied.
#[derive(Clone, PartialEq, Debug)]
pub struct Done<R> {
    /// Where its entry stands.
    pub position: Position,
    /// Stamp of its entry in nanoseconds.
    pub stamp_ns: u64,
    /// What the machine said.
    pub reply: R,
}

/// What the leader knows of a proposal as soon as it is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Where its entry stands, if it is committed.
    pub position: Position,
    /// Stamp of its entry in nanoseconds.
    pub stamp_ns: u64,
    /// How many units the proposals before it in the entry use up: with index
    /// and stamp, what its task ids are made of.
    pub unit_first: u32,
}

type Answer<T> = Box<dyn FnOnce(Result<T, ProposeError>) + Send>;

/// An answer that is owed to a caller. When it is dropped unanswered, it says that the
/// outcome is unknown: that is always true, and no caller is forgotten.
pub struct Sink<T> {
    answer: Option<Answer<T>>,
    _held: Option<Held>,
}

impl<T> Sink<T> {
    /// A sink that calls `answer` once, from any thread; it must not block.
    pub fn new(answer: impl FnOnce(Result<T, ProposeError>) + Send + 'static) -> Self {
        Self {
            answer: Some(Box::new(answer)),
            _held: None,
        }
    }

    /// The same sink, holding a share of a budget until it is answered.
    #[must_use]
    pub(crate) fn holding(mut self, held: Held) -> Self {
        self._held = Some(held);
        self
    }

    /// Answers.
    pub fn answer(mut self, result: Result<T, ProposeError>) {
        if let Some(answer) = self.answer.take() {
            answer(result);
        }
    }
}

impl<T> Drop for Sink<T> {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(Err(ProposeError::Unknown));
        }
    }
}

impl<T> std::fmt::Debug for Sink<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

/// What proposals may hold together, so that memory is bounded whatever the
/// clients send.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    bytes: AtomicUsize,
    count: AtomicUsize,
}

/// A share of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// Takes a share for a proposal of so many bytes, if there is room.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        // Built first: its drop gives back what is taken here, also on refusal.
        let held = Held {
            budget: Arc::clone(self),
            bytes,
        };
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let count_before = self.count.fetch_add(1, Ordering::Relaxed);
        let fits = bytes_before + bytes <= limits::PROPOSAL_BYTES_MAX
            && count_before < limits::PROPOSAL_COUNT_MAX;
        fits.then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_sink_answers_unknown() {
        let (tx, rx) = std::sync::mpsc::channel();
        drop(Sink::<()>::new(move |result| drop(tx.send(result))));
        assert_eq!(rx.recv(), Ok(Err(ProposeError::Unknown)));
    }

    #[test]
    fn a_budget_refuses_at_its_bound_and_recovers() {
        let budget = Arc::new(Budget::default());
        let all = budget.take(limits::PROPOSAL_BYTES_MAX);
        assert!(all.is_some());
        assert!(budget.take(1).is_none());
        drop(all);
        assert!(budget.take(1).is_some());
    }
}
