//! The task state in RocksDB: rows, and which entry of the log they stand at.
//!
//! One column family, no WAL of its own: the raft log is the WAL. Each batch
//! carries position and members with the rows, so what is on disk after a crash
//! is always a true prefix of the log.

use std::collections::btree_map::Entry as Slot;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::path::Path;
use std::sync::Arc;

use rocksdb::{DBRawIterator, ReadOptions, WriteBatch, WriteOptions, DB};
use z4_consensus::fault::point;
use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, Flusher, MachineError};
use z4_consensus::Membership;
use z4_core::state::{Row, RowKey, State, StateError, View};
use z4_proto::row::{decode_row, encode_row};

use crate::db;
use crate::error::StorageError;
use crate::keys;
use crate::live::{Live, LiveDb};
use crate::machine::TaskStore;
use crate::raft_log::{decode_position, position_bytes};
use crate::snapshot;
use crate::step::step;
use crate::verify::{self, Busy, VerdictSink};

/// Key of the position of the last applied entry.
const APPLIED: [u8; 2] = [keys::OWN, 1];
/// Key of the members as of that entry.
const MEMBERSHIP: [u8; 2] = [keys::OWN, 2];

/// The task state as its machine changes it: reads see what was written since
/// the last commit; nobody else does before [`commit`](TaskStore::commit).
#[derive(Debug)]
pub struct RocksState {
    live: Arc<Live>,
    /// The database in use; changes with the installation of a snapshot.
    db: Arc<LiveDb>,
    /// The batch in the making: `None` deletes.
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    verifying: Busy,
}

impl RocksState {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        let db = live.db();
        Self {
            live,
            db,
            pending: BTreeMap::new(),
            verifying: Busy::default(),
        }
    }

    /// A reader for other threads.
    #[must_use]
    pub fn view(&self) -> RocksView {
        RocksView {
            live: Arc::clone(&self.live),
        }
    }
}

/// What a database says about itself: all zero for a new one.
///
/// # Errors
/// [`StorageError::Damaged`] for what fails its checksum or does not decode, and
/// for a failure of the system what it says.
pub(crate) fn read_applied(db: &DB, path: &Path) -> Result<Applied, StorageError> {
    db::check_readable(db, path, &[&APPLIED, &MEMBERSHIP])?;
    let read = |key: &[u8]| db.get(key).map_err(StorageError::database("read", path));
    let damaged = |what| StorageError::damaged(path, what);
    let position = match read(&APPLIED)? {
        Some(bytes) => decode_position(&bytes)
            .ok_or_else(|| damaged("the applied position does not decode"))?,
        None => Position::default(),
    };
    let membership = match read(&MEMBERSHIP)? {
        Some(bytes) => {
            Membership::decode(&bytes).ok_or_else(|| damaged("the members do not decode"))?
        }
        None => Membership::default(),
    };
    Ok(Applied {
        position,
        membership,
        stamp_ns: 0,
    })
}

impl View for RocksState {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        let bytes = keys::encode(key);
        match self.pending.get(&bytes) {
            Some(Some(value)) => row(key, value).map(Some),
            Some(None) => Ok(None),
            None => get(&self.db, key, &bytes),
        }
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let (from, to) = (keys::encode(from), keys::encode(to));
        if from >= to {
            return Ok(());
        }
        let mut stored = range(self.db.db(), &from, &to);
        let mut pending = self
            .pending
            .range((Included(from), Excluded(to)))
            .peekable();
        loop {
            stored.status().map_err(|e| self.db.failed(e))?;
            let stored_key = stored.key();
            let newer = match (pending.peek(), stored_key) {
                (Some((key, _)), Some(stored_key)) => key.as_slice() <= stored_key,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return Ok(()),
            };
            if newer {
                let Some((key, value)) = pending.next() else {
                    return Ok(());
                };
                if stored_key == Some(key.as_slice()) {
                    stored.next();
                }
                if let Some(value) = value {
                    if !visit_row(key, value, visit)? {
                        return Ok(());
                    }
                }
            } else {
                if !visit_stored(&stored, visit)? {
                    return Ok(());
                }
                stored.next();
            }
        }
    }
}

impl State for RocksState {
    fn put(&mut self, key: RowKey, row: Row) {
        self.pending
            .insert(keys::encode(&key), Some(encode_row(&row)));
    }

