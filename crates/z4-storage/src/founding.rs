//! The founding of a cluster: this peer becomes its only member.
//!
//! A cluster is founded on an empty state, at the beginning of the log, or on a state that
//! has a past: one that was restored from a backup, or the best that was left of a cluster
//! that has lost its quorum for good. The founder's log then begins far above all that was
//! ever in the log of before. The token of a lease is the index of its entry, so nobody who
//! holds one from before has a token that the new cluster gives.
//!
//! `IDENTITY` says what is being founded from the first step to the last one. A start that
//! finds it there does all steps again, for each of them may be repeated.

use raft::eraftpb::HardState;
use z4_consensus::log::{LogError, LogStore, Position};
use z4_consensus::machine::{Applied, MachineError};
use z4_consensus::proposals::wire::{Reader, Writer};
use z4_consensus::{limits as raft_limits, Identity, Membership};
use z4_core::planted;
use z4_proto::level::LEVEL_MAX;

use crate::bound::BoundFile;
use crate::error::StorageError;
use crate::limits::{FOUNDING_GAP, TERM_MAX};
use crate::machine::TaskStore as _;
use crate::peer_dir::{self, IdentityFile};
use crate::step::step;
use crate::store::{check_empty, Registrar};
use crate::task_state::RocksState;

/// Where a cluster without a past begins: no entry stands there, so every later peer
/// begins with a snapshot.
const BEGINNING: Position = Position { index: 1, term: 1 };
/// Raft id of the peer that founds a cluster.
const FOUNDER: u64 = 1;

/// The founder as it is then, and what its state holds.
pub(crate) type Founded = (Identity, Applied);

/// What is founded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Founding {
    /// Where the log begins. No entry stands there.
    pub at: Position,
    /// The members from there on.
    pub membership: Membership,
}

impl Founding {
    /// A cluster without a past, at the greatest level.
    pub(crate) fn first(identity: &Identity, address: &str) -> Self {
        let mut membership = Membership::bootstrap(identity, address);
        membership.level = LEVEL_MAX;
        Self {
            at: BEGINNING,
            membership,
        }
    }

    /// A cluster with the state of an earlier one, whose log had come to `before` at least.
    ///
    /// # Errors
    /// [`StorageError::Unfounded`] when too little is left of the numbers of entries.
    pub fn anew(before: Position, membership: Membership) -> Result<Self, StorageError> {
        // Two clusters that are founded on one state do not begin at the same entry.
        let [a, b, c, d, ..] = membership.cluster_id;
        let apart = u64::from(u32::from_be_bytes([a, b, c, d]));
        let index = match planted!("founded-too-near") {
            true => before.index + 1,
            false => before.index.saturating_add(FOUNDING_GAP + apart),
        };
        // The new cluster is to have as many numbers again.
        if index.saturating_add(FOUNDING_GAP) > raft_limits::INDEX_MAX {
            return Err(StorageError::Unfounded(format!(
                "a cluster that is founded on an earlier state begins {FOUNDING_GAP} entries above \
                 its last one, which is entry {}, and the greatest number of an entry is {}; move \
                 the namespaces into a new cluster with z4t export and z4t import",
                before.index,
                raft_limits::INDEX_MAX
            )));
        }
        // A backup says any number, and one that is near the end of all leaves no terms.
        if before.term >= TERM_MAX {
            return Err(StorageError::Unfounded(format!(
                "the term of the earlier cluster is {}, and less than {TERM_MAX} is the limit; the \
                 data are not what z4 wrote; take another copy or another backup",
                before.term
            )));
        }
        let term = before.term + 1;
        Ok(Self {
            at: Position { index, term },
            membership,
        })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.number(self.at.index);
        out.number(self.at.term);
        out.bytes(&self.membership.encode());
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Option<Self> {
        let at = Position {
            index: input.number()?,
            term: input.number()?,
        };
        let membership = Membership::decode(input.bytes()?)?;
        Some(Self { at, membership })
    }
}

impl Registrar {
    /// Founds a cluster with this peer as its only member, at the greatest level. Gives the
    /// identity of the founder, and what its state holds then. Raft must not run yet.
    ///
    /// `address` is `host:port` of the peer port, as others reach it. A crash in the middle
    /// is made good at the next start: the peer is then the founder, whether or not it is
    /// told to found a cluster again.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`] when this peer is in a cluster or holds data; else
    /// [`StorageError`]: end the process.
    pub fn bootstrap(
        &self,
        cluster_id: [u8; 16],
        address: &str,
    ) -> Result<(Identity, Applied), StorageError> {
        self.check_unused()?;
        let identity = self.founder(cluster_id);
        let founding = Founding::first(&identity, address);
        self.found(identity, founding)
    }

