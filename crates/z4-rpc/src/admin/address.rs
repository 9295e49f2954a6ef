//! SetMemberAddress: where a member is that cannot tell the cluster itself.
//!
//! Members tell each other their addresses; see `peer/address.rs`. That works as long
//! as a peer that has moved reaches one that has not. When too many have moved at once,
//! somebody has to say where one of them is. The address is dialled first, so a
//! mistyped one changes nothing.

use std::sync::Arc;
use std::time::Duration;

use z4_consensus::Status;
use z4_core::View;
use z4_proto::generated::admin::SetMemberAddressResponse;

use super::change::{leads, unknown_member};
use super::{check_address, check_peer_id, AdminError, Work};
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;
use crate::peer::address;

/// Has the leader put the address in. Without a leader this peer dials the member
/// there from now on, until it is stopped.
pub(super) async fn set<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    peer_id: &str,
    address: &str,
) -> Result<SetMemberAddressResponse, Error> {
    check_peer_id(peer_id)?;
    let address = check_address(address)?;
    let mut response = SetMemberAddressResponse::default();
    let status = node.handle().status();
    if status.leader == 0 {
        if status.membership.members.is_empty() {
            return Err(no_leader(&status));
        }
        node.find_member_at(&status, peer_id, &address).await?;
        return Ok(response);
    }
    let peer_id = peer_id.to_owned();
    node.administer(Work::SetAddress { peer_id, address })
        .await?;
    response.set_replicated(true);
    Ok(response)
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Dials a member at an address, and uses the address when it answers. Gives
    /// its raft id.
    async fn find_member_at(
        &self,
        status: &Status,
        peer_id: &str,
        address: &str,
    ) -> Result<u64, Error> {
        let Some((raft_id, _)) = status.membership.find(peer_id) else {
            return Err(unknown_member(peer_id));
        };
        if raft_id == status.raft_id {
            let own = self.network().advertise_addr();
            if own == address {
                // Another member has found this peer there.
                let _ = self.handle().member_at(raft_id, address.to_owned());
                return Ok(raft_id);
            }
            return Err(Error::Precondition(format!(
                "{peer_id} is this peer, and tells the others {own}; set Z4_PEER_ADVERTISE_ADDR \
                 and start it again"
            )));
        }
        let (network, members) = (self.network(), &status.membership);
        let limit = self.patience(limits::PROBE_TIMEOUT);
        let answered = address::answers(network, members, raft_id, peer_id, address, limit);
        answered
            .await
            .map_err(|e| Error::Precondition(e.to_string()))?;
        address::found(self, raft_id, address);
        Ok(raft_id)
    }

    /// Puts the address of a member in, at the leader, once the member has
    /// answered there.
    pub(crate) async fn set_address_here(
        &self,
        peer_id: &str,
        address: &str,
    ) -> Result<(), AdminError> {
        check_peer_id(peer_id)?;
        let address = &check_address(address)?;
        let status = self.leading()?;
        let raft_id = self.find_member_at(&status, peer_id, address).await?;
        let limit = self.patience(limits::ADDRESS_WAIT);
        self.wait_for_address(raft_id, address, limit).await?;
        Ok(())
    }

    /// This peer's status if it leads, once the members have its own address
    /// right: a newcomer dials that one from the moment on at which it votes.
    pub(super) async fn leading_where_known(&self) -> Result<Arc<Status>, AdminError> {
        let raft_id = self.leading()?.raft_id;
        let own = self.network().advertise_addr();
        let limit = self.patience(limits::OWN_ADDRESS_WAIT);
        self.wait_for_address(raft_id, own, limit).await
    }

    /// Waits until the members have an address that the leader's replica puts
    /// into the log by itself.
    async fn wait_for_address(
        &self,
        raft_id: u64,
        address: &str,
        limit: Duration,
    ) -> Result<Arc<Status>, AdminError> {
        let is_known = |status: &Status| {
            let member = status.membership.members.get(&raft_id);
            member.is_some_and(|member| member.address == address)
        };
        let conflict = |status: &Status| {
            let why = status.address_conflicts.get(&raft_id)?;
            let why = format!("{why}; move or remove that member first");
            Some(AdminError::from(Error::Precondition(why)))
        };
        // A conflict may pass: the other member may be about to move too.
        let first = limits::ADDRESS_CONFLICT_WAIT.min(limit);
        for (wait, is_last) in [(first, false), (limit - first, true)] {
            let ended = self.handle().when(|status| match leads(status) {
                Ok(()) if is_known(status) => Some(Ok(Arc::clone(status))),
                Ok(()) if is_last => conflict(status).map(Err),
                Ok(()) => None,
                Err(failed) => Some(Err(failed)),
            });
            if let Some(ended) = self.timer().within(wait, Box::pin(ended)).await {
                return ended;
            }
        }
        Err(Error::Unconfirmed(format!(
            "the members do not know the address {address} yet, quorum may be lost; see status, \
             then retry"
        ))
        .into())
    }
}
