//! A peer of a cluster that has lost its quorum for good: what it has, and how it becomes
//! the only member of a new cluster.
//!
//! The new cluster has another id, so that no peer of the old one is let in, and its founder
//! keeps its raft id. All that stands in the log is applied first, known as committed or not:
//! what was acknowledged may be there, and nobody is left to ask.

use z4_consensus::entry;
use z4_consensus::log::{LogError, LogStore, Position};
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
    /// Says what this peer has, for a plan of which survivor a cluster goes on with.
    ///
    /// # Errors
    /// [`StorageError::Unfounded`] when this peer is in no cluster, or was removed; else
    /// [`StorageError`]: print it and end.
    pub fn evidence(&self) -> Result<Evidence, StorageError> {
        let identity = self.survivor()?;
        let applied = Applied {
            stamp_ns: machine_ns(&self.view())
                .map_err(|e| StorageError::damaged(&self.options().db_dir, e.0))?,
            ..self.applied().clone()
        };
        let log = self.log();
        evidence(identity, log.as_ref(), &applied, LEVELS).map_err(|e| self.unreadable(e))
    }

    /// Makes this peer the only member of a new cluster, `cluster_id`, that begins with all
    /// that this peer has. `address` is `host:port` of its peer port.
    ///
    /// From the first step on this peer does not belong to its earlier cluster any more: a
    /// crash in the middle is made good at the next start.
    ///
    /// # Errors
    /// [`StorageError::Unfounded`] when this peer is in no cluster, or knows that it was
    /// removed from it: nothing was changed. Else [`StorageError`]: end the process.
    pub fn found_again(&mut self, cluster_id: [u8; 16], address: &str) -> Result<(), StorageError> {
        let identity = Identity {
            cluster_id,
            ..self.survivor()?.clone()
        };
        let log = self.log();
        let founding = again(&identity, address, log.as_ref(), self.applied(), LEVELS);
        let founding = founding.map_err(|e| self.unreadable(e))??;
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

    fn unreadable(&self, e: LogError) -> StorageError {
        StorageError::log(&self.options().peer_dir, e)
    }
}

/// Reads what the disk of a peer says: its raft log, and the state that stands at `applied`.
/// `levels` are those that the binary can read.
///
/// # Errors
/// [`LogError`] when the log cannot be read.
pub fn evidence(
    identity: &Identity,
    log: &impl LogStore,
    applied: &Applied,
    levels: Levels,
) -> Result<Evidence, LogError> {
    let hard_state = log.hard_state()?;
    let last = log.last()?;
    let membership = members_at_the_end(log, applied, levels)?;
    let member = |(raft_id, member): (&u64, &Member)| z4_recover::Member {
        raft_id: *raft_id,
        peer_id: member.peer_id.clone(),
        is_voter: member.voter,
    };
    Ok(Evidence {
        cluster_id: identity.cluster_id,
        peer_id: identity.peer_id.clone(),
        raft_id: identity.raft_id,
        term: hard_state.term,
        commit_index: hard_state.commit,
        applied_index: applied.position.index,
        last_index: last.index,
        last_term: last.term,
        machine_ns: applied.stamp_ns,
        level: membership.level,
        members: membership.members.iter().map(member).collect(),
    })
}

/// Describes what the peer of this log founds under `identity`, which has the id of the new cluster.
///
/// # Errors
/// [`LogError`] when the log cannot be read. [`StorageError::Unfounded`] when too few numbers
/// of entries are left.
pub fn again(
    identity: &Identity,
    address: &str,
    log: &impl LogStore,
    applied: &Applied,
    levels: Levels,
) -> Result<Result<Founding, StorageError>, LogError> {
    let last = log.last()?;
    let before = Position {
        index: last.index,
        term: log.hard_state()?.term.max(last.term),
    };
    let members = members_at_the_end(log, applied, levels)?;
    Ok(Founding::anew(before, alone(identity, address, members)))
}

/// The members as the last entry of the log leaves them.
fn members_at_the_end(
    log: &impl LogStore,
    applied: &Applied,
    levels: Levels,
) -> Result<Membership, LogError> {
    let mut membership = applied.membership.clone();
    rest_of_log(log, applied.position, &mut membership, levels, |_| {
        Ok::<_, LogError>(())
    })?;
    Ok(membership)
}

/// The members of a cluster that has one of an earlier one alone. The others count as
/// removed, so that none of their numbers comes back. The survivor counts as a member even
/// if the end of its log takes it out: its log is the best that there is, and the plan says
/// that the others may have gone on without it.
fn alone(identity: &Identity, address: &str, before: Membership) -> Membership {
    let earlier = before.members.keys().chain(&before.removed);
    let others = earlier.filter(|id| **id != identity.raft_id);
    Membership {
        removed: others.copied().collect(),
        raft_id_next: before.raft_id_next,
        level: before.level,
        ..Membership::bootstrap(identity, address)
    }
}

/// Visits the entries of a log behind `from`, in order, some at a time, as they are applied
/// without Raft. `membership` are the members at `from`, and those at the end of the log when
/// this returns.
///
/// # Errors
/// [`LogError`] when an entry is missing or cannot be read, and what `visit` says.
pub fn rest_of_log<E: From<LogError>>(
    log: &impl LogStore,
    from: Position,
    membership: &mut Membership,
    levels: Levels,
    mut visit: impl FnMut(Vec<Committed>) -> Result<(), E>,
) -> Result<(), E> {
    let last = log.last()?;
    let mut next = from.index + 1;
    while next <= last.index {
        let entries = log.entries(next, last.index + 1, REPLAY_BYTES_MAX)?;
        let Some(end) = entries.last() else {
            return Err(LogError::Damaged(format!("entry {next} is missing")).into());
        };
        next = end.index + 1;
        let run = entry::replay(&entries, membership, levels);
        visit(run.map_err(|e| LogError::Damaged(e.to_string()))?)?;
    }
    Ok(())
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
        let last = self.log.last();
        let last = last.map_err(|e| StorageError::log(self.peer_dir.log_path(), e))?;
        if last.index <= from.index {
            return Ok(());
        }
        let state = RocksState::new(self.live.clone());
        let mut machine = TaskMachine::open(state, applied, Box::new(|_| {})).map_err(failed)?;
        let applied = rest_of_log(self.log.as_ref(), from, &mut membership, LEVELS, |run| {
            machine.apply(run).map(drop).map_err(Unapplied::State)
        });
        applied.map_err(|unapplied| match unapplied {
            Unapplied::Log(e) => StorageError::log(self.peer_dir.log_path(), e),
            Unapplied::State(e) => failed(e),
        })?;
        machine.flusher()().map(drop).map_err(failed)
    }
}

/// Why the rest of a log was not applied.
enum Unapplied {
    Log(LogError),
    State(MachineError),
}

impl From<LogError> for Unapplied {
    fn from(e: LogError) -> Self {
        Self::Log(e)
    }
}
