//! A replica as it shows itself to those around it.

use raft::StateRole;

use super::Replica;
use crate::log::LogStore;
use crate::status::{Glance, Progress, Role, Status};

impl<L: LogStore, P> Replica<L, P> {
    /// What this replica knows of itself and its group.
    #[must_use]
    pub fn status(&self) -> Status {
        let raft = &self.raw.raft;
        let role = self.role();
        let mut progress = std::collections::BTreeMap::new();
        if role == Role::Leader {
            for (id, member) in raft.prs().iter() {
                progress.insert(
                    *id,
                    Progress {
                        match_index: member.matched,
                        alive: self.alive(*id),
                        silent_ms: self.silent_ms(*id),
                    },
                );
            }
        }
        Status {
            role,
            raft_id: self.config.raft_id,
            term: raft.term,
            leader: self.leader(),
            leader_ready: self.leads_by_log(),
            commit_index: raft.raft_log.committed,
            applied_index: self.applied_index,
            last_index: raft.raft_log.last_index(),
            membership: self.membership.clone(),
            progress,
            address_conflicts: self.addresses.conflicts().clone(),
            said_levels: self.said.by_member(),
            clocks: self.clocks().offsets(self.now),
            clock_fault: self.clock_fault(),
        }
    }

    /// The part of the status that routing depends on, at little cost.
    #[must_use]
    pub fn glance(&self) -> Glance {
        Glance {
            role: self.role(),
            term: self.raw.raft.term,
            leader: self.leader(),
            leader_ready: self.leads_by_log(),
            raft_id_next: self.membership.raft_id_next,
            members: self.membership.members.len(),
            voters: self.membership.voter_count(),
            level: self.membership.level,
        }
    }

    pub(super) fn role(&self) -> Role {
        let raft = &self.raw.raft;
        if self.removed {
            return Role::Removed;
        }
        match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower if raft.promotable() => Role::Follower,
            StateRole::Follower => Role::Learner,
        }
    }

    /// Raft id of the leader it knows; 0 for none.
    fn leader(&self) -> u64 {
        if self.removed {
            0
        } else {
            self.raw.raft.leader_id
        }
    }

    /// Leads, and has applied an entry of its own term.
    pub(super) fn leads_by_log(&self) -> bool {
        self.leads()
            && self
                .lead_from
                .is_some_and(|from| self.applied_index >= from)
    }

    fn silent_ms(&self, raft_id: u64) -> u64 {
        match raft_id == self.config.raft_id {
            true => 0,
            false => self.heard.silent_ms(raft_id, self.now.monotonic_ns),
        }
    }

    /// This peer, and members that answered lately.
    pub(super) fn alive(&self, raft_id: u64) -> bool {
        raft_id == self.config.raft_id || self.heard.alive(raft_id, self.now.monotonic_ns)
    }
}
