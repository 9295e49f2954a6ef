//! What a consumer may rely on, beyond what the log alone shows.
//!
//! - What it has in hand nobody gives back but itself: a peer that lost sight of it
//!   must not end its leases (promise 3).
//! - It is not handed more tasks at once than it takes, but for what it had before.
//! - A lease that is granted to a session that is gone is given back, and not left to
//!   run out as a failure, once there are no more faults and the same peer leads.
//! - What is acknowledged was handed to somebody before.
//! - Who has a name and is told that its session ended in good order holds nothing of it
//!   any more, and is granted nothing more by it.
//! - At rest the leader knows of the consumers that there are, and of no others; and
//!   no session counts a lease, for there are none.

use std::collections::{BTreeMap, BTreeSet};

use z4_core::command::{Ended, Grant, LeaseLost, LeaseRefs};
use z4_core::task::LeaseToken;
use z4_core::{Command, Outcome, TaskId};
use z4_delivery::{Delivery, Key, SessionId};

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
    /// Leases that may be given back, whenever that is done: their consumers asked for
    /// it.
    pub(super) asked_back: BTreeSet<Key>,
    /// The greatest reading of the clock of a peer that led, in nanoseconds.
    pub(super) leader_clock_ns: u64,
    /// The ends of the names of sessions that ended in good order.
    done: BTreeSet<String>,
    /// Leases of sessions that are gone.
    strays: BTreeMap<TaskId, Stray>,
}

/// A lease that was granted to a session that is gone.
#[derive(Debug)]
struct Stray {
    token: LeaseToken,
    holder: String,
    /// The term that the peer of the session knew, which asked its leader to end the lease.
    term: u64,
}

impl World {
    /// Commands were applied, for the first time.
    pub(crate) fn judge_applied(&mut self, command: &Command, outcome: &Outcome) {
        let results = match (command, outcome) {
            (_, Outcome::Ended { results, .. }) => results,
            (Command::ResumeLeases(resume), Outcome::Extended { results, .. }) => {
                let all = resume.held.refs.leases.iter().zip(results);
                for (key, _) in all.filter(|(_, result)| result.is_ok()) {
                    self.judge.strays.remove(&key.0);
                }
                return;
            }
            (_, Outcome::Leased { grants, .. }) => return self.judge_leased(grants),
            _ => return,
        };
        let refs = match command {
            Command::ReleaseTasks(held) | Command::ReturnTasks(held) => &held.refs,
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

    fn judge_leased(&mut self, grants: &[Grant]) {
        let is_done = |grant: &&Grant| {
            let (id, session) = grant.consumer.split_once('~').unwrap_or_default();
            id.starts_with("named-") && self.judge.done.contains(session)
        };
        if let Some(Grant { consumer, id, .. }) = grants.iter().find(is_done) {
            let what = format!("{consumer} ended in good order, and was granted task {id}");
            self.fail(what);
        }
    }

    /// The consumers that have a connection to a peer.
    fn wires_of(&self, id: u64) -> impl Iterator<Item = &str> {
        let there = self.wires.values().filter(move |wire| wire.peer.0 == id);
        there.map(|wire| self.consumers[wire.consumer].id.as_str())
    }

    /// A session is told that not all is given back that its consumer had.
    pub(super) fn judge_not_given_back(&mut self, id: u64, session: SessionId) {
        // Long enough for a leader, and for what was under way.
        let calm_ns = 15_000 * MS;
        let is_calm = self
            .healed_at_ns
            .is_some_and(|at_ns| self.now_ns > at_ns + calm_ns);
        if is_calm {
            let session = session.0;
            self.fail(format!(
                "session {session:x} of peer {id} did not give back all in time"
            ));
        }
    }

    /// A session is told that it has ended in good order.
    pub(super) fn judge_done(&mut self, id: u64, session: SessionId) {
        let Some(boot) = self.peers.get(&id).map(|peer| peer.boot) else {
            return;
        };
        let name = format!("{id}.{boot}.{:x}", session.0);
        let now_ns = self.checks.now_ns();
        let mut held = self.checks.leases.held_by(&name, now_ns);
        // A consumer that drains may work still on what it has from before.
        let wire = self.task(id, session).map(|task| task.wire);
        let wire = wire.and_then(|wire| self.wires.get(&wire));
        let is_closed = wire.is_some_and(|wire| wire.is_closing && !wire.is_drained);
        held.retain(|(id, name)| {
            let counts = is_closed || !name.ends_with('+');
            counts && name.starts_with("named-") && !self.checks.ends.is_over(*id)
        });
        self.judge.done.insert(name);
        if let Some((id, name)) = held.first() {
            self.fail(format!("{name} ended in good order, and holds task {id}"));
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
        let (id, token) = delivery.key();
        if self
            .judge
            .strays
            .get(&id)
            .is_some_and(|stray| stray.token == token)
        {
            self.judge.strays.remove(&id);
        }
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

    /// A peer applied grants.
    pub(super) fn judge_granted(&mut self, id: u64, grants: &[Grant]) {
        let is_healed = self.healed_at_ns.is_some();
        // Long enough for a release to come in time.
        let now_ns = self.checks.now_ns().max(self.wall_ns()) + 500 * MS;
        let term_now = self.peers.keys().filter_map(|id| self.term_of(*id)).max();
        for grant in grants {
            // A request to a leader that goes is answered late, or never: its own removal
            // may have been the last fault to take effect.
            let stray = self.judge.strays.get(&grant.id);
            let stray = stray.filter(|stray| Some(stray.term) == term_now);
            if let Some(stray) = stray.filter(|stray| stray.token.0 < grant.token.0) {
                let what = format!(
                    "task {} was left to {}, which is gone, under token {}, and not given back",
                    grant.id, stray.holder, stray.token.0
                );
                return self.fail(what);
            }
            let (Some(peer), Some(term)) = (self.peers.get(&id), self.term_of(id)) else {
                return;
            };
            let boot = peer.boot;
            let here = format!("~{id}.{boot}.");
            let Some((_, number)) = grant.consumer.split_once(&here) else {
                continue;
            };
            let is_there = u64::from_str_radix(number, 16).is_ok_and(|number| {
                let session = SessionId(number);
                self.task(id, session).is_some()
            });
            // A session that took over has it too.
            let consumer = z4_delivery::consumer_id::of(&grant.consumer);
            if is_there || self.wires_of(id).any(|of| of == consumer) {
                continue;
            }
            let is_live = self.checks.leases.is_live(&(grant.id, grant.token), now_ns);
            // One that somebody resumed since is no stray.
            let is_its = self.checks.leases.is_held_by(grant.id, &grant.consumer);
            if !is_live || !is_its {
                continue;
            }
            self.saw("a grant came for a session that was gone");
            // Before that the release may be lost with its peer.
            if is_healed {
                let stray = Stray {
                    token: grant.token,
                    holder: grant.consumer.clone(),
                    term,
                };
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
