//! The task state in RocksDB: rows, and which entry of the log they stand at.
//!
//! One column family, no WAL of its own: the raft log is the WAL. Each batch
//! carries position and members with the rows, so what is on disk after a crash
//! is always a true prefix of the log. Above it lies the write-back layer
//! (`write_back`).

use std::path::Path;
use std::sync::Arc;

use rocksdb::{DBRawIterator, ReadOptions, Snapshot, WriteBatch, WriteOptions, DB};
use z4_consensus::fault::point;
use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, Flusher, MachineError};
use z4_consensus::Membership;
use z4_core::state::{Row, RowKey, State, StateError, View};
use z4_proto::keys;
use z4_proto::row::{decode_row, encode_row};

use crate::db;
use crate::error::StorageError;
use crate::live::{Live, LiveDb};
use crate::machine::TaskStore;
use crate::raft_log::{decode_position, position_bytes};
use crate::restore::Origin;
use crate::snapshot;
use crate::step::step;
use crate::verify::{self, Busy, VerdictSink};
use crate::write_back::{Base, Cut, LayeredState, Moment};

/// Key of the position of the last applied entry.
const APPLIED: [u8; 2] = [keys::OWN, 1];
/// Key of the members as of that entry.
const MEMBERSHIP: [u8; 2] = [keys::OWN, 2];

/// Key of the backup that the state began with, if it began with one.
const ORIGIN: [u8; 2] = [keys::OWN, 3];

/// The task state as its machine changes it: reads see what was written since
/// the last commit; nobody else does before [`commit`](TaskStore::commit).
#[derive(Debug)]
pub struct RocksState {
    live: Arc<Live>,
    rows: LayeredState<LiveDb>,
    verifying: Busy,
}

impl RocksState {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        Self {
            rows: LayeredState::new(Arc::clone(live.rows())),
            live,
            verifying: Busy::default(),
        }
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
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

impl State for RocksState {
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

impl TaskStore for RocksState {
    fn commit(
        &mut self,
        position: Position,
        membership: Option<&Membership>,
    ) -> Result<(), MachineError> {
        self.rows.commit(position, membership)?;
        step("state.committed");
        Ok(())
    }

    fn flusher(&self) -> Flusher {
        let live = Arc::clone(&self.live);
        Box::new(move || live.flush())
    }

    fn wants_flush(&self) -> bool {
        self.rows.shared().wants_flush()
    }

    fn verify(&mut self, position: Position, mark_id: u64, sink: VerdictSink) {
        let rows = Arc::clone(self.rows.shared());
        verify::begin(&self.verifying, rows, position, mark_id, sink);
    }

    fn checkpoint(&mut self, position: Position) -> Result<(), MachineError> {
        self.rows.shared().write()?;
        snapshot::make(&self.live, &self.live.db(), position)
            .map_err(|e| MachineError(e.to_string()))
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

    /// Reads all rows as of one commit, for as long as `read` takes, and tells which commit
    /// that is. Work goes on meanwhile. What is read does not push out of the cache what is
    /// in use. Not for long reads on a thread that others wait for.
    pub fn at_once<R>(&self, read: impl FnOnce(&Moment, &dyn View) -> R) -> R {
        let rows = self.live.rows();
        rows.at_once(false, |frame| read(frame.moment(), frame))
    }

    /// The backup that the state began with; `None`: the cluster began with nothing.
    ///
    /// # Errors
    /// [`StateError`] when the store fails, or holds what cannot be: end the process.
    pub fn origin(&self) -> Result<Option<Origin>, StateError> {
        let db = self.live.db();
        let found = db.db().get(ORIGIN).map_err(|e| db.failed(e))?;
        let damaged = || StateError("the origin of the state does not decode".into());
        found
            .map(|bytes| Origin::decode(&bytes).ok_or_else(damaged))
            .transpose()
    }

    /// Reads the sizes of the state into its gauges.
    pub fn sample(&self) {
        self.live.sample();
    }
}

impl View for RocksView {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.live.rows().get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let rows = self.live.rows();
        rows.at_once(true, |frame| frame.scan(from, to, visit))
    }
}

impl LiveDb {
    /// Notes the backup that the state began with, durably.
    pub(crate) fn set_origin(&self, origin: &Origin) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        let failed = |e| StorageError::database("write", self.path())(e);
        let written = self.db().put_opt(ORIGIN, origin.encode(), &options);
        written.map_err(failed)?;
        self.db().flush().map_err(failed)
    }
}

/// What was written of the rows.
impl View for LiveDb {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        point("state.read").map_err(|fault| StateError(fault.0))?;
        let found = self.db().get_pinned(keys::encode(key));
        let found = found.map_err(|e| self.failed(e))?;
        found.map(|value| row(key, &value)).transpose()
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let open = |options| self.db().raw_iterator_opt(options);
        visit_range(self, open, ReadOptions::default(), from, to, visit)
    }
}

