//! Changes of members and transfers of leadership.
//!
//! One change at a time, of one member (Raft thesis, section 4.1). A member is
//! added as a learner, which does not vote, and promoted by its leader once it
//! has caught up, so that a dead address never costs the quorum, and once it has
//! reached its leader at the address that the members know: from the moment on at
//! which it votes it dials that address.

use raft::eraftpb::{ConfChange, ConfChangeType};

use super::{Answer, Replica};
use crate::error::{ProposeError, StopReason};
use crate::limits;
use crate::log::{LogStore, Position};
use crate::membership::Change;

struct PendingChange<P> {
    position: Position,
    token: P,
    /// Known when the entry is committed; answered when it is applied.
    result: Option<Result<(), ProposeError>>,
}

pub(super) struct Changes<P> {
    changes: Vec<PendingChange<P>>,
    transfer: Option<(P, u64)>,
}

impl<P> Default for Changes<P> {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            transfer: None,
        }
    }
}

impl<P> Changes<P> {
    /// Tells whether a transfer of the leadership is under way.
    pub(super) fn is_handing_over(&self) -> bool {
        self.transfer.is_some()
    }

    pub(super) fn drain(&mut self) -> Vec<P> {
        let changes = self.changes.drain(..).map(|c| c.token);
        changes
            .chain(self.transfer.take().map(|(token, _)| token))
            .collect()
    }
}

impl<L: LogStore, P> Replica<L, P> {
    pub(super) fn propose_change(&mut self, change: Change, token: P) {
        let error = if !self.leads() || self.raw.raft.lead_transferee.is_some() {
            Some(ProposeError::NotLeader)
        } else if self.raw.raft.has_pending_conf() {
            // raft-rs would quietly append an empty entry instead.
            Some(ProposeError::Busy {
                what: "a change of members",
                retry_after_ms: 200,
            })
        } else {
            self.membership
                .clone()
                .change(&change)
                .err()
                .map(ProposeError::Rejected)
        };
        let error = error.or_else(|| self.append_change(&change));
        if let Some(error) = error {
            self.work.answers.push(Answer::Admin(token, Err(error)));
            return;
        }
        let position = self.end_of_log();
        self.changes.changes.push(PendingChange {
            position,
            token,
            result: None,
        });
    }

    pub(super) fn append_change(&mut self, change: &Change) -> Option<ProposeError> {
        let mut conf = ConfChange::default();
        let (kind, raft_id) = match change {
            Change::AddLearner { raft_id, .. } => (ConfChangeType::AddLearnerNode, *raft_id),
            Change::Promote { raft_id } => (ConfChangeType::AddNode, *raft_id),
            Change::Remove { raft_id } => (ConfChangeType::RemoveNode, *raft_id),
            // raft-rs knows no addresses and is not told when this is committed.
            // The entry has to name some change all the same: that a voter, or
            // a learner, is what it is.
            Change::SetAddresses(addresses) => {
                let raft_id = addresses.keys().next().copied().unwrap_or_default();
                let is_voter = |id| self.membership.members.get(id).is_some_and(|m| m.voter);
                let kind = match is_voter(&raft_id) {
                    true => ConfChangeType::AddNode,
                    false => ConfChangeType::AddLearnerNode,
                };
                (kind, raft_id)
            }
            // Nor does it know of levels.
            Change::SetLevel(_) => (ConfChangeType::AddNode, self.config.raft_id),
        };
        conf.set_change_type(kind);
        conf.node_id = raft_id;
        conf.context = change.encode(self.membership.level).into();
        let dropped = self.raw.propose_conf_change(Vec::new(), conf).is_err();
        dropped.then_some(ProposeError::Busy {
            what: "the log of uncommitted entries",
            retry_after_ms: 200,
        })
    }

    /// A committed change of members takes effect. An `Err` is a reason to stop.
    pub(super) fn commit_change(
        &mut self,
        position: Position,
        conf: &ConfChange,
        change: &Change,
    ) -> Result<bool, StopReason> {
        // Decided by the committed members alone: every replica decides alike.
        let result = self.membership.change(change);
        let changed = result.is_ok();
        if changed {
            match change {
                Change::SetAddresses(addresses) => self.addresses.set(addresses.keys()),
                Change::SetLevel(_) => {}
                Change::AddLearner { .. } | Change::Promote { .. } | Change::Remove { .. } => {
                    self.raw
                        .apply_conf_change(conf)
                        .map_err(|e| StopReason::Raft(e.to_string()))?;
                }
            }
            self.heard.keep(&self.membership, self.now.monotonic_ns);
            self.addresses.keep(&self.membership);
            self.said.keep(&self.membership);
            self.limit_clock();
            self.work.members = Some(self.membership.clone());
            self.members_committed = true;
        }
        let result = result.map_err(ProposeError::Rejected);
        self.resolve_change(position, result);
        Ok(changed)
    }

