//! Rules of members: who leads, who answers, who votes, and what they run.

use std::collections::BTreeSet;

use z4_client::{Liveness, MemberRole};

use super::{risk, wrong, Finding, Seen, CLUSTER};

/// A cluster has a leader.
pub(super) fn leader(seen: &Seen) -> Vec<Finding> {
    let info = &seen.info;
    if !info.leader_id.is_empty() {
        return Vec::new();
    }
    let measured = match info.notice.as_str() {
        "" => format!("{} knows no leader", info.server_id),
        notice => format!("{} knows no leader: {notice}", info.server_id),
    };
    let remedy = match info.members.is_empty() {
        true => {
            "add it from a member (z4t add-peer), or set Z4_JOIN; z4t -t HOST:6355 asks another \
                 peer"
                .to_owned()
        }
        false => "start the members that are down; where they have moved, z4t set-address PEER \
                  HOST:PORT; lost for good: docs/operations.md, chapter 3"
            .to_owned(),
    };
    let why = "nothing is acknowledged and nothing is delivered";
    vec![wrong(CLUSTER, measured, why, remedy)]
}

/// All members say how they are, and the leader hears of all.
pub(super) fn answers(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for peer in seen.peers.iter().filter(|peer| peer.facts.is_none()) {
        found.push(match peer.is_older {
            true => risk(
                &peer.id,
                peer.error.as_str(),
                "the rules of this page cannot look at this member",
                "stop it, and start it with the newest release: README, Upgrades",
            ),
            false => wrong(
                &peer.id,
                format!("says nothing of itself: {}", peer.error),
                "it is down or cut off, and the members that are left may be just enough",
                format!(
                    "start {0}; gone for good: z4t replace-peer {0} NEW HOST:PORT",
                    peer.id
                ),
            ),
        });
    }
    for member in &seen.info.members {
        let is_silent = member.liveness == Liveness::Silent;
        let answers = seen.facts().any(|(id, _)| id == member.id);
        if is_silent && answers {
            found.push(wrong(
                &member.id,
                "answers the peer that was asked, and not the leader",
                "it gets nothing of the log, and does not count for a quorum",
                format!("look at the way from the leader to {}", member.address),
            ));
        }
    }
    found
}

/// There are three voters, or another odd number above one.
pub(super) fn voters(seen: &Seen) -> Vec<Finding> {
    let voters = seen.info.members.iter();
    let count = voters.filter(|m| m.role == MemberRole::Voter).count();
    let add = "z4t add-peer --id ID --peer HOST:PORT";
    match count {
        // The rule of leaders tells of a peer in no cluster.
        0 => Vec::new(),
        1 => vec![risk(
            CLUSTER,
            "one voter",
            "when its machine stops, so does everything; when its disk is lost, all tasks are",
            format!("add two peers on other machines: {add}"),
        )],
        count if count % 2 == 0 => vec![risk(
            CLUSTER,
            format!("{count} voters"),
            "an even number bears no more losses than one voter less, and is one more to lose",
            format!("add one ({add}), or remove one (z4t remove-peer --id ID)"),
        )],
        _ => Vec::new(),
    }
}

/// All members vote.
pub(super) fn learners(seen: &Seen) -> Vec<Finding> {
    let learners = seen.info.members.iter();
    let learners = learners.filter(|member| member.role == MemberRole::Learner);
    let finding = |member: &z4_client::Member| {
        risk(
            &member.id,
            "is a learner and does not vote",
            "it was added and did not catch up, so it is no help when a voter is lost",
            format!(
                "let it and the leader reach each other, then z4t add-peer --id {0} --peer {1} \
                 again; or z4t remove-peer --id {0}",
                member.id, member.address
            ),
        )
    };
    learners.map(finding).collect()
}

/// All members run one release.
pub(super) fn versions(seen: &Seen) -> Vec<Finding> {
    let of_members = seen.info.members.iter().map(|member| &*member.version);
    let own = seen.facts().map(|(_, facts)| &*facts.version);
    let versions: BTreeSet<&str> = of_members.chain(own).filter(|v| !v.is_empty()).collect();
    if versions.len() < 2 {
        return Vec::new();
    }
    let versions: Vec<_> = versions.into_iter().collect();
    vec![risk(
        CLUSTER,
        format!("releases {} run together", versions.join(", ")),
        "an upgrade that was not finished leaves out what the newest release brings",
        "z4t upgrade status names each; start the older ones with the newest release",
    )]
}