impl Base for LiveDb {
    type Snapshot<'a> = DbSnapshot<'a>;

    fn snapshot(&self, is_cached: bool) -> DbSnapshot<'_> {
        DbSnapshot {
            rows: self.db().snapshot(),
            db: self,
            is_cached,
        }
    }

    fn write(&self, cut: &Cut) -> Result<(), MachineError> {
        let mut batch = WriteBatch::default();
        // The order of keys is the order in which RocksDB takes rows cheapest.
        for (key, change) in cut.rows.iter() {
            let key = keys::encode(key);
            match &change.row {
                Some(row) => batch.put(key, encode_row(row)),
                None => batch.delete(key),
            }
        }
        batch.put(APPLIED, position_bytes(cut.position));
        if let Some(membership) = &cut.membership {
            let noted = self.need_level(membership.level);
            noted.map_err(|e| MachineError(e.to_string()))?;
            batch.put(MEMBERSHIP, membership.encode());
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        point("state.write")?;
        let written = self.db().write_opt(batch, &options);
        written.map_err(|e| MachineError(self.failed(e).0))?;
        step("state.written");
        Ok(())
    }

    fn sync(&self) -> Result<(), MachineError> {
        point("flush")?;
        self.db().flush().map_err(|e| {
            self.sentinel().check(&e);
            MachineError(format!("the task state was not flushed: {e}"))
        })
    }
}

/// What was written of the rows at one moment.
pub(crate) struct DbSnapshot<'a> {
    rows: Snapshot<'a>,
    db: &'a LiveDb,
    is_cached: bool,
}

impl DbSnapshot<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.fill_cache(self.is_cached);
        options
    }
}

impl View for DbSnapshot<'_> {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        let found = self.rows.get_pinned_opt(keys::encode(key), self.options());
        let found = found.map_err(|e| self.db.failed(e))?;
        found.map(|value| row(key, &value)).transpose()
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let open = |options| self.rows.raw_iterator_opt(options);
        visit_range(self.db, open, self.options(), from, to, visit)
    }
}

/// Visits the rows with `from <= key < to` of the iterator that `open` opens.
fn visit_range<'a>(
    db: &LiveDb,
    open: impl FnOnce(ReadOptions) -> DBRawIterator<'a>,
    mut options: ReadOptions,
    from: &RowKey,
    to: &RowKey,
    visit: &mut dyn FnMut(RowKey, Row) -> bool,
) -> Result<(), StateError> {
    let (from, to) = (keys::encode(from), keys::encode(to));
    if from >= to {
        return Ok(());
    }
    options.set_iterate_upper_bound(to);
    let mut stored = open(options);
    stored.seek(from);
    while let (Some(key), Some(value)) = (stored.key(), stored.value()) {
        let key = keys::decode(key)
            .ok_or_else(|| StateError(format!("the key {key:?} does not decode")))?;
        let row = row(&key, value)?;
        if !visit(key, row) {
            return Ok(());
        }
        stored.next();
    }
    stored.status().map_err(|e| db.failed(e))
}

fn row(key: &RowKey, value: &[u8]) -> Result<Row, StateError> {
    decode_row(key, value).map_err(|e| StateError(format!("the row of {key:?}: {e}")))
}
