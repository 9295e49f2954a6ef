//! The raft log in RocksDB.
//!
//! Rows: `e` and the big-endian index for each entry, `c` for where the log was
//! cut, `h` for the hard state. An entry row at or before the cut counts as
//! gone whether or not its space has been given back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use protobuf::{CodedInputStream, Message as _};
use raft::eraftpb::{Entry, HardState};
use rocksdb::{DBRawIterator, ErrorKind, ReadOptions, WriteBatch, WriteOptions, DB};
use z4_consensus::fault::point;
use z4_consensus::log::{LogError, LogStore, LogWrite, Position};

use crate::bound::BoundFile;
use crate::db::{self, Kind, Shared};
use crate::error::StorageError;
use crate::limits::{BOUND_INTERVAL, ENTRY_BYTES_GUESS, OPEN_FILES_MAX, RELEASE_PART};
use crate::metrics::Metrics;
use crate::sentinel::Sentinel;
use crate::step::step;

const HARD_STATE: &[u8] = b"h";
const CUT: &[u8] = b"c";
const ENTRY: u8 = b'e';

/// The raft log on disk. The log thread writes, others read.
#[derive(Debug)]
pub struct RaftLog {
    db: DB,
    path: PathBuf,
    metrics: Metrics,
    /// Held through a write and its sync. Taken before `seen`.
    writer: Mutex<Writer>,
    /// What readers see; never held while the disk is waited for.
    seen: Mutex<Seen>,
    /// Where the log was cut when space was last given back.
    released: AtomicU64,
    /// None for a log on its own.
    sentinel: OnceLock<Sentinel>,
}

/// Where the log begins and ends.
#[derive(Clone, Debug)]
struct Seen {
    cut: Position,
    last: Position,
    hard_state: HardState,
}

/// What only writers need.
#[derive(Debug)]
struct Writer {
    bound: Option<BoundFile>,
    bound_at: Instant,
    /// The size of entries of late, to guess what is behind the cut.
    entry_bytes_mean: u64,
}

impl Writer {
    fn note_sizes(&mut self, bytes: u64, entries: u64) {
        if let Some(mean) = bytes.checked_div(entries) {
            self.entry_bytes_mean = (self.entry_bytes_mean * 7 + mean) / 8;
        }
    }
}

impl RaftLog {
    /// Opens the log in `path`, or makes it, with a cache of its own.
    ///
    /// A peer opens its log through [`Store`](crate::Store), which also guards
    /// against a log that was lost; this is for a log on its own.
    ///
    /// # Errors
    /// [`StorageError`] when it is in use, damaged, or cannot be written.
    pub fn open(path: &Path, metrics: Metrics) -> Result<Self, StorageError> {
        Self::open_shared(path, &Shared::new(OPEN_FILES_MAX)?, metrics)
    }

    pub(crate) fn open_shared(
        path: &Path,
        shared: &Shared,
        metrics: Metrics,
    ) -> Result<Self, StorageError> {
        let db = db::open(path, Kind::Log, shared)?;
        db::check_readable(&db, path, &[HARD_STATE, CUT])?;
        let failed = |e| StorageError::log(path, e);
        let hard_state = read_hard_state(&db).map_err(failed)?;
        let cut = read_cut(&db).map_err(failed)?;
        let last = read_last(&db, cut).map_err(failed)?;
        Ok(Self {
            db,
            path: path.to_owned(),
            metrics,
            writer: Mutex::new(Writer {
                bound: None,
                bound_at: Instant::now(),
                entry_bytes_mean: ENTRY_BYTES_GUESS,
            }),
            seen: Mutex::new(Seen {
                cut,
                last,
                hard_state,
            }),
            released: AtomicU64::new(cut.index),
            sentinel: OnceLock::new(),
        })
    }

    /// From now on the process ends when data turns out to be damaged.
    pub(crate) fn watch(&self, sentinel: Sentinel) {
        // Said once, when it is opened.
        let _ = self.sentinel.set(sentinel);
    }

    fn failed(&self, e: rocksdb::Error) -> LogError {
        if let Some(sentinel) = self.sentinel.get() {
            sentinel.check(&e);
        }
        failed(e)
    }

