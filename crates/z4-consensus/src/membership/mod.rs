//! Members, raft ids, removed ids; what a change does to them.
//!
//! People name peers by strings; Raft numbers them. The numbers are given out
//! by the log and never reused, so a peer that lost its disk cannot come back
//! as its old self and vote twice.

use std::collections::{BTreeMap, BTreeSet};

mod form;

use raft::eraftpb::ConfState;

pub use form::Unread;

use crate::level::{Levels, LEVEL_FIRST};
use crate::planted::planted;

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
        /// The levels that its binary knows; `None`: the log does not say it, because
        /// the cluster had the first level when this was proposed.
        levels: Option<Levels>,
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
    /// The level of the cluster is raised; see [`level`](crate::level).
    SetLevel(
        /// The new one.
        u32,
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
    /// The [level](crate::level) of the cluster: it says what may stand in the log, in rows, in
    /// snapshots and in messages between members. 0: there are no members.
    pub level: u32,
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
    /// The newcomer's binary cannot serve a cluster of this level.
    #[error(
        "{peer_id} knows the levels {levels} and the cluster has level {level}; start \
         {peer_id} with a release that knows level {level}, and add it then"
    )]
    LevelUnknown {
        /// The name of the newcomer.
        peer_id: String,
        /// The levels that its binary knows.
        levels: Levels,
        /// The level of the cluster.
        level: u32,
    },
    /// A level only rises.
    #[error("the cluster has level {0} already")]
    LevelNotHigher(u32),
}

impl Membership {
    /// The members of a new cluster of one, at the first level.
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
            level: LEVEL_FIRST,
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
                levels,
            } => {
                self.check_new(*raft_id, peer_id, address)?;
                self.check_levels(peer_id, *levels)?;
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
            Change::SetLevel(level) => {
                if *level <= self.level {
                    return Err(ChangeError::LevelNotHigher(self.level));
                }
                self.level = *level;
            }
        }
        Ok(())
    }

    /// A newcomer of which the log says nothing knows the first level alone.
    fn check_levels(&self, peer_id: &str, levels: Option<Levels>) -> Result<(), ChangeError> {
        let levels = levels.unwrap_or(Levels::UNSAID);
        if levels.include(self.level) || planted!("newcomer-of-any-level") {
            return Ok(());
        }
        Err(ChangeError::LevelUnknown {
            peer_id: peer_id.to_owned(),
            levels,
            level: self.level,
        })
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
                levels: None,
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
    fn a_level_only_rises() {
        let mut members = three();
        members.change(&Change::SetLevel(3)).unwrap();
        assert_eq!(members.level, 3);
        for level in [2, 3] {
            let again = members.change(&Change::SetLevel(level));
            assert_eq!(again, Err(ChangeError::LevelNotHigher(3)));
        }
    }

    #[test]
    fn a_newcomer_knows_the_level() {
        let add = |levels| Change::AddLearner {
            raft_id: 4,
            peer_id: "p4".into(),
            address: "h:4".into(),
            levels,
        };
        let range = |min, max| Some(Levels { min, max });
        // The level of the cluster, and the levels of newcomers that it takes and refuses.
        let table = [
            (1, vec![None, range(1, 1), range(1, 3)], vec![range(2, 3)]),
            (
                2,
                vec![range(1, 2), range(2, 3)],
                vec![None, range(1, 1), range(3, 4)],
            ),
        ];
        for (level, taken, refused) in table {
            let cluster = Membership { level, ..three() };
            for levels in taken {
                cluster.clone().change(&add(levels)).unwrap();
            }
            for levels in refused {
                let mut members = cluster.clone();
                let error = members.change(&add(levels)).unwrap_err().to_string();
                let levels = levels.unwrap_or(Levels::UNSAID).to_string();
                assert!(error.contains(&format!("levels {levels}")), "{error}");
                assert!(error.contains(&format!("has level {level}")), "{error}");
                assert_eq!(members, cluster);
            }
        }
    }
}
