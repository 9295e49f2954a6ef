//! What peers say of their own addresses, and at which address of this peer they
//! arrive.
//!
//! A peer says its address where it opens a stream, and again now and then while
//! the members have another one. It is not believed: what was said may be old,
//! and another peer may be there now. This peer dials the address, and only when
//! the right peer answers there it uses the address itself and tells its replica,
//! which puts it into the log as soon as it leads.

use std::time::Duration;

use grpcio::{CallOption, RpcStatus, RpcStatusCode};
use z4_consensus::{Identity, Membership};
use z4_core::address::Address;
use z4_core::View;
use z4_proto::generated::peer::{
    ForwardRequest_oneof_ask as Ask, ProbeReply, ProbeRequest, SetAddress,
};
use z4_proto::generated::peer_grpc::PeerClient;

use super::opening::inbox_full;
use crate::admin::check_address;
use crate::limits;
use crate::network::Network;
use crate::node::Node;

/// A peer of this cluster says that it is at `address`.
pub(super) fn heard<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    raft_id: u64,
    peer_id: &str,
    address: &str,
) {
    let (network, status) = (node.network(), node.handle().status());
    let member = status.membership.members.get(&raft_id);
    let is_dialled = network.address(&status.membership, raft_id).as_deref() == Some(address);
    let is_known = is_dialled && member.is_none_or(|m| m.address == address);
    // The replica that leads has it, and says once why it cannot put it in.
    let is_blocked = is_dialled && status.address_conflicts.contains_key(&raft_id);
    if is_known || is_blocked || check_address(address).is_err() || !network.may_check(raft_id) {
        return;
    }
    let (node, peer_id, address) = (node.clone(), peer_id.to_owned(), address.to_owned());
    node.network().clone().spawn(async move {
        let network = node.network();
        let (members, limit) = (&status.membership, limits::PROBE_TIMEOUT);
        let answered = answers(network, members, raft_id, &peer_id, &address, limit).await;
        network.checked(raft_id);
        match answered {
            Ok(()) => {
                found(&node, raft_id, &address);
                tell_leader(&node, &peer_id, &address).await;
            }
            // The peer says it again.
            Err(why) => slog::debug!(network.logger(), "a peer is not where it says it is";
                "raft_id" => raft_id, "address" => &address, "reason" => %why),
        }
    });
}

/// A member was dialled at `address`, and answered.
pub(crate) fn found<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    raft_id: u64,
    address: &str,
) {
    let (network, status) = (node.network(), node.handle().status());
    // The member says it again for as long as the members have another address.
    if network.address(&status.membership, raft_id).as_deref() != Some(address) {
        slog::info!(network.logger(), "a member is at another address";
            "raft_id" => raft_id, "address" => address);
    }
    network.found(raft_id, address);
    // When the inbox is full: the member says its address again.
    let _ = node.handle().member_at(raft_id, address.to_owned());
}

/// Tells the leader where a member is. When the leader has moved too, neither of
/// the two knows where the other is, and only a third one does. The leader looks
/// for itself; what goes wrong goes right when the member says its address again.
async fn tell_leader<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    peer_id: &str,
    address: &str,
) {
    let status = node.handle().status();
    let is_member = status.membership.find(peer_id).is_some();
    if !is_member || status.leader == 0 || status.leader == status.raft_id {
        return;
    }
    let Some(leader_at) = node.network().address(&status.membership, status.leader) else {
        return;
    };
    let mut ask = SetAddress::default();
    ask.set_peer_id(peer_id.to_owned());
    ask.set_address(address.to_owned());
    let forwarder = node.forwarder();
    let told = forwarder.ask(status.leader, &leader_at, Ask::set_address(ask));
    let waited = node.timer().within(limits::ADDRESS_WAIT, Box::pin(told));
    let _ = waited.await;
}

/// A member opened a stream to this peer at `address`.
pub(super) fn reached<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    raft_id: u64,
    address: &str,
) -> Result<(), RpcStatus> {
    let mut address = address.to_owned();
    if address.is_empty() {
        // A version that does not say it. It is taken in as it always was.
        address = node.network().advertise_addr().to_owned();
    }
    if address.len() > limits::ADDRESS_LEN_MAX {
        let message = "to_address is too long".to_owned();
        let code = RpcStatusCode::INVALID_ARGUMENT;
        return Err(RpcStatus::with_message(code, message));
    }
    match node.handle().reached_at(raft_id, address) {
        true => Ok(()),
        false => Err(inbox_full()),
    }
}

/// Why an address is not taken for that of a member; each text begins with the address
/// that was tried.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotThere {
    /// This peer cannot tell what is in its cluster.
    #[error("this peer is in no cluster")]
    InNoCluster,
    /// Nobody answers in time: the error of the call.
    #[error("no peer answers at {0} ({1})")]
    Silent(String, String),
    /// The address leads to another place on each machine, and a member is elsewhere.
    #[error("{address} is an address that the machine of {peer_id} alone reaches, and {other} is at {other_at}; set Z4_PEER_ADVERTISE_ADDR at {peer_id} and start it again")]
    Near {
        address: String,
        peer_id: String,
        other: String,
        other_at: String,
    },
    /// A peer of another cluster answers.
    #[error("the peer at {0} is {1}, which is not in this cluster")]
    OtherCluster(String, String),
    /// Another member answers, or one that was a member before.
    #[error("the peer at {address} is {answering} with raft id {number}, not {peer_id} with raft id {raft_id}")]
    OtherMember {
        address: String,
        answering: String,
        number: u64,
        peer_id: String,
        raft_id: u64,
    },
    /// The member answers, and says that it is at another address.
    #[error("{peer_id} answers at {address} and tells the other members {told}; set Z4_PEER_ADVERTISE_ADDR at {peer_id} and start it again")]
    TellsOther {
        address: String,
        peer_id: String,
        told: String,
    },
}

