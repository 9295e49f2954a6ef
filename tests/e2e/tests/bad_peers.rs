//! Strangers on the peer port: refused, and the cluster does not notice.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use grpcio::WriteFlags;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use z4_e2e::client::{channel, environment, option, Refused};
use z4_e2e::{create, Cluster, Edit, Peer};
use z4_proto::generated::peer::{
    ForwardReply, ForwardRequest, JoinRequest, Opening, ProbeReply, ProbeRequest, RaftBatch,
};
use z4_proto::generated::peer_grpc::PeerClient;

const LIMIT: Duration = Duration::from_secs(5);

fn dial(peer: &Peer) -> PeerClient {
    PeerClient::new(channel(environment(), &peer.peer_address()))
}

fn probe(client: &PeerClient) -> ProbeReply {
    let request = ProbeRequest::new();
    client
        .probe_opt(&request, option(LIMIT))
        .expect("it says who it is")
}

/// An opening that would be right, were it from member `from`.
fn opening(to: &ProbeReply, from: (u64, &str)) -> Opening {
    let mut opening = Opening::new();
    opening.set_cluster_id(to.get_cluster_id().to_vec());
    opening.set_from_raft_id(from.0);
    opening.set_from_peer_id(from.1.to_owned());
    opening.set_to_raft_id(to.get_raft_id());
    opening.set_protocol_version(to.get_protocol_version());
    opening
}

/// Sends one batch and gives the status that ends the stream, if one does.
fn send(
    client: &PeerClient,
    opening: Option<Opening>,
    messages: &[Message],
) -> Result<(), Refused> {
    let mut batch = RaftBatch::new();
    if let Some(opening) = opening {
        batch.set_opening(opening);
    }
    for message in messages {
        batch.mut_messages().push(message.write_to_bytes().unwrap());
    }
    let (mut sender, receiver) = client.raft_opt(option(LIMIT))?;
    futures::executor::block_on(async {
        let _ = sender.send((batch, WriteFlags::default())).await;
        let _ = sender.close().await;
        receiver.await
    })?;
    Ok(())
}

/// The six messages that raft-rs believes of anybody.
fn hostile(from: u64, to: u64) -> Vec<Message> {
    let message = |kind: MessageType| {
        let mut message = Message::new();
        message.set_msg_type(kind);
        message.set_from(from);
        message.set_to(to);
        message.set_term(1_000);
        message
    };
    let mut heartbeat = message(MessageType::MsgHeartbeat);
    heartbeat.set_commit(1 << 40);
    let plain = message(MessageType::MsgHeartbeat);
    let mut snapshot = message(MessageType::MsgSnapshot);
    let metadata = snapshot.mut_snapshot().mut_metadata();
    metadata.set_index(1 << 30);
    metadata.set_term(999);
    metadata.mut_conf_state().set_voters(vec![1, from]);
    let mut vote = message(MessageType::MsgRequestVote);
    vote.set_context(b"CampaignTransfer"[..].to_vec().into());
    vote.set_index(1 << 40);
    vote.set_log_term(999);
    let timeout = message(MessageType::MsgTimeoutNow);
    let mut propose = message(MessageType::MsgPropose);
    propose.set_term(0);
    vec![heartbeat, plain, snapshot, vote, timeout, propose]
}

