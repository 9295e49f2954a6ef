//! A state that comes from a backup becomes that of a new cluster.
//!
//! ```text
//! RESTORING written · rows, in batches · all of them flushed and read once more
//! · origin noted · leases ended, namespaces paused · cluster founded · RESTORING removed
//! ```
//!
//! Nothing is founded before all rows are durable and their fingerprint is right. What a crash
//! leaves before that is half a state of no cluster: the next start finds `RESTORING`, and
//! refuses it.

use z4_consensus::log::Position;
use z4_consensus::machine::MachineError;
use z4_consensus::proposals::wire::{Reader, Writer};
use z4_consensus::Membership;
use z4_core::state::{Row, RowKey, State as _};

use crate::error::StorageError;
use crate::founding::Founding;
use crate::machine::TaskStore as _;
use crate::settle::{settle, SettleError, Settled};
use crate::store::Store;
use crate::task_state::RocksState;
use crate::verify::verdict;

const VERSION: u8 = 1;

/// The backup that a state began with. It stands in the state, so that every peer of the new
/// cluster has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The cluster that the backup is of.
    pub cluster_id: [u8; 16],
    /// The last entry of its log that the backup holds.
    pub index: u64,
    /// Fingerprint of all rows of the backup.
    pub state_hash: u128,
}

impl Origin {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.fixed(&self.cluster_id);
        out.number(self.index);
        out.fixed(&self.state_hash.to_be_bytes());
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes, VERSION)?;
        let origin = Self {
            cluster_id: input.fixed()?,
            index: input.number()?,
            state_hash: u128::from_be_bytes(input.fixed()?),
        };
        input.end().then_some(origin)
    }
}

/// The cluster that is to be, and the backup that it begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RestorePlan {
    /// The new cluster.
    pub cluster_id: [u8; 16],
    /// `host:port` of the peer port of its founder, as others reach it.
    pub address: String,
    /// The last entry of the earlier cluster's log that the backup holds.
    pub at: Position,
    /// The level of the earlier cluster there.
    pub level: u32,
}

/// A restoration that is under way.
#[derive(Debug)]
pub struct Restoration<'a> {
    store: &'a mut Store,
    state: RocksState,
    plan: RestorePlan,
    membership: Membership,
    position: Position,
}

impl Store {
    /// Begins to restore a state. The peer must be in no cluster and hold nothing.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`] when this peer is in a cluster or holds data;
    /// [`StorageError::Unfounded`] when no cluster can be founded behind the index of the plan;
    /// else [`StorageError`]: end the process.
    pub fn restore(&mut self, plan: RestorePlan) -> Result<Restoration<'_>, StorageError> {
        let registrar = self.registrar();
        registrar.check_unused()?;
        let identity = registrar.founder(plan.cluster_id);
        let membership = Membership {
            level: plan.level,
            ..Membership::bootstrap(&identity, &plan.address)
        };
        // Refused before anything is written.
        Founding::anew(plan.at, membership.clone())?;
        registrar.peer_dir.set_restoring()?;
        let mut state = self.state();
        // With its level, before the first row that needs it.
        let position = plan.at;
        let begun = state.commit(position, Some(&membership));
        let restoration = Restoration {
            store: self,
            state,
            plan,
            membership,
            position,
        };
        begun.map_err(|e| restoration.failed(e))?;
        restoration.flush()?;
        Ok(restoration)
    }
}

impl Restoration<'_> {
    /// Writes rows. None of them may have been written before.
    ///
    /// # Errors
    /// [`StorageError`]: print it and end. Both directories must be erased.
    pub fn put(&mut self, rows: Vec<(RowKey, Row)>) -> Result<(), StorageError> {
        for (key, row) in rows {
            self.state.put(key, row);
        }
        let committed = self.state.commit(self.position, None);
        committed.map_err(|e| self.failed(e))
    }

    /// Makes all rows durable, reads them once more, and notes where they came from. Gives the
    /// invariants that do not hold: they did not hold in the cluster that was backed up.
    ///
    /// # Errors
    /// [`StorageError::Unfounded`] when the rows are not those of the backup, else
    /// [`StorageError`]: print it and end. Both directories must be erased.
    pub fn check(&mut self, state_hash: u128, from: [u8; 16]) -> Result<Vec<String>, StorageError> {
        self.flush()?;
        let live = self.state.live().clone();
        let found = live
            .rows()
            .at_once(false, |frame| verdict(frame, self.position))
            .map_err(|e| self.failed(MachineError(e)))?;
        if found.state_hash != state_hash {
            return Err(StorageError::Unfounded(format!(
                "the rows that were written have state hash {:032x}, and those of the backup \
                 {state_hash:032x}; erase both directories, check the memory and the disks of \
                 this machine, and restore again",
                found.state_hash
            )));
        }
        let origin = Origin {
            cluster_id: from,
            index: self.plan.at.index,
            state_hash,
        };
        live.db().set_origin(&origin)?;
        Ok(found.violations)
    }

    /// Ends all leases, so that their tasks wait again at no cost, and pauses all namespaces
    /// if that is wanted. The time of the cluster stands still meanwhile.
    ///
    /// # Errors
    /// [`StorageError`]: print it and end. Both directories must be erased.
    pub fn settle(&mut self, pause: bool) -> Result<Settled, StorageError> {
        let (_, position, settled) =
            settle(self.store.state(), self.position, pause).map_err(|e| match e {
                SettleError::Unsound => StorageError::Unfounded(format!(
                    "the state of the backup is not sound: {e}; erase both directories and \
                     restore an earlier backup"
                )),
                SettleError::Store(e) => self.failed(e),
            })?;
        self.position = position;
        self.flush()?;
        Ok(settled)
    }

    /// Founds the cluster. Gives where its log begins.
    ///
    /// # Errors
    /// [`StorageError`]: print it and end. The next start goes on with the founding if it has
    /// begun, and else says what to do.
    pub fn found(self) -> Result<Position, StorageError> {
        let registrar = self.store.registrar();
        let founding = Founding::anew(self.position, self.membership.clone())?;
        let identity = registrar.founder(self.plan.cluster_id);
        let founded = registrar.found(identity, founding)?;
        let position = founded.1.position;
        self.store.is_founded(founded);
        registrar.peer_dir.clear_restoring()?;
        Ok(position)
    }

    fn flush(&self) -> Result<(), StorageError> {
        let flushed = self.state.flusher()();
        flushed.map(drop).map_err(|e| self.failed(e))
    }

    fn failed(&self, e: MachineError) -> StorageError {
        StorageError::Database {
            doing: "write",
            path: self.store.options().db_dir.clone(),
            message: e.0,
        }
    }
}
