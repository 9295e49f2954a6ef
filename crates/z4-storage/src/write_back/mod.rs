//! The write-back layer: rows that change between two flushes live in memory, above
//! the database.
//!
//! ```text
//!  batch in the making   the machine's own, until its commit       ┐
//!  active                committed since the last cut              │ newest first,
//!  cut                   what is being flushed: it never changes   │ by key order
//!  base                  RocksDB: as the cut before left it        ┘
//! ```
//!
//! A task that is created and done between two flushes never reaches the disk, and
//! what happens to it in between costs a map in memory and not a database. A flush
//! takes all that is active as one cut of the log's order, writes its rows sorted with
//! the position that they lead to as one batch, and syncs it. So the base is at every
//! moment the state at one index, which is what a crash leaves; the log has the rest.
//!
//! One thread commits. Others read at the same time: each read sees the layers and
//! the base as of one commit. A reader shares the layers and copies nothing. The map has
//! versions that share what did not change between them, so a commit while somebody
//! reads copies only the nodes on its way.
//!
//! Memory is bounded in bytes. An active layer of one write buffer asks for a flush; one
//! of two is written by the thread that commits, which waits for it. Beside it there may
//! be a cut of the same size, its rows as the one batch of a write, and those in the
//! memory of RocksDB until they are synced. A verification or a backup keeps the
//! layers of its moment until it ends.

mod known;
mod layer;
mod merge;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, MachineError};
use z4_consensus::Membership;
use z4_core::planted;
use z4_core::state::{Row, RowKey, StateError, View};

use crate::limits::LAYER_BUFFERS_MAX;
pub(crate) use layer::Layer;
pub(crate) use state::LayeredState;

/// What lies below the layers: RocksDB, and memory for the simulator.
pub(crate) trait Base: View + Send + Sync + 'static {
    /// The rows of one moment.
    type Snapshot<'a>: View
    where
        Self: 'a;

    /// The rows as they are now. `is_cached`: what is read is likely to be read again
    /// soon.
    fn snapshot(&self, is_cached: bool) -> Self::Snapshot<'_>;

    /// Writes a cut in one piece: after a crash all of it is there, or nothing.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    fn write(&self, cut: &Cut) -> Result<(), MachineError>;

    /// Makes durable what was written.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    fn sync(&self) -> Result<(), MachineError>;
}

/// All that was committed between two flushes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cut {
    pub rows: Layer,
    /// Where in the log these rows lead to.
    pub position: Position,
    /// The members there, if they changed.
    pub membership: Option<Membership>,
}

/// The place of the log at which rows were read, and the members there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    /// The last entry that the rows hold.
    pub position: Position,
    /// The members there, with the cluster and its level.
    pub membership: Arc<Membership>,
}

/// The layers above a base, shared by the machine, its readers and its flusher.
#[derive(Debug)]
pub(crate) struct WriteBack<B> {
    current: Mutex<Current<B>>,
    /// Held by who writes to the base.
    writer: Mutex<()>,
    /// What the active layer takes when it asks for a flush.
    buffer_bytes: usize,
}

#[derive(Debug)]
struct Current<B> {
    base: Arc<B>,
    active: Cut,
    cut: Option<Arc<Cut>>,
    /// The members at the position of the active layer.
    membership: Arc<Membership>,
    /// Counts the cuts. While it stays and no cut waits, the base is as it was.
    generation: u64,
}

/// The layers at one moment, without the base.
struct Layers {
    active: Layer,
    cut: Layer,
    /// Nobody writes to the base until the generation changes.
    is_quiet: bool,
    generation: u64,
}

// A panic while one of the locks is held ends the process.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Current<B> {
    fn layers(&self) -> Layers {
        Layers {
            active: self.active.rows.clone(),
            cut: self.cut_rows().cloned().unwrap_or_default(),
            is_quiet: self.cut.is_none(),
            generation: self.generation,
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            position: self.active.position,
            membership: Arc::clone(&self.membership),
        }
    }

    fn cut_rows(&self) -> Option<&Layer> {
        let cut = self.cut.as_ref().filter(|_| !planted!("cut-unread"));
        cut.map(|cut| &cut.rows)
    }

    /// What is active becomes the cut to write, unless one is waiting.
    fn cut(&mut self) -> Arc<Cut> {
        if let Some(cut) = &mut self.cut {
            if planted!("flush-is-no-cut") {
                *cut = Arc::new(Cut {
                    position: self.active.position,
                    ..Cut::clone(cut)
                });
            }
            return Arc::clone(cut);
        }
        self.generation += 1;
        let next = Cut {
            position: self.active.position,
            ..Cut::default()
        };
        let cut = Arc::new(std::mem::replace(&mut self.active, next));
        self.cut = Some(Arc::clone(&cut));
        cut
    }
}

impl<B: Base> WriteBack<B> {
    /// Nothing above `base`, which stands at `applied`. Rows of `buffer_bytes` in
    /// memory ask for a flush.
    pub fn new(base: B, applied: &Applied, buffer_bytes: usize) -> Self {
        Self {
            current: Mutex::new(Current::new(base, applied)),
            writer: Mutex::new(()),
            buffer_bytes,
        }
    }

    /// The base in use.
    pub fn base(&self) -> Arc<B> {
        Arc::clone(&lock(&self.current).base)
    }

    /// Up to where rows were committed.
    pub fn position(&self) -> Position {
        lock(&self.current).active.position
    }