    /// From now on the bound file follows this log.
    pub(crate) fn attach_bound(&self, bound: BoundFile) {
        self.writer().bound = Some(bound);
    }

    /// The bound file is about to be made anew.
    pub(crate) fn detach_bound(&self) {
        self.writer().bound = None;
    }

    pub(crate) fn db(&self) -> &DB {
        &self.db
    }

    /// Gives the space of what was cut back to the system. RocksDB keeps the
    /// file of a write-ahead log until all that stands in it is in tables, and
    /// a table of the first level until it is compacted.
    ///
    /// # Errors
    /// [`LogError`] when it cannot be written: end the process.
    pub(crate) fn release(&self) -> Result<(), LogError> {
        let seen = self.seen().clone();
        if self.released.load(Ordering::Relaxed) == seen.cut.index {
            return Ok(());
        }
        point("log.release")?;
        self.db.flush().map_err(|e| self.failed(e))?;
        let left = seen.last.index - seen.cut.index;
        let left_bytes = left.saturating_mul(self.writer().entry_bytes_mean);
        // Else it is tried again at the next look: less may be left then.
        if left_bytes <= db::free_bytes(&self.path) / RELEASE_PART {
            self.db.compact_range(None::<&[u8]>, None::<&[u8]>);
            self.released.store(seen.cut.index, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads the sizes of the log into its gauges.
    pub fn sample(&self) {
        self.metrics.sample("log", &self.path, &self.db);
    }

    // A panic ends the process; in a test the values are whole all the same, for
    // they are set one after another with nothing between that panics.

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes all entries from `from` on.
    fn delete_from(batch: &mut WriteBatch, from: u64) {
        batch.delete_range(entry_key(from).as_slice(), &[ENTRY + 1]);
    }
}

impl LogStore for RaftLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        Ok(self.seen().hard_state.clone())
    }

    fn cut(&self) -> Result<Position, LogError> {
        Ok(self.seen().cut)
    }

    fn last(&self) -> Result<Position, LogError> {
        Ok(self.seen().last)
    }

    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        point("log.read")?;
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(entry_key(high));
        let mut rows = {
            let seen = self.seen();
            seen.check_range(low, high)?;
            // Made under the lock, it goes on seeing what a cut removes now.
            self.db.raw_iterator_opt(options)
        };
        rows.seek(entry_key(low));
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in low..high {
            rows.status().map_err(|e| self.failed(e))?;
            let value = entry_value(&rows, index)?;
            bytes += value.len() as u64;
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(read_entry(index, value)?);
            rows.next();
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<Option<u64>, LogError> {
        if let Some(known) = self.seen().term(index) {
            return Ok(known);
        }
        match self
            .db
            .get_pinned(entry_key(index))
            .map_err(|e| self.failed(e))?
        {
            Some(value) => read_term(&value).map(Some),
            // It may have been cut since.
            None => self.seen().term(index).ok_or_else(|| missing(index)),
        }
    }

    fn write(&self, write: &LogWrite) -> Result<(), LogError> {
        let started = Instant::now();
        let mut writer = self.writer();
        let mut next = self.seen().clone();
        let mut batch = WriteBatch::default();
        let mut bytes = 0;
        if let Some(first) = write.entries.first() {
            next.check_append(&write.entries)?;
            if first.index <= next.last.index {
                // What the bound promises is about to be replaced.
                writer.bound_down_to(first.index - 1)?;
                step("log.bound_lowered");
                Self::delete_from(&mut batch, first.index);
            }
            for entry in &write.entries {
                let value = entry
                    .write_to_bytes()
                    .map_err(|e| LogError::Failed(e.to_string()))?;
                bytes += value.len() as u64;
                batch.put(entry_key(entry.index), value);
                next.last = Position {
                    index: entry.index,
                    term: entry.term,
                };
            }
        }
        if let Some(hard_state) = &write.hard_state {
            batch.put(HARD_STATE, bytes_of(hard_state)?);
            next.hard_state = hard_state.clone();
        }
        point("log.write")?;
        self.db
            .write_opt(batch, &write_options(write.sync))
            .map_err(|e| self.failed(e))?;
        self.metrics
            .log_written(write.sync, bytes, started.elapsed());
        writer.note_sizes(bytes, write.entries.len() as u64);
        step("log.written");

        *self.seen() = next.clone();
        if write.sync {
            point("log.bound.follow")?;
            writer.bound_follow(&next)?;
        }
        Ok(())
    }

    fn cut_through(&self, through: Position) -> Result<(), LogError> {
        let _writer = self.writer();
        let mut next = self.seen().clone();
        if through.index <= next.cut.index {
            return Ok(());
        }
        if through.index > next.last.index {
            return Err(LogError::Failed(format!(
                "cut through {} asked of a log that ends at {}",
                through.index, next.last.index
            )));
        }
        next.cut = through;
        // Readers stop asking for these entries before they go.
        *self.seen() = next;
        point("log.cut")?;
        let mut batch = WriteBatch::default();
        batch.delete_range(entry_key(0), entry_key(through.index + 1));
        batch.put(CUT, position_bytes(through));
        // Synced before files go, which is for good: a log that came back uncut
        // would have a hole at its front.
        self.db
            .write_opt(batch, &write_options(true))
            .map_err(|e| self.failed(e))?;
        step("log.cut.written");
        // Gives back whole files at once; what is left goes with compaction.
        self.db
            .delete_file_in_range(entry_key(0), entry_key(through.index))
            .map_err(|e| self.failed(e))
    }

    fn reset(&self, to: Position, hard_state: &HardState) -> Result<(), LogError> {
        point("log.reset")?;
        let mut writer = self.writer();
        // A longer log may give way to a snapshot that it disagrees with.
        writer.bound_down_to(to.index)?;
        step("log.reset.bound_lowered");
        let mut batch = WriteBatch::default();
        Self::delete_from(&mut batch, 0);
        batch.put(CUT, position_bytes(to));
        batch.put(HARD_STATE, bytes_of(hard_state)?);
        self.db
            .write_opt(batch, &write_options(true))
            .map_err(|e| self.failed(e))?;
        step("log.reset.written");
        let next = Seen {
            cut: to,
            last: to,
            hard_state: hard_state.clone(),
        };
        *self.seen() = next.clone();
        writer.bound_follow_now(&next)
    }
}

fn write_options(sync: bool) -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(sync);
    options
}

impl Seen {
    /// The term at `index`, or that there is none; `None` when an entry has it.
    fn term(&self, index: u64) -> Option<Option<u64>> {
        if index == self.cut.index {
            Some(Some(self.cut.term))
        } else if index == self.last.index {
            Some(Some(self.last.term))
        } else if index < self.cut.index || index > self.last.index {
            Some(None)
        } else {
            None
        }
    }