/// The level is the greatest that all know, and nobody holds it.
pub(super) fn level(seen: &Seen) -> Vec<Finding> {
    let info = &seen.info;
    let holders = info.members.iter().filter(|member| member.level_held);
    let holders: Vec<_> = holders.map(|member| member.id.as_str()).collect();
    if !holders.is_empty() {
        return vec![risk(
            CLUSTER,
            format!("level {}, held by {}", info.level, holders.join(", ")),
            "what newer releases write stays off while the level is held",
            "z4t upgrade finish, when no member is to be taken back to an older release",
        )];
    }
    match info.level_next() {
        Some(next) if next > info.level => vec![risk(
            CLUSTER,
            format!("level {}, and all members know level {next}", info.level),
            "what newer releases write stays off until the level is raised",
            "wait: it rises when all members have answered for 10 s; z4t upgrade finish waits for it",
        )],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{healthy, severities};
    use super::super::Severity::{Risk, Wrong};
    use super::*;

    #[test]
    fn without_a_leader_the_notice_is_shown() {
        let mut seen = healthy();
        seen.info.leader_id.clear();
        seen.info.notice = "b is not reached".into();
        let found = leader(&seen);
        assert_eq!(severities(&found), [("cluster", Wrong)]);
        assert!(found[0].measured.contains("b is not reached"));
        assert!(found[0].remedy.contains("set-address"));
        seen.info.members.clear();
        assert!(leader(&seen)[0].remedy.contains("Z4_JOIN"));
    }

    #[test]
    fn a_member_that_says_nothing_is_wrong_and_an_older_one_a_risk() {
        let mut seen = healthy();
        seen.peers[1].facts = None;
        seen.peers[1].error = "refused".into();
        let found = answers(&seen);
        assert_eq!(severities(&found), [("b", Wrong)]);
        assert!(found[0].remedy.contains("replace-peer b NEW"));
        seen.peers[1].is_older = true;
        assert_eq!(severities(&answers(&seen)), [("b", Risk)]);
    }

    #[test]
    fn a_member_that_the_leader_does_not_hear_is_wrong_once() {
        let mut seen = healthy();
        seen.info.members[1].liveness = Liveness::Silent;
        let found = answers(&seen);
        assert_eq!(severities(&found), [("b", Wrong)]);
        assert!(found[0].measured.contains("not the leader"));
        seen.peers[1].facts = None;
        assert_eq!(answers(&seen).len(), 1);
    }

    #[test]
    fn one_voter_and_an_even_number_are_risks() {
        let of = |count: usize| {
            let mut seen = healthy();
            let first = seen.info.members[0].clone();
            seen.info.members = vec![first; count];
            severities(&voters(&seen)).len()
        };
        assert_eq!([0, 1, 2, 3, 4, 5].map(of), [0, 1, 1, 0, 1, 0]);
    }

    #[test]
    fn a_learner_is_a_risk() {
        let mut seen = healthy();
        seen.info.members[2].role = MemberRole::Learner;
        let found = learners(&seen);
        assert_eq!(severities(&found), [("c", Risk)]);
        assert!(found[0].remedy.contains("add-peer --id c --peer h:3"));
    }

    #[test]
    fn two_releases_are_a_risk() {
        let mut seen = healthy();
        seen.info.members[2].version = "0.1.0".into();
        let found = versions(&seen);
        assert_eq!(severities(&found), [("cluster", Risk)]);
        assert!(found[0].measured.contains("0.1.0, 0.2.0"));
        // One that is not known is told of elsewhere.
        seen.info.members[2].version.clear();
        assert_eq!(versions(&seen), []);
    }

    #[test]
    fn a_level_that_is_held_or_behind_is_a_risk() {
        let mut seen = healthy();
        seen.info.level = 1;
        assert!(level(&seen)[0]
            .measured
            .contains("all members know level 2"));
        seen.info.members[1].level_held = true;
        assert!(level(&seen)[0].measured.contains("held by b"));
        seen.info.level = 2;
        assert_eq!(severities(&level(&seen)), [("cluster", Risk)]);
    }
}
