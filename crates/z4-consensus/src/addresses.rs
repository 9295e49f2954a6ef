//! Which address a member is dialled at.
//!
//! The members have an address of each member, and it may be an old one: a member that
//! starts elsewhere is found there before the log says so. Only a leader puts the new
//! address into the log, and sometimes none could be elected without it. So an address
//! at which the member has answered goes first and that of the members second; when one
//! fails, the other one has its turn. Whether the right peer answers is checked
//! wherever a connection is opened.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits;
use crate::membership::Membership;
use crate::planted::planted;

/// Addresses that were found, and which of two has its turn. It is in memory only,
/// because what it holds is in the log soon, or is found anew after a restart.
#[derive(Clone, Debug, Default)]
pub struct AddressBook {
    /// Where members answered, by raft id.
    found: BTreeMap<u64, String>,
    /// The members whose second address has its turn.
    second: BTreeSet<u64>,
}

impl AddressBook {
    /// Where to dial a member now; `None` when nobody has told, or when it was
    /// removed.
    #[must_use]
    pub fn dial<'a>(&'a self, membership: &'a Membership, raft_id: u64) -> Option<&'a str> {
        if membership.removed.contains(&raft_id) {
            return None;
        }
        let known = membership.members.get(&raft_id).map(|m| m.address.as_str());
        let found = self.found.get(&raft_id).map(String::as_str);
        if planted!("address-never-changes") {
            return known.or(found);
        }
        match self.second.contains(&raft_id) {
            true => known.or(found),
            false => found.or(known),
        }
    }

    /// The member answered at this address.
    pub fn found(&mut self, raft_id: u64, address: &str) {
        // One address leads to one peer, so a member that was found there before is
        // there no longer.
        self.found.retain(|_, known| known != address);
        if self.found.len() < limits::FOUND_ADDRESS_COUNT_MAX {
            self.found.insert(raft_id, address.to_owned());
        }
        self.second.remove(&raft_id);
    }

    /// The member did not answer at this address, or another peer did: the
    /// other address has its turn, if there is one.
    pub fn failed(&mut self, membership: &Membership, raft_id: u64, address: &str) {
        if self.dial(membership, raft_id) != Some(address) {
            return;
        }
        if !self.second.remove(&raft_id) && self.found.contains_key(&raft_id) {
            self.second.insert(raft_id);
        }
    }

    /// The members changed: forgets who was removed, and what the members have
    /// now.
    pub fn keep(&mut self, membership: &Membership) {
        let is_new = |id: &u64, address: &str| {
            let known = membership.members.get(id).map(|m| m.address.as_str());
            !membership.removed.contains(id) && known != Some(address)
        };
        self.found.retain(|id, address| is_new(id, address));
        let found = &self.found;
        self.second.retain(|id| found.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Identity;

    fn members() -> Membership {
        let identity = Identity {
            cluster_id: [7; 16],
            raft_id: 1,
            peer_id: "p1".into(),
        };
        Membership::bootstrap(&identity, "h:1")
    }

    #[test]
    fn a_found_address_goes_first_and_both_have_their_turn() {
        let members = members();
        let mut book = AddressBook::default();
        assert_eq!(book.dial(&members, 1), Some("h:1"));
        book.failed(&members, 1, "h:1");
        assert_eq!(book.dial(&members, 1), Some("h:1"), "there is no other");
        book.found(1, "h:9");
        assert_eq!(book.dial(&members, 1), Some("h:9"));
        book.failed(&members, 1, "h:1");
        assert_eq!(book.dial(&members, 1), Some("h:9"), "it was not dialled");
        book.failed(&members, 1, "h:9");
        assert_eq!(book.dial(&members, 1), Some("h:1"));
        book.failed(&members, 1, "h:1");
        assert_eq!(book.dial(&members, 1), Some("h:9"));
        book.failed(&members, 1, "h:9");
        book.found(1, "h:8");
        assert_eq!(book.dial(&members, 1), Some("h:8"), "it was seen there");
    }

    #[test]
    fn what_the_members_have_is_not_kept_beside_them() {
        let mut members = members();
        let mut book = AddressBook::default();
        book.found(1, "h:9");
        book.failed(&members, 1, "h:9");
        if let Some(member) = members.members.get_mut(&1) {
            member.address = "h:9".into();
        }
        book.keep(&members);
        assert_eq!(book.dial(&members, 1), Some("h:9"));
        book.failed(&members, 1, "h:9");
        assert_eq!(book.dial(&members, 1), Some("h:9"));
    }

    #[test]
    fn a_newcomer_dials_whom_it_has_found_and_nobody_dials_who_was_removed() {
        let mut nobody = Membership::default();
        let mut book = AddressBook::default();
        assert_eq!(book.dial(&nobody, 4), None);
        book.found(4, "h:4");
        assert_eq!(book.dial(&nobody, 4), Some("h:4"));
        book.failed(&nobody, 4, "h:4");
        assert_eq!(book.dial(&nobody, 4), Some("h:4"));
        nobody.removed.insert(4);
        assert_eq!(book.dial(&nobody, 4), None);
    }

    #[test]
    fn one_address_leads_to_one_peer() {
        let nobody = Membership::default();
        let mut book = AddressBook::default();
        book.found(4, "h:4");
        book.found(5, "h:4");
        assert_eq!(book.dial(&nobody, 4), None);
        assert_eq!(book.dial(&nobody, 5), Some("h:4"));
    }

    #[test]
    fn the_book_is_bounded() {
        let nobody = Membership::default();
        let mut book = AddressBook::default();
        let many = limits::FOUND_ADDRESS_COUNT_MAX as u64 + 1;
        for id in 1..=many {
            book.found(id, &format!("h:{id}"));
        }
        assert_eq!(book.dial(&nobody, many), None);
    }
}