    fn check_range(&self, low: u64, high: u64) -> Result<(), LogError> {
        if low > self.cut.index && high <= self.last.index + 1 {
            return Ok(());
        }
        Err(LogError::Failed(format!(
            "entries {low}..{high} asked of a log that holds {}..={}",
            self.cut.index + 1,
            self.last.index
        )))
    }

    fn check_append(&self, entries: &[Entry]) -> Result<(), LogError> {
        let first = entries.first().map_or(0, |e| e.index);
        if first <= self.cut.index || first > self.last.index + 1 {
            return Err(LogError::Failed(format!(
                "entry {first} cannot follow a log of {}..={}",
                self.cut.index + 1,
                self.last.index
            )));
        }
        if entries.windows(2).any(|w| w[1].index != w[0].index + 1) {
            return Err(LogError::Failed(format!(
                "the entries from {first} on have a gap"
            )));
        }
        Ok(())
    }
}

impl Writer {
    /// The bound promises nothing behind `index` any more.
    fn bound_down_to(&mut self, index: u64) -> Result<(), LogError> {
        match &mut self.bound {
            Some(bound) if bound.last().index > index => bound.lower().map_err(log_error),
            _ => Ok(()),
        }
    }

    /// The bound follows a synced write: durably when term or vote changed, for
    /// these must never be forgotten, and once in a while; else without a sync.
    fn bound_follow(&mut self, now: &Seen) -> Result<(), LogError> {
        let Some(bound) = &mut self.bound else {
            return Ok(());
        };
        if !bound.covers(&now.hard_state) || self.bound_at.elapsed() >= BOUND_INTERVAL {
            return self.bound_follow_now(now);
        }
        bound.follow(&now.hard_state, now.last).map_err(log_error)
    }

