//! What a peer knows of itself and its cluster, for info, health and routing.

use std::collections::BTreeMap;

use crate::clocks::{ClockFault, ClockOffset};
use crate::level::SaidLevels;
use crate::membership::Membership;

/// What part a peer plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// Not in a cluster; waits to be added.
    #[default]
    Waiting,
    /// Follows a leader, or looks for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Catches up before it votes.
    Learner,
    /// Was taken out of its cluster.
    Removed,
}

/// What the leader knows of a member's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Highest index known to be there.
    pub match_index: u64,
    /// Answered within two election time-outs.
    pub alive: bool,
    /// For how long no answer has come from it, in milliseconds: since the last
    /// one, or since the leader began to lead, or since it is a member.
    pub silent_ms: u64,
}

/// A peer's state, as of the last step of its raft thread.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Status {
    /// What it does.
    pub role: Role,
    /// Its number; 0 while it waits.
    pub raft_id: u64,
    /// Its term.
    pub term: u64,
    /// Raft id of the leader it knows; 0 for none.
    pub leader: u64,
    /// Leads, and has applied an entry of its own term: what it serves and
    /// dispatches includes all that was ever acknowledged.
    pub leader_ready: bool,
    /// Highest index known to be committed.
    pub commit_index: u64,
    /// Highest index applied.
    pub applied_index: u64,
    /// Last index of its log.
    pub last_index: u64,
    /// The members, as of the committed log.
    pub membership: Membership,
    /// Known to the leader only: progress by raft id.
    pub progress: BTreeMap<u64, Progress>,
    /// Known to the leader only: members that are at another address than the
    /// members have, and why that address cannot be put in, for a person.
    pub address_conflicts: BTreeMap<u64, String>,
    /// The levels that members have said to this peer, and its own.
    pub said_levels: BTreeMap<u64, SaidLevels>,
    /// The clocks of other members that were measured lately, by raft id.
    pub clocks: BTreeMap<u64, ClockOffset>,
    /// The reason for which this leader does not stamp, if it does not.
    pub clock_fault: Option<ClockFault>,
}

/// What routing depends on: a change of it is published at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Glance {
    /// What it does.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Raft id of the leader it knows; 0 for none.
    pub leader: u64,
    /// See [`Status::leader_ready`].
    pub leader_ready: bool,
    /// The number that the next new member gets.
    pub raft_id_next: u64,
    /// How many members there are.
    pub members: usize,
    /// How many of them vote.
    pub voters: usize,
    /// The level of the cluster.
    pub level: u32,
}

impl Status {
    /// Whether somebody may wait for what has changed since `before`: everything
    /// but the counters, which change all the time.
    pub(crate) fn is_news_after(&self, before: &Self) -> bool {
        self.glance() != before.glance()
            || self.raft_id != before.raft_id
            || self.membership != before.membership
            || self.address_conflicts != before.address_conflicts
            || self.said_levels != before.said_levels
            || self.alive().ne(before.alive())
    }

    /// The members that answer, as the leader knows them.
    fn alive(&self) -> impl Iterator<Item = &u64> {
        let alive = self.progress.iter().filter(|(_, member)| member.alive);
        alive.map(|(raft_id, _)| raft_id)
    }

    pub(crate) fn glance(&self) -> Glance {
        Glance {
            role: self.role,
            term: self.term,
            leader: self.leader,
            leader_ready: self.leader_ready,
            raft_id_next: self.membership.raft_id_next,
            members: self.membership.members.len(),
            voters: self.membership.voter_count(),
            level: self.membership.level,
        }
    }
}
