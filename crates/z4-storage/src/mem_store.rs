//! The task state in memory, with a disk that survives a crash: for simulation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, Flusher, MachineError};
use z4_consensus::Membership;
use z4_core::state::{Row, RowKey, StateError};
use z4_core::{MemState, State, View};

use crate::machine::TaskStore;
use crate::verify::{verdict, VerdictSink};

/// Snapshots by position. Clones are the same map.
#[derive(Clone, Debug, Default)]
pub struct MemSnapshots(Arc<Mutex<BTreeMap<Position, Cut>>>);

/// Rows with where they stand.
#[derive(Clone, Debug, Default, PartialEq)]
struct Cut {
    rows: MemState,
    applied: Applied,
}

impl MemSnapshots {
    fn map(&self) -> MutexGuard<'_, BTreeMap<Position, Cut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies the snapshot at a position to others, as a transport would.
    /// `false` when there is none.
    #[must_use]
    pub fn carry(&self, to: &Self, position: Position) -> bool {
        let found = self.map().get(&position).cloned();
        match found {
            Some(cut) => {
                to.map().insert(position, cut);
                true
            }
            None => false,
        }
    }

    /// Positions of the snapshots.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.map().keys().copied().collect()
    }
}

/// What outlives a crash of a simulated peer. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    durable: Arc<Mutex<Cut>>,
    /// What was committed last, which a flush makes durable.
    committed: Arc<Mutex<Cut>>,
    /// Made here, for others.
    pub snapshots: MemSnapshots,
    /// Received, not yet installed.
    pub incoming: MemSnapshots,
}

fn lock(cut: &Mutex<Cut>) -> MutexGuard<'_, Cut> {
    cut.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemDisk {
    /// Founds a cluster: the state stands at `applied`, durably.
    pub fn bootstrap(&self, applied: Applied) {
        *lock(&self.durable) = Cut {
            rows: MemState::new(),
            applied,
        };
    }

    /// Opens what is durable, as a start after a crash does: commits that were
    /// not flushed are gone, and so is what was received and not installed.
    #[must_use]
    pub fn open(&self) -> (MemStore, Applied) {
        let cut = lock(&self.durable).clone();
        *lock(&self.committed) = cut.clone();
        self.snapshots.map().clear();
        self.incoming.map().clear();
        let applied = cut.applied.clone();
        let store = MemStore {
            disk: self.clone(),
            cut,
        };
        (store, applied)
    }
}

/// The task state in memory.
#[derive(Debug)]
pub struct MemStore {
    disk: MemDisk,
    cut: Cut,
}

impl View for MemStore {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.cut.rows.get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        self.cut.rows.scan(from, to, visit)
    }
}

impl State for MemStore {
    fn put(&mut self, key: RowKey, row: Row) {
        self.cut.rows.put(key, row);
    }

    fn delete(&mut self, key: &RowKey) {
        self.cut.rows.delete(key);
    }
}

impl TaskStore for MemStore {
    fn commit(
        &mut self,
        position: Position,
        membership: Option<&Membership>,
    ) -> Result<(), MachineError> {
        self.cut.applied.position = position;
        if let Some(membership) = membership {
            self.cut.applied.membership = membership.clone();
        }
        // A whole copy each time: simulated states are small, and the flusher
        // may run at any later time.
        *lock(&self.disk.committed) = self.cut.clone();
        Ok(())
    }

    fn flusher(&self) -> Flusher {
        let disk = self.disk.clone();
        Box::new(move || {
            let cut = lock(&disk.committed).clone();
            let position = cut.applied.position;
            *lock(&disk.durable) = cut;
            Ok(position)
        })
    }

    fn verify(&mut self, position: Position, mark_id: u64, sink: VerdictSink) {
        sink(mark_id, verdict(&self.cut.rows, position));
    }

    fn checkpoint(&mut self, position: Position) -> Result<(), MachineError> {
        self.disk.snapshots.map().insert(position, self.cut.clone());
        Ok(())
    }

    fn drop_snapshot(&mut self, position: Position) {
        self.disk.snapshots.map().remove(&position);
    }

    fn install(&mut self, position: Position) -> Result<(Self, Applied), MachineError> {
        let received = self.disk.incoming.map().remove(&position);
        let cut = received.ok_or_else(|| {
            MachineError(format!("no snapshot at {} was received", position.index))
        })?;
        if cut.applied.position != position {
            return Err(MachineError(format!(
                "the snapshot at {} is one at {}",
                position.index, cut.applied.position.index
            )));
        }
        *lock(&self.disk.durable) = cut.clone();
        *lock(&self.disk.committed) = cut.clone();
        let applied = cut.applied.clone();
        let store = Self {
            disk: self.disk.clone(),
            cut,
        };
        Ok((store, applied))
    }
}
