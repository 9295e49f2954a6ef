//! An entry is applied only when a quorum of voters has it on stable storage:
//! nothing less survives the loss of any minority (promise 1; Raft thesis,
//! section 10.2.1).
//!
//! Which voters? Those of the members that the leader had applied when it
//! committed the entry. The one who applies it first may know of a later change,
//! so any of the last three sets of members will do; changes of members are of
//! one member, and any two neighbouring quorums meet.

use z4_consensus::log::Position;

use crate::world::World;

impl World {
    pub(super) fn check_quorum(&self, at: Position) -> Result<(), String> {
        let has = |id: &u64| {
            let peer = self.peers.get(id);
            peer.is_some_and(|peer| peer.log.has_synced(at))
        };
        let enough = self.checks.members.iter().any(|members| {
            let voters = members.members.iter().filter(|(_, m)| m.voter);
            let have = voters.filter(|(id, _)| has(id)).count();
            have > members.voter_count() / 2
        });
        if enough {
            return Ok(());
        }
        let holders: Vec<_> = self.peers.keys().filter(|id| has(id)).collect();
        Err(format!(
            "promise 1: entry {} of term {} is applied and on stable storage at peers {holders:?} \
             alone",
            at.index, at.term
        ))
    }
}
