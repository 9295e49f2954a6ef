//! When each member was last heard of.
//!
//! raft-rs keeps such a mark of its own for check-quorum, but clears all of
//! them once in every election time-out and at every election: for the time of
//! a heartbeat a member that is well would look dead. A time that only moves
//! forward has no such gap.

use std::collections::BTreeMap;

use crate::limits;
use crate::membership::Membership;

/// Monotonic times by raft id, of members alone.
#[derive(Default)]
pub(super) struct Heard(BTreeMap<u64, u64>);

impl Heard {
    /// A message of this member came in.
    pub(super) fn note(&mut self, raft_id: u64, now_ns: u64) {
        self.0.insert(raft_id, now_ns);
    }

    /// Whether the member was heard of within two election time-outs.
    pub(super) fn alive(&self, raft_id: u64, now_ns: u64) -> bool {
        let within = limits::TICK.as_nanos() as u64 * limits::ELECTION_TICKS as u64 * 2;
        self.within(raft_id, now_ns, within)
    }

    /// Whether the member was heard of within so many nanoseconds.
    pub(super) fn within(&self, raft_id: u64, now_ns: u64, span_ns: u64) -> bool {
        let last = self.0.get(&raft_id);
        last.is_some_and(|last_ns| now_ns.saturating_sub(*last_ns) <= span_ns)
    }

    /// Forgets who is no member.
    pub(super) fn keep(&mut self, membership: &Membership) {
        self.0.retain(|id, _| membership.members.contains_key(id));
    }
}
