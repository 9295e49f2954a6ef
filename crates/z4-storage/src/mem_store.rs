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
use z4_core::planted;

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
            Some(mut cut) => {
                if planted!("requests-not-in-snapshot") {
                    cut.rows.retain(|key| {
                        !matches!(key, RowKey::Request { .. } | RowKey::RequestExpiry { .. })
                    });
                }
                if planted!("leases-not-in-snapshot") {
                    cut.rows.retain(|key| !matches!(key, RowKey::Lease { .. }));
                }
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

/// Changes of rows, oldest first; `None` deletes.
type Changes = Vec<(RowKey, Option<Row>)>;

/// What was committed and not flushed, which a flush makes durable: changes,
/// for a copy of all rows with each commit would cost more than all else.
#[derive(Clone, Debug, Default)]
struct Unflushed {
    changes: Changes,
    applied: Applied,
}

/// What outlives a crash of a simulated peer. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    durable: Arc<Mutex<Cut>>,
    unflushed: Arc<Mutex<Unflushed>>,
    /// Made here, for others.
    pub snapshots: MemSnapshots,
    /// Received, not yet installed.
    pub incoming: MemSnapshots,
}

fn lock<T>(cut: &Mutex<T>) -> MutexGuard<'_, T> {
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

    fn nothing_unflushed(&self, cut: &Cut) {
        *lock(&self.unflushed) = Unflushed {
            changes: Changes::new(),
            applied: cut.applied.clone(),
        };
    }

    /// Opens what is durable, as a start after a crash does: commits that were
    /// not flushed are gone, and so is what was received and not installed.
    #[must_use]
    pub fn open(&self) -> (MemStore, Applied) {
        let cut = lock(&self.durable).clone();
        self.nothing_unflushed(&cut);
        self.snapshots.map().clear();
        self.incoming.map().clear();
        let applied = cut.applied.clone();
        let store = MemStore {
            disk: self.clone(),
            cut,
            changes: Changes::new(),
        };
        (store, applied)
    }
}

/// The task state in memory.
#[derive(Debug)]
pub struct MemStore {
    disk: MemDisk,
    cut: Cut,
    /// Since the last commit.
    changes: Changes,
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
        self.changes.push((key.clone(), Some(row.clone())));
        self.cut.rows.put(key, row);
    }

    fn delete(&mut self, key: &RowKey) {
        self.changes.push((key.clone(), None));
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
        let mut unflushed = lock(&self.disk.unflushed);
        unflushed.changes.append(&mut self.changes);
        if !planted!("position-not-with-rows") || position.index.is_multiple_of(4) {
            unflushed.applied = self.cut.applied.clone();
        }
        Ok(())
    }

    fn flusher(&self) -> Flusher {
        let disk = self.disk.clone();
        Box::new(move || {
            let mut unflushed = lock(&disk.unflushed);
            let position = unflushed.applied.position;
            if planted!("flush-not-durable") {
                return Ok(position);
            }
            let mut durable = lock(&disk.durable);
            for (key, row) in unflushed.changes.drain(..) {
                match row {
                    Some(row) => durable.rows.put(key, row),
                    None => durable.rows.delete(&key),
                }
            }
            durable.applied = unflushed.applied.clone();
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
        self.disk.nothing_unflushed(&cut);
        let applied = cut.applied.clone();
        let store = Self {
            disk: self.disk.clone(),
            cut,
            changes: Changes::new(),
        };
        Ok((store, applied))
    }
}
