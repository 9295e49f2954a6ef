//! What a peer in no cluster does over the wire: it dials the addresses of its list, says
//! of itself what the others need to know, and asks a member to be added.
//!
//! The rules stand in [`z4_consensus::assembly`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use futures::executor::block_on;
use futures::future::join_all;
use grpcio::CallOption;
use z4_consensus::assembly::{Answer, Settings, WaitingPeer};
use z4_consensus::limits::JOIN_COUNT_MAX;
use z4_proto::generated::peer::{MembershipRequest, ProbeReply, ProbeRequest};
use z4_proto::generated::peer_grpc::PeerClient;

use crate::errors;
use crate::limits;
use crate::network::Network;

/// What a peer that assembles a cluster says of itself.
#[derive(Debug, Default)]
pub struct Assembling {
    settings: OnceLock<Settings>,
    waits_for: Mutex<String>,
}

impl Assembling {
    /// The peer has this list, and says so to those who dial it. Only the first call counts.
    pub fn begin(&self, settings: &Settings) {
        let _ = self.settings.set(settings.clone());
    }

    /// Notes what the peer waits for, for people.
    pub fn set_waits_for(&self, reason: &str) {
        reason.clone_into(&mut self.lock());
    }

    /// What the peer waits for; `None` where it does not assemble a cluster by itself.
    #[must_use]
    pub fn waits_for(&self) -> Option<String> {
        let reason = self.lock().clone();
        (!reason.is_empty()).then_some(reason)
    }

    /// Adds to the answer of a peer that is in no cluster what it has been told.
    pub(super) fn describe(&self, reply: &mut ProbeReply) {
        if let Some(settings) = self.settings.get() {
            let join: Vec<String> = settings.join.iter().cloned().collect();
            reply.set_join(join.into());
            reply.set_expect(settings.expect.unwrap_or_default());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, String> {
        // A text is replaced whole.
        self.waits_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network {
    /// Dials all addresses side by side, each over a connection of its own, so that names
    /// are resolved anew. Blocks for [`limits::PROBE_TIMEOUT`] at most; not for a thread of
    /// gRPC.
    #[must_use]
    pub fn dial_all(&self, addresses: &BTreeSet<String>) -> BTreeMap<String, Answer> {
        let dialling = addresses.iter().map(|address| async move {
            let answer = match self.dial_one(address).await {
                Ok(reply) => answer_of(&reply),
                Err(error) => Answer::Unreachable(error),
            };
            (address.clone(), answer)
        });
        block_on(join_all(dialling)).into_iter().collect()
    }

    /// Asks the peer at `address`, over a connection of its own, who it is.
    ///
    /// # Errors
    /// Nobody answers in time, or not as a peer does: the reason, for a person.
    pub(super) async fn dial_one(&self, address: &str) -> Result<ProbeReply, String> {
        let client = PeerClient::new(self.channel(address));
        let mut request = ProbeRequest::default();
        request.set_protocol_version(limits::PROTOCOL_VERSION);
        let option = CallOption::default().timeout(limits::PROBE_TIMEOUT);
        let probing = client
            .probe_async_opt(&request, option)
            .map_err(|e| said(&e))?;
        probing.await.map_err(|e| said(&e))
    }

    /// Asks the member at `address` to have this peer added, and waits until it votes.
    /// Blocks for [`limits::ADMIN_TIMEOUT`] at most; not for a thread of gRPC.
    ///
    /// # Errors
    /// The answer of the member, for a person: another member may be asked, and the same
    /// one again. The peer may have been added all the same.
    pub fn request_membership(&self, address: &str) -> Result<(), String> {
        let client = PeerClient::new(self.channel(address));
        let mut request = MembershipRequest::default();
        request.set_peer_id(self.peer_id().to_owned());
        request.set_address(self.advertise_addr().to_owned());
        let option = CallOption::default().timeout(limits::ADMIN_TIMEOUT);
        let asking = client
            .request_membership_async_opt(&request, option)
            .map_err(|e| said(&e))?;
        block_on(asking).map(drop).map_err(|e| said(&e))
    }
}

/// The answer of a peer, as the rules take it. All of it comes from outside.
pub(crate) fn answer_of(reply: &ProbeReply) -> Answer {
    let peer_id = cut(reply.get_peer_id(), limits::PEER_ID_LEN_MAX);
    if !reply.get_cluster_id().is_empty() {
        return match reply.get_cluster_id().try_into() {
            Ok(cluster_id) => Answer::Member {
                peer_id,
                cluster_id,
            },
            Err(_) => Answer::Unreachable(format!(
                "{peer_id} answers there with a cluster id that is none"
            )),
        };
    }
    // One more than there may be is another list in any case.
    let join = reply.get_join().iter().take(JOIN_COUNT_MAX + 1);
    Answer::Waiting(WaitingPeer {
        peer_id,
        address: cut(reply.get_address(), limits::ADDRESS_LEN_MAX),
        join: join.map(|a| cut(a, limits::ADDRESS_LEN_MAX)).collect(),
        expect: reply.get_expect(),
    })
}

fn cut(text: &str, len_max: usize) -> String {
    let mut end = len_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// What went wrong with a call, for a person: the words of the peer where it has answered.
fn said(error: &grpcio::Error) -> String {
    cut(&errors::said(error), limits::UNREACHED_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_bounded_and_a_bad_cluster_id_is_nobodys() {
        let mut reply = ProbeReply::default();
        reply.set_peer_id("ä".repeat(1_000));
        reply.set_address("x".repeat(1_000));
        let many: Vec<String> = (0..1_000)
            .map(|n| format!("{n:04}{}", "y".repeat(999)))
            .collect();
        reply.set_join(many.into());
        reply.set_expect(3);
        let Answer::Waiting(peer) = answer_of(&reply) else {
            panic!("it waits");
        };
        assert_eq!(peer.peer_id.len(), limits::PEER_ID_LEN_MAX);
        assert_eq!(peer.address.len(), limits::ADDRESS_LEN_MAX);
        assert_eq!(peer.join.len(), JOIN_COUNT_MAX + 1);
        assert!(peer.join.iter().all(|a| a.len() == limits::ADDRESS_LEN_MAX));
        reply.set_cluster_id(vec![7; 15]);
        assert!(matches!(answer_of(&reply), Answer::Unreachable(_)));
        reply.set_cluster_id(vec![7; 16]);
        let is_member =
            |answer| matches!(answer, Answer::Member { cluster_id, .. } if cluster_id == [7; 16]);
        assert!(is_member(answer_of(&reply)));
    }
}