    /// Bytes in memory that are not written to the base, about.
    pub fn unwritten_bytes(&self) -> usize {
        let current = lock(&self.current);
        let cut = current.cut.as_ref().map_or(0, |cut| cut.rows.bytes());
        current.active.rows.bytes() + cut
    }

    /// Whether so much has changed that it is time for a flush.
    pub fn wants_flush(&self) -> bool {
        lock(&self.current).active.rows.bytes() >= self.buffer_bytes
    }

    /// Makes a batch visible to all readers, in one piece. Waits for the base when too
    /// much is in memory.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    pub fn commit(
        &self,
        batch: Layer,
        position: Position,
        membership: Option<&Membership>,
    ) -> Result<(), MachineError> {
        let is_full = {
            let current = &mut *lock(&self.current);
            let active = &mut current.active;
            active.rows.take_in(batch);
            active.position = position;
            if let Some(membership) = membership {
                active.membership = Some(membership.clone());
                current.membership = Arc::new(membership.clone());
            }
            active.rows.bytes() >= LAYER_BUFFERS_MAX * self.buffer_bytes
        };
        if is_full {
            self.write()?;
        }
        Ok(())
    }

    /// What is active becomes the cut that the next write brings to the base: a flush
    /// takes its time, for tests and the simulator.
    #[cfg(any(test, feature = "testing"))]
    pub fn cut(&self) {
        lock(&self.current).cut();
    }

    /// Brings all that is committed to the base.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    pub fn write(&self) -> Result<(), MachineError> {
        let _writer = lock(&self.writer);
        let committed = self.position();
        // The first may be a cut that was taken before.
        while self.write_cut()?.1 < committed {}
        Ok(())
    }

    /// Brings a cut to the base and makes it durable; tells up to where that leads.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    pub fn flush(&self) -> Result<Position, MachineError> {
        let _writer = lock(&self.writer);
        let (base, position) = self.write_cut()?;
        base.sync()?;
        Ok(position)
    }

    fn write_cut(&self) -> Result<(Arc<B>, Position), MachineError> {
        let (base, cut) = {
            let mut current = lock(&self.current);
            (Arc::clone(&current.base), current.cut())
        };
        base.write(&cut)?;
        // A snapshot may have taken the place of both meanwhile.
        let is_ours = |found: &mut Arc<Cut>| Arc::ptr_eq(found, &cut);
        lock(&self.current).cut.take_if(is_ours);
        Ok((base, cut.position))
    }

    /// Goes over to another base; gives back the one before. What was not written is
    /// forgotten: it was of the state before.
    pub fn switch(&self, base: B, applied: &Applied) -> Arc<B> {
        let mut current = lock(&self.current);
        let generation = current.generation + 1;
        let next = Current {
            generation,
            ..Current::new(base, applied)
        };
        std::mem::replace(&mut *current, next).base
    }

    /// The row of a key as of now.
    ///
    /// # Errors
    /// Those of the base.
    pub fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        let (changed, base) = {
            let current = lock(&self.current);
            (current.changed(key), Arc::clone(&current.base))
        };
        match changed {
            // A row may be large: it is copied when nobody waits for the lock.
            Some(row) => Ok(row.as_deref().cloned()),
            // What a later cut may bring there meanwhile is a later state of this row.
            None => base.get(key),
        }
    }

    /// Reads at one moment: all that `read` reads belongs to the same commit.
    pub fn at_once<R>(&self, is_cached: bool, read: impl FnOnce(&Frame<'_, B>) -> R) -> R {
        loop {
            let (layers, moment, base) = {
                let current = lock(&self.current);
                (
                    current.layers(),
                    current.moment(),
                    Arc::clone(&current.base),
                )
            };
            let snapshot = base.snapshot(is_cached);
            // What was active may have been written between the two.
            if lock(&self.current).generation == layers.generation {
                return read(&Frame {
                    moment,
                    layers,
                    base: snapshot,
                });
            }
        }
    }
}

impl<B> Current<B> {
    fn new(base: B, applied: &Applied) -> Self {
        Self {
            base: Arc::new(base),
            active: Cut {
                position: applied.position,
                ..Cut::default()
            },
            cut: None,
            membership: Arc::new(applied.membership.clone()),
            generation: 0,
        }
    }

    /// The row of a key as a layer has it; `None`: the base says.
    fn changed(&self, key: &RowKey) -> Option<Option<Arc<Row>>> {
        let found = self.active.rows.get(key);
        let found = found.or_else(|| self.cut_rows()?.get(key));
        found.map(|change| change.row.clone())
    }
}

/// All rows as of one commit.
pub(crate) struct Frame<'a, B: Base + 'a> {
    moment: Moment,
    layers: Layers,
    base: B::Snapshot<'a>,
}

impl<B: Base> Frame<'_, B> {
    /// The commit that the rows are of.
    pub fn moment(&self) -> &Moment {
        &self.moment
    }
}

impl<B: Base> View for Frame<'_, B> {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        let layers = [&self.layers.active, &self.layers.cut];
        match layers.iter().find_map(|layer| layer.get(key)) {
            Some(change) => Ok(change.row.as_deref().cloned()),
            None => self.base.get(key),
        }
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        let layers = [&self.layers.active, &self.layers.cut];
        merge::scan(&layers, &self.base, from, to, visit)
    }
}
