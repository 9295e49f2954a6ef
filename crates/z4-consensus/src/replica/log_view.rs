//! The log as raft-rs reads it: what is on stable storage, and what is on its
//! way there.
//!
//! raft-rs forgets entries as soon as they are handed out for writing, long
//! before they are durable, so the view keeps them, and a bounded run of recent
//! ones besides: followers are fed from memory.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::limits;
use crate::log::{LogError, LogStore, Position};
use crate::machine::Applied;

/// [`raft::Storage`] over a [`LogStore`].
pub(super) struct LogView<L> {
    log: Arc<L>,
    hard_state: HardState,
    conf_state: ConfState,
    cut: Position,
    /// Contiguous, ends at the last entry of the log.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    /// Last entry known to be in the log on stable storage.
    durable_index: u64,
    last: Position,
    /// A snapshot that can be sent, if one was made.
    snapshot: RefCell<Option<Applied>>,
    /// raft-rs asked for a snapshot that is not there.
    snapshot_wanted: Cell<bool>,
    /// Why the log could not be read.
    unreadable: RefCell<Option<LogError>>,
}

impl<L: LogStore> LogView<L> {
    /// The view of a log at start.
    pub(super) fn open(log: Arc<L>, conf_state: ConfState) -> Result<Self, LogError> {
        let last = log.last()?;
        Ok(Self {
            hard_state: log.hard_state()?,
            conf_state,
            cut: log.cut()?,
            recent: VecDeque::new(),
            recent_bytes: 0,
            durable_index: last.index,
            last,
            snapshot: RefCell::new(None),
            snapshot_wanted: Cell::new(false),
            unreadable: RefCell::new(None),
            log,
        })
    }

    pub(super) fn cut(&self) -> Position {
        self.cut
    }

    /// Takes entries that are being written.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self.recent.back().is_some_and(|e| e.index >= first.index) {
            if let Some(replaced) = self.recent.pop_back() {
                self.recent_bytes -= size_of(&replaced);
            }
        }
        // What was durable there is being replaced.
        self.durable_index = self.durable_index.min(first.index - 1);
        for entry in entries {
            self.recent_bytes += size_of(entry);
            self.recent.push_back(entry.clone());
            self.last = Position {
                index: entry.index,
                term: entry.term,
            };
        }
    }

    /// Entries up to `index` are on stable storage.
    pub(super) fn persisted(&mut self, index: u64) {
        self.durable_index = self.durable_index.max(index.min(self.last.index));
        while self.recent_bytes > limits::ENTRY_CACHE_BYTES_MAX {
            match self.recent.front() {
                Some(front) if front.index <= self.durable_index => {
                    self.recent_bytes -= size_of(front);
                    self.recent.pop_front();
                }
                _ => break,
            }
        }
    }

    /// The log is being cut.
    pub(super) fn cut_through(&mut self, through: Position) {
        self.cut = through;
        while self
            .recent
            .front()
            .is_some_and(|e| e.index <= through.index)
        {
            if let Some(gone) = self.recent.pop_front() {
                self.recent_bytes -= size_of(&gone);
            }
        }
    }

    /// The log was reset to a snapshot.
    pub(super) fn reset(&mut self, to: Position) {
        self.recent.clear();
        self.recent_bytes = 0;
        self.cut = to;
        self.last = to;
        self.durable_index = to.index;
        *self.snapshot.get_mut() = None;
    }

    /// A snapshot was made.
    pub(super) fn set_snapshot(&mut self, snapshot: Applied) {
        *self.snapshot.get_mut() = Some(snapshot);
    }

    /// Whether raft-rs waits for a snapshot; clears the wish.
    pub(super) fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.replace(false)
    }

    /// Why the log could not be read, if so: the peer must stop.
    pub(super) fn take_unreadable(&self) -> Option<LogError> {
        self.unreadable.take()
    }

    /// raft-rs panics on a log that cannot be read, which ends the peer too. Where it
    /// can wait, the peer stops as for every other reason, when the step is done.
    fn read_failed(&self, error: LogError, can_wait: bool) -> raft::Error {
        if !can_wait {
            return raft::Error::Store(StorageError::Other(Box::new(error)));
        }
        *self.unreadable.borrow_mut() = Some(error);
        raft::Error::Store(StorageError::LogTemporarilyUnavailable)
    }
}

/// The memory of an entry, in bytes: when entries are small, the room for the
/// entry itself is a good part of it.
fn size_of(entry: &Entry) -> usize {
    std::mem::size_of::<Entry>() + entry.data.len() + entry.context.len()
}

impl<L: LogStore> Storage for LogView<L> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.conf_state.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.cut.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let recent_from = self.recent.front().map_or(u64::MAX, |e| e.index);
        if low < recent_from {
            let high = high.min(recent_from);
            return self
                .log
                .entries(low, high, bytes_max)
                .map_err(|e| self.read_failed(e, context.can_async()));
        }
        let skip = (low - recent_from) as usize;
        let take = (high - low) as usize;
        let mut bytes = 0u64;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += u64::from(entry.compute_size());
            first || bytes <= bytes_max
        };
        Ok(self
            .recent
            .iter()
            .skip(skip)
            .take(take)
            .take_while(fits)
            .cloned()
            .collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.cut.index {
            return Ok(self.cut.term);
        }
        if index < self.cut.index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.last.index {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        if let Some(front) = self.recent.front() {
            if index >= front.index {
                return Ok(self.recent[(index - front.index) as usize].term);
            }
        }
        match self.log.term(index) {
            Ok(Some(term)) => Ok(term),
            Ok(None) => Err(raft::Error::Store(StorageError::Unavailable)),
            Err(error) => Err(self.read_failed(error, false)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.cut.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last.index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let made = self.snapshot.borrow();
        let usable = made.as_ref().filter(|s| {
            s.position.index >= request_index
                && s.position.index >= self.cut.index
                // One from before the receiver was added is of no use to it.
                && s.membership.members.contains_key(&to)
        });
        let Some(applied) = usable else {
            self.snapshot_wanted.set(true);
            return Err(raft::Error::Store(
                StorageError::SnapshotTemporarilyUnavailable,
            ));
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = applied.position.index;
        metadata.term = applied.position.term;
        metadata.set_conf_state(applied.membership.conf_state());
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::mem_log::MemLog;

    #[test]
    fn recent_entries_take_no_more_memory_than_their_bound() {
        let log = Arc::new(MemLog::default());
        let mut view = LogView::open(log, ConfState::default()).unwrap();
        for index in 1..=300_000 {
            let mut entry = Entry::default();
            (entry.index, entry.term) = (index, 1);
            entry.data = vec![7; 100].into();
            view.append(&[entry]);
            view.persisted(index);
        }
        let of_one = 100 + std::mem::size_of::<Entry>();
        let taken = view.recent.len() * of_one;
        assert!(taken <= limits::ENTRY_CACHE_BYTES_MAX, "{taken}");
        assert!(
            taken + 2 * of_one > limits::ENTRY_CACHE_BYTES_MAX,
            "{taken}"
        );
    }
}
