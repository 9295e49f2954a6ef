//! Promise 3: at most one live lease of a task, only its holder ends it, and a
//! live lease is not refused to its holder nor cancelled away. A lease is live
//! until its deadline by the machine's clock.
//!
//! [`z4_check::lease`] judges; here it is fed with commands and what they
//! answered, in the order of the log.

use std::collections::{BTreeMap, BTreeSet};

use z4_check::lease::{Ended as How, Leases as Checker};
use z4_check::Violation;
use z4_core::command::{Ended, Grant, LeaseLost};
use z4_core::task::LeaseToken;
use z4_core::{Namespace, TaskId};

/// A tick of a peer, by which a lease and an ack may miss each other.
const TICK_NS: u64 = 50_000_000;

#[derive(Default)]
pub(crate) struct Leases {
    checker: Checker,
    /// The tasks of a namespace that were leased and may be so still.
    held: BTreeMap<Namespace, BTreeSet<TaskId>>,
    /// The holder of the lease of a task that was granted last, as the log names it.
    holders: BTreeMap<TaskId, String>,
}

impl Leases {
    pub(crate) fn granted(&self) -> u64 {
        self.checker.count()
    }

    /// Whether a lease is live at this machine time.
    pub(crate) fn is_live(&self, (id, token): &(TaskId, LeaseToken), now_ns: u64) -> bool {
        let live = self.checker.live(*id);
        live.is_some_and(|(last, until_ns)| last == token.0 && until_ns > now_ns)
    }

    /// A task was leased at this machine time. Whether it had a lease before
    /// that ran out.
    pub(crate) fn granted_one(
        &mut self,
        namespace: &Namespace,
        grant: &Grant,
        now_ns: u64,
    ) -> Result<bool, String> {
        let ran_out = self.checker.live(grant.id).is_some();
        let held = self.held.entry(namespace.clone()).or_default();
        held.insert(grant.id);
        self.holders.insert(grant.id, grant.consumer.clone());
        self.checker
            .granted(grant.id, grant.token.0, now_ns, grant.deadline_ns)
            .map_err(promise)?;
        Ok(ran_out)
    }

    /// The consumer that holds a task came back on another session.
    pub(crate) fn resumed(&mut self, id: TaskId, consumer: &str) {
        self.holders.insert(id, consumer.to_owned());
    }

    /// The live leases of a session, and under which names it holds them.
    pub(crate) fn held_by(&self, session: &str, now_ns: u64) -> Vec<(TaskId, String)> {
        let is_its = |name: &str| {
            let of = name.split_once('~').map_or("", |(_, of)| of);
            of.trim_end_matches('+') == session
        };
        let live = |id: &TaskId| self.checker.live(*id).is_some_and(|(_, at)| at > now_ns);
        let its = self.holders.iter().filter(|(_, name)| is_its(name));
        let live = its.filter(|(id, _)| live(id));
        live.map(|(id, name)| (*id, name.clone())).collect()
    }

    /// Tells whether the lease of a task that was granted last is held under this name; all
    /// are held under the empty one.
    pub(crate) fn is_held_by(&self, id: TaskId, consumer: &str) -> bool {
        let holder = self.holders.get(&id);
        consumer.is_empty() || holder.is_none_or(|holder| holder == consumer)
    }

    /// No more than so many leases of a namespace are live.
    pub(crate) fn within(
        &mut self,
        namespace: &Namespace,
        now_ns: u64,
        most: u64,
    ) -> Result<(), String> {
        let Some(held) = self.held.get_mut(namespace) else {
            return Ok(());
        };
        let deadline_ns = |id: &TaskId| self.checker.live(*id).map_or(0, |lease| lease.1);
        held.retain(|id| deadline_ns(id) > now_ns);
        if held.len() as u64 > most {
            return Err(format!(
                "{} leases of namespace {namespace} are live, its limit is {most}",
                held.len()
            ));
        }
        Ok(())
    }

    /// Acks, nacks or releases were applied. `going` are tasks whose namespace is
    /// being deleted: their leases are nobody's any more. Returns the rare events
    /// that it was, for acks.
    pub(crate) fn ended(
        &mut self,
        leases: impl Iterator<Item = (TaskId, LeaseToken)>,
        results: &[Result<Ended, LeaseLost>],
        now_ns: u64,
        going: impl Fn(TaskId) -> bool,
    ) -> Result<Vec<&'static str>, String> {
        let mut seen = Vec::new();
        for ((id, token), result) in leases.zip(results) {
            let how = match result {
                Ok(Ended::Done) => How::Acked,
                Ok(Ended::Waiting { .. }) => How::Returned,
                Ok(Ended::Dead(_)) => How::Died,
                Err(lost) => {
                    let live = self.checker.live(id);
                    let missed = live.is_some_and(|(last, deadline_ns)| {
                        last == token.0 && now_ns <= deadline_ns + TICK_NS
                    });
                    match lost {
                        LeaseLost::Expired if missed => {
                            seen.push("a lease ran out in the tick of an ack");
                        }
                        LeaseLost::Taken => seen.push("a late ack found another's lease"),
                        LeaseLost::Expired | LeaseLost::Gone | LeaseLost::Dead => {}
                    }
                    if !going(id) {
                        let refused = self.checker.refused(id, token.0, now_ns);
                        refused.map_err(promise)?;
                    }
                    continue;
                }
            };
            let ended = self.checker.ended(id, token.0, now_ns, how);
            ended.map_err(promise)?;
        }
        Ok(seen)
    }

    /// A lease lasts until another time, or is refused to do so.
    pub(crate) fn extended(
        &mut self,
        (id, token): (TaskId, LeaseToken),
        result: &Result<u64, LeaseLost>,
        now_ns: u64,
        going: bool,
    ) -> Result<(), String> {
        match result {
            Ok(until_ns) => self.checker.extended(id, token.0, now_ns, *until_ns),
            Err(_) if going => Ok(()),
            Err(_) => self.checker.refused(id, token.0, now_ns),
        }
        .map_err(promise)
    }

    /// A task was cancelled or purged: nobody may hold it.
    pub(crate) fn removed(
        &mut self,
        id: TaskId,
        now_ns: u64,
        how: &'static str,
    ) -> Result<(), String> {
        self.checker.removed(id, now_ns, how).map_err(promise)
    }
}

fn promise(broken: Violation) -> String {
    format!("promise 3: {broken}")
}
