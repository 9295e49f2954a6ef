//! A way to another thread that never blocks the raft thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::limits;
use crossbeam_channel::{Sender, TrySendError};

/// A bounded channel with a short queue before it. When the queue grows, the
/// raft thread stops taking in what would make it grow further: see
/// [`clogged`](Self::clogged).
pub(super) struct Outbox<T> {
    to: Sender<T>,
    waiting: VecDeque<T>,
    unfinished: Unfinished,
}

/// How many jobs the other thread was given and has not finished. That thread counts
/// them down after it has told what came of them. The log thread does not count, so its
/// outbox is never taken for idle.
#[derive(Clone, Default)]
pub(super) struct Unfinished(Arc<AtomicUsize>);

impl Unfinished {
    /// So many are done.
    pub(super) fn finished(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Release);
    }
}

/// The other thread has ended.
pub(super) struct HungUp;

impl<T> Outbox<T> {
    pub(super) fn new(to: Sender<T>) -> Self {
        Self {
            to,
            waiting: VecDeque::new(),
            unfinished: Unfinished::default(),
        }
    }

    /// What the other thread is to count down.
    pub(super) fn unfinished(&self) -> Unfinished {
        self.unfinished.clone()
    }

    /// Whether the other thread has finished all that it was given. Nobody else gives
    /// it anything, so that this stays true until the next job is sent.
    pub(super) fn is_idle(&self) -> bool {
        self.unfinished.0.load(Ordering::Acquire) == 0
    }

    /// Sends in order, now or when there is room.
    pub(super) fn send(&mut self, job: T) -> Result<(), HungUp> {
        self.unfinished.0.fetch_add(1, Ordering::Relaxed);
        self.waiting.push_back(job);
        self.push()
    }

    /// Sends what there is room for.
    pub(super) fn push(&mut self) -> Result<(), HungUp> {
        while let Some(job) = self.waiting.pop_front() {
            match self.to.try_send(job) {
                Ok(()) => {}
                Err(TrySendError::Full(job)) => {
                    self.waiting.push_front(job);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return Err(HungUp),
            }
        }
        Ok(())
    }

    /// Sends all, waiting for room: before a wait for an answer, or the end.
    pub(super) fn push_all(&mut self) -> Result<(), HungUp> {
        for job in self.waiting.drain(..) {
            self.to.send(job).map_err(|_| HungUp)?;
        }
        Ok(())
    }

    /// Whether the other thread is too far behind to take in more for it.
    pub(super) fn clogged(&self) -> bool {
        self.waiting.len() >= limits::OUTBOX_LEN_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_says_when_it_is_clogged() {
        let (tx, rx) = crossbeam_channel::bounded(2);
        let mut outbox = Outbox::new(tx);
        for job in 0..limits::OUTBOX_LEN_MAX + 2 {
            assert!(!outbox.clogged());
            assert!(outbox.send(job).is_ok());
        }
        assert!(outbox.clogged());
        let mut got = Vec::new();
        while let Ok(job) = rx.try_recv() {
            got.push(job);
            assert!(outbox.push().is_ok());
        }
        assert_eq!(got, (0..limits::OUTBOX_LEN_MAX + 2).collect::<Vec<_>>());
        assert!(!outbox.is_idle());
        outbox.unfinished().finished(got.len());
        assert!(outbox.is_idle());
        drop(rx);
        assert!(outbox.send(0).is_err());
    }
}
