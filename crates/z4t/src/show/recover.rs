//! A plan for a cluster that has lost its quorum for good.

use std::fmt::Write;

use serde_json::json;
use z4_recover::{Evidence, Plan};

use super::plain::escape;
use super::table::table;

/// For programs.
pub(crate) fn recover_json(plan: &Plan<'_>) -> String {
    let value = json!({
        "cluster_id": cluster_id(plan.best),
        "best": plan.best.peer_id,
        "known_index": plan.known_index,
        "kept_index": plan.kept_index,
        "term": plan.best.last_term,
        "is_removed": plan.is_removed,
        "lost": plan.lost,
    });
    format!("{value:#}")
}

/// For people.
pub(crate) fn recover_text(plan: &Plan<'_>, survivors: &[Evidence]) -> String {
    let (best, known, kept) = (
        escape(&plan.best.peer_id),
        plan.known_index,
        plan.kept_index,
    );
    let mut rows: Vec<_> = survivors.iter().collect();
    rows.sort_by_key(|e| std::cmp::Reverse((e.last_term, e.last_index)));
    let rows = rows.into_iter().map(|e| {
        [
            e.peer_id.clone(),
            e.last_term.to_string(),
            e.last_index.to_string(),
            e.commit_index.to_string(),
            e.applied_index.to_string(),
        ]
    });
    let mut text = table(["PEER", "TERM", "LAST", "COMMITTED", "APPLIED"], rows);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "\nbest        {best}, whose log ends at entry {kept} of term {}",
        plan.best.last_term
    );
    let _ = writeln!(
        text,
        "kept        every change that was acknowledged at index {} or below",
        known.min(kept)
    );
    if known < kept {
        let _ = writeln!(
            text,
            "kept, too   what stands in its log from {} to {kept}, acknowledged or not, unless the\n            \
             lost members had put other entries there in a later term",
            known + 1
        );
    } else if known > kept {
        let _ = writeln!(
            text,
            "lost        entries {} to {known}: another survivor knows that they were committed, so a\n            \
             disk was set back to an earlier state, or its evidence is old",
            kept + 1
        );
    }
    let _ = writeln!(
        text,
        "lost        what the lost members acknowledged above index {known} and told no survivor;\n            \
         nobody who is left can say how much that is"
    );
    if plan.is_removed {
        let _ = writeln!(
            text,
            "beware      the log of {best} ends with its own removal; the others may have gone on for\n            \
             long without it, so look for other disks and for backups first"
        );
    }
    let lost: Vec<_> = plan
        .lost
        .iter()
        .map(|name| escape(name).to_string())
        .collect();
    let _ = writeln!(text, "no evidence of {}", lost.join(", "));
    let _ = writeln!(
        text,
        "\nIf these are gone for good, run this at {best}, with the peer stopped:\n\n  \
         z4-server recover force --confirm {}",
        cluster_id(plan.best)
    );
    text
}

fn cluster_id(evidence: &Evidence) -> String {
    format!("{:032x}", u128::from_be_bytes(evidence.cluster_id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use z4_recover::Member;

    fn evidence(raft_id: u64, last_index: u64, last_term: u64) -> Evidence {
        let member = |raft_id: u64| Member {
            raft_id,
            peer_id: format!("peer{raft_id}"),
            is_voter: true,
        };
        Evidence {
            cluster_id: [0xab; 16],
            peer_id: format!("peer{raft_id}"),
            raft_id,
            term: last_term,
            commit_index: last_index - 2 * raft_id,
            applied_index: 10,
            last_index,
            last_term,
            machine_ns: 0,
            level: 2,
            members: (1..=5).map(member).collect(),
        }
    }

    #[test]
    fn a_plan_says_what_is_kept_and_what_to_do() {
        let survivors = [evidence(1, 72, 3), evidence(2, 80, 4)];
        let plan = Plan::of(&survivors).unwrap();
        let golden = "\
PEER   TERM  LAST  COMMITTED  APPLIED
peer2  4     80    76         10
peer1  3     72    70         10

best        peer2, whose log ends at entry 80 of term 4
kept        every change that was acknowledged at index 76 or below
kept, too   what stands in its log from 77 to 80, acknowledged or not, unless the
            lost members had put other entries there in a later term
lost        what the lost members acknowledged above index 76 and told no survivor;
            nobody who is left can say how much that is
no evidence of peer3, peer4, peer5

If these are gone for good, run this at peer2, with the peer stopped:

  z4-server recover force --confirm abababababababababababababababab
";
        assert_eq!(recover_text(&plan, &survivors), golden);
        let mut removed = survivors.clone();
        removed[1].members.retain(|member| member.raft_id != 2);
        let text = recover_text(&Plan::of(&removed).unwrap(), &removed);
        assert!(
            text.contains("the log of peer2 ends with its own removal"),
            "{text}"
        );
        assert!(recover_json(&plan).contains("\"known_index\": 76"));
    }
}
