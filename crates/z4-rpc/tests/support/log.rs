//! A raft log in memory.

use std::sync::Mutex;

use protobuf::Message;
use raft::eraftpb::{Entry, HardState};
use z4_consensus::log::{LogError, LogStore, LogWrite, Position};

#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
    cut: Position,
    hard_state: HardState,
}

#[derive(Default)]
pub struct MemLog(Mutex<Log>);

impl MemLog {
    /// The log of a cluster that was bootstrapped: cut at (1, 1).
    pub fn bootstrapped() -> Self {
        let log = Self::default();
        let mut hard_state = HardState::default();
        hard_state.set_term(1);
        hard_state.set_commit(1);
        log.reset(Position { index: 1, term: 1 }, &hard_state)
            .unwrap();
        log
    }
}

impl LogStore for MemLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        Ok(self.0.lock().unwrap().hard_state.clone())
    }

    fn cut(&self) -> Result<Position, LogError> {
        Ok(self.0.lock().unwrap().cut)
    }

    fn last(&self) -> Result<Position, LogError> {
        let log = self.0.lock().unwrap();
        Ok(log.entries.last().map_or(log.cut, |e| Position {
            index: e.index,
            term: e.term,
        }))
    }

    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let log = self.0.lock().unwrap();
        let (mut found, mut bytes) = (Vec::new(), 0);
        for entry in &log.entries {
            if !(low..high).contains(&entry.index) {
                continue;
            }
            bytes += u64::from(entry.compute_size());
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<Option<u64>, LogError> {
        let log = self.0.lock().unwrap();
        if index == log.cut.index {
            return Ok(Some(log.cut.term));
        }
        Ok(log
            .entries
            .iter()
            .find(|e| e.index == index)
            .map(|e| e.term))
    }

    fn write(&self, write: &LogWrite) -> Result<(), LogError> {
        let mut log = self.0.lock().unwrap();
        if let Some(first) = write.entries.first() {
            log.entries.retain(|e| e.index < first.index);
            log.entries.extend(write.entries.iter().cloned());
        }
        if let Some(hard_state) = &write.hard_state {
            log.hard_state = hard_state.clone();
        }
        Ok(())
    }

    fn cut_through(&self, through: Position) -> Result<(), LogError> {
        let mut log = self.0.lock().unwrap();
        if through.index > log.cut.index {
            log.entries.retain(|e| e.index > through.index);
            log.cut = through;
        }
        Ok(())
    }

    fn reset(&self, to: Position, hard_state: &HardState) -> Result<(), LogError> {
        let mut log = self.0.lock().unwrap();
        log.entries.clear();
        log.cut = to;
        log.hard_state = hard_state.clone();
        Ok(())
    }
}
