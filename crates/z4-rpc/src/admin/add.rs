//! AddClusterMember, at the leader: dial first, learner first.
//!
//! One addition at a time. The newcomer is dialled and dials all members itself;
//! then the log takes it in as a learner under the next raft id; then it is given
//! its identity. So no peer holds a raft id that the log did not give, and an
//! addition that was cut short goes on where it was when it is asked for again.

use grpcio::{CallOption, RpcStatusCode};
use z4_consensus::{Change, Membership, Status};
use z4_core::address::Address;
use z4_core::View;
use z4_proto::generated::peer::{DialTarget, JoinRequest, ProbeReply, ProbeRequest};
use z4_proto::generated::peer_grpc::PeerClient;

use super::{check_address, check_peer_id, AdminError};
use crate::errors::Error;
use crate::levels;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Adds a peer that answers at `address` and waits to be added. When the peer itself
    /// asks, and its data is gone, it takes the place of the member that it was.
    pub(crate) async fn add_member_here(
        &self,
        peer_id: &str,
        address: &str,
        is_own_request: bool,
    ) -> Result<(), AdminError> {
        check_peer_id(peer_id)?;
        let address = &check_address(address)?;
        let asked = self.leading_where_known().await?;
        let (turn, limit) = (
            Box::pin(self.adding().lock()),
            self.patience(limits::ADD_TURN_WAIT),
        );
        let Some(turn) = self.timer().within(limit, turn).await else {
            let why = "members are changing: another peer is being added; nothing was done, retry";
            return Err(Error::Unavailable(why.into()).into());
        };
        let status = self.leading()?;
        let was_added = asked.membership.find(peer_id).is_none();
        let raft_id = match standing(&status.membership, peer_id, address)? {
            // Another call that was under way has added the very same peer.
            Standing::Member(raft_id) if was_added => raft_id,
            Standing::Member(_) if is_own_request => {
                let status = self.retire(&status, peer_id, address).await?;
                self.join_member(&status, None, peer_id, address).await?
            }
            Standing::Member(_) => {
                return Err(Error::exists(format!(
                    "peer id {peer_id} is a member already, at {address}; if its data is gone, \
                     erase its directories, start it and replace it: \
                     z4t replace-peer {peer_id} {peer_id} {address}"
                ))
                .into())
            }
            // Its log has been there, and is not any more.
            Standing::Learner(raft_id) if is_own_request && has_received(&status, raft_id) => {
                let status = self.retire(&status, peer_id, address).await?;
                self.join_member(&status, None, peer_id, address).await?
            }
            Standing::Learner(raft_id) => {
                self.join_member(&status, Some(raft_id), peer_id, address)
                    .await?
            }
            Standing::New => self.join_member(&status, None, peer_id, address).await?,
        };
        drop(turn);
        self.promoted(raft_id, peer_id).await
    }

    /// Has the newcomer dial the members, puts it into the log as a learner unless
    /// it is there, and gives it its identity.
    async fn join_member(
        &self,
        status: &Status,
        learner: Option<u64>,
        peer_id: &str,
        address: &str,
    ) -> Result<u64, AdminError> {
        check_both_ways(&status.membership, peer_id, address)?;
        let client = PeerClient::new(self.network().channel(address));
        let others = others(&status.membership, peer_id);
        let probe = self.probe(&client, address, others).await?;
        let raft_id = learner.unwrap_or(status.membership.raft_id_next);
        let has_joined = check_probe(&probe, status, raft_id, learner.is_some(), peer_id, address)?;
        if learner.is_none() {
            self.change(Change::AddLearner {
                raft_id,
                peer_id: peer_id.to_owned(),
                address: address.to_owned(),
                levels: Some(levels::read(probe.get_levels()).levels),
            })
            .await?;
            self.listed(raft_id).await;
        }
        if !has_joined {
            let mut join = JoinRequest::default();
            join.set_cluster_id(status.membership.cluster_id.to_vec());
            join.set_raft_id(raft_id);
            join.set_peer_id(peer_id.to_owned());
            let option = CallOption::default().timeout(limits::UNARY_TIMEOUT);
            let joining = client
                .join_async_opt(&join, option)
                .map_err(|e| failed(peer_id, address, &e))?;
            joining.await.map_err(|e| failed(peer_id, address, &e))?;
        }
        Ok(raft_id)
    }

    pub(super) async fn probe(
        &self,
        client: &PeerClient,
        address: &str,
        dial: Vec<DialTarget>,
    ) -> Result<ProbeReply, Error> {
        let mut request = ProbeRequest::default();
        request.set_protocol_version(limits::PROTOCOL_VERSION);
        request.set_dial(dial.into());
        let option = CallOption::default().timeout(self.patience(limits::DIAL_TIMEOUT));
        let silent = |error: &grpcio::Error| match error {
            // It answers, and is busy with an earlier round of this.
            grpcio::Error::RpcFailure(status)
                if status.code() == RpcStatusCode::RESOURCE_EXHAUSTED =>
            {
                Error::Unavailable(format!("{address}: {}; retry", status.message()))
            }
            _ => Error::Precondition(format!(
                "no peer answers at {address}: start it first, and check that the address is \
                 that of its peer port ({error})"
            )),
        };
        let probing = client
            .probe_async_opt(&request, option)
            .map_err(|e| silent(&e))?;
        probing.await.map_err(|e| silent(&e))
    }

    /// Waits until this peer's status lists the member that the log has: the next
    /// addition reads its raft id from there.
    async fn listed(&self, raft_id: u64) {
        let is_listed = |status: &Status| status.membership.raft_id_next > raft_id;
        let listed = self.handle().when(|status| is_listed(status).then_some(()));
        // The next addition is refused when it comes too early.
        let _ = self
            .timer()
            .within(limits::UNARY_TIMEOUT, Box::pin(listed))
            .await;
    }

    /// Waits until the newcomer votes: the leader's replica promotes it when it
    /// has caught up.
    async fn promoted(&self, raft_id: u64, peer_id: &str) -> Result<(), AdminError> {
        let ended = self
            .handle()
            .when(|status| match status.membership.members.get(&raft_id) {
                Some(member) if member.voter => Some(Ok(())),
                _ if status.membership.removed.contains(&raft_id) => {
                    let why = format!("{peer_id} was removed again before it could vote");
                    Some(Err(Error::Precondition(why)))
                }
                _ => None,
            });
        let limit = self.patience(limits::PROMOTION_WAIT);
        let ended = self.timer().within(limit, Box::pin(ended)).await;
        Ok(ended.unwrap_or_else(|| {
            Err(Error::Unconfirmed(format!(
                "{peer_id} was added as a learner and is still catching up; it votes by itself \
                 when it has (see status)"
            )))
        })?)
    }
}

