//! A member that has no leader looks for the others at the addresses of its list.
//!
//! A member that has moved says its new address to those it knows. When all members moved
//! at once, each of them knows old addresses alone, and only the list (`Z4_JOIN`) that each
//! was started with has the new ones. So who finds no leader dials the list. A member that
//! answers there is taken as if it had said its address itself: it is dialled at the address
//! that it tells, and believed when it answers there.

use std::collections::BTreeSet;

use futures::executor::block_on;
use futures::future::join_all;
use z4_consensus::Role;
use z4_core::View;

use super::address::heard;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Dials all `addresses` (`host:port` of peer ports) side by side, and looks into where
    /// each member of this cluster that answers says it is. Does nothing while a leader is
    /// known, and at a peer that was removed. Blocks for [`limits::PROBE_TIMEOUT`] at most; not for a thread of gRPC.
    pub fn seek_members(&self, addresses: &BTreeSet<String>) {
        let network = self.network();
        let Some(identity) = network.identity() else {
            return;
        };
        let status = self.handle().status();
        if status.leader != 0 || status.role == Role::Removed {
            return;
        }
        let dialling = addresses.iter().map(|address| network.dial_one(address));
        let replies = block_on(join_all(dialling));
        // A peer that does not answer is dialled again in the next round.
        for reply in replies.into_iter().flatten() {
            let is_other = reply.get_raft_id() != identity.raft_id;
            let is_member = reply.get_cluster_id() == identity.cluster_id && is_other;
            let told = reply.get_address();
            if is_member && told.len() <= limits::ADDRESS_LEN_MAX {
                heard(self, reply.get_raft_id(), reply.get_peer_id(), told);
            }
        }
    }
}
