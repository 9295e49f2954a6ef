//! Members, raft ids, removed ids; what a change does to them.
//!
//! People name peers by strings; Raft numbers them. The numbers are given out
//! by the log and never reused, so a peer that lost its disk cannot come back
//! as its old self and vote twice.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::ConfState;

use crate::planted::planted;
use crate::proposals::wire::{Reader, Writer};

/// Who a peer is: given once, durable, never changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Made at bootstrap.
    pub cluster_id: [u8; 16],
    /// The number the log gave this peer.
    pub raft_id: u64,
    /// The name people gave it.
    pub peer_id: String,
}

/// A member as people know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The name people gave it.
    pub peer_id: String,
    /// `host:port` of its peer port.
    pub address: String,
    /// Whether it votes; a learner does not yet.
    pub voter: bool,
}

/// A change of one member, as proposed and stored in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A new member that does not vote yet.
    AddLearner {
        /// The number it gets; must be the next one.
        raft_id: u64,
        /// Its name; must be new.
        peer_id: String,
        /// `host:port` of its peer port; must be new.
        address: String,
    },
    /// A learner has caught up and votes from now on.
    Promote {
        /// Which.
        raft_id: u64,
    },
    /// A member leaves for good.
    Remove {
        /// Which.
        raft_id: u64,
    },
    /// Members are at other addresses than before. All of them change together,
    /// so that two members can swap their addresses. No vote changes.
    SetAddresses(
        /// The new `host:port` of each, by raft id.
        BTreeMap<u64, String>,
    ),
}

/// The members at one index of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// Cluster id, made at bootstrap.
    pub cluster_id: [u8; 16],
    /// Members by raft id.
    pub members: BTreeMap<u64, Member>,
    /// Raft ids that left. They never come back.
    pub removed: BTreeSet<u64>,
    /// The number that the next new member gets.
    pub raft_id_next: u64,
}

/// Why a change cannot be. Every replica decides the same.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChangeError {
    /// The name is a member's.
    #[error("peer id {0} is a member already; remove it first")]
    PeerIdTaken(String),
    /// The address is a member's.
    #[error("address {0} is that of member {1}; give the new peer's own")]
    AddressTaken(String, String),
    /// The number is not the next one: another change came first.
    #[error("raft id {0} is not the next one; try again")]
    RaftIdNotNext(u64),
    /// No such member.
    #[error("no member with raft id {0}")]
    Unknown(u64),
    /// It votes already.
    #[error("member {0} is a voter already")]
    AlreadyVoter(String),
    /// A cluster needs a voter.
    #[error("{0} is the last voter; a cluster cannot be without one")]
    LastVoter(String),
}

impl Membership {
    /// The members of a new cluster of one.
    #[must_use]
    pub fn bootstrap(identity: &Identity, address: &str) -> Self {
        let member = Member {
            peer_id: identity.peer_id.clone(),
            address: address.to_owned(),
            voter: true,
        };
        Self {
            cluster_id: identity.cluster_id,
            members: BTreeMap::from([(identity.raft_id, member)]),
            removed: BTreeSet::new(),
            raft_id_next: identity.raft_id + 1,
        }
    }

    /// Raft's own view of the members.
    #[must_use]
    pub fn conf_state(&self) -> ConfState {
        let ids = |voter: bool| {
            self.members
                .iter()
                .filter(|(_, m)| m.voter == voter)
                .map(|(id, _)| *id)
                .collect()
        };
        let mut conf = ConfState::default();
        conf.set_voters(ids(true));
        conf.set_learners(ids(false));
        conf
    }

    /// The raft id and member of a name.
    #[must_use]
    pub fn find(&self, peer_id: &str) -> Option<(u64, &Member)> {
        self.members
            .iter()
            .find(|(_, m)| m.peer_id == peer_id)
            .map(|(id, m)| (*id, m))
    }

    /// How many vote.
    #[must_use]
    pub fn voter_count(&self) -> usize {
        self.members.values().filter(|m| m.voter).count()
    }