/// What a peer is before it is added.
#[derive(PartialEq, Eq, Debug)]
enum Standing {
    /// No member.
    New,
    /// A learner at this very address: an addition did not come to its end.
    Learner(u64),
    /// It votes, at this very address.
    Member(u64),
}

fn standing(members: &Membership, peer_id: &str, address: &str) -> Result<Standing, Error> {
    let same = |known: &str| check_address(known).map_or(known == address, |n| n == address);
    if let Some((raft_id, member)) = members.find(peer_id) {
        if !same(&member.address) {
            return Err(Error::exists(format!(
                "peer id {peer_id} is a member already, at {}; to have it at {address} instead, \
                 replace it: z4t replace-peer {peer_id} {peer_id} {address}",
                member.address
            )));
        }
        return Ok(match member.voter {
            true => Standing::Member(raft_id),
            false => Standing::Learner(raft_id),
        });
    }
    let mut members = members.members.values();
    if let Some(member) = members.find(|member| same(&member.address)) {
        return Err(Error::exists(format!(
            "address {address} is that of member {0}; give the new peer's own, or let it take the \
             place of that member: z4t replace-peer {0} {peer_id} {address}",
            member.peer_id
        )));
    }
    Ok(Standing::New)
}

/// Tells whether the leader knows of a log at a learner.
fn has_received(status: &Status, raft_id: u64) -> bool {
    let progress = status.progress.get(&raft_id);
    progress.is_some_and(|progress| progress.match_index > 0)
}

