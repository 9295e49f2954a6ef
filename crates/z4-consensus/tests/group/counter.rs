//! The second state machine of the house: counts commands and sums their
//! bytes. Enough to see that every replica applies the same.

use std::sync::{Arc, Mutex};

use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, Committed, Flusher, MachineError, StateMachine};

/// A counter's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    pub commands: u64,
    pub text: Vec<String>,
}

type Cut = (Applied, Value);

/// What outlives a restart; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct CounterDisk {
    pub durable: Arc<Mutex<Cut>>,
    committed: Arc<Mutex<Cut>>,
    pub snapshots: Arc<Mutex<Vec<Cut>>>,
    pub incoming: Arc<Mutex<Vec<Cut>>>,
}

#[derive(Debug)]
pub struct Counter {
    disk: CounterDisk,
    applied: Applied,
    pub value: Value,
}

impl Counter {
    /// Opens what is durable.
    pub fn open(disk: &CounterDisk) -> Self {
        let (applied, value) = disk.durable.lock().unwrap().clone();
        *disk.committed.lock().unwrap() = (applied.clone(), value.clone());
        Self {
            disk: disk.clone(),
            applied,
            value,
        }
    }
}

impl StateMachine for Counter {
    type Reply = u64;

    fn applied(&self) -> &Applied {
        &self.applied
    }

    fn apply(&mut self, run: Vec<Committed>) -> Result<Vec<Vec<u64>>, MachineError> {
        let mut replies = Vec::new();
        for entry in run {
            let mut counts = Vec::new();
            for command in entry.commands {
                self.value.commands += 1;
                let text = String::from_utf8(command).map_err(|e| MachineError(e.to_string()))?;
                self.value.text.push(text);
                counts.push(self.value.commands);
            }
            replies.push(counts);
            self.applied.position = entry.position;
            if let Some(membership) = entry.membership {
                self.applied.membership = membership;
            }
        }
        *self.disk.committed.lock().unwrap() = (self.applied.clone(), self.value.clone());
        Ok(replies)
    }

    fn flusher(&self) -> Flusher {
        let disk = self.disk.clone();
        Box::new(move || {
            let cut = disk.committed.lock().unwrap().clone();
            let position = cut.0.position;
            *disk.durable.lock().unwrap() = cut;
            Ok(position)
        })
    }

    fn checkpoint(&mut self) -> Result<Applied, MachineError> {
        let cut = (self.applied.clone(), self.value.clone());
        self.disk.snapshots.lock().unwrap().push(cut);
        Ok(self.applied.clone())
    }

    fn drop_snapshot(&mut self, position: Position) {
        let mut snapshots = self.disk.snapshots.lock().unwrap();
        snapshots.retain(|(applied, _)| applied.position != position);
    }

    fn install(&mut self, position: Position) -> Result<(), MachineError> {
        let incoming = self.disk.incoming.lock().unwrap();
        let found = incoming.iter().find(|(a, _)| a.position == position);
        let (applied, value) = found.cloned().ok_or(MachineError("no snapshot".into()))?;
        *self.disk.durable.lock().unwrap() = (applied.clone(), value.clone());
        (self.applied, self.value) = (applied, value);
        Ok(())
    }
}
