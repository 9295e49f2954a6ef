//! Who may open a stream to this peer.

use grpcio::{RpcStatus, RpcStatusCode};
use z4_consensus::limits::UNKNOWN_AHEAD_MAX;
use z4_consensus::{Identity, Membership};
use z4_core::View;
use z4_proto::generated::peer::Opening;

use super::address;
use crate::levels;
use crate::limits;
use crate::node::Node;
use crate::tls::Caller;

/// How the message begins that tells a peer that it was removed.
pub(crate) const REMOVED: &str = "removed";

/// Lets a member in that asks for more than raft messages: one that this peer
/// knows. Gives its raft id.
pub(crate) fn check_member<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    caller: &Caller,
    opening: &Opening,
) -> Result<u64, RpcStatus> {
    let from = check(node, caller, opening)?;
    if !node
        .handle()
        .status()
        .membership
        .members
        .contains_key(&from)
    {
        return Err(refuse(format!("raft id {from} is not a member")));
    }
    Ok(from)
}

/// Lets the opener in, or says why not. Gives its raft id.
pub(crate) fn check<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    caller: &Caller,
    opening: &Opening,
) -> Result<u64, RpcStatus> {
    caller.check_peer_id(opening.get_from_peer_id())?;
    let Some(identity) = node.network().identity() else {
        return Err(refuse("this peer is in no cluster yet".into()));
    };
    let status = node.handle().status();
    check_against(opening, identity, &status.membership)?;
    let own = node.network().own().levels();
    levels::check(opening, own, status.membership.level).map_err(refuse)?;
    let from = opening.get_from_raft_id();
    if !node
        .handle()
        .said_levels(from, levels::read(opening.get_levels()))
    {
        return Err(inbox_full());
    }
    let peer_id = opening.get_from_peer_id();
    address::heard(node, from, peer_id, opening.get_from_address());
    Ok(from)
}

pub(crate) fn check_against(
    opening: &Opening,
    identity: &Identity,
    membership: &Membership,
) -> Result<(), RpcStatus> {
    let version = opening.get_protocol_version();
    if version != limits::PROTOCOL_VERSION {
        return Err(refuse(format!(
            "protocol version {version} is not {}; run one version on all peers",
            limits::PROTOCOL_VERSION
        )));
    }
    if opening.get_cluster_id() != identity.cluster_id {
        return Err(refuse("this peer belongs to another cluster".into()));
    }
    if opening.get_to_raft_id() != identity.raft_id {
        return Err(refuse(format!(
            "this peer has raft id {}, not {}; its address was another peer's before",
            identity.raft_id,
            opening.get_to_raft_id()
        )));
    }
    let from = opening.get_from_raft_id();
    if from == 0 || from == identity.raft_id {
        return Err(refuse(format!("raft id {from} cannot be a sender here")));
    }
    if membership.removed.contains(&from) {
        return Err(refuse(removed_text(from)));
    }
    if let Some(member) = membership.members.get(&from) {
        if member.peer_id != opening.get_from_peer_id() {
            return Err(refuse(format!("raft id {from} has another peer id")));
        }
    } else if !membership.members.is_empty() {
        // A member that this peer, lagging, has not heard of; see the gate.
        let next = membership.raft_id_next;
        if !(next..next.saturating_add(UNKNOWN_AHEAD_MAX)).contains(&from) {
            return Err(refuse(format!("raft id {from} is not a member")));
        }
    }
    Ok(())
}

/// What a removed peer is told.
pub(crate) fn removed_text(raft_id: u64) -> String {
    format!("{REMOVED}: raft id {raft_id} was removed from the cluster")
}

pub(crate) fn refuse(message: String) -> RpcStatus {
    RpcStatus::with_message(RpcStatusCode::FAILED_PRECONDITION, message)
}

/// The answer to an opening that cannot be taken in now.
pub(super) fn inbox_full() -> RpcStatus {
    let message = "the raft inbox is full; open the stream again".to_owned();
    RpcStatus::with_message(RpcStatusCode::UNAVAILABLE, message)
}

/// The stream did not begin with an opening.
pub(crate) fn missing() -> RpcStatus {
    let message = "the first message must be an opening".to_owned();
    RpcStatus::with_message(RpcStatusCode::INVALID_ARGUMENT, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn identity() -> Identity {
        Identity {
            cluster_id: [7; 16],
            raft_id: 2,
            peer_id: "b".into(),
        }
    }

    fn good() -> Opening {
        let mut opening = Opening::default();
        opening.set_cluster_id(vec![7; 16]);
        opening.set_from_raft_id(1);
        opening.set_from_peer_id("a".into());
        opening.set_to_raft_id(2);
        opening.set_protocol_version(limits::PROTOCOL_VERSION);
        opening
    }

    fn membership() -> Membership {
        let first = Identity {
            raft_id: 1,
            peer_id: "a".into(),
            ..identity()
        };
        Membership {
            removed: BTreeSet::from([9]),
            ..Membership::bootstrap(&first, "h:1")
        }
    }

    fn said(change: impl FnOnce(&mut Opening)) -> Option<String> {
        let mut opening = good();
        change(&mut opening);
        let checked = check_against(&opening, &identity(), &membership());
        checked.err().map(|status| status.message().to_owned())
    }

    #[test]
    fn only_its_own_cluster_comes_in() {
        assert_eq!(said(|_| ()), None);
        // One that this peer has not heard of yet: it may lag behind.
        assert_eq!(said(|o| o.set_from_raft_id(3)), None);
        type Change = fn(&mut Opening);
        let table: [(&str, Change); 8] = [
            ("another cluster", |o| o.set_cluster_id(vec![8; 16])),
            ("another cluster", |o| o.set_cluster_id(vec![])),
            ("protocol version", |o| o.set_protocol_version(0)),
            ("raft id 2, not 3", |o| o.set_to_raft_id(3)),
            ("cannot be a sender", |o| o.set_from_raft_id(2)),
            ("cannot be a sender", |o| o.set_from_raft_id(0)),
            ("another peer id", |o| o.set_from_peer_id("z".into())),
            ("removed", |o| o.set_from_raft_id(9)),
        ];
        for (text, change) in table {
            let message = said(change).unwrap_or_default();
            assert!(message.contains(text), "{text}: {message}");
        }
        assert!(removed_text(9).starts_with(REMOVED));
    }
}