    /// The entry at `position` was committed; a change that waits there has its
    /// result, one whose place another entry took has none.
    pub(super) fn resolve_change(&mut self, at: Position, result: Result<(), ProposeError>) {
        for pending in &mut self.changes.changes {
            if pending.position == at && pending.result.is_none() {
                pending.result = Some(result.clone());
            } else if pending.position.index == at.index && pending.position.term != at.term {
                pending.result = Some(Err(ProposeError::Superseded));
            }
        }
    }

    /// Answers the changes that are applied.
    pub(super) fn finish_changes(&mut self) {
        let mut at = 0;
        while at < self.changes.changes.len() {
            let pending = &mut self.changes.changes[at];
            if pending.position.index > self.applied_index {
                at += 1;
                continue;
            }
            let pending = self.changes.changes.swap_remove(at);
            let result = pending.result.unwrap_or(Err(ProposeError::Unknown));
            self.work.answers.push(Answer::Admin(pending.token, result));
        }
    }

    pub(super) fn transfer(&mut self, to: u64, token: P) {
        let me = self.config.raft_id;
        let target = if to == 0 {
            self.most_caught_up()
        } else {
            Some(to)
        };
        let voter = |id: &u64| self.membership.members.get(id).is_some_and(|m| m.voter);
        let result = match target.filter(voter) {
            _ if !self.leads() => Some(Err(ProposeError::NotLeader)),
            None => Some(Err(ProposeError::NoOtherVoter)),
            Some(id) if id == me => Some(Ok(())),
            Some(id) => {
                self.raw.transfer_leader(id);
                None
            }
        };
        if let Some(result) = result {
            self.work.answers.push(Answer::Admin(token, result));
            return;
        }
        let limit = limits::TICK.as_nanos() as u64 * limits::ELECTION_TICKS as u64 * 2;
        let deadline_ns = self.now.monotonic_ns + limit;
        if let Some((earlier, _)) = self.changes.transfer.replace((token, deadline_ns)) {
            let busy = ProposeError::Busy {
                what: "a transfer of leadership",
                retry_after_ms: 200,
            };
            self.work.answers.push(Answer::Admin(earlier, Err(busy)));
        }
    }

    fn most_caught_up(&self) -> Option<u64> {
        let others = self.raw.raft.prs().iter().filter(|(id, _)| {
            **id != self.config.raft_id && self.membership.members.get(id).is_some_and(|m| m.voter)
        });
        others
            .max_by_key(|(id, progress)| (self.alive(**id), progress.matched))
            .map(|(id, _)| *id)
    }

    pub(super) fn tick_changes(&mut self) {
        let Some((_, deadline_ns)) = self.changes.transfer else {
            return;
        };
        let result = if !self.leads() && self.raw.raft.leader_id != 0 {
            Ok(())
        } else if self.now.monotonic_ns >= deadline_ns {
            Err(ProposeError::Busy {
                what: "the voter that should lead",
                retry_after_ms: 500,
            })
        } else {
            return;
        };
        if let Some((token, _)) = self.changes.transfer.take() {
            self.work.answers.push(Answer::Admin(token, result));
        }
    }

    /// Makes voters of learners that have caught up.
    pub(super) fn promote_learners(&mut self) {
        if !self.leads_by_log() || self.raw.raft.has_pending_conf() {
            return;
        }
        let last_index = self.raw.raft.raft_log.last_index();
        let caught_up = self.membership.members.iter().find(|(id, member)| {
            !member.voter
                && self.raw.raft.prs().get(**id).is_some_and(|progress| {
                    // In a short log everything is close to the end: one that
                    // has taken nothing in yet has not caught up. The state must
                    // not be asked for `Replicate`: when the answer to a snapshot
                    // overtakes the report that it was sent, raft-rs goes on
                    // probing until an entry comes, and in a cluster at rest
                    // none does.
                    self.alive(**id)
                        && self.is_reached_by(**id)
                        && progress.state != raft::ProgressState::Snapshot
                        && progress.matched > 0
                        && progress.matched + limits::PROMOTE_LAG_MAX >= last_index
                })
        });
        if let Some((raft_id, _)) = caught_up {
            let change = Change::Promote { raft_id: *raft_id };
            // Tried again at the next tick if the log is full.
            let _ = self.append_change(&change);
        }
    }
}
