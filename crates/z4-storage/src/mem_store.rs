//! The task state in memory, with a disk that survives a crash: for simulation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, Flusher, MachineError};
use z4_consensus::Membership;
use z4_core::planted;
use z4_core::state::{Row, RowKey, StateError};
use z4_core::{MemState, State, View};

use crate::limits::WRITE_BUFFER_BYTES;
use crate::machine::TaskStore;
use crate::verify::{verdict, VerdictSink};
use crate::write_back::{Base, Cut, LayeredState, WriteBack};

/// Snapshots by position. Clones are the same map.
#[derive(Clone, Debug, Default)]
pub struct MemSnapshots(Arc<Mutex<BTreeMap<Position, Stored>>>);

/// Rows with where they stand.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stored {
    rows: MemState,
    applied: Applied,
}

impl MemSnapshots {
    fn map(&self) -> MutexGuard<'_, BTreeMap<Position, Stored>> {
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
                if planted!("principals-not-in-snapshot") {
                    cut.rows.retain(|key| !matches!(key, RowKey::Principal(_)));
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

/// What outlives a crash of a simulated peer. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    durable: Arc<Mutex<Stored>>,
    /// Made here, for others.
    pub snapshots: MemSnapshots,
    /// Received, not yet installed.
    pub incoming: MemSnapshots,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemDisk {
    /// Founds a cluster: the state stands at `applied`, durably.
    pub fn bootstrap(&self, applied: Applied) {
        *lock(&self.durable) = Stored {
            rows: MemState::new(),
            applied,
        };
    }

    /// Opens what is durable, as a start after a crash does: commits that were
    /// not flushed are gone, and so is what was received and not installed.
    #[must_use]
    pub fn open(&self) -> (MemStore, Applied) {
        self.snapshots.map().clear();
        self.incoming.map().clear();
        let stored = lock(&self.durable).clone();
        let applied = stored.applied.clone();
        let base = MemBase::new(self.clone(), stored);
        let shared = WriteBack::new(base, &applied, WRITE_BUFFER_BYTES);
        (MemStore::new(Arc::new(shared), self.clone()), applied)
    }
}

/// What was written of the state, and what of that is not durable yet.
#[derive(Debug)]
struct MemBase {
    disk: MemDisk,
    written: RwLock<Stored>,
    /// Cuts: a copy of all rows with each of them would cost more than all else.
    unsynced: Mutex<Vec<Cut>>,
}

impl MemBase {
    fn new(disk: MemDisk, stored: Stored) -> Self {
        Self {
            disk,
            written: RwLock::new(stored),
            unsynced: Mutex::default(),
        }
    }
}

impl Stored {
    fn take_in(&mut self, cut: &Cut) {
        for (key, change) in cut.rows.iter() {
            match change.row.as_deref() {
                Some(row) => self.rows.put(key.clone(), row.clone()),
                None => self.rows.delete(key),
            }
        }
        if !planted!("position-not-with-rows") || cut.position.index.is_multiple_of(4) {
            self.applied.position = cut.position;
            if let Some(membership) = &cut.membership {
                self.applied.membership = membership.clone();
            }
        }
    }
}

impl View for MemBase {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        let written = self.written.read();
        written
            .unwrap_or_else(PoisonError::into_inner)
            .rows
            .get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let written = self.written.read();
        let written = written.unwrap_or_else(PoisonError::into_inner);
        written.rows.scan(from, to, visit)
    }
}

impl Base for MemBase {
    type Snapshot<'a> = MemState;

    fn snapshot(&self, _is_cached: bool) -> MemState {
        let written = self.written.read();
        written.unwrap_or_else(PoisonError::into_inner).rows.clone()
    }

    fn write(&self, cut: &Cut) -> Result<(), MachineError> {
        let written = self.written.write();
        written.unwrap_or_else(PoisonError::into_inner).take_in(cut);
        lock(&self.unsynced).push(cut.clone());
        Ok(())
    }

    fn sync(&self) -> Result<(), MachineError> {
        if planted!("flush-not-durable") {
            return Ok(());
        }
        let mut durable = lock(&self.disk.durable);
        for cut in lock(&self.unsynced).drain(..) {
            durable.take_in(&cut);
        }
        Ok(())
    }
}

/// The task state in memory.
#[derive(Debug)]
pub struct MemStore {
    rows: LayeredState<MemBase>,
    disk: MemDisk,
}

impl MemStore {
    fn new(shared: Arc<WriteBack<MemBase>>, disk: MemDisk) -> Self {
        Self {
            rows: LayeredState::new(shared),
            disk,
        }
    }

    /// Begins a flush: what is committed now is what the next call of the flusher
    /// makes durable, whatever is committed in between.
    pub fn begin_flush(&self) {
        self.rows.shared().cut();
    }
}

impl View for MemStore {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.rows.get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        self.rows.scan(from, to, visit)
    }
}

impl State for MemStore {
    fn put(&mut self, key: RowKey, row: Row) {
        self.rows.put(key, row);
    }

    fn put_new(&mut self, key: RowKey, row: Row) {
        self.rows.put_new(key, row);
    }

    fn delete(&mut self, key: &RowKey) {
        self.rows.delete(key);
    }
}

impl TaskStore for MemStore {
    fn commit(
        &mut self,
        position: Position,
        membership: Option<&Membership>,
    ) -> Result<(), MachineError> {
        self.rows.commit(position, membership)
    }

    fn flusher(&self) -> Flusher {
        let shared = Arc::clone(self.rows.shared());
        Box::new(move || shared.flush())
    }

    fn wants_flush(&self) -> bool {
        self.rows.shared().wants_flush()
    }

    fn verify(&mut self, position: Position, mark_id: u64, sink: VerdictSink) {
        let shared = self.rows.shared();
        sink(
            mark_id,
            shared.at_once(false, |frame| verdict(frame, position)),
        );
    }

    fn checkpoint(&mut self, position: Position) -> Result<(), MachineError> {
        let shared = self.rows.shared();
        shared.write()?;
        let base = shared.base();
        let written = base.written.read();
        let stored = written.unwrap_or_else(PoisonError::into_inner).clone();
        self.disk.snapshots.map().insert(position, stored);
        Ok(())
    }

    fn drop_snapshot(&mut self, position: Position) {
        self.disk.snapshots.map().remove(&position);
    }

    fn install(&mut self, position: Position) -> Result<(Self, Applied), MachineError> {
        let received = self.disk.incoming.map().remove(&position);
        let stored = received.ok_or_else(|| {
            MachineError(format!("no snapshot at {} was received", position.index))
        })?;
        if stored.applied.position != position {
            return Err(MachineError(format!(
                "the snapshot at {} is one at {}",
                position.index, stored.applied.position.index
            )));
        }
        *lock(&self.disk.durable) = stored.clone();
        let applied = stored.applied.clone();
        let shared = Arc::clone(self.rows.shared());
        shared.switch(MemBase::new(self.disk.clone(), stored), &applied);
        Ok((Self::new(shared, self.disk.clone()), applied))
    }
}
