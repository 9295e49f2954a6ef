//! Promise 7: replicas at one index have one state. Promise 6: it is a state in
//! which every rule of the machine holds, conservation among them.

use std::collections::BTreeSet;

use z4_check::hash::Hashes;
use z4_consensus::machine::StateMachine as _;
use z4_core::invariants::{self, state_hash};
use z4_core::state::{Row, RowKey, StateError};
use z4_core::task::{DeathReason, Phase};
use z4_core::{Machine, Namespace, TaskId, View};
use z4_storage::MemStore;

use crate::world::World;

#[derive(Default)]
pub(crate) struct States {
    hashes: Hashes,
    /// The index at which all rules were looked at last.
    looked_at: u64,
}

impl States {
    /// A peer's state at an index. The first peer there has its rows checked one
    /// by one, those that follow must have the same.
    pub(crate) fn check(&mut self, peer: u64, index: u64, state: &impl View) -> Result<(), String> {
        let hash = state_hash(state).map_err(|e| e.0)?;
        let seen = self.hashes.seen(peer, index, hash);
        seen.map_err(|broken| format!("promise 7: {}", broken.text))?;
        if index <= self.looked_at {
            // The same rows as were looked at before, by their hash.
            return Ok(());
        }
        self.looked_at = index;
        let report = invariants::check(state).map_err(|e| e.0)?;
        report
            .verdict()
            .map_err(|broken| format!("promise 6: peer {peer} at {index}: {}", broken.join("; ")))
    }

    pub(crate) fn compared(&self) -> u64 {
        self.hashes.compared()
    }
}

impl World {
    /// A peer is at an index at which all peers are looked at.
    pub(crate) fn check_state(&mut self, id: u64, index: u64) {
        let Some(run) = self.peers.get(&id).and_then(|p| p.run.as_ref()) else {
            return;
        };
        debug_assert_eq!(run.machine.applied().position.index, index);
        let state = run.machine.machine().state();
        if let Err(broken) = self.checks.states.check(id, index, state) {
            return self.fail(broken);
        }
        if !index.is_multiple_of(256) {
            return;
        }
        match dead_letters(run.machine.machine()) {
            Ok((dead, reasons)) => {
                self.checks.ends.saw_dead(dead);
                for what in reasons {
                    self.saw(what);
                }
            }
            Err(error) => self.fail(error.0),
        }
    }
}

/// The dead letters, and which ways to die there are among them.
type Dead = (Vec<(Namespace, TaskId)>, BTreeSet<&'static str>);

fn dead_letters(machine: &Machine<MemStore>) -> Result<Dead, StateError> {
    let (mut dead, mut reasons) = (Vec::new(), BTreeSet::new());
    for (name, row) in machine.namespaces() {
        let (from, to) = RowKey::statuses(row.id, TaskId::default());
        machine.state().scan(&from, &to, &mut |key, row| {
            if let (RowKey::Status(_, id), Row::Status(status)) = (key, row) {
                if let Phase::Dead { reason, .. } = status.phase {
                    dead.push((name.clone(), id));
                    match reason {
                        DeathReason::Ttl => reasons.insert("a dead letter by age"),
                        DeathReason::Attempts => reasons.insert("a dead letter by attempts"),
                        DeathReason::Permanent => false,
                    };
                }
            }
            true
        })?;
    }
    Ok((dead, reasons))
}
