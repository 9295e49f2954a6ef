//! Members, raft ids, removed ids; what a change does to them.
//!
//! People name peers by strings; Raft numbers them. The numbers are given out
//! by the log and never reused, so a peer that lost its disk cannot come back
//! as its old self and vote twice.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::ConfState;

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
        }
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
        }
        out.finish()
    }

    /// Reads the form in the log. `None` when it is damaged or of a newer
    /// version: the peer must stop.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes, CHANGE_VERSION)?;
        let kind = input.number()?;
        let raft_id = input.number()?;
        let change = match kind {
            1 => Self::AddLearner {
                raft_id,
                peer_id: input.text()?,
                address: input.text()?,
            },
            2 => Self::Promote { raft_id },
            3 => Self::Remove { raft_id },
            _ => return None,
        };
        input.end().then_some(change)
    }
}
