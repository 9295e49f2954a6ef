//! The survivor that a cluster goes on with, and what may be lost.
//!
//! The best survivor is the one that Raft would elect: its last entry has the greatest term,
//! and of those the greatest index (Raft paper, section 5.4.1). Then it has every entry that
//! any survivor knows to be committed. Let an entry be known as committed by survivor A, whose
//! log ends in term T, and let the log of the best survivor B end in term U. If U = T, both
//! ends were written by the one leader of that term, and B has at least as many of its
//! entries, so B's log begins with all of A's (log matching). If U > T, the leader of U had the
//! committed entry when it was elected (leader completeness), its own entries stand behind it,
//! and B has one of these.
//!
//! Nobody who is left can tell how far the lost ones had come. What they had acknowledged
//! among themselves, and told no survivor, is lost.

use crate::evidence::Evidence;

/// The survivor to go on with, and what is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan<'a> {
    /// The survivor to go on with.
    pub best: &'a Evidence,
    /// The last entry that a survivor knows to be committed. Every change that was
    /// acknowledged at this index or below it is kept.
    pub known_index: u64,
    /// The last entry of the best survivor. What stands above `known_index` up to here is
    /// kept too, acknowledged or not, unless the lost peers had put other entries in its
    /// place. What was acknowledged above this index is lost.
    pub kept_index: u64,
    /// The log of the best survivor ends with its own removal. The others may have gone on
    /// for long without it.
    pub is_removed: bool,
    /// Names of the members of which there is no evidence, in the order of raft ids.
    pub lost: Vec<&'a str>,
}

/// There is no plan. The remedy is in the text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no evidence.
    #[error("there is no evidence; run z4-server recover inspect on each disk that is left")]
    NoEvidence,
    /// Two pieces of evidence are of two clusters.
    #[error("{0} and {1} are of different clusters; give the evidence of one")]
    OtherCluster(String, String),
    /// Two pieces of evidence are of one peer.
    #[error("there are two pieces of evidence of {0}; give the one of the disk that it is to go on with")]
    Twice(String),
    /// A quorum is left.
    #[error(
        "{left} of {voters} voters are left ({names}), which is a quorum, so nothing is lost; start \
         them, and remove the others with z4t remove-peer"
    )]
    QuorumLives {
        /// The number of voters that are left.
        left: usize,
        /// The number of all.
        voters: usize,
        /// The names of those that are left.
        names: String,
    },
}

impl<'a> Plan<'a> {
    /// Makes a plan of the evidence of all survivors, in any order.
    ///
    /// # Errors
    /// [`PlanError`], with the remedy.
    pub fn of(survivors: &'a [Evidence]) -> Result<Self, PlanError> {
        let best = survivors
            .iter()
            .max_by_key(|e| (e.last_term, e.last_index, e.applied_index))
            .ok_or(PlanError::NoEvidence)?;
        check(survivors, best)?;
        let known_index = survivors.iter().map(Evidence::known_index).max();
        let is_lost = |raft_id| survivors.iter().all(|e| e.raft_id != raft_id);
        Ok(Self {
            best,
            known_index: known_index.unwrap_or_default(),
            kept_index: best.last_index,
            is_removed: best.is_removed(),
            lost: best
                .members
                .iter()
                .filter(|m| is_lost(m.raft_id))
                .map(|m| m.peer_id.as_str())
                .collect(),
        })
    }
}

fn check(survivors: &[Evidence], best: &Evidence) -> Result<(), PlanError> {
    for (place, evidence) in survivors.iter().enumerate() {
        if evidence.cluster_id != best.cluster_id {
            let names = (best.peer_id.clone(), evidence.peer_id.clone());
            return Err(PlanError::OtherCluster(names.0, names.1));
        }
        let others = &survivors[..place];
        if others.iter().any(|e| e.raft_id == evidence.raft_id) {
            return Err(PlanError::Twice(evidence.peer_id.clone()));
        }
    }
    let voters: Vec<_> = best.members.iter().filter(|m| m.is_voter).collect();
    let is_left = |raft_id| survivors.iter().any(|e| e.raft_id == raft_id);
    let left: Vec<_> = voters
        .iter()
        .filter(|m| is_left(m.raft_id))
        .map(|m| m.peer_id.as_str())
        .collect();
    // A member list without voters is that of a peer that received nothing yet.
    if left.is_empty() || left.len() <= voters.len() / 2 {
        return Ok(());
    }
    Err(PlanError::QuorumLives {
        left: left.len(),
        voters: voters.len(),
        names: left.join(", "),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::evidence::Member;

    fn of(raft_id: u64, last: (u64, u64), commit_index: u64) -> Evidence {
        let member = |raft_id: u64| Member {
            raft_id,
            peer_id: format!("peer{raft_id}"),
            is_voter: raft_id <= 5,
        };
        Evidence {
            cluster_id: [1; 16],
            peer_id: format!("peer{raft_id}"),
            raft_id,
            term: last.1,
            commit_index,
            applied_index: 0,
            last_index: last.0,
            last_term: last.1,
            machine_ns: 0,
            level: 2,
            members: (1..=6).map(member).collect(),
        }
    }

    #[test]
    fn a_later_term_is_better_than_a_longer_log() {
        let survivors = [of(1, (900, 3), 100), of(2, (300, 4), 250)];
        for survivors in [
            survivors.clone(),
            [survivors[1].clone(), survivors[0].clone()],
        ] {
            let plan = Plan::of(&survivors).unwrap();
            assert_eq!(plan.best.raft_id, 2);
            assert_eq!((plan.known_index, plan.kept_index), (250, 300));
            assert_eq!(plan.lost, ["peer3", "peer4", "peer5", "peer6"]);
        }
    }

    #[test]
    fn a_learner_may_be_the_best_and_is_no_quorum() {
        let survivors = [of(1, (9, 3), 8), of(2, (9, 3), 9), of(6, (10, 3), 7)];
        let plan = Plan::of(&survivors).unwrap();
        assert_eq!((plan.best.raft_id, plan.known_index), (6, 9));
    }

    #[test]
    fn a_best_survivor_that_its_log_takes_out_is_named() {
        let mut survivors = [of(1, (9, 3), 9), of(2, (8, 3), 8)];
        assert!(!Plan::of(&survivors).unwrap().is_removed);
        survivors[0].members.retain(|member| member.raft_id != 1);
        let plan = Plan::of(&survivors).unwrap();
        assert_eq!((plan.best.raft_id, plan.is_removed), (1, true));
        survivors[0].members.clear();
        assert!(!Plan::of(&survivors).unwrap().is_removed, "it knows nobody");
    }

    #[test]
    fn what_makes_no_plan_is_refused() {
        assert_eq!(Plan::of(&[]), Err(PlanError::NoEvidence));
        let quorum = [of(1, (9, 3), 9), of(2, (9, 3), 9), of(3, (9, 3), 9)];
        let why = Plan::of(&quorum).unwrap_err().to_string();
        assert!(
            why.contains("3 of 5 voters") && why.contains("peer1, peer2, peer3"),
            "{why}"
        );
        let twice = [of(1, (9, 3), 9), of(1, (8, 3), 8)];
        assert_eq!(Plan::of(&twice), Err(PlanError::Twice("peer1".into())));
        let mut other = of(2, (8, 3), 8);
        other.cluster_id = [2; 16];
        let why = Plan::of(&[of(1, (9, 3), 9), other]).unwrap_err();
        assert_eq!(why, PlanError::OtherCluster("peer1".into(), "peer2".into()));
    }
}
