//! A restored state is made ready for its new cluster: nobody holds a task any more, and
//! nothing is delivered before an operator says so.

use std::collections::BTreeMap;

use z4_consensus::log::Position;
use z4_consensus::machine::MachineError;
use z4_core::command::{HeldLeases, LeaseRefs, NamespacePatch, SetNamespace};
use z4_core::state::{NamespaceRow, Row, RowKey, StateError};
use z4_core::task::LeaseToken;
use z4_core::{planted, Command, Machine, Namespace, NamespaceId, Outcome, TaskId};

use crate::limits::SETTLE_COUNT_MAX;
use crate::machine::TaskStore;

/// The changes that were made to a state before its cluster was founded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// Tasks that were leased, and wait again.
    pub leases_ended: u64,
    /// Namespaces that were paused now. Others were paused already, or are being deleted.
    pub namespaces_paused: u64,
}

/// The reason for which a restored state cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Rows of leases and of tasks contradict each other.
    #[error("a lease in it belongs to no task that is leased")]
    Unsound,
    /// The store failed.
    #[error("{}", .0.0)]
    Store(MachineError),
}

impl From<StateError> for SettleError {
    fn from(e: StateError) -> Self {
        Self::Store(MachineError(e.0))
    }
}

/// Ends all leases, so that their tasks wait again at no cost, and pauses all namespaces if
/// that is wanted.
///
/// The commands are applied as entries behind `at`, the last one that the state holds, and at
/// its machine time. Gives the store, which has them committed and not flushed, the last of
/// them, and what was changed.
///
/// # Errors
/// [`SettleError`]: the state must not be used any more.
pub fn settle<S: TaskStore>(
    store: S,
    at: Position,
    pause: bool,
) -> Result<(S, Position, Settled), SettleError> {
    let machine = Machine::open(store)?;
    let mut settling = Settling { machine, at };
    let mut settled = Settled::default();
    loop {
        let (leases, commands) = release(&settling.machine)?;
        if commands.is_empty() {
            break;
        }
        settled.leases_ended += leases;
        settling.apply(commands)?;
    }
    if pause {
        let running = |row: &NamespaceRow| row.paused_at_ns.is_none() && row.deleting.is_none();
        let found = settling.machine.namespaces();
        let found = found.filter(|(_, row)| running(row));
        let names: Vec<Namespace> = found.map(|(name, _)| name.clone()).collect();
        for names in names.chunks(SETTLE_COUNT_MAX) {
            settling.apply(names.iter().cloned().map(pausing).collect())?;
        }
        settled.namespaces_paused = names.len() as u64;
    }
    Ok((settling.machine.into_state(), settling.at, settled))
}

struct Settling<S> {
    machine: Machine<S>,
    at: Position,
}

impl<S: TaskStore> Settling<S> {
    /// Applies commands as one more entry of the earlier log.
    fn apply(&mut self, commands: Vec<Command>) -> Result<(), SettleError> {
        self.at.index += 1;
        let (index, stamp_ns) = (self.at.index, self.machine.stamp_ns());
        let machine = &mut self.machine;
        let outcomes = machine.apply_entry(index, stamp_ns, commands, &mut Vec::new())?;
        // Its row would be found again and again.
        let unended = |outcome: &Outcome| match outcome {
            Outcome::Ended { results, .. } => results.iter().any(Result::is_err),
            _ => false,
        };
        if outcomes.iter().any(unended) {
            return Err(SettleError::Unsound);
        }
        let committed = machine.state_mut().commit(self.at, None);
        committed.map_err(SettleError::Store)
    }
}

fn pausing(namespace: Namespace) -> Command {
    let patch = NamespacePatch {
        paused: Some(true),
        ..NamespacePatch::default()
    };
    Command::SetNamespace(SetNamespace { namespace, patch })
}

/// The next commands that end leases, and how many leases they give back; no command when
/// there is no lease left.
fn release(machine: &Machine<impl TaskStore>) -> Result<(u64, Vec<Command>), StateError> {
    let now_ns = machine.stamp_ns();
    let mut found: BTreeMap<NamespaceId, Vec<(TaskId, LeaseToken)>> = BTreeMap::new();
    let (mut count, mut is_over) = (0, false);
    let (from, to) = RowKey::leases();
    machine.state().scan(&from, &to, &mut |key, row| {
        if let (
            RowKey::Lease {
                namespace,
                id,
                deadline_ns,
            },
            Row::Lease { token, .. },
        ) = (key, row)
        {
            // A lease that is over ran out before the backup was made, and no pulse came since.
            is_over |= deadline_ns <= now_ns && !planted!("overdue-lease-released");
            found.entry(namespace).or_default().push((id, token));
            count += 1;
        }
        !is_over && count < SETTLE_COUNT_MAX
    })?;
    if is_over {
        return Ok((0, vec![Command::Pulse]));
    }
    let names: BTreeMap<NamespaceId, &Namespace> = machine
        .namespaces()
        .map(|(name, row)| (row.id, name))
        .collect();
    let mut commands = Vec::new();
    for (namespace, leases) in found {
        let Some(name) = names.get(&namespace) else {
            return Err(StateError(format!(
                "there are leases of namespace {}, which is not there",
                namespace.0
            )));
        };
        let namespace = (*name).clone();
        let refs = LeaseRefs { namespace, leases };
        commands.push(Command::ReleaseTasks(HeldLeases::of_anybody(refs)));
    }
    Ok((count as u64, commands))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use z4_core::{State as _, View as _};

    use super::*;
    use crate::tests::{at, create, lease};
    use crate::{MemDisk, MemStore};

    /// A state of two tasks, the first of which is leased, with another lease row instead of
    /// its own.
    fn contradicting(other: impl FnOnce(&mut TaskId, &mut LeaseToken)) -> Machine<MemStore> {
        let mut machine = Machine::open(MemDisk::default().open().0).unwrap();
        for (index, command) in [(2, create(2)), (3, lease(1))] {
            let applied = machine.apply_entry(index, 5, vec![command], &mut Vec::new());
            applied.unwrap();
        }
        let (from, to) = RowKey::leases();
        let mut found = None;
        let scanned = machine.state().scan(&from, &to, &mut |key, row| {
            found = Some((key, row));
            true
        });
        scanned.unwrap();
        let (mut key, mut row) = found.unwrap();
        let mut store = machine.into_state();
        store.delete(&key);
        if let (RowKey::Lease { id, .. }, Row::Lease { token, .. }) = (&mut key, &mut row) {
            other(id, token);
        }
        store.put(key, row);
        store.commit(at(3, 1), None).unwrap();
        Machine::open(store).unwrap()
    }

    #[test]
    fn a_lease_that_cannot_be_ended_makes_a_state_unsound() {
        let other_token = contradicting(|_, token| token.0 += 1);
        let no_task = contradicting(|id, _| *id = TaskId::new(7, 7, 7));
        for machine in [other_token, no_task] {
            let (count, commands) = release(&machine).unwrap();
            assert_eq!((count, commands.len()), (1, 1));
            let at = at(3, 1);
            let refused = Settling { machine, at }.apply(commands);
            assert!(matches!(refused, Err(SettleError::Unsound)), "{refused:?}");
        }
    }
}