/// Whether this member of this cluster answers at `address` within `limit`.
///
/// # Errors
/// [`NotThere`]: who answers instead, or why nobody does.
pub(crate) async fn answers(
    network: &Network,
    members: &Membership,
    raft_id: u64,
    peer_id: &str,
    address: &str,
    limit: Duration,
) -> Result<(), NotThere> {
    leads_there_from_elsewhere(members, peer_id, address)?;
    let client = PeerClient::new(network.channel(address));
    let mut request = ProbeRequest::default();
    request.set_protocol_version(limits::PROTOCOL_VERSION);
    let option = CallOption::default().timeout(limit);
    let silent = |error: grpcio::Error| NotThere::Silent(address.to_owned(), error.to_string());
    let probing = client.probe_async_opt(&request, option).map_err(silent)?;
    let reply = probing.await.map_err(silent)?;
    let identity = network.identity().ok_or(NotThere::InNoCluster)?;
    check(identity, &reply, raft_id, peer_id, address)
}

/// A loopback address may be right as seen from this machine. It leads to another
/// place on each machine, so no member may have one while another one has not.
fn leads_there_from_elsewhere(
    members: &Membership,
    peer_id: &str,
    address: &str,
) -> Result<(), NotThere> {
    let is_near = |text: &str| Address::parse(text).is_ok_and(|a| a.is_loopback());
    let mut others = members.members.values().filter(|m| m.peer_id != peer_id);
    match others.find(|m| !is_near(&m.address)) {
        Some(other) if is_near(address) => Err(NotThere::Near {
            address: address.to_owned(),
            peer_id: peer_id.to_owned(),
            other: other.peer_id.clone(),
            other_at: other.address.clone(),
        }),
        _ => Ok(()),
    }
}

fn check(
    identity: &Identity,
    reply: &ProbeReply,
    raft_id: u64,
    peer_id: &str,
    address: &str,
) -> Result<(), NotThere> {
    let (answering, number) = (reply.get_peer_id(), reply.get_raft_id());
    let (address, answering) = (address.to_owned(), answering.to_owned());
    if reply.get_cluster_id() != identity.cluster_id {
        return Err(NotThere::OtherCluster(address, answering));
    }
    if number != raft_id || answering != peer_id {
        return Err(NotThere::OtherMember {
            address,
            answering,
            number,
            peer_id: peer_id.to_owned(),
            raft_id,
        });
    }
    let told = reply.get_address();
    // An earlier version tells its address as it was written.
    let is_here = told == address || check_address(told).is_ok_and(|told| told == address);
    if !told.is_empty() && !is_here {
        return Err(NotThere::TellsOther {
            address,
            peer_id: answering,
            told: told.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_is_refused_as_soon_as_a_member_is_elsewhere() {
        let identity = Identity {
            cluster_id: [7; 16],
            raft_id: 1,
            peer_id: "a".into(),
        };
        let check = |of_a: &str, peer_id: &str, address: &str| {
            let members = Membership::bootstrap(&identity, of_a);
            leads_there_from_elsewhere(&members, peer_id, address).is_ok()
        };
        assert!(check("127.0.0.1:1", "b", "127.0.0.1:2"));
        assert!(check("10.0.0.1:1", "b", "10.0.0.2:1"));
        // Peers of one machine move away from it one after the other.
        assert!(check("127.0.0.1:1", "b", "10.0.0.2:1"));
        assert!(check("10.0.0.1:1", "a", "127.0.0.1:1"), "it is alone");
        assert!(!check("10.0.0.1:1", "b", "localhost:2"));
    }

    #[test]
    fn only_the_right_peer_of_this_cluster_answers() {
        let identity = Identity {
            cluster_id: [7; 16],
            raft_id: 1,
            peer_id: "a".into(),
        };
        let said = |change: fn(&mut ProbeReply)| {
            let mut reply = ProbeReply::default();
            reply.set_cluster_id(vec![7; 16]);
            reply.set_raft_id(2);
            reply.set_peer_id("b".into());
            change(&mut reply);
            check(&identity, &reply, 2, "b", "h:2").err()
        };
        assert_eq!(said(|_| ()), None);
        assert_eq!(said(|r| r.set_address("h:2".into())), None);
        assert_eq!(said(|r| r.set_address("H:02".into())), None);
        type Change = fn(&mut ProbeReply);
        let table: [(&str, Change); 5] = [
            ("not in this cluster", |r| r.set_cluster_id(vec![8; 16])),
            ("not in this cluster", |r| r.set_cluster_id(vec![])),
            ("is c with raft id 2, not b", |r| r.set_peer_id("c".into())),
            ("raft id 3, not b with raft id 2", |r| r.set_raft_id(3)),
            ("tells the other members h:9", |r| {
                r.set_address("h:9".into())
            }),
        ];
        for (text, change) in table {
            let why = said(change).map_or(String::new(), |why| why.to_string());
            assert!(why.contains(text), "{text}: {why}");
        }
    }
}
