//! A raft log in memory, which forgets nothing: for tests that need a log and no
//! disk. It counts its syncs.

// A holder of the lock panics only in a test that has failed already.
#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState};

use crate::log::{LogError, LogStore, LogWrite, Position};

#[derive(Debug, Default)]
struct Log {
    hard_state: HardState,
    cut: Position,
    entries: Vec<Entry>,
    syncs: u64,
}

impl Log {
    fn last(&self) -> Position {
        self.entries.last().map_or(self.cut, |entry| Position {
            index: entry.index,
            term: entry.term,
        })
    }

    /// The place of an index among the entries.
    fn at(&self, index: u64) -> Option<usize> {
        let at = index.checked_sub(self.cut.index + 1)? as usize;
        (at < self.entries.len()).then_some(at)
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct MemLog {
    log: Mutex<Log>,
    sync_takes: Duration,
}

impl MemLog {
    /// The log of a cluster that was bootstrapped: cut at (1, 1).
    #[must_use]
    pub fn bootstrapped() -> Self {
        let log = Self::default();
        let hard_state = HardState {
            term: 1,
            commit: 1,
            ..HardState::default()
        };
        log.start_at(Position { index: 1, term: 1 }, hard_state);
        log
    }

    /// The same log on a disk that takes so long for a sync: only then do writes wait
    /// and come together in groups.
    #[must_use]
    pub fn syncing_for(mut self, span: Duration) -> Self {
        self.sync_takes = span;
        self
    }

    /// How many writes were synced.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Raises the commit index, as a start does with one that was not yet on disk.
    pub fn raise_commit(&self, index: u64) {
        let commit = &mut self.lock().hard_state.commit;
        *commit = index.max(*commit);
    }

    fn start_at(&self, to: Position, hard_state: HardState) {
        let mut log = self.lock();
        log.entries.clear();
        (log.cut, log.hard_state) = (to, hard_state);
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }
}

fn refused<T>(why: String) -> Result<T, LogError> {
    Err(LogError::Failed(why))
}

impl LogStore for MemLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        Ok(self.lock().hard_state.clone())
    }

    fn cut(&self) -> Result<Position, LogError> {
        Ok(self.lock().cut)
    }

    fn last(&self) -> Result<Position, LogError> {
        Ok(self.lock().last())
    }

    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let log = self.lock();
        let mut bytes = 0;
        let mut run = Vec::new();
        for index in low..high {
            let Some(at) = log.at(index) else {
                return refused(format!("no entry {index}"));
            };
            bytes += u64::from(log.entries[at].compute_size());
            if bytes > bytes_max && !run.is_empty() {
                break;
            }
            run.push(log.entries[at].clone());
        }
        Ok(run)
    }

    fn term(&self, index: u64) -> Result<Option<u64>, LogError> {
        let log = self.lock();
        if index == log.cut.index {
            return Ok(Some(log.cut.term));
        }
        Ok(log.at(index).map(|at| log.entries[at].term))
    }

    fn write(&self, write: &LogWrite) -> Result<(), LogError> {
        let mut log = self.lock();
        if let Some(first) = write.entries.first() {
            let next = log.last().index + 1;
            let is_gap = !(log.cut.index + 1..=next).contains(&first.index);
            let follows = |pair: &[Entry]| pair[1].index == pair[0].index + 1;
            if is_gap || !write.entries.windows(2).all(follows) {
                return refused(format!("a gap before {}, or behind it", first.index));
            }
            let keep = (first.index - log.cut.index - 1) as usize;
            log.entries.truncate(keep);
            log.entries.extend(write.entries.iter().cloned());
        }
        if let Some(hard_state) = &write.hard_state {
            log.hard_state = hard_state.clone();
        }
        if write.sync {
            log.syncs += 1;
            drop(log);
            std::thread::sleep(self.sync_takes);
        }
        Ok(())
    }

    fn cut_through(&self, through: Position) -> Result<(), LogError> {
        let mut log = self.lock();
        if through.index <= log.cut.index {
            return Ok(());
        }
        let at = log.at(through.index);
        match at.filter(|at| log.entries[*at].term == through.term) {
            Some(at) => drop(log.entries.drain(..=at)),
            None => return refused(format!("no entry {} to be cut at", through.index)),
        }
        log.cut = through;
        Ok(())
    }

    fn reset(&self, to: Position, hard_state: &HardState) -> Result<(), LogError> {
        self.start_at(to, hard_state.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_in_memory_keeps_the_contract() {
        crate::log_contract::run(MemLog::default);
    }
}
