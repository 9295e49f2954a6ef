//! What a consumer may rely on, beyond what the log alone shows.
//!
//! - What it has in hand nobody gives back but itself: a peer that lost sight of it
//!   must not end its leases (promise 3).
//! - It is not handed more tasks at once than it takes, but for what it had before.
//! - A lease that is granted to a session that is gone is given back, and not left to
//!   run out as a failure, once there are no more faults.
//! - What is acknowledged was handed to somebody before.
//! - At rest the leader knows of the consumers that there are, and of no others; and
//!   no session counts a lease, for there are none.

use std::collections::{BTreeMap, BTreeSet};

use z4_core::command::{Ended, Grant, LeaseLost, LeaseRefs};
use z4_core::task::LeaseToken;
use z4_core::{Command, Outcome, TaskId};
use z4_delivery::{Delivery, Key};

use crate::peer::Life;
use crate::world::{World, MS};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// Which consumer works on which lease.
    pub(crate) hands: BTreeMap<Key, usize>,
    /// Leases that were handed to the connection of a consumer.
    pub(super) sent: BTreeSet<Key>,
    /// Leases of which an ack is in the history. Of a second one it may be said that
    /// it is done because the first one was.
    pub(super) acked: BTreeSet<Key>,
    /// To whom each lease was granted.
    names: BTreeMap<Key, String>,
    /// Leases that may be given back, whenever that is done: their consumers asked for
    /// it, or were there when it was decided.
    pub(super) asked_back: BTreeSet<Key>,
    /// The greatest reading of the clock of a peer that led, in nanoseconds.
    pub(super) leader_clock_ns: u64,
    /// Leases of sessions that are gone and whose consumers cannot come back.
    strays: BTreeMap<TaskId, (LeaseToken, String)>,
}

impl World {
    /// Commands were applied, for the first time.
    pub(crate) fn judge_applied(&mut self, command: &Command, outcome: &Outcome) {
        let Outcome::Ended { results, .. } = outcome else {
            return;
        };
        let refs = match command {
            Command::ReleaseTasks(refs) | Command::ReturnTasks(refs) => refs,
            Command::AckTasks(refs) => return self.judge_acked(refs, results),
            _ => return,
        };
        let all = refs.leases.iter().zip(results);
        for (key, _) in all.filter(|(_, result)| result.is_ok()) {
            self.judge.strays.remove(&key.0);
            if self.judge.asked_back.contains(key) {
                continue;
            }
            if let Some(consumer) = self.judge.hands.get(key) {
                let id = &self.consumers[*consumer].id;
                let what = format!(
                    "promise 3: task {} was given back while consumer {id} had it in hand",
                    key.0
                );
                return self.fail(what);
            }
        }
    }

    fn judge_acked(&mut self, refs: &LeaseRefs, results: &[Result<Ended, LeaseLost>]) {
        let done = refs.leases.iter().zip(results);
        for (key, _) in done.filter(|(_, result)| result.is_ok()) {
            if !self.judge.sent.contains(key) {
                let what = format!(
                    "promise 1: task {} was acknowledged, and handed to nobody",
                    key.0
                );
                return self.fail(what);
            }
        }
    }

    /// A consumer was handed a task.
    pub(super) fn judge_delivered(&mut self, consumer: usize, wire: u64, delivery: &Delivery) {
        let most = self.wires.get(&wire).map_or(0, |wire| wire.in_flight_max);
        let state = &self.consumers[consumer];
        // What it has at another peer, or of an earlier connection, is not counted here.
        if most == 0 || delivery.is_resumed || state.wires.len() != 1 {
            return;
        }
        let (leases, at_ns) = (&self.checks.leases, self.checks.now_ns());
        // The deletion of a namespace ends the leases of its tasks.
        let is_live = |key: &Key| leases.is_live(key, at_ns) && !self.checks.ends.is_over(key.0);
        let its = state.hand.iter().filter(|(_, by)| **by == wire);
        let live = its.filter(|(key, _)| is_live(key));
        let count = live.count() as u64;
        if count > most {
            let what = format!(
                "consumer {} has {count} tasks in hand and takes {most} at once",
                state.id
            );
            self.fail(what);
        }
    }

    /// A peer is about to give leases back that no client asked it to. Those of a
    /// consumer that is there on an open session it may; should that be applied only
    /// after the consumer has gone elsewhere, nobody could have known.
    pub(super) fn judge_proposed(&mut self, life: Life, command: &Command) {
        let Command::ReleaseTasks(refs) = command else {
            return;
        };
        for key in &refs.leases {
            let name = self.judge.names.get(key).map_or("", String::as_str);
            let id = z4_delivery::consumer_id::of(name);
            let mut its = self
                .wires
                .values()
                .filter(|wire| wire.peer == life && wire.is_up);
            if its.any(|wire| !wire.is_closing && self.consumers[wire.consumer].id == id) {
                self.judge.asked_back.insert(*key);
            }
        }
    }

    /// A peer applied grants.
    pub(super) fn judge_granted(&mut self, id: u64, grants: &[Grant]) {
        for grant in grants {
            let key = (grant.id, grant.token);
            self.judge.names.insert(key, grant.consumer.clone());
        }
        if self.healed_at_ns.is_none() {
            return;
        }
        // Long enough for a release to come in time.
        let now_ns = self.checks.now_ns().max(self.wall_ns()) + 500 * MS;
        for grant in grants {
            let stray = self.judge.strays.get(&grant.id);
            if let Some((token, name)) = stray.filter(|(token, _)| token.0 < grant.token.0) {
                let what = format!(
                    "task {} was left to {name}, which is gone, under token {}, and not given \
                     back",
                    grant.id, token.0
                );
                return self.fail(what);
            }
            let Some(boot) = self.peers.get(&id).map(|peer| peer.boot) else {
                return;
            };
            let here = format!("~{id}.{boot}.");
            let Some((of, number)) = grant.consumer.split_once(&here) else {
                continue;
            };
            let is_there = u64::from_str_radix(number, 16).is_ok_and(|number| {
                let session = z4_delivery::SessionId(number);
                self.task(id, session).is_some()
            });
            let is_live = self.checks.leases.is_live(&(grant.id, grant.token), now_ns);
            if is_live && !is_there && !of.starts_with("named-") {
                self.saw("a grant came for a session that was gone");
                let stray = (grant.token, grant.consumer.clone());
                self.judge.strays.insert(grant.id, stray);
            }
        }
    }

    /// A peer that counts leases when there are none, if one does.
    pub(crate) fn wrong_ledger(&self) -> Option<String> {
        self.peers.values().find_map(|peer| {
            let count = peer.run.as_ref()?.shell.sessions.lease_count();
            (count > 0).then(|| {
                let id = peer.raft_id;
                format!("the sessions of peer {id} count {count} leases, and there are none")
            })
        })
    }

    /// What the leader has wrong of the consumers, if anything.
    pub(crate) fn wrong_consumers(&self, leader: u64) -> Option<String> {
        let shells = || {
            self.peers
                .values()
                .filter_map(|peer| Some(&peer.run.as_ref()?.shell))
        };
        let leading = self.peers.get(&leader)?.run.as_ref()?;
        for namespace in &self.namespaces {
            let known = leading.shell.sessions.consumers(namespace)?.consumers;
            let there: usize = shells()
                .map(|shell| shell.sessions.reported(namespace))
                .sum();
            if known != there as u64 {
                return Some(format!(
                    "peer {leader} knows {known} consumers of {namespace}, and {there} have said \
                     that they are there"
                ));
            }
        }
        None
    }
}
