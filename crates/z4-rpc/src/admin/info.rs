//! GetClusterInfo.

use std::collections::BTreeMap;

use z4_consensus::status::Progress;
use z4_consensus::{ClockFault, Role, SaidLevels, Status};
use z4_core::View;
use z4_proto::generated::admin::{ClusterInfo, MemberLiveness, MemberRole, PeerRole, Server};
use z4_proto::generated::peer::{
    ClusterView, ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask,
};

use crate::convert::{duration_of_ms, signed_duration_of_ns};
use crate::leader::no_leader_to_read;
use crate::levels;
use crate::limits;
use crate::node::Node;

/// What this peer knows, with the leader's view of the members if it answers.
pub(super) async fn info<V: View + Clone + Send + Sync + 'static>(node: &Node<V>) -> ClusterInfo {
    let status = node.handle().status();
    let view = view(node, &status).await;
    let membership = &status.membership;
    let leader = membership.members.get(&status.leader);
    let mut info = ClusterInfo::default();
    info.set_server_id(node.network().peer_id().to_owned());
    if let Some(leader) = leader {
        info.set_leader_address(leader.address.clone());
        info.set_leader_id(leader.peer_id.clone());
    }
    for (raft_id, member) in &membership.members {
        let mut server = Server::default();
        server.set_id(member.peer_id.clone());
        server.set_address(member.address.clone());
        server.set_role(if member.voter {
            MemberRole::MEMBER_ROLE_VOTER
        } else {
            MemberRole::MEMBER_ROLE_LEARNER
        });
        server.set_raft_id(*raft_id);
        let seen = view.as_ref().and_then(|view| view.get(raft_id));
        let own = (*raft_id == status.raft_id).then(|| node.network().own().said());
        let said = own.or_else(|| seen.and_then(|seen| seen.said.clone()));
        if let Some(said) = said.or_else(|| status.said_levels.get(raft_id).cloned()) {
            server.set_version(said.version);
            server.set_level_min(said.levels.min);
            server.set_level_max(said.levels.max);
            server.set_level_held(said.is_held);
        }
        if let Some(clock) = status.clocks.get(raft_id) {
            server.set_clock_offset(signed_duration_of_ns(clock.offset_ns));
        }
        if let Some(Seen { progress, .. }) = seen {
            server.set_match_index(progress.match_index);
            if progress.alive {
                server.set_liveness(MemberLiveness::MEMBER_LIVENESS_ALIVE);
            } else {
                server.set_liveness(MemberLiveness::MEMBER_LIVENESS_SILENT);
                server.set_silent_for(duration_of_ms(progress.silent_ms));
            }
        }
        info.mut_members().push(server);
    }
    info.set_term(status.term);
    info.set_commit_index(status.commit_index);
    info.set_applied_index(status.applied_index);
    if let Some(identity) = node.network().identity() {
        let hex = identity.cluster_id.iter().map(|b| format!("{b:02x}"));
        info.set_cluster_id(hex.collect());
    }
    info.set_role(role(status.role));
    info.set_version(node.network().own().said().version);
    info.set_level(membership.level);
    if status.leader == 0 {
        info.set_notice(without_leader(node, &status));
    } else if status.role == Role::Learner {
        info.set_notice("this peer catches up before it votes".to_owned());
    } else if let Some(fault) = &status.clock_fault {
        info.set_notice(wrong_clock(fault));
    } else if status.role == Role::Leader {
        info.set_notice(silent_learners(&status));
    }
    info
}

/// A member as the leader sees it.
struct Seen {
    progress: Progress,
    said: Option<SaidLevels>,
}

/// Why nobody leads, and what a person may do about it where voters are not where
/// this peer dials them.
fn without_leader<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    status: &Status,
) -> String {
    if status.role == Role::Waiting {
        if let Some(waits_for) = node.network().assembling().waits_for() {
            return format!("this peer is in no cluster yet: {waits_for}");
        }
    }
    let why = no_leader_to_read(status).to_string();
    let unreached = node.network().unreached_voters();
    if unreached.is_empty() {
        return why;
    }
    format!(
        "{why}; this peer does not reach {}: start those that are down; where one is at another \
         address now, say so with `z4t set-address`",
        unreached.join(", ")
    )
}

