//! Addresses that members are at, and how they come into the log.
//!
//! An address is a part of the members, which the log decides. A member that
//! starts at another address says so to the others; the shell of whoever hears
//! of it dials that address, and once the right peer has answered there it tells
//! its replica. Every replica keeps that in mind, so that whoever leads next can
//! put it into the log, as a leader promotes learners: by itself. A leader says
//! its own address as every member does, and puts it in only once another member
//! has found it there: the address that a peer was given may lead nowhere from
//! another machine, and with it the others would lose their leader for good.

use std::collections::BTreeMap;

use super::Replica;
use crate::limits;
use crate::log::LogStore;
use crate::membership::{Change, ChangeError, Membership};
use crate::planted::planted;

/// What was heard of addresses. Each table has a row at most for a member, and
/// for each raft id that the gate lets in before this peer knows the member.
#[derive(Default)]
pub(super) struct Addresses {
    /// Where members answered, if it is not where the members have them.
    found: BTreeMap<u64, String>,
    /// At which address a member has opened its last stream to this peer.
    reached_at: BTreeMap<u64, String>,
    /// Why what was found cannot be put into the log.
    conflicts: BTreeMap<u64, String>,
}

impl Addresses {
    pub(super) fn conflicts(&self) -> &BTreeMap<u64, String> {
        &self.conflicts
    }

    /// The members changed: forgets who is none, and what the log has now.
    pub(super) fn keep(&mut self, membership: &Membership) {
        let (members, removed) = (&membership.members, &membership.removed);
        self.found.retain(|id, address| {
            let known = members.get(id);
            !removed.contains(id) && known.is_none_or(|m| m.address != *address)
        });
        self.reached_at.retain(|id, _| !removed.contains(id));
    }

    /// The log has these addresses now, so where their members were found before no
    /// longer counts. A member that is elsewhere again says so again.
    pub(super) fn set<'a>(&mut self, raft_ids: impl Iterator<Item = &'a u64>) {
        for raft_id in raft_ids {
            self.found.remove(raft_id);
        }
    }
}

/// Notes an address, while there is room: before this peer knows the members,
/// anybody may say to be one.
fn insert(table: &mut BTreeMap<u64, String>, raft_id: u64, address: String) {
    if table.len() < limits::FOUND_ADDRESS_COUNT_MAX || table.contains_key(&raft_id) {
        table.insert(raft_id, address);
    }
}

impl<L: LogStore, P> Replica<L, P> {
    /// A member answered at this address.
    pub(super) fn member_at(&mut self, raft_id: u64, address: String) {
        // One address leads to one peer, so a member that was found there before is
        // there no longer.
        self.addresses.found.retain(|_, known| *known != address);
        insert(&mut self.addresses.found, raft_id, address);
        self.addresses.keep(&self.membership);
    }

    /// A member reached this peer at this address.
    pub(super) fn reached_at(&mut self, raft_id: u64, address: String) {
        insert(&mut self.addresses.reached_at, raft_id, address);
        self.addresses.keep(&self.membership);
    }

    /// Whether a member has reached this peer at the address that the members
    /// have of it, so that it will reach it again when it knows no other.
    pub(super) fn is_reached_by(&self, raft_id: u64) -> bool {
        if self.config.address.is_empty() || planted!("address-never-changes") {
            return true;
        }
        let own = self.membership.members.get(&self.config.raft_id);
        let reached_at = self.addresses.reached_at.get(&raft_id);
        own.is_some_and(|own| reached_at == Some(&own.address))
    }

    /// A leader puts addresses into the log that differ from those of the
    /// members. What cannot be put in is not proposed, and the status says why.
    pub(super) fn correct_addresses(&mut self) {
        if !self.leads_by_log() {
            self.addresses.conflicts.clear();
            return;
        }
        if self.raw.raft.has_pending_conf() || self.raw.raft.lead_transferee.is_some() {
            return;
        }
        let mut wanted = self.addresses.found.clone();
        wanted.retain(|id, _| self.membership.members.contains_key(id));
        if planted!("address-not-proposed") {
            wanted.clear();
        }
        let (own, me) = (&self.config.address, self.config.raft_id);
        let known = self.membership.members.get(&me);
        let is_elsewhere = known.is_some_and(|m| !own.is_empty() && m.address != *own);
        // A voter that is alone has no other member to lose.
        let is_confirmed = self.addresses.found.get(&me) == Some(own)
            || self.membership.voter_count() == 1
            || planted!("own-address-unconfirmed");
        wanted.remove(&me);
        if is_elsewhere && is_confirmed {
            wanted.retain(|_, address| address != own);
            wanted.insert(me, own.clone());
        }
        if planted!("address-never-changes") {
            wanted.clear();
        }
        let (possible, conflicts) = possible(&self.membership, wanted);
        self.addresses.conflicts = conflicts;
        if !possible.is_empty() {
            // Tried again at the next tick if the log is full.
            let _ = self.append_change(&Change::SetAddresses(possible));
        }
    }
}

/// Of the addresses that are wanted, those that can be set together, and why the
/// others cannot: another member has them and stays there.
fn possible(
    membership: &Membership,
    mut wanted: BTreeMap<u64, String>,
) -> (BTreeMap<u64, String>, BTreeMap<u64, String>) {
    let mut conflicts = BTreeMap::new();
    while !wanted.is_empty() {
        let change = Change::SetAddresses(wanted.clone());
        let Err(error) = membership.clone().change(&change) else {
            break;
        };
        // A member that stays where it is may be in the way of the next one, so each
        // round drops one.
        let blocked = match &error {
            ChangeError::AddressTaken(address, _) => {
                let mut at = wanted.iter().filter(|(_, wants)| *wants == address);
                at.next().map(|(id, _)| *id)
            }
            _ => None,
        };
        let Some(raft_id) = blocked else { break };
        wanted.remove(&raft_id);
        let peer_id = membership.members.get(&raft_id).map(|m| &m.peer_id);
        let peer_id = peer_id.map_or("", String::as_str);
        conflicts.insert(raft_id, format!("{peer_id} has moved, but {error}"));
    }
    (wanted, conflicts)
}
