//! The pulse: what happens because time has passed, and what is done in steps.
//! Leases end, tasks grow too old, dead letters are forgotten, namespaces in
//! deletion shrink. Each pulse does a bounded part; the machine asks for the next
//! at once while something is left.

use std::collections::{BTreeMap, BTreeSet};

use super::end::{tell_ended, Failure};
use super::{Entry, Machine};
use crate::command::Outcome;
use crate::limits;
use crate::state::{RowKey, State, StateError};
use crate::task::{DeathReason, LeaseToken, NamespaceId, Phase, TaskId, TaskStatus};

/// What stands as the error of a task whose lease expired.
const EXPIRED: &str = "the lease expired";

impl<S: State> Machine<S> {
    pub(super) fn pulse(&mut self, entry: &mut Entry<'_>) -> Result<Outcome, StateError> {
        let expired = self.expire(entry)?;
        let timers = self.fire_timers(entry)?;
        let removed = self.delete_step(entry)?;
        let count = expired + timers + removed;
        Ok(Outcome::Pulsed {
            count: count as u32,
        })
    }

    /// Ends leases whose deadline has come.
    fn expire(&mut self, entry: &mut Entry<'_>) -> Result<usize, StateError> {
        let over: Vec<_> = self
            .deadlines
            .iter()
            .take_while(|(deadline_ns, _, _)| *deadline_ns <= entry.now_ns)
            .take(limits::PULSE_COUNT_MAX)
            .copied()
            .collect();
        let mut ended: BTreeMap<NamespaceId, Vec<_>> = BTreeMap::new();
        for (deadline_ns, namespace, id) in &over {
            let (token, status) = self.expired(*namespace, *id)?;
            self.drop_lease(*deadline_ns, *namespace, *id)?;
            ended.entry(*namespace).or_default().push((*id, token));
            let failure = Failure {
                delay_ms: None,
                error: EXPIRED.into(),
                permanent: false,
            };
            self.fail(entry, *namespace, *id, status, failure)?;
        }
        for (namespace, leases) in ended {
            if let Some(name) = self.namespaces.name(namespace) {
                tell_ended(entry, name, leases);
            }
        }
        Ok(over.len())
    }

    /// The token of a lease, and the status of its task, which leaves its phase.
    fn expired(
        &self,
        namespace: NamespaceId,
        id: TaskId,
    ) -> Result<(LeaseToken, TaskStatus), StateError> {
        let none = Phase::Waiting { due_at_ns: 0 };
        if let Some(mut status) = self.status(namespace, id)? {
            if let Phase::Leased { token, .. } = std::mem::replace(&mut status.phase, none) {
                return Ok((token, status));
            }
        }
        Err(StateError(format!(
            "task {id} has a lease but is not leased"
        )))
    }

    /// Buries tasks that are too old and forgets dead letters that were kept for
    /// long enough.
    fn fire_timers(&mut self, entry: &mut Entry<'_>) -> Result<usize, StateError> {
        let over = self.timers_over(entry.now_ns)?;
        // What is left is above machine time, or the pulse was cut short. The
        // same on every replica, whatever it knows of what comes next.
        self.meta.timer_from_ns = self.timer_next_ns.min(entry.now_ns);
        let mut count = 0;
        let mut purged = BTreeSet::new();
        for (at_ns, namespace, id) in over {
            let timer = RowKey::timer(at_ns, namespace, id);
            if self.state.get(&timer)?.is_none() {
                // A dead letter that went because a task before it died.
                continue;
            }
            count += 1;
            self.state.delete(&timer);
            let Some(status) = self.standing(namespace, id)? else {
                return Err(StateError(format!("task {id} has a timer but is not")));
            };
            match status.phase {
                Phase::Waiting { due_at_ns } => {
                    self.unwait(namespace, id, &status, due_at_ns)?;
                    self.bury(entry, namespace, id, status, DeathReason::Ttl)?;
                }
                // Its age is looked at when it comes back.
                Phase::Leased { .. } => {}
                Phase::Dead { .. } => {
                    self.purge_one(namespace, id, &status)?;
                    purged.insert(namespace);
                }
            }
        }
        for namespace in purged {
            self.raise_dead_from(namespace)?;
        }
        Ok(count)
    }

    /// The timers whose time has come, as many as one pulse fires.
    fn timers_over(&mut self, now_ns: u64) -> Result<Vec<(u64, NamespaceId, TaskId)>, StateError> {
        let mut over = Vec::new();
        // A bound, not a decision: a replica that does not know it finds none.
        if now_ns < self.timer_next_ns {
            return Ok(over);
        }
        let mut next_ns = u64::MAX;
        let (from, to) = RowKey::timers(self.meta.timer_from_ns);
        self.state.scan(&from, &to, &mut |key, _| {
            let RowKey::Timer {
                at_ns,
                namespace,
                id,
            } = key
            else {
                return true;
            };
            if at_ns > now_ns || over.len() == limits::PULSE_COUNT_MAX {
                next_ns = at_ns;
                return false;
            }
            over.push((at_ns, namespace, id));
            true
        })?;
        self.timer_next_ns = next_ns;
        Ok(over)
    }
}
