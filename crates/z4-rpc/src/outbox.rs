//! A bounded queue from any thread to the one task that writes a stream.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use futures::task::AtomicWaker;

/// A queue with bounds of count and bytes. Pushing never blocks.
pub(crate) struct Outbox<T> {
    state: Mutex<State<T>>,
    reader: AtomicWaker,
    closed: AtomicBool,
    len_max: usize,
    bytes_max: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
}

impl<T> Outbox<T> {
    pub(crate) fn new(len_max: usize, bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
            }),
            reader: AtomicWaker::new(),
            closed: AtomicBool::new(false),
            len_max,
            bytes_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an item of so many bytes; gives it back when the queue is full or
    /// closed.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), T> {
        {
            let mut state = self.lock();
            if self.is_closed() || !self.fits(&state, bytes) {
                return Err(item);
            }
            state.bytes += bytes;
            state.items.push_back((item, bytes));
        }
        self.reader.wake();
        Ok(())
    }

    /// Tells whether an item of so many bytes would be taken now.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.fits(&self.lock(), bytes)
    }

    /// One that is larger than the bound alone still passes when alone.
    fn fits(&self, state: &State<T>, bytes: usize) -> bool {
        let full = state.items.len() >= self.len_max || state.bytes + bytes > self.bytes_max;
        !full || state.items.is_empty()
    }

    /// Takes the first item.
    pub(crate) fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        let (item, bytes) = state.items.pop_front()?;
        state.bytes -= bytes;
        Some(item)
    }

    /// Takes from the front while counts and bytes are within the bounds; at
    /// least one, if there is any.
    pub(crate) fn pop_batch(&self, len_max: usize, bytes_max: usize) -> Vec<T> {
        let mut state = self.lock();
        let (mut batch, mut total) = (Vec::new(), 0);
        while let Some((_, bytes)) = state.items.front() {
            let fits = batch.len() < len_max && total + bytes <= bytes_max;
            if !fits && !batch.is_empty() {
                break;
            }
            if let Some((item, bytes)) = state.items.pop_front() {
                state.bytes -= bytes;
                total += bytes;
                batch.push(item);
            }
        }
        batch
    }

    /// Empties the queue; gives what was in it.
    pub(crate) fn clear(&self) -> Vec<T> {
        let mut state = self.lock();
        state.bytes = 0;
        state.items.drain(..).map(|(item, _)| item).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().items.is_empty()
    }

    /// The waker of the reading task; to be set before it looks.
    pub(crate) fn register(&self, waker: &Waker) {
        self.reader.register(waker);
    }

    /// Wakes the reader for something else than an item.
    pub(crate) fn wake(&self) {
        self.reader.wake();
    }

    /// Lets nothing more in and wakes the reader.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.reader.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_by_count_and_by_bytes() {
        let outbox = Outbox::new(3, 10);
        assert_eq!(outbox.push('a', 100), Ok(()), "one alone passes");
        assert_eq!(outbox.push('b', 1), Err('b'));
        assert_eq!(outbox.pop(), Some('a'));
        for c in ['c', 'd', 'e'] {
            assert_eq!(outbox.push(c, 3), Ok(()));
        }
        assert_eq!(outbox.push('f', 0), Err('f'), "the count");
        assert_eq!(outbox.pop_batch(10, 6), vec!['c', 'd']);
        assert_eq!(outbox.push('g', 8), Err('g'), "the bytes");
        assert_eq!(outbox.clear(), vec!['e']);
        outbox.close();
        assert_eq!(outbox.push('h', 0), Err('h'));
    }
}