/// A loopback address leads to another place on every machine: it is good as long
/// as all members have one.
pub(super) fn check_both_ways(
    members: &Membership,
    peer_id: &str,
    address: &str,
) -> Result<(), Error> {
    let is_near = |text: &str| Address::parse(text).is_ok_and(|a| a.is_loopback());
    let near = is_near(address);
    let mut others = members.members.values().filter(|m| m.peer_id != peer_id);
    let Some(member) = others.find(|m| is_near(&m.address) != near) else {
        return Ok(());
    };
    let (local, local_at, other, other_at) = match near {
        true => (peer_id, address, &*member.peer_id, &*member.address),
        false => (&*member.peer_id, &*member.address, peer_id, address),
    };
    Err(Error::Precondition(format!(
        "{local} is at {local_at}, which its own machine alone reaches, and {other} is at \
         {other_at}: set Z4_PEER_ADVERTISE_ADDR of {local} to an address that {other} reaches, \
         start {local} again, and add {peer_id} then; nothing was changed"
    )))
}

/// All members but the newcomer, for it to dial.
pub(super) fn others(members: &Membership, peer_id: &str) -> Vec<DialTarget> {
    let others = members.members.iter().filter(|(_, m)| m.peer_id != peer_id);
    others
        .map(|(raft_id, member)| {
            let mut target = DialTarget::default();
            target.set_cluster_id(members.cluster_id.to_vec());
            target.set_raft_id(*raft_id);
            target.set_peer_id(member.peer_id.clone());
            target.set_address(member.address.clone());
            target
        })
        .collect()
}

/// Whether the peer that answered may be added under `raft_id`; `true`: it has
/// that identity already, by an addition that did not come to its end.
pub(super) fn check_probe(
    probe: &ProbeReply,
    status: &Status,
    raft_id: u64,
    is_learner: bool,
    peer_id: &str,
    address: &str,
) -> Result<bool, Error> {
    let no = |why: String| Err(Error::Precondition(why));
    if probe.get_protocol_version() != limits::PROTOCOL_VERSION {
        return no(format!(
            "the peer at {address} speaks protocol version {}, this one {}; run one version",
            probe.get_protocol_version(),
            limits::PROTOCOL_VERSION
        ));
    }
    if probe.get_peer_id() != peer_id {
        return no(format!(
            "the peer at {address} is {}, not {peer_id}",
            probe.get_peer_id()
        ));
    }
    let told = probe.get_address();
    if !told.is_empty() && told != address {
        return no(format!(
            "{peer_id} answers at {address} and tells the other members {told}; add it at {told}, \
             or set Z4_PEER_ADVERTISE_ADDR at {peer_id} and start it again; nothing was changed"
        ));
    }
    let is_waiting = probe.get_cluster_id().is_empty();
    if !is_waiting && probe.get_cluster_id() != status.membership.cluster_id {
        return no(format!(
            "{peer_id} belongs to another cluster; erase its directories to add it here"
        ));
    }
    let is_same = probe.get_raft_id() == raft_id;
    if !is_waiting && !(is_same && (is_learner || !probe.get_has_data())) {
        return no(format!(
            "{peer_id} has the raft id {} of an earlier addition or membership; erase its \
             directories, start it again and add it anew",
            probe.get_raft_id()
        ));
    }
    if !probe.get_unreached().is_empty() {
        return no(format!(
            "{peer_id} does not reach {}: every member must be reached by every other; open the \
             way, set the right address, or remove a member that is gone for good, and add \
             {peer_id} then; nothing was changed",
            probe.get_unreached().join(", ")
        ));
    }
    Ok(!is_waiting)
}

