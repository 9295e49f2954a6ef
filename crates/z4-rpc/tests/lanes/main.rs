//! Raft messages over lanes: that they go there, what happens when they cannot, and
//! what may come to the port.
//!
//! The tests run one after the other, because each looks for threads of lanes that are
//! left at its end.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod dialled;
mod hostile;
mod ways;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grpcio::{ChannelBuilder, EnvBuilder};
use support::client::Client;
use support::{eventually, Peer, CLUSTER};
use z4_proto::generated::collection::CreateTaskRequest;
use z4_proto::generated::peer::Opening;
use z4_proto::generated::peer_grpc::PeerClient;
use z4_rpc::limits;

/// One test, alone in this process.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    // A test that failed says so itself.
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stops the peers, and waits until no thread of a lane is left.
fn stop(peers: Vec<Peer>) {
    peers.into_iter().for_each(Peer::stop);
    eventually("no thread of a lane is left", || lane_threads() == 0);
}

fn lane_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
    let of_lanes = names.filter(|name| name.as_ref().is_ok_and(|n| n.starts_with("z4-lane")));
    of_lanes.count()
}

fn peer_client(peer: &Peer) -> PeerClient {
    let env = Arc::new(EnvBuilder::new().cq_count(1).build());
    PeerClient::new(ChannelBuilder::new(env).connect(&peer.peer_address))
}

/// How the peer `from` opens a stream to the peer `to`, whose names are those of three
/// peers in turn.
fn opening(from: u64, to: u64) -> Opening {
    let mut opening = Opening::default();
    opening.set_cluster_id(CLUSTER.to_vec());
    opening.set_from_raft_id(from);
    opening.set_from_peer_id(["a", "b", "c"][from as usize - 1].into());
    opening.set_to_raft_id(to);
    opening.set_protocol_version(limits::PROTOCOL_VERSION);
    opening
}

fn create(client: &Client, count: usize) {
    for n in 0..count {
        let mut request = CreateTaskRequest::default();
        request.set_namespace("n".into());
        request.set_payload(n.to_string().into_bytes());
        client.create(&request).unwrap();
    }
}

/// How many messages went so.
fn sent(peer: &Peer, way: &str) -> u64 {
    peer.metrics.sent_by_way.with_label_values(&[way]).get()
}

/// Whether the lane of a peer to another one is up.
fn is_up(peer: &Peer, to: u64) -> bool {
    let to = to.to_string();
    peer.metrics.lane_up.with_label_values(&[&to]).get() == 1
}

fn refused(peer: &Peer, reason: &str) -> u64 {
    let refused = &peer.metrics.lanes_refused;
    refused.with_label_values(&[reason]).get()
}