    fn delete(&mut self, key: &RowKey) {
        match self.pending.entry(keys::encode(key)) {
            Slot::Occupied(mut slot) => *slot.get_mut() = None,
            Slot::Vacant(slot) => {
                slot.insert(None);
            }
        }
    }
}

impl TaskStore for RocksState {
    fn commit(
        &mut self,
        position: Position,
        membership: Option<&Membership>,
    ) -> Result<(), MachineError> {
        let mut batch = WriteBatch::default();
        for (key, value) in std::mem::take(&mut self.pending) {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        batch.put(APPLIED, position_bytes(position));
        if let Some(membership) = membership {
            batch.put(MEMBERSHIP, membership.encode());
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        point("state.commit")?;
        self.db
            .db()
            .write_opt(batch, &options)
            .map_err(|e| MachineError(self.db.failed(e).0))?;
        step("state.committed");
        self.live.committed(position);
        Ok(())
    }

    fn flusher(&self) -> Flusher {
        let live = Arc::clone(&self.live);
        Box::new(move || live.flush())
    }

    fn verify(&mut self, position: Position, mark_id: u64, sink: VerdictSink) {
        let db = Arc::clone(&self.db);
        verify::begin(&self.verifying, db, position, mark_id, sink);
    }

    fn checkpoint(&mut self, position: Position) -> Result<(), MachineError> {
        snapshot::make(&self.live, &self.db, position).map_err(|e| MachineError(e.to_string()))
    }

    fn drop_snapshot(&mut self, position: Position) {
        snapshot::remove(self.live.root(), position);
    }

    fn install(&mut self, position: Position) -> Result<(Self, Applied), MachineError> {
        let applied =
            snapshot::install(&self.live, position).map_err(|e| MachineError(e.to_string()))?;
        Ok((Self::new(Arc::clone(&self.live)), applied))
    }
}

/// Reads committed rows, from any thread, and follows the installation of
/// snapshots. Each call sees one batch or a later one, never a part of one.
#[derive(Clone, Debug)]
pub struct RocksView {
    live: Arc<Live>,
}

impl RocksView {
    /// Up to where the rows were applied. Rows read after this call are of this
    /// position or a later one.
    #[must_use]
    pub fn position(&self) -> Position {
        self.live.position()
    }

    /// Reads the sizes of the state into its gauges.
    pub fn sample(&self) {
        self.live.sample();
    }
}

impl View for RocksView {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        get(&self.live.db(), key, &keys::encode(key))
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let (from, to) = (keys::encode(from), keys::encode(to));
        if from >= to {
            return Ok(());
        }
        let db = self.live.db();
        let mut stored = range(db.db(), &from, &to);
        while stored.valid() {
            if !visit_stored(&stored, visit)? {
                return Ok(());
            }
            stored.next();
        }
        stored.status().map_err(|e| db.failed(e))
    }
}

fn get(db: &LiveDb, key: &RowKey, bytes: &[u8]) -> Result<Option<Row>, StateError> {
    point("state.read").map_err(|fault| StateError(fault.0))?;
    match db.db().get_pinned(bytes).map_err(|e| db.failed(e))? {
        Some(value) => row(key, &value).map(Some),
        None => Ok(None),
    }
}

/// The rows from `from` to before `to`, at the first of them.
fn range<'a>(db: &'a DB, from: &[u8], to: &[u8]) -> DBRawIterator<'a> {
    let mut options = ReadOptions::default();
    options.set_iterate_upper_bound(to);
    let mut rows = db.raw_iterator_opt(options);
    rows.seek(from);
    rows
}

pub(crate) fn visit_stored(
    stored: &DBRawIterator<'_>,
    visit: &mut dyn FnMut(RowKey, Row) -> bool,
) -> Result<bool, StateError> {
    match (stored.key(), stored.value()) {
        (Some(key), Some(value)) => visit_row(key, value, visit),
        _ => Ok(false),
    }
}

fn visit_row(
    key: &[u8],
    value: &[u8],
    visit: &mut dyn FnMut(RowKey, Row) -> bool,
) -> Result<bool, StateError> {
    let key =
        keys::decode(key).ok_or_else(|| StateError(format!("the key {key:?} does not decode")))?;
    let row = row(&key, value)?;
    Ok(visit(key, row))
}

pub(crate) fn row(key: &RowKey, value: &[u8]) -> Result<Row, StateError> {
    decode_row(key, value).map_err(|e| StateError(format!("the row of {key:?}: {e}")))
}