fn failed(peer_id: &str, address: &str, error: &grpcio::Error) -> Error {
    Error::Unconfirmed(format!(
        "{peer_id} is a learner now, but the peer at {address} did not take its identity: \
         {error}; add {peer_id} again to go on, or remove it"
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use z4_consensus::Identity;

    fn status_at(address: &str) -> Status {
        let identity = Identity {
            cluster_id: [7; 16],
            raft_id: 1,
            peer_id: "a".into(),
        };
        Status {
            raft_id: 1,
            leader: 1,
            membership: Membership::bootstrap(&identity, address),
            ..Status::default()
        }
    }

    fn status() -> Status {
        status_at("h:1")
    }

    #[test]
    fn taken_names_and_addresses_are_named() {
        let of = |peer_id: &str, address: &str| standing(&status().membership, peer_id, address);
        for (peer_id, address) in [("a", "h:2"), ("b", "h:1")] {
            let taken = of(peer_id, address).unwrap_err();
            assert_eq!(taken.code(), RpcStatusCode::ALREADY_EXISTS);
        }
        assert_eq!(of("b", "h:2").unwrap(), Standing::New);
        assert_eq!(of("a", "h:1").unwrap(), Standing::Member(1));
        // An earlier version kept addresses as they were written.
        let members = status_at("H.org:01").membership;
        assert!(standing(&members, "b", "h.org:1").is_err());
    }

    #[test]
    fn an_addition_that_was_cut_short_goes_on() {
        let mut members = status().membership;
        let change = Change::AddLearner {
            raft_id: 2,
            peer_id: "b".into(),
            address: "h:2".into(),
            levels: None,
        };
        members.change(&change).unwrap();
        let of = |address: &str| standing(&members, "b", address);
        assert_eq!(of("h:2").unwrap(), Standing::Learner(2));
        assert!(of("h:3").is_err(), "it is at another address");
    }

    #[test]
    fn loopback_and_other_addresses_do_not_mix() {
        let check = |member: &str, newcomer: &str| {
            let members = status_at(member).membership;
            let refused = check_both_ways(&members, "b", newcomer).err();
            refused.map(|e| e.to_string()).unwrap_or_default()
        };
        assert_eq!(check("127.0.0.1:1", "localhost:2"), "");
        assert_eq!(check("10.0.0.1:1", "peer2:1"), "");
        let text = check("127.0.0.1:6356", "10.0.0.2:6356");
        assert!(text.contains("Z4_PEER_ADVERTISE_ADDR of a to an"), "{text}");
        let text = check("10.0.0.1:6356", "[::1]:6356");
        assert!(text.contains("Z4_PEER_ADVERTISE_ADDR of b to an"), "{text}");
    }

    #[test]
    fn only_a_waiting_peer_of_that_name_is_added() {
        let probed = |peer_id: &str, cluster: &[u8], raft_id, has_data, is_learner| {
            let mut probe = ProbeReply::default();
            probe.set_protocol_version(limits::PROTOCOL_VERSION);
            probe.set_peer_id(peer_id.into());
            probe.set_cluster_id(cluster.to_vec());
            probe.set_raft_id(raft_id);
            probe.set_has_data(has_data);
            check_probe(&probe, &status(), 2, is_learner, "b", "h:2")
        };
        assert!(!probed("b", &[], 0, false, false).unwrap());
        assert!(!probed("b", &[], 0, false, true).unwrap());
        // An addition that was cut short goes on where it was.
        assert!(probed("b", &[7; 16], 2, false, false).unwrap());
        assert!(probed("b", &[7; 16], 2, true, true).unwrap());
        assert!(probed("c", &[], 0, false, false).is_err());
        assert!(probed("b", &[8; 16], 2, false, false).is_err());
        assert!(probed("b", &[7; 16], 2, true, false).is_err());
        assert!(probed("b", &[7; 16], 9, false, false).is_err());
    }

    #[test]
    fn whom_a_newcomer_does_not_reach_is_named() {
        let mut probe = ProbeReply::default();
        probe.set_protocol_version(limits::PROTOCOL_VERSION);
        probe.set_peer_id("b".into());
        probe.mut_unreached().push("a at h:1 (refused)".into());
        let refused = check_probe(&probe, &status(), 2, false, "b", "h:2").unwrap_err();
        assert_eq!(refused.code(), RpcStatusCode::FAILED_PRECONDITION);
        assert!(refused.to_string().contains("a at h:1"), "{refused}");
    }
}
