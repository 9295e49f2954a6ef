//! A newcomer dials every member before it becomes one.
//!
//! A newcomer that some member's address does not lead to from where it stands
//! would catch up and vote, and could then neither lead nor follow that member. So
//! the leader names all members when it probes the newcomer, and the newcomer says
//! whom it did not reach while nothing has changed yet.

use futures::future::join_all;
use grpcio::CallOption;
use z4_core::address::Address;
use z4_proto::generated::peer::{DialTarget, ProbeReply, ProbeRequest};
use z4_proto::generated::peer_grpc::PeerClient;

use crate::limits;
use crate::network::Network;

/// Dials all of them side by side. Why some were not reached, one text each.
pub(crate) async fn unreached(network: &Network, targets: &[DialTarget]) -> Vec<String> {
    let reaching = targets.iter().map(|target| reach(network, target));
    let results = join_all(reaching).await.into_iter();
    let why = results.filter_map(Result::err);
    why.map(|text| text.chars().take(limits::UNREACHED_LEN_MAX / 4).collect())
        .collect()
}

async fn reach(network: &Network, target: &DialTarget) -> Result<(), String> {
    let (peer_id, address) = (target.get_peer_id(), target.get_address());
    let failed = |why: &dyn std::fmt::Display| format!("{peer_id} at {address} ({why})");
    // It came from another peer, and is looked at as any other address.
    Address::parse(address).map_err(|why| failed(&why))?;
    let client = PeerClient::new(network.channel(address));
    let mut request = ProbeRequest::default();
    request.set_protocol_version(limits::PROTOCOL_VERSION);
    let option = CallOption::default().timeout(limits::PROBE_TIMEOUT);
    let probing = client
        .probe_async_opt(&request, option)
        .map_err(|e| failed(&e))?;
    let reply = probing.await.map_err(|e| failed(&e))?;
    check(&reply, target).map_err(|why| failed(&why))
}

/// Whether the peer that answered is the one that was to be reached.
fn check(reply: &ProbeReply, target: &DialTarget) -> Result<(), String> {
    let answering = reply.get_peer_id();
    if reply.get_cluster_id() != target.get_cluster_id() {
        return Err(format!("{answering}, of another cluster, answers there"));
    }
    if answering != target.get_peer_id() || reply.get_raft_id() != target.get_raft_id() {
        return Err(format!(
            "{answering} with raft id {} answers there",
            reply.get_raft_id()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_member_itself_counts_as_reached() {
        let mut target = DialTarget::default();
        target.set_cluster_id(vec![7; 16]);
        target.set_raft_id(1);
        target.set_peer_id("a".into());
        let answer = |cluster: u8, peer_id: &str, raft_id| {
            let mut reply = ProbeReply::default();
            reply.set_cluster_id(vec![cluster; 16]);
            reply.set_peer_id(peer_id.into());
            reply.set_raft_id(raft_id);
            check(&reply, &target).err().unwrap_or_default()
        };
        assert_eq!(answer(7, "a", 1), "");
        assert!(answer(8, "a", 1).contains("another cluster"));
        assert!(answer(7, "b", 1).contains("b with raft id 1"));
        assert!(answer(7, "a", 2).contains("a with raft id 2"));
    }
}
