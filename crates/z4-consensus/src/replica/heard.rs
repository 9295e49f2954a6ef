//! When each member was last heard of.
//!
//! raft-rs keeps such a mark of its own for check-quorum, but clears all of
//! them once in every election time-out and at every election: for the time of
//! a heartbeat a member that is well would look dead. A time that only moves
//! forward has no such gap.

use std::collections::BTreeMap;

use raft::eraftpb::MessageType;

use crate::limits;
use crate::membership::Membership;

/// Monotonic times by raft id, of members alone.
#[derive(Default)]
pub(super) struct Heard {
    /// When any message came last.
    any: BTreeMap<u64, u64>,
    /// When an answer to a message of this peer came last. A member that this peer does
    /// not reach goes on asking for votes, which does not make it one that answers.
    answer: BTreeMap<u64, u64>,
    /// Since when an answer is waited for: the last one, or when this peer began
    /// to lead, or when the member came.
    silent_since: BTreeMap<u64, u64>,
}

impl Heard {
    /// A message of this member came in.
    pub(super) fn note(&mut self, raft_id: u64, kind: MessageType, now_ns: u64) {
        self.any.insert(raft_id, now_ns);
        if is_answer(kind) {
            self.answer.insert(raft_id, now_ns);
            self.silent_since.insert(raft_id, now_ns);
        }
    }

    /// This peer begins to lead: from now on all members should answer.
    pub(super) fn lead(&mut self, membership: &Membership, now_ns: u64) {
        self.silent_since.clear();
        self.keep(membership, now_ns);
    }

    /// For how long the member has not answered, in milliseconds.
    pub(super) fn silent_ms(&self, raft_id: u64, now_ns: u64) -> u64 {
        let since = self.silent_since.get(&raft_id);
        since.map_or(0, |since_ns| now_ns.saturating_sub(*since_ns) / 1_000_000)
    }

    /// Whether the member answered within two election time-outs.
    pub(super) fn alive(&self, raft_id: u64, now_ns: u64) -> bool {
        let within = limits::TICK.as_nanos() as u64 * limits::ELECTION_TICKS as u64 * 2;
        let last = self.answer.get(&raft_id);
        last.is_some_and(|last_ns| now_ns.saturating_sub(*last_ns) <= within)
    }

    /// Whether the member was heard of within so many nanoseconds.
    pub(super) fn within(&self, raft_id: u64, now_ns: u64, span_ns: u64) -> bool {
        let last = self.any.get(&raft_id);
        last.is_some_and(|last_ns| now_ns.saturating_sub(*last_ns) <= span_ns)
    }

    /// Forgets who is no member, and expects answers of who is a new one.
    pub(super) fn keep(&mut self, membership: &Membership, now_ns: u64) {
        let times = [&mut self.any, &mut self.answer, &mut self.silent_since];
        for times in times {
            times.retain(|id, _| membership.members.contains_key(id));
        }
        for id in membership.members.keys() {
            self.silent_since.entry(*id).or_insert(now_ns);
        }
    }
}

fn is_answer(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgAppendResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse
            | MessageType::MsgReadIndexResp
    )
}
