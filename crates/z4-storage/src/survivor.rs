//! A peer of a cluster that has lost its quorum for good: what it has, and how it becomes
//! the only member of a new cluster.
//!
//! The new cluster has another id, so that no peer of the old one is let in, and its founder
//! keeps its raft id. All that stands in the log is applied first, known as committed or not:
//! what was acknowledged may be there, and nobody is left to ask.

use z4_consensus::entry;
use z4_consensus::log::{LogStore as _, Position};
use z4_consensus::machine::{Applied, Committed, MachineError, StateMachine as _};
use z4_consensus::{Identity, Levels, Member, Membership};
use z4_core::state::machine_ns;
use z4_proto::level::{LEVEL_MAX, LEVEL_MIN};
use z4_recover::Evidence;

use crate::error::StorageError;
use crate::founding::Founding;
use crate::limits::REPLAY_BYTES_MAX;
use crate::machine::TaskMachine;
use crate::store::{Registrar, Store};
use crate::task_state::{read_applied, RocksState};

const LEVELS: Levels = Levels {
    min: LEVEL_MIN,
    max: LEVEL_MAX,
};

impl Store {
    /// What this peer has, for a plan of which survivor a cluster goes on with.
    ///
    /// # Errors
    /// [`StorageError::Unfounded`] when this peer is in no cluster, or was removed; else
    /// [`StorageError`]: print it and end.
    pub fn evidence(&self) -> Result<Evidence, StorageError> {
        let identity = self.survivor()?;
        let log = self.log();
        let failed = |e| StorageError::log(self.options().peer_dir.clone(), e);
        let hard_state = log.hard_state().map_err(failed)?;
        let last = log.last().map_err(failed)?;
        let membership = self.members_at_the_end()?;
        let member = |(raft_id, member): (&u64, &Member)| z4_recover::Member {
            raft_id: *raft_id,
            peer_id: member.peer_id.clone(),
            is_voter: member.voter,
        };
        let machine_ns = machine_ns(&self.view());
        Ok(Evidence {
            cluster_id: identity.cluster_id,
            peer_id: identity.peer_id.clone(),
            raft_id: identity.raft_id,
            term: hard_state.term,
            commit_index: hard_state.commit,
            applied_index: self.applied().position.index,
            last_index: last.index,
            last_term: last.term,
            machine_ns: machine_ns
                .map_err(|e| StorageError::damaged(&self.options().db_dir, e.0))?,
            level: membership.level,
            members: membership.members.iter().map(member).collect(),
        })
    }

    /// Makes this peer the only member of a new cluster, `cluster_id`, that begins with all
    /// that this peer has. `address` is `host:port` of its peer port.
    ///
    /// From the first step on this peer does not belong to its earlier cluster any more: a
    /// crash in the middle is made good at the next start.
    ///
    /// # Errors
    /// [`StorageError::Unfounded`] when this peer is in no cluster or is no member of it any
    /// more: nothing was changed. Else [`StorageError`]: end the process.
    pub fn found_again(&mut self, cluster_id: [u8; 16], address: &str) -> Result<(), StorageError> {
        let identity = Identity {
            cluster_id,
            ..self.survivor()?.clone()
        };
        let log = self.log();
        let failed = |e| StorageError::log(self.options().peer_dir.clone(), e);
        let term = log.hard_state().map_err(failed)?.term;
        let last = log.last().map_err(failed)?;
        let before = Position {
            index: last.index,
            term: term.max(last.term),
        };
        let membership = alone(&identity, address, self.members_at_the_end()?)?;
        let founding = Founding::anew(before, membership)?;
        let founded = self.registrar().found(identity, founding)?;
        self.is_founded(founded);
        Ok(())
    }

    /// The identity of this peer, if it is a member that may be asked.
    fn survivor(&self) -> Result<&Identity, StorageError> {
        let why = match self.identity() {
            None => "this peer is in no cluster; start it and add it to one (z4t add-peer)",
            Some(_) if self.is_removed() => {
                "this peer was removed from its cluster, so it lacks what came after; look for \
                 another survivor"
            }
            Some(identity) => return Ok(identity),
        };
        Err(StorageError::Unfounded(why.to_owned()))
    }

    /// The members as the last entry of the log leaves them.
    fn members_at_the_end(&self) -> Result<Membership, StorageError> {
        let mut membership = self.applied().membership.clone();
        let registrar = self.registrar();
        registrar.rest_of_log(self.applied().position, &mut membership, |_| Ok(()))?;
        Ok(membership)
    }
}

/// The members of a cluster that has one of an earlier one alone. The others count as
/// removed, so that none of their numbers comes back.
fn alone(
    identity: &Identity,
    address: &str,
    before: Membership,
) -> Result<Membership, StorageError> {
    if !before.members.contains_key(&identity.raft_id) {
        return Err(StorageError::Unfounded(
            "the log of this peer says that it is no member any more; look for another survivor"
                .to_owned(),
        ));
    }
    let others = before.members.keys().filter(|id| **id != identity.raft_id);
    Ok(Membership {
        removed: before.removed.iter().chain(others).copied().collect(),
        ..Membership {
            raft_id_next: before.raft_id_next,
            level: before.level,
            ..Membership::bootstrap(identity, address)
        }
    })
}

impl Registrar {
    /// Applies all that the log has and the state has not, with no regard to what is known
    /// as committed. The state is durable up to there afterwards.
    pub(crate) fn apply_rest_of_log(&self) -> Result<(), StorageError> {
        let failed = |e: MachineError| StorageError::Database {
            doing: "write",
            path: self.db_dir.clone(),
            message: e.0,
        };
        let db = self.live.db();
        let applied: Applied = read_applied(db.db(), db.path())?;
        let mut membership = applied.membership.clone();
        let from = applied.position;
        let state = RocksState::new(self.live.clone());
        let mut machine = TaskMachine::open(state, applied, Box::new(|_| {})).map_err(failed)?;
        self.rest_of_log(from, &mut membership, |run| {
            machine.apply(run).map(drop).map_err(failed)
        })?;
        machine.flusher()().map(drop).map_err(failed)
    }

    /// Visits the entries of the log behind `from`, in order, some at a time. `membership`
    /// are the members at `from`, and those at the end of the log when this returns.
    fn rest_of_log(
        &self,
        from: Position,
        membership: &mut Membership,
        mut visit: impl FnMut(Vec<Committed>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let path = self.peer_dir.log_path();
        let last = self.log.last();
        let last = last.map_err(|e| StorageError::log(path.clone(), e))?;
        let mut next = from.index + 1;
        while next <= last.index {
            let entries = self.log.entries(next, last.index + 1, REPLAY_BYTES_MAX);
            let entries = entries.map_err(|e| StorageError::log(path.clone(), e))?;
            let Some(end) = entries.last() else {
                return Err(StorageError::damaged(
                    path,
                    format!("entry {next} is missing"),
                ));
            };
            next = end.index + 1;
            let run = entry::replay(&entries, membership, LEVELS);
            visit(run.map_err(|e| StorageError::damaged(&path, e.to_string()))?)?;
        }
        Ok(())
    }
}
