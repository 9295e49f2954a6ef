//! A second state machine, for tests: it counts commands and keeps their text. This is
//! enough to see that every replica applies the same entries, each once.

// A holder of a lock panics only in a test that has failed already.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use crate::log::Position;
use crate::machine::{Applied, Committed, Flusher, MachineError, StateMachine};

/// What a counter has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// How many commands.
    pub commands: u64,
    /// Their text.
    pub text: Vec<String>,
}

/// A value, and where it stands.
pub type Cut = (Applied, Value);

/// What outlives a restart; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct CounterDisk {
    /// What was flushed.
    pub durable: Arc<Mutex<Cut>>,
    committed: Arc<Mutex<Cut>>,
    /// Snapshots that were made here.
    pub snapshots: Arc<Mutex<Vec<Cut>>>,
    /// Snapshots that others made.
    pub incoming: Arc<Mutex<Vec<Cut>>>,
    installs: Arc<Mutex<u64>>,
    appliers: Arc<Mutex<Vec<String>>>,
}

impl CounterDisk {
    /// An empty disk whose snapshots all who share them see.
    #[must_use]
    pub fn sharing(snapshots: &Arc<Mutex<Vec<Cut>>>) -> Self {
        Self {
            snapshots: Arc::clone(snapshots),
            incoming: Arc::clone(snapshots),
            ..Self::default()
        }
    }

    /// How many commands were applied.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.committed.lock().unwrap().1.commands
    }

    /// The threads in which commands were applied since it was opened, in order.
    #[must_use]
    pub fn appliers(&self) -> Vec<String> {
        self.appliers.lock().unwrap().clone()
    }

    /// How often a snapshot of another was installed.
    #[must_use]
    pub fn installs(&self) -> u64 {
        *self.installs.lock().unwrap()
    }
}

/// The machine.
#[derive(Debug)]
pub struct Counter {
    disk: CounterDisk,
    applied: Applied,
    /// What it has seen.
    pub value: Value,
}

impl Counter {
    /// Opens what is durable.
    #[must_use]
    pub fn open(disk: &CounterDisk) -> Self {
        let (applied, value) = disk.durable.lock().unwrap().clone();
        let counter = Self {
            disk: disk.clone(),
            applied,
            value,
        };
        counter.commit();
        counter
    }

    fn commit(&self) {
        *self.disk.committed.lock().unwrap() = (self.applied.clone(), self.value.clone());
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
            let next = self.applied.position.index + 1;
            assert_eq!(entry.position.index, next, "a gap before an entry");
            let mut counts = Vec::new();
            for command in entry.commands {
                self.value.commands += 1;
                let text = String::from_utf8_lossy(&command).into_owned();
                self.value.text.push(text);
                let thread = std::thread::current().name().unwrap_or_default().to_owned();
                self.disk.appliers.lock().unwrap().push(thread);
                counts.push(self.value.commands);
            }
            replies.push(counts);
            self.applied.position = entry.position;
            if let Some(membership) = entry.membership {
                self.applied.membership = membership;
            }
        }
        self.commit();
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

    /// All commands but those that begin with "heavy".
    fn is_light(&self, entries: &[Committed]) -> bool {
        let commands = entries.iter().flat_map(|entry| &entry.commands);
        !commands
            .into_iter()
            .any(|command| command.starts_with(b"heavy"))
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
        drop(incoming);
        *self.disk.durable.lock().unwrap() = (applied.clone(), value.clone());
        (self.applied, self.value) = (applied, value);
        self.commit();
        *self.disk.installs.lock().unwrap() += 1;
        Ok(())
    }
}