    /// Makes sure that this peer is in no cluster and holds nothing.
    pub(crate) fn check_unused(&self) -> Result<(), StorageError> {
        if let Some(IdentityFile { identity, .. }) = self.peer_dir.identity()? {
            return Err(StorageError::NotEmpty {
                dir: self.peer_dir.path().to_owned(),
                what: format!("it is {} of a cluster", identity.peer_id),
            });
        }
        check_empty(
            &self.peer_dir,
            &self.db_dir,
            &self.log,
            self.live.position(),
        )
    }

    /// The identity of this peer as the founder of a cluster.
    pub(crate) fn founder(&self, cluster_id: [u8; 16]) -> Identity {
        Identity {
            cluster_id,
            raft_id: FOUNDER,
            peer_id: self.peer_id.clone(),
        }
    }

    /// Founds a cluster on the state that is here, which is durable.
    pub(crate) fn found(
        &self,
        identity: Identity,
        founding: Founding,
    ) -> Result<Founded, StorageError> {
        self.peer_dir.set_identity(&IdentityFile {
            identity: identity.clone(),
            founding: Some(founding.clone()),
        })?;
        step("bootstrap.begun");
        self.finish_founding(identity, founding)
    }

    /// Takes all steps after the first, from whichever was reached.
    pub(crate) fn finish_founding(
        &self,
        identity: Identity,
        founding: Founding,
    ) -> Result<Founded, StorageError> {
        let Founding { at, membership } = founding;
        let log_failed = |e: LogError| StorageError::log(self.peer_dir.log_path(), e);
        let last = self.log.last().map_err(log_failed)?;
        if [last, self.live.position()].iter().any(|p| *p > at) {
            return Err(StorageError::Mismatch {
                db_dir: self.db_dir.clone(),
                peer_dir: self.peer_dir.path().to_owned(),
                what: "the founding of a cluster was interrupted in the second, and yet there is \
                       data"
                    .to_owned(),
            });
        }
        self.apply_rest_of_log()?;
        step("bootstrap.applied");
        peer_dir::set_owner(&self.db_dir, &identity)?;
        step("bootstrap.owned");

        // Damage ends the process where it is met: what is told here is the system's.
        let state_failed = |e: MachineError| StorageError::Database {
            doing: "write",
            path: self.db_dir.clone(),
            message: e.0,
        };
        RocksState::new(self.live.clone())
            .commit(at, Some(&membership))
            .map_err(state_failed)?;
        step("bootstrap.committed");
        self.live.flush().map_err(state_failed)?;
        step("bootstrap.flushed");

        let hard_state = HardState {
            term: at.term,
            commit: at.index,
            ..HardState::default()
        };
        // What bounds a log of before says nothing of this one.
        self.log.detach_bound();
        self.log.reset(at, &hard_state).map_err(log_failed)?;
        step("bootstrap.log_reset");

        let bound = BoundFile::create(self.peer_dir.path(), &identity, &hard_state, at)?;
        self.log.attach_bound(bound);
        step("bootstrap.bounded");

        self.peer_dir.set_identity(&IdentityFile {
            identity: identity.clone(),
            founding: None,
        })?;
        let applied = Applied {
            position: at,
            membership,
            stamp_ns: 0,
        };
        Ok((identity, applied))
    }
}
