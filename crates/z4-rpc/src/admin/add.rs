//! AddClusterMember, at the leader: dial first, learner first.

use std::time::Instant;

use grpcio::CallOption;
use z4_consensus::{Change, Status};
use z4_core::View;
use z4_proto::generated::peer::{JoinRequest, ProbeReply, ProbeRequest};
use z4_proto::generated::peer_grpc::PeerClient;

use super::{check_address, check_peer_id, AdminError};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Adds a peer that answers at `address` and waits to be added.
    pub(crate) async fn add_member_here(
        &self,
        peer_id: &str,
        address: &str,
    ) -> Result<(), AdminError> {
        check_peer_id(peer_id)?;
        check_address(address)?;
        let status = self.leading_where_known().await?;
        check_free(&status, peer_id, address)?;
        let client = PeerClient::new(self.network().channel(address));
        let probe = self.probe(&client, address).await?;
        let cluster_id = status.membership.cluster_id;
        let raft_id = check_probe(&probe, &status, peer_id, address)?
            .unwrap_or(status.membership.raft_id_next);
        let mut join = JoinRequest::default();
        join.set_cluster_id(cluster_id.to_vec());
        join.set_raft_id(raft_id);
        join.set_peer_id(peer_id.to_owned());
        let option = CallOption::default().timeout(limits::UNARY_TIMEOUT);
        let joining = client
            .join_async_opt(&join, option)
            .map_err(|e| failed(address, &e))?;
        joining.await.map_err(|e| failed(address, &e))?;
        self.change(Change::AddLearner {
            raft_id,
            peer_id: peer_id.to_owned(),
            address: address.to_owned(),
        })
        .await?;
        self.promoted(raft_id, peer_id).await
    }

    pub(super) async fn probe(
        &self,
        client: &PeerClient,
        address: &str,
    ) -> Result<ProbeReply, Error> {
        let mut request = ProbeRequest::default();
        request.set_protocol_version(limits::PROTOCOL_VERSION);
        let option = CallOption::default().timeout(limits::PROBE_TIMEOUT);
        let silent = |error: &grpcio::Error| {
            Error::Precondition(format!(
                "no peer answers at {address}: start it first, and check that the address is \
                 that of its peer port ({error})"
            ))
        };
        let probing = client
            .probe_async_opt(&request, option)
            .map_err(|e| silent(&e))?;
        probing.await.map_err(|e| silent(&e))
    }

    /// Waits until the newcomer votes: the leader's replica promotes it when it
    /// has caught up.
    async fn promoted(&self, raft_id: u64, peer_id: &str) -> Result<(), AdminError> {
        let started = Instant::now();
        while started.elapsed() < limits::PROMOTION_WAIT {
            let status = self.handle().status();
            match status.membership.members.get(&raft_id) {
                Some(member) if member.voter => return Ok(()),
                _ if status.membership.removed.contains(&raft_id) => {
                    let why = format!("{peer_id} was removed again before it could vote");
                    return Err(Error::Precondition(why).into());
                }
                _ => self.timer().sleep(limits::LEADER_RETRY).await,
            }
        }
        Err(Error::Unavailable(format!(
            "{peer_id} was added as a learner and is still catching up; it votes by itself when \
             it has (see status)"
        ))
        .into())
    }
}

fn check_free(status: &Status, peer_id: &str, address: &str) -> Result<(), Error> {
    let mut members = status.membership.members.values();
    if let Some(member) = status.membership.find(peer_id).map(|(_, member)| member) {
        return Err(Error::exists(format!(
            "peer id {peer_id} is a member already, at {}; remove it first",
            member.address
        )));
    }
    if let Some(member) = members.find(|member| member.address == address) {
        return Err(Error::exists(format!(
            "address {address} is that of member {}; give the new peer's own",
            member.peer_id
        )));
    }
    Ok(())
}

/// Whether the peer that answered may be added. `Some`: it was given this raft
/// id before, in an addition that did not come to its end.
fn check_probe(
    probe: &ProbeReply,
    status: &Status,
    peer_id: &str,
    address: &str,
) -> Result<Option<u64>, Error> {
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
    if probe.get_cluster_id().is_empty() {
        return Ok(None);
    }
    if probe.get_cluster_id() != status.membership.cluster_id {
        return no(format!(
            "{peer_id} belongs to another cluster; erase its directories to add it here"
        ));
    }
    let raft_id = probe.get_raft_id();
    if raft_id == status.membership.raft_id_next && !probe.get_has_data() {
        return Ok(Some(raft_id));
    }
    no(format!(
        "{peer_id} has data of an earlier membership of this cluster; erase its directories and \
         add it anew"
    ))
}

fn failed(address: &str, error: &grpcio::Error) -> Error {
    Error::Precondition(format!("the peer at {address} did not join: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use grpcio::RpcStatusCode;
    use z4_consensus::{Identity, Membership};

    fn status() -> Status {
        let identity = Identity {
            cluster_id: [7; 16],
            raft_id: 1,
            peer_id: "a".into(),
        };
        Status {
            raft_id: 1,
            leader: 1,
            membership: Membership::bootstrap(&identity, "h:1"),
            ..Status::default()
        }
    }

    #[test]
    fn taken_names_and_addresses_are_named() {
        let taken = check_free(&status(), "a", "h:2").unwrap_err();
        assert_eq!(taken.code(), RpcStatusCode::ALREADY_EXISTS);
        let taken = check_free(&status(), "b", "h:1").unwrap_err();
        assert_eq!(taken.code(), RpcStatusCode::ALREADY_EXISTS);
        assert!(check_free(&status(), "b", "h:2").is_ok());
    }

    #[test]
    fn only_a_waiting_peer_of_that_name_is_added() {
        let probed = |peer_id: &str, cluster: &[u8], raft_id, has_data| {
            let mut probe = ProbeReply::default();
            probe.set_protocol_version(limits::PROTOCOL_VERSION);
            probe.set_peer_id(peer_id.into());
            probe.set_cluster_id(cluster.to_vec());
            probe.set_raft_id(raft_id);
            probe.set_has_data(has_data);
            check_probe(&probe, &status(), "b", "h:2")
        };
        assert_eq!(probed("b", &[], 0, false), Ok(None));
        // An addition that was cut short goes on where it was.
        assert_eq!(probed("b", &[7; 16], 2, false), Ok(Some(2)));
        assert!(probed("c", &[], 0, false).is_err());
        assert!(probed("b", &[8; 16], 2, false).is_err());
        assert!(probed("b", &[7; 16], 2, true).is_err());
        assert!(probed("b", &[7; 16], 9, false).is_err());
    }
}
