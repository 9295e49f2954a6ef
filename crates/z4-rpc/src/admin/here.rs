//! Changes of members and of the leader at the peer that leads.
//!
//! A change that has begun comes to its end whether or not its caller stays: it
//! runs beside the call, which tells its caller in time what is known.

use futures::channel::oneshot;
use z4_core::View;

use super::{AdminError, Work};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Makes a change here, and answers before the caller leaves.
    pub(super) async fn administer_here(&self, work: &Work) -> Result<(), AdminError> {
        let (tx, rx) = oneshot::channel();
        let (node, work) = (self.a_little_sooner(), work.clone());
        self.network().spawn(async move {
            // The caller may have left.
            let _ = tx.send(node.make_change(&work).await);
        });
        let limit = self.patience(limits::ADMIN_HERE_TIMEOUT);
        match self.timer().within(limit, rx).await {
            Some(Ok(result)) => result,
            _ => Err(Error::Unconfirmed(
                "the change is under way and goes on; see with info what was done, then retry"
                    .into(),
            )
            .into()),
        }
    }

    async fn make_change(&self, work: &Work) -> Result<(), AdminError> {
        match work {
            Work::Add {
                peer_id,
                address,
                is_own_request,
            } => {
                self.add_member_here(peer_id, address, *is_own_request)
                    .await
            }
            Work::Remove { peer_id } => self.remove_member_here(peer_id).await,
            Work::Transfer { peer_id } => self.transfer_here(peer_id).await,
            Work::SetAddress { peer_id, address } => self.set_address_here(peer_id, address).await,
        }
    }
}