#[test]
fn strangers_are_refused_and_the_cluster_does_not_notice() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let follower = cluster.others(leader)[0];
    let term = cluster.peers[leader].client().info().unwrap().get_term();
    for n in [leader, follower] {
        let client = dial(&cluster.peers[n]);
        let to = probe(&client);
        let other = dial(&cluster.peers[cluster.others(n)[0]]);
        let other = probe(&other);
        let stranger = (99, "stranger");
        let mut foreign = opening(&to, (other.get_raft_id(), other.get_peer_id()));
        foreign.set_cluster_id(vec![7; 16]);
        let mut misdirected = opening(&to, (other.get_raft_id(), other.get_peer_id()));
        misdirected.set_to_raft_id(to.get_raft_id() + 1_000);
        let mut newer = opening(&to, (other.get_raft_id(), other.get_peer_id()));
        newer.set_protocol_version(u32::MAX);
        for (what, opening) in [
            ("another cluster", Some(foreign)),
            ("an unknown sender", Some(opening(&to, stranger))),
            (
                "a false name",
                Some(opening(&to, (other.get_raft_id(), "stranger"))),
            ),
            (
                "itself",
                Some(opening(&to, (to.get_raft_id(), to.get_peer_id()))),
            ),
            ("for somebody else", Some(misdirected)),
            ("another protocol", Some(newer)),
            ("no opening", None),
        ] {
            let from = opening.as_ref().map_or(99, Opening::get_from_raft_id);
            let messages = hostile(from, to.get_raft_id());
            let sent = send(&client, opening, &messages);
            // A sender that a lagging peer may not have heard of yet is let in
            // and its messages are dropped one by one; others are told.
            if what != "an unknown sender" {
                let refused = sent.expect_err(what);
                assert!(!refused.message.is_empty(), "{what}: {refused}");
            }
            assert!(cluster.peers[n].is_running(), "it ended after {what}");
        }
    }
    for peer in &mut cluster.peers {
        assert!(peer.is_running(), "{} ended", peer.spec.id);
    }
    assert_eq!(cluster.wait_leader(), leader, "the leader changed");
    let now = cluster.peers[leader].client().info().unwrap().get_term();
    assert_eq!(now, term, "the term changed");
    for client in cluster.clients() {
        client
            .create(&create("strangers", "x"))
            .expect("it serves on");
    }
}

#[test]
fn a_member_it_has_not_heard_of_cannot_end_it() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    for n in [cluster.others(leader)[0], leader] {
        let client = dial(&cluster.peers[n]);
        let to = probe(&client);
        // The next number that the log would give out.
        let opening = opening(&to, (4, "newcomer"));
        let _ = send(&client, Some(opening), &hostile(4, to.get_raft_id()));
        let made = cluster.peers[n]
            .client()
            .create(&create("newcomer", "x").id("x"));
        assert!(cluster.peers[n].is_running(), "it ended; {made:?}");
    }
    cluster.wait_leader();
    for client in cluster.clients() {
        client
            .create(&create("newcomer", "y"))
            .expect("it serves on");
    }
}

#[test]
fn forwards_and_joins_of_strangers_are_refused() {
    let cluster = Cluster::single();
    let client = dial(&cluster.peers[0]);
    let to = probe(&client);
    let mut join = JoinRequest::new();
    join.set_cluster_id(vec![7; 16]);
    join.set_raft_id(50);
    join.set_peer_id("peer1".to_owned());
    let joined = client.join_opt(&join, option(LIMIT)).map_err(Refused::from);
    joined.expect_err("it belongs to a cluster");
    let mut open = ForwardRequest::new();
    open.set_opening(opening(&to, (99, "stranger")));
    let mut remove = ForwardRequest::new();
    remove.set_id(1);
    remove.mut_remove_member().set_peer_id("peer1".to_owned());
    for requests in [vec![open, remove.clone()], vec![remove]] {
        let (mut sender, mut receiver) = client.forward_opt(option(LIMIT)).unwrap();
        let first = futures::executor::block_on(async {
            for request in requests {
                let _ = sender.send((request, WriteFlags::default())).await;
            }
            let _ = sender.close().await;
            receiver.next().await
        });
        let done = |r: &ForwardReply| r.has_done() || r.has_outcome();
        let refused = match &first {
            Some(Ok(reply)) => !done(reply),
            Some(Err(_)) => true,
            None => false,
        };
        assert!(refused, "{first:?}");
    }
    let info = cluster.peers[0].client().info().unwrap();
    assert_eq!(info.get_members().len(), 1, "{info:?}");
    cluster.peers[0]
        .client()
        .create(&create("joins", "x"))
        .expect("it serves on");
}
