//! The administrator: members come and go, disks are lost for good, leadership
//! is transferred.
//!
//! One step at a time, as `z4t` does it: a peer is dialled before it is added
//! (here: it is started, waiting), comes in as a learner, is promoted by its
//! leader when it has caught up. A leader that is to be removed hands leadership
//! over first.
//!
//! A disk that is lost (`Fault::Wipe`) takes a vote out of the cluster for good
//! until its peer is removed; a new member with a new raft id takes the place.
//! That is done only while a quorum is left without it, whatever change is still
//! on its way: what is lost beyond a quorum no cluster can give back.

use rand::Rng;
use z4_consensus::membership::ChangeError;
use z4_consensus::replica::Input;
use z4_consensus::status::Role;
use z4_consensus::{Change, Membership, ProposeError};

use crate::addresses;
use crate::faults::Fault;
use crate::peer::{Peer, Token};
use crate::world::{Event, World};

/// Most members; a cluster has 1 to 7 peers.
const MEMBERS_MAX: usize = 7;

/// What the administrator is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Plan {
    /// Nothing.
    #[default]
    Idle,
    /// This peer is to become a voter.
    Add(u64),
    /// This member is to go.
    Remove(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Admin {
    plan: Plan,
    /// A member that lost its disk, and is to be replaced.
    wiped: bool,
    /// Who is to go was leading.
    led: bool,
}

impl Admin {
    /// The member that is to go.
    pub(crate) fn leaving(&self) -> Option<u64> {
        match self.plan {
            Plan::Remove(id) => Some(id),
            Plan::Idle | Plan::Add(_) => None,
        }
    }

    /// The newcomer that is to become a voter.
    pub(crate) fn adding(&self) -> Option<u64> {
        match self.plan {
            Plan::Add(id) => Some(id),
            Plan::Idle | Plan::Remove(_) => None,
        }
    }

    /// Whether there is nothing left to do.
    pub(crate) fn rests(&self) -> bool {
        self.plan == Plan::Idle && !self.wiped
    }
}

impl World {
    /// The peer that leads in the highest term, with its members, if it has
    /// applied all that it has: no change of members is on its way in it.
    pub(crate) fn some_leader(&self) -> Option<(u64, Membership)> {
        let leads = |peer: &&Peer| {
            let glance = peer.run.as_ref().map(|run| run.replica.glance());
            glance.is_some_and(|g| g.role == Role::Leader && g.leader_ready)
        };
        let term = |peer: &&Peer| peer.run.as_ref().map(|run| run.replica.glance().term);
        let leader = self.peers.values().filter(leads).max_by_key(term)?;
        let run = leader.run.as_ref()?;
        Some((leader.raft_id, run.replica.membership().clone()))
    }

    /// Takes the next step, again and again.
    pub(crate) fn administer(&mut self) {
        self.within(150, 400, Event::Admin);
        if self.core.is_some() {
            return;
        }
        let Some((leader, members)) = self.some_leader() else {
            if !self.calm() && self.one_in(10) {
                self.set_addresses();
            }
            return;
        };
        match self.admin.plan {
            Plan::Idle => self.choose(leader, &members),
            Plan::Add(id) => self.add_step(leader, &members, id),
            Plan::Remove(id) => self.remove_step(leader, &members, id),
        }
    }

    fn choose(&mut self, leader: u64, members: &Membership) {
        if self.admin.wiped {
            self.admin.wiped = false;
            return self.begin_add(members);
        }
        if self.healed_at_ns.is_some() {
            return;
        }
        // A step now and then.
        if self.about(Fault::Transfer) && self.one_in(8) {
            return self.change(leader, Input::Transfer(0, Token::Transfer));
        }
        if self.about(Fault::Members) && self.one_in(10) {
            let ids: Vec<u64> = members.members.keys().copied().collect();
            let few = members.members.len() < 3;
            if few || (members.members.len() < MEMBERS_MAX && self.rng.gen()) {
                return self.begin_add(members);
            }
            if let Some(id) = self.one_of(&ids) {
                self.admin.plan = Plan::Remove(id);
            }
            return;
        }
        if self.about(Fault::Wipe) && self.one_in(15) && self.may_wipe(leader, members) {
            let ids: Vec<u64> = members.members.keys().copied().collect();
            if let Some(id) = self.one_of(&ids) {
                self.wipe(id);
            }
        }
    }

    /// Whether a quorum is left when a member is lost for good: three voters at
    /// least, all of them there, and no change on its way at the leader of the
    /// highest term, which has applied all of its log.
    fn may_wipe(&self, leader: u64, members: &Membership) -> bool {
        let settled = self.peers.get(&leader).and_then(|p| p.run.as_ref());
        let settled = settled.is_some_and(|run| {
            let status = run.replica.status();
            status.applied_index == status.last_index && !run.change_in_flight
        });
        let terms = self.peers.values().filter_map(|p| p.run.as_ref());
        let highest = terms.map(|run| run.replica.glance().term).max();
        let leads_last = self
            .peers
            .get(&leader)
            .and_then(|p| p.run.as_ref())
            .is_some_and(|run| Some(run.replica.glance().term) == highest);
        let there = |id: &u64| self.peers.get(id).is_some_and(|p| !p.gone);
        settled && leads_last && members.voter_count() >= 3 && members.members.keys().all(there)
    }

    /// A member loses its disk for good.
    fn wipe(&mut self, id: u64) {
        self.trace
            .note(self.now_ns, format_args!("peer {id} lost its disk"));
        self.crash(id);
        if self.options.planted("raft-id-reused") {
            // It comes back with empty disks under its old number.
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.lose_disk();
            }
            return self.within(100, 2_000, Event::Restart(id));
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.gone = true;
        }
        self.admin.wiped = true;
        self.admin.plan = Plan::Remove(id);
    }

    fn begin_add(&mut self, members: &Membership) {
        let id = members.raft_id_next;
        self.trace.note(self.now_ns, format_args!("adding {id}"));
        if !self.peers.contains_key(&id) {
            // Its operator knows nothing of the cluster.
            let binary = self.new_binary(1);
            self.peers.insert(id, Peer::new(id, binary));
        }
        self.start(id);
        self.admin.plan = Plan::Add(id);
    }

    fn add_step(&mut self, leader: u64, members: &Membership, id: u64) {
        match members.members.get(&id) {
            None if members.raft_id_next == id => {
                let at = |id: u64| self.peers.get(&id).map(|p| addresses::text(p.address));
                let own = members.members.get(&leader).map(|m| m.address.clone());
                let unreached = self.options.planted("address-never-changes");
                // The newcomer is not touched before the leader's own address is
                // right, nor while it is not there.
                if own != at(leader) && !unreached {
                    return;
                }
                let Some(address) = at(id) else { return };
                let Some(levels) = self.peers.get(&id).map(|p| p.levels) else {
                    return;
                };
                // Each dials the other where that one says that it is.
                let lies = |id: &u64| self.peers.get(id).is_some_and(|p| p.says != p.address);
                if [leader, id].iter().any(lies) {
                    return;
                }
                let change = Change::AddLearner {
                    raft_id: id,
                    peer_id: format!("peer{id}"),
                    address,
                    levels: Some(levels),
                };
                self.change(leader, Input::Change(change, Token::Admin));
            }
            Some(member) if member.voter => {
                if self.peers.get(&leader).is_some_and(|p| p.address != leader) {
                    self.saw("a newcomer joined where the leader had moved");
                }
                self.admin.plan = Plan::Idle;
            }
            // The number came from a leader that lagged: it was another's, who is
            // gone.
            None if members.raft_id_next > id => self.admin.plan = Plan::Idle,
            // Not caught up yet.
            Some(_) if self.about(Fault::Upgrade) && self.one_in(4) => {
                self.die(id);
                self.within(20, 200, Event::Restart(id));
            }
            // A leader that lags does not know it.
            _ => {}
        }
    }

    fn remove_step(&mut self, leader: u64, members: &Membership, id: u64) {
        if members.removed.contains(&id) {
            self.admin.plan = Plan::Idle;
            if std::mem::take(&mut self.admin.led) {
                self.saw("the leader was removed");
            }
            if self.admin.wiped {
                self.saw("a member lost its disk and was replaced");
            }
            return;
        }
        let last = members.voter_count() == 1 && members.members.get(&id).is_some_and(|m| m.voter);
        if !members.members.contains_key(&id) || last {
            self.admin.plan = Plan::Idle;
        } else if id == leader {
            self.admin.led = true;
            self.change(leader, Input::Transfer(0, Token::Transfer));
        } else {
            let change = Change::Remove { raft_id: id };
            self.change(leader, Input::Change(change, Token::Admin));
        }
    }

    fn change(&mut self, leader: u64, input: Input<Token>) {
        let transfer = matches!(input, Input::Transfer(..));
        if let Some(run) = self.peers.get_mut(&leader).and_then(|p| p.run.as_mut()) {
            if run.change_in_flight {
                return;
            }
            run.change_in_flight = !transfer;
        }
        self.input(leader, input);
        if transfer || self.calm() {
            return;
        }
        // The moment at which it hurts most: the change is in the leader's log,
        // and perhaps nowhere else.
        let ids: Vec<u64> = self.members().into_iter().collect();
        if self.about(Fault::Partition) && self.one_in(4) {
            self.partition(leader, &ids);
        } else if self.about(Fault::Kill) && self.one_in(4) {
            self.within(1, 8, Event::Kill(leader));
        }
    }

    pub(crate) fn admin_answered(
        &mut self,
        id: u64,
        token: &Token,
        result: &Result<(), ProposeError>,
    ) {
        if matches!(token, Token::Transfer) {
            if result.is_ok() {
                self.saw("leadership was transferred");
            }
            return;
        }
        if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
            run.change_in_flight = false;
        }
        let said = match result {
            Ok(()) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        self.trace
            .note(self.now_ns, format_args!("admin at {id}: {said}"));
        match result {
            Ok(()) => self.report.changes += 1,
            Err(ProposeError::Superseded | ProposeError::Unknown) => {
                self.saw("a change of members was lost with its leader");
            }
            Err(ProposeError::Rejected(ChangeError::LevelUnknown { .. })) => {
                self.saw("a newcomer was refused for its levels");
                if let Plan::Add(newcomer) = self.admin.plan {
                    self.die(newcomer);
                    self.within(20, 500, Event::Restart(newcomer));
                }
            }
            Err(_) => {}
        }
    }

    /// A peer learned that it was removed: it stops for good.
    pub(crate) fn peer_removed(&mut self, id: u64) {
        self.consumers_end(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.stop();
        peer.gone = true;
        self.trace
            .note(self.now_ns, format_args!("{id} is removed"));
    }
}