    /// Makes a change.
    ///
    /// # Errors
    /// [`ChangeError`]: nothing was changed, on any replica.
    pub fn change(&mut self, change: &Change) -> Result<(), ChangeError> {
        match change {
            Change::AddLearner {
                raft_id,
                peer_id,
                address,
            } => {
                self.check_new(*raft_id, peer_id, address)?;
                let member = Member {
                    peer_id: peer_id.clone(),
                    address: address.clone(),
                    voter: false,
                };
                self.members.insert(*raft_id, member);
                self.raft_id_next = raft_id + 1;
            }
            Change::Promote { raft_id } => {
                let member = self
                    .members
                    .get_mut(raft_id)
                    .ok_or(ChangeError::Unknown(*raft_id))?;
                if member.voter {
                    return Err(ChangeError::AlreadyVoter(member.peer_id.clone()));
                }
                member.voter = true;
            }
            Change::Remove { raft_id } => {
                let member = self
                    .members
                    .get(raft_id)
                    .ok_or(ChangeError::Unknown(*raft_id))?;
                if member.voter && self.voter_count() == 1 {
                    return Err(ChangeError::LastVoter(member.peer_id.clone()));
                }
                self.members.remove(raft_id);
                self.removed.insert(*raft_id);
            }
            Change::SetAddresses(addresses) => self.set_addresses(addresses)?,
        }
        Ok(())
    }

    fn set_addresses(&mut self, addresses: &BTreeMap<u64, String>) -> Result<(), ChangeError> {
        let mut members = self.members.clone();
        for (raft_id, address) in addresses {
            let member = members.get_mut(raft_id);
            let member = member.ok_or(ChangeError::Unknown(*raft_id))?;
            member.address.clone_from(address);
            if planted!("address-demotes-voter") {
                member.voter = false;
            }
        }
        for (raft_id, address) in addresses {
            let mut others = members.iter().filter(|(id, _)| *id != raft_id);
            if let Some((_, other)) = others.find(|(_, m)| m.address == *address) {
                let peer_id = other.peer_id.clone();
                return Err(ChangeError::AddressTaken(address.clone(), peer_id));
            }
        }
        self.members = members;
        Ok(())
    }

    fn check_new(&self, raft_id: u64, peer_id: &str, address: &str) -> Result<(), ChangeError> {
        if self.find(peer_id).is_some() {
            return Err(ChangeError::PeerIdTaken(peer_id.to_owned()));
        }
        if let Some(member) = self.members.values().find(|m| m.address == address) {
            return Err(ChangeError::AddressTaken(
                address.to_owned(),
                member.peer_id.clone(),
            ));
        }
        if raft_id != self.raft_id_next {
            return Err(ChangeError::RaftIdNotNext(raft_id));
        }
        Ok(())
    }

    /// The stored form; see [`decode`](Self::decode).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Every field is named: a new one cannot be forgotten here.
        let Self {
            cluster_id,
            members,
            removed,
            raft_id_next,
        } = self;
        let mut out = Writer::new(MEMBERSHIP_VERSION);
        out.fixed(cluster_id);
        out.number(*raft_id_next);
        out.number(members.len() as u64);
        for (
            raft_id,
            Member {
                peer_id,
                address,
                voter,
            },
        ) in members
        {
            out.number(*raft_id);
            out.number(u64::from(*voter));
            out.bytes(peer_id.as_bytes());
            out.bytes(address.as_bytes());
        }
        out.number(removed.len() as u64);
        for raft_id in removed {
            out.number(*raft_id);
        }
        out.finish()
    }

    /// Reads the stored form. `None` when it is damaged or of a newer version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes, MEMBERSHIP_VERSION)?;
        let mut membership = Self {
            cluster_id: input.fixed()?,
            raft_id_next: input.number()?,
            ..Self::default()
        };
        for _ in 0..input.number()? {
            let raft_id = input.number()?;
            let voter = input.number()? == 1;
            let member = Member {
                peer_id: input.text()?,
                address: input.text()?,
                voter,
            };
            membership.members.insert(raft_id, member);
        }
        for _ in 0..input.number()? {
            membership.removed.insert(input.number()?);
        }
        input.end().then_some(membership)
    }
}

/// Version of the stored form of [`Membership`].
const MEMBERSHIP_VERSION: u8 = 1;
/// Version of the stored form of [`Change`].
const CHANGE_VERSION: u8 = 1;

