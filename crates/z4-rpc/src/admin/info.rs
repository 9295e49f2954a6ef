//! GetClusterInfo.

use std::collections::BTreeMap;

use z4_consensus::status::Progress;
use z4_consensus::{Role, Status};
use z4_core::View;
use z4_proto::generated::admin::{ClusterInfo, MemberLiveness, MemberRole, PeerRole, Server};
use z4_proto::generated::peer::{
    ClusterView, ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask,
};

use crate::leader::no_leader_to_read;
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
        if let Some(progress) = view.as_ref().and_then(|view| view.get(raft_id)) {
            server.set_match_index(progress.match_index);
            server.set_liveness(if progress.alive {
                MemberLiveness::MEMBER_LIVENESS_ALIVE
            } else {
                MemberLiveness::MEMBER_LIVENESS_SILENT
            });
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
    info.set_version(env!("CARGO_PKG_VERSION").to_owned());
    if status.leader == 0 {
        info.set_notice(no_leader_to_read(&status).to_string());
    } else if status.role == Role::Learner {
        info.set_notice("this peer catches up before it votes".to_owned());
    }
    info
}

async fn view<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    status: &Status,
) -> Option<BTreeMap<u64, Progress>> {
    if status.leader == 0 {
        return None;
    }
    if status.leader == status.raft_id {
        let mut view = status.progress.clone();
        // A leader is as far as itself, and alive.
        let own = view.entry(status.raft_id).or_default();
        own.alive = true;
        own.match_index = own.match_index.max(status.commit_index);
        return Some(view);
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
        };
        (m.get_raft_id(), progress)
    };
    Some(view.get_members().iter().map(of_member).collect())
}

fn role(role: Role) -> PeerRole {
    match role {
        Role::Waiting => PeerRole::PEER_ROLE_WAITING,
        Role::Follower => PeerRole::PEER_ROLE_FOLLOWER,
        Role::Candidate => PeerRole::PEER_ROLE_CANDIDATE,
        Role::Leader => PeerRole::PEER_ROLE_LEADER,
        Role::Learner => PeerRole::PEER_ROLE_LEARNER,
        Role::Removed => PeerRole::PEER_ROLE_REMOVED,
    }
}