/// Why this leader takes nothing in, and what a person may do about it.
fn wrong_clock(fault: &ClockFault) -> String {
    match fault {
        ClockFault::Ahead { .. } => format!(
            "this leader takes nothing in: {fault}; no other voter with a better clock has taken \
             over yet; set the clocks, and keep them by NTP"
        ),
        ClockFault::Unmeasured => format!("this leader takes nothing in: {fault}; look again"),
    }
}

/// Learners that have taken nothing in and do not answer, and why that may be;
/// empty when there are none.
fn silent_learners(status: &Status) -> String {
    let members = status.membership.members.iter();
    let silent = members.filter(|(id, member)| {
        let progress = status.progress.get(id);
        !member.voter && progress.is_some_and(|p| !p.alive && p.match_index == 0)
    });
    let named: Vec<_> = silent
        .map(|(_, member)| format!("{} at {}", member.peer_id, member.address))
        .collect();
    if named.is_empty() {
        return String::new();
    }
    let own = status.membership.members.get(&status.raft_id);
    let own = own.map_or("", |member| member.address.as_str());
    format!(
        "nothing arrives from the learner {}: it must be up, this leader must reach it there, and \
         it must reach this leader at {own}",
        named.join(", ")
    )
}

async fn view<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    status: &Status,
) -> Option<BTreeMap<u64, Seen>> {
    if status.leader == 0 {
        return None;
    }
    if status.leader == status.raft_id {
        let mut view = status.progress.clone();
        // A leader is as far as itself, and alive.
        let own = view.entry(status.raft_id).or_default();
        own.alive = true;
        own.match_index = own.match_index.max(status.commit_index);
        let seen = view.into_iter().map(|(raft_id, progress)| {
            let said = status.said_levels.get(&raft_id).cloned();
            (raft_id, Seen { progress, said })
        });
        return Some(seen.collect());
    }
    let address = node.network().address(&status.membership, status.leader)?;
    let ask = Ask::cluster_view(ClusterView::default());
    let asked = Box::pin(node.forwarder().ask(status.leader, &address, ask));
    let answer = node.timer().within(limits::VIEW_TIMEOUT, asked).await?;
    let Ok(Answer::view(view)) = answer else {
        return None;
    };
    let of_member = |m: &z4_proto::generated::peer::MemberView| {
        let progress = Progress {
            match_index: m.get_match_index(),
            alive: m.get_alive() || m.get_raft_id() == status.leader,
            silent_ms: m.get_silent_ms(),
        };
        let said = m.has_levels().then(|| levels::read(m.get_levels()));
        (m.get_raft_id(), Seen { progress, said })
    };
    Some(view.get_members().iter().map(of_member).collect())
}

pub(super) fn role(role: Role) -> PeerRole {
    match role {
        Role::Waiting => PeerRole::PEER_ROLE_WAITING,
        Role::Follower => PeerRole::PEER_ROLE_FOLLOWER,
        Role::Candidate => PeerRole::PEER_ROLE_CANDIDATE,
        Role::Leader => PeerRole::PEER_ROLE_LEADER,
        Role::Learner => PeerRole::PEER_ROLE_LEARNER,
        Role::Removed => PeerRole::PEER_ROLE_REMOVED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use z4_consensus::membership::Member;

    #[test]
    fn a_learner_that_takes_nothing_in_is_named_with_the_reason() {
        let mut status = Status {
            raft_id: 1,
            leader: 1,
            role: Role::Leader,
            ..Status::default()
        };
        for (raft_id, peer_id) in [(1, "a"), (2, "b")] {
            let member = Member {
                peer_id: peer_id.into(),
                address: format!("h:{raft_id}"),
                voter: raft_id == 1,
            };
            status.membership.members.insert(raft_id, member);
            status.progress.insert(raft_id, Progress::default());
        }
        let notice = silent_learners(&status);
        assert!(notice.contains("learner b at h:2"), "{notice}");
        assert!(notice.contains("this leader at h:1"), "{notice}");
        let answers = Progress {
            alive: true,
            ..Progress::default()
        };
        status.progress.insert(2, answers);
        assert_eq!(silent_learners(&status), "");
    }
}
