//! Promise 3: one live lease per task, and an ack is final.

use std::collections::BTreeMap;

use z4_core::command::{Ended, Grant, LeaseLost, LeaseRefs};
use z4_core::task::LeaseToken;
use z4_core::TaskId;

#[derive(Default)]
pub(crate) struct Leases {
    /// Token and deadline.
    live: BTreeMap<TaskId, (LeaseToken, u64)>,
    /// Index of the ack.
    ended: BTreeMap<TaskId, u64>,
    granted: u64,
}

impl Leases {
    pub(crate) fn granted(&self) -> u64 {
        self.granted
    }

    pub(crate) fn ended(&self) -> u64 {
        self.ended.len() as u64
    }

    /// Index at which a task was acked.
    pub(crate) fn ended_at(&self, id: TaskId) -> Option<u64> {
        self.ended.get(&id).copied()
    }

    /// A task was leased at this machine time.
    pub(crate) fn granted_one(&mut self, grant: &Grant, now_ns: u64) -> Result<(), String> {
        let id = grant.id;
        self.granted += 1;
        if self.ended.contains_key(&id) {
            return Err(format!("promise 3: task {id} was leased after its ack"));
        }
        let lease = (grant.token, grant.deadline_ns);
        match self.live.insert(id, lease) {
            Some((token, deadline_ns)) if deadline_ns > now_ns => Err(format!(
                "promise 3: task {id} was leased again while lease {token:?} lived"
            )),
            _ => Ok(()),
        }
    }

    /// An ack was applied.
    pub(crate) fn acked(
        &mut self,
        refs: &LeaseRefs,
        ended: &[Result<Ended, LeaseLost>],
        index: u64,
    ) -> Result<(), String> {
        for ((id, token), _) in refs
            .leases
            .iter()
            .zip(ended)
            .filter(|(_, ended)| ended.is_ok())
        {
            let live = self.live.remove(id).map(|(live, _)| live);
            if live != Some(*token) {
                return Err(format!(
                    "promise 3: an ack with {token:?} ended lease {live:?} of task {id}"
                ));
            }
            self.ended.insert(*id, index);
        }
        Ok(())
    }

    /// Leases were given back, with or without a failure.
    pub(crate) fn given_back(
        &mut self,
        leases: impl Iterator<Item = (TaskId, LeaseToken)>,
        ended: &[Result<Ended, LeaseLost>],
    ) -> Result<(), String> {
        for ((id, token), _) in leases.zip(ended).filter(|(_, ended)| ended.is_ok()) {
            let live = self.live.remove(&id).map(|(live, _)| live);
            if live != Some(token) {
                return Err(format!(
                    "promise 3: {token:?} gave back lease {live:?} of task {id}"
                ));
            }
        }
        Ok(())
    }

    /// A lease lasts until another time.
    pub(crate) fn extended(
        &mut self,
        id: TaskId,
        token: LeaseToken,
        until_ns: u64,
    ) -> Result<(), String> {
        match self.live.get_mut(&id) {
            Some((live, deadline_ns)) if *live == token => {
                *deadline_ns = until_ns;
                Ok(())
            }
            live => Err(format!(
                "promise 3: {token:?} extended lease {live:?} of task {id}"
            )),
        }
    }
}