impl Change {
    /// The form in the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(CHANGE_VERSION);
        match self {
            Self::AddLearner {
                raft_id,
                peer_id,
                address,
            } => {
                out.number(1);
                out.number(*raft_id);
                out.bytes(peer_id.as_bytes());
                out.bytes(address.as_bytes());
            }
            Self::Promote { raft_id } => {
                out.number(2);
                out.number(*raft_id);
            }
            Self::Remove { raft_id } => {
                out.number(3);
                out.number(*raft_id);
            }
            Self::SetAddresses(addresses) => {
                out.number(4);
                out.number(addresses.len() as u64);
                for (raft_id, address) in addresses {
                    out.number(*raft_id);
                    out.bytes(address.as_bytes());
                }
            }
        }
        out.finish()
    }

    /// Reads the form in the log. `None` when it is damaged or of a newer
    /// version: the peer must stop.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes, CHANGE_VERSION)?;
        let kind = input.number()?;
        // A raft id; how many addresses change, of kind 4.
        let number = input.number()?;
        let raft_id = number;
        let change = match kind {
            1 => Self::AddLearner {
                raft_id,
                peer_id: input.text()?,
                address: input.text()?,
            },
            2 => Self::Promote { raft_id },
            3 => Self::Remove { raft_id },
            4 => {
                let mut addresses = BTreeMap::new();
                for _ in 0..number {
                    let raft_id = input.number()?;
                    let next = addresses
                        .last_key_value()
                        .is_none_or(|(id, _)| *id < raft_id);
                    if !next {
                        return None;
                    }
                    addresses.insert(raft_id, input.text()?);
                }
                Self::SetAddresses(addresses)
            }
            _ => return None,
        };
        input.end().then_some(change)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn three() -> Membership {
        let identity = Identity {
            cluster_id: [7; 16],
            raft_id: 1,
            peer_id: "p1".into(),
        };
        let mut membership = Membership::bootstrap(&identity, "h:1");
        for raft_id in [2, 3] {
            let add = Change::AddLearner {
                raft_id,
                peer_id: format!("p{raft_id}"),
                address: format!("h:{raft_id}"),
            };
            membership.change(&add).unwrap();
        }
        membership.change(&Change::Promote { raft_id: 2 }).unwrap();
        membership
    }

    fn set(addresses: &[(u64, &str)]) -> Change {
        let owned = addresses.iter().map(|(id, a)| (*id, (*a).to_owned()));
        Change::SetAddresses(owned.collect())
    }

    #[test]
    fn addresses_change_and_votes_do_not() {
        let mut members = three();
        let votes = members.conf_state();
        let change = set(&[(1, "h:9"), (3, "h:8")]);
        members.change(&change).unwrap();
        let address = |m: &Membership, id| m.members[&id].address.clone();
        assert_eq!(address(&members, 1), "h:9");
        assert_eq!(address(&members, 2), "h:2");
        assert_eq!(address(&members, 3), "h:8");
        assert_eq!(members.conf_state(), votes);
        let before = members.clone();
        members.change(&change).unwrap();
        assert_eq!(members, before, "equal addresses change nothing");
    }

    #[test]
    fn two_members_swap_their_addresses() {
        let mut members = three();
        members.change(&set(&[(1, "h:2"), (2, "h:1")])).unwrap();
        assert_eq!(members.members[&1].address, "h:2");
        assert_eq!(members.members[&2].address, "h:1");
    }

    #[test]
    fn unknown_members_and_taken_addresses_change_nothing() {
        let refused = [
            (set(&[(1, "h:9"), (7, "h:7")]), ChangeError::Unknown(7)),
            (
                set(&[(1, "h:9"), (2, "h:3")]),
                ChangeError::AddressTaken("h:3".into(), "p3".into()),
            ),
            (
                set(&[(1, "h:9"), (2, "h:9")]),
                ChangeError::AddressTaken("h:9".into(), "p2".into()),
            ),
        ];
        for (change, why) in refused {
            let mut members = three();
            assert_eq!(members.change(&change), Err(why));
            assert_eq!(members, three());
        }
    }

    #[test]
    fn changes_have_the_bytes_that_are_in_logs() {
        let add = Change::AddLearner {
            raft_id: 2,
            peer_id: "b".into(),
            address: "h:2".into(),
        };
        let golden: [(Change, &[u8]); 4] = [
            (add, b"\x01\x01\x02\x01b\x03h:2"),
            (Change::Promote { raft_id: 2 }, &[1, 2, 2]),
            (Change::Remove { raft_id: 300 }, &[1, 3, 0xac, 2]),
            (
                set(&[(1, "h:9"), (300, "h:2")]),
                b"\x01\x04\x02\x01\x03h:9\xac\x02\x03h:2",
            ),
        ];
        for (change, bytes) in golden {
            assert_eq!(change.encode(), bytes);
            assert_eq!(Change::decode(bytes), Some(change));
            for cut in 0..bytes.len() {
                assert_eq!(Change::decode(&bytes[..cut]), None, "cut at {cut}");
            }
        }
        let twice = b"\x01\x04\x02\x01\x03h:9\x01\x03h:2";
        assert_eq!(Change::decode(twice), None, "a member is named twice");
    }
}