    fn bound_follow_now(&mut self, now: &Seen) -> Result<(), LogError> {
        if let Some(bound) = &mut self.bound {
            bound.raise(&now.hard_state, now.last).map_err(log_error)?;
            self.bound_at = Instant::now();
        }
        Ok(())
    }
}

fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

pub(crate) fn position_bytes(position: Position) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&position.index.to_be_bytes());
    out[8..].copy_from_slice(&position.term.to_be_bytes());
    out
}

fn bytes_of(hard_state: &HardState) -> Result<Vec<u8>, LogError> {
    hard_state
        .write_to_bytes()
        .map_err(|e| LogError::Failed(e.to_string()))
}

fn read_hard_state(db: &DB) -> Result<HardState, LogError> {
    match db.get(HARD_STATE).map_err(failed)? {
        Some(bytes) => HardState::parse_from_bytes(&bytes)
            .map_err(|e| LogError::Damaged(format!("the hard state does not decode: {e}"))),
        None => Ok(HardState::default()),
    }
}

fn read_cut(db: &DB) -> Result<Position, LogError> {
    let Some(bytes) = db.get(CUT).map_err(failed)? else {
        return Ok(Position::default());
    };
    decode_position(&bytes).ok_or_else(|| LogError::Damaged("the cut does not decode".into()))
}

pub(crate) fn decode_position(bytes: &[u8]) -> Option<Position> {
    let (index, rest) = bytes.split_first_chunk()?;
    Some(Position {
        index: u64::from_be_bytes(*index),
        term: u64::from_be_bytes(rest.try_into().ok()?),
    })
}

fn read_last(db: &DB, cut: Position) -> Result<Position, LogError> {
    let mut rows = db.raw_iterator();
    rows.seek_for_prev([ENTRY + 1]);
    rows.status().map_err(failed)?;
    let (Some(key), Some(value)) = (rows.key(), rows.value()) else {
        return Ok(cut);
    };
    let index = match key.split_first() {
        Some((&ENTRY, index)) => index.try_into().map(u64::from_be_bytes),
        _ => return Ok(cut),
    };
    let index = index.map_err(|_| LogError::Damaged("a key of the log does not decode".into()))?;
    if index <= cut.index {
        return Ok(cut);
    }
    let term = read_term(value)?;
    Ok(Position { index, term })
}

fn entry_value<'a>(rows: &'a DBRawIterator<'_>, index: u64) -> Result<&'a [u8], LogError> {
    match (rows.key(), rows.value()) {
        (Some(key), Some(value)) if key == entry_key(index) => Ok(value),
        _ => Err(missing(index)),
    }
}

pub(crate) fn read_entry(index: u64, value: &[u8]) -> Result<Entry, LogError> {
    let entry = Entry::parse_from_bytes(value)
        .map_err(|e| LogError::Damaged(format!("entry {index} does not decode: {e}")))?;
    if entry.index != index {
        return Err(LogError::Damaged(format!(
            "entry {index} says that it is {}",
            entry.index
        )));
    }
    Ok(entry)
}

/// The term of an entry, without copying its data.
pub(crate) fn read_term(value: &[u8]) -> Result<u64, LogError> {
    const TERM_FIELD: u32 = 2;
    let mut input = CodedInputStream::from_bytes(value);
    let mut read = || -> protobuf::ProtobufResult<u64> {
        while !input.eof()? {
            let (field, wire_type) = input.read_tag_unpack()?;
            if field == TERM_FIELD {
                return input.read_uint64();
            }
            input.skip_field(wire_type)?;
        }
        // Not written: the default of the format.
        Ok(0)
    };
    read().map_err(|e| LogError::Damaged(format!("an entry does not decode: {e}")))
}

fn missing(index: u64) -> LogError {
    LogError::Damaged(format!("entry {index} is missing from the log"))
}

fn failed(e: rocksdb::Error) -> LogError {
    let why = format!("the raft log failed: {e}");
    match e.kind() {
        ErrorKind::Corruption => LogError::Damaged(why),
        _ => LogError::Failed(why),
    }
}

fn log_error(e: StorageError) -> LogError {
    LogError::Failed(e.to_string())
}
