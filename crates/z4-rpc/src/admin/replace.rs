//! A member whose data is gone leaves, so that the empty peer at its address may come in
//! under another raft id.
//!
//! The peer asks for it itself (`RequestMembership`). It is not believed: the leader dials
//! the address, and only when an empty peer of that name waits there, the member is provably
//! not there any more. Its removal is that of an operator, with the same checks.

use std::sync::Arc;

use z4_consensus::{Change, Status};
use z4_core::View;
use z4_proto::generated::peer::ProbeReply;
use z4_proto::generated::peer_grpc::PeerClient;

use super::add::{check_both_ways, check_probe, others};
use super::AdminError;
use crate::errors::Error;
use crate::levels;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Removes the member of this name, because an empty peer of the name waits at its
    /// address; gives the status in which it is gone.
    pub(super) async fn retire(
        &self,
        status: &Status,
        peer_id: &str,
        address: &str,
    ) -> Result<Arc<Status>, AdminError> {
        check_both_ways(&status.membership, peer_id, address)?;
        let client = PeerClient::new(self.network().channel(address));
        // The whole check of a newcomer, before anything has changed.
        let probe = self
            .probe(&client, address, others(&status.membership, peer_id))
            .await?;
        check(&probe, peer_id, address)?;
        let old = status.membership.find(peer_id).map_or(0, |(id, _)| id);
        check_after(&probe, status, old, (peer_id, address))?;
        let removed = self.remove_member_here(peer_id).await;
        let outcome = match &removed {
            Ok(()) => "OK".to_owned(),
            Err(failed) => failed.error.to_string(),
        };
        slog::info!(self.network().logger(), "audit"; "who" => format!("peer {peer_id}"),
            "from" => address, "method" => "remove a member whose data is gone",
            "on" => format!("{peer_id}, raft id {old}"), "outcome" => outcome);
        removed?;
        let is_gone = |status: &Status| !status.membership.members.contains_key(&old);
        let gone = self.handle().when(|status| is_gone(status).then_some(()));
        // Without it the addition is refused, and asked for again.
        let _ = self
            .timer()
            .within(limits::UNARY_TIMEOUT, Box::pin(gone))
            .await;
        self.leading()
    }
}

/// Checks that the peer can be added once the member is gone: a voter that leaves for nothing
/// would be missing.
fn check_after(
    probe: &ProbeReply,
    status: &Status,
    old: u64,
    (peer_id, address): (&str, &str),
) -> Result<(), Error> {
    let mut after = status.membership.clone();
    let raft_id = after.raft_id_next;
    check_probe(probe, status, raft_id, false, peer_id, address)?;
    let add = Change::AddLearner {
        raft_id,
        peer_id: peer_id.to_owned(),
        address: address.to_owned(),
        levels: Some(levels::read(probe.get_levels()).levels),
    };
    [Change::Remove { raft_id: old }, add]
        .iter()
        .try_for_each(|change| after.change(change))
        .map_err(|e| Error::Precondition(format!("{e}; nothing was changed")))
}

/// Checks that it is an empty peer of this name that answered.
fn check(probe: &ProbeReply, peer_id: &str, address: &str) -> Result<(), Error> {
    let no = |why: String| Err(Error::Precondition(why));
    let answering = probe.get_peer_id();
    if answering != peer_id {
        return no(format!(
            "the peer at {address} is {answering}, not {peer_id}"
        ));
    }
    if !probe.get_cluster_id().is_empty() {
        return no(format!(
            "{peer_id} at {address} is not empty, and so it is not replaced; a peer is replaced \
             by itself when both of its directories are gone"
        ));
    }
    if !probe.get_unreached().is_empty() {
        return no(format!(
            "{peer_id} does not reach {}: every member must be reached by every other; open the \
             way or set the right address; nothing was changed",
            probe.get_unreached().join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    #[test]
    fn only_an_empty_peer_of_the_name_takes_a_members_place() {
        let said = |change: fn(&mut ProbeReply)| {
            let mut probe = ProbeReply::default();
            probe.set_peer_id("b".into());
            change(&mut probe);
            let checked = check(&probe, "b", "h:2");
            checked.err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert_eq!(said(|_| ()), "");
        type Change = fn(&mut ProbeReply);
        let table: [(&str, Change); 3] = [
            ("is c, not b", |p| p.set_peer_id("c".into())),
            ("is not empty", |p| p.set_cluster_id(vec![7; 16])),
            ("does not reach a", |p| {
                p.set_unreached(vec!["a".to_owned()].into());
            }),
        ];
        for (text, change) in table {
            let why = said(change);
            assert!(why.contains(text), "{text}: {why}");
        }
    }
    #[test]
    fn no_member_leaves_for_a_peer_that_could_not_be_added() {
        let identity = z4_consensus::Identity {
            cluster_id: [7; 16],
            raft_id: 1,
            peer_id: "a".into(),
        };
        let mut status = Status {
            raft_id: 1,
            leader: 1,
            membership: z4_consensus::Membership::bootstrap(&identity, "h:1"),
            ..Status::default()
        };
        let old = Change::AddLearner {
            raft_id: 2,
            peer_id: "b".into(),
            address: "h:2".into(),
            levels: None,
        };
        status.membership.change(&old).expect("a member");
        status.membership.level = 2;
        let said = |change: fn(&mut ProbeReply)| {
            let mut probe = ProbeReply::default();
            probe.set_protocol_version(limits::PROTOCOL_VERSION);
            probe.set_peer_id("b".into());
            probe.mut_levels().set_min(1);
            probe.mut_levels().set_max(2);
            change(&mut probe);
            let checked = check_after(&probe, &status, 2, ("b", "h:2"));
            checked.err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert_eq!(said(|_| ()), "");
        type Answers = fn(&mut ProbeReply);
        let table: [(&str, Answers); 3] = [
            ("speaks protocol version", |p| p.set_protocol_version(9)),
            ("tells the other members h:3", |p| {
                p.set_address("h:3".into());
            }),
            ("nothing was changed", |p| p.mut_levels().set_max(1)),
        ];
        for (text, change) in table {
            let why = said(change);
            assert!(why.contains(text), "{text}: {why}");
        }
    }
}
