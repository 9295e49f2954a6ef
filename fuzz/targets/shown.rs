//! What a server may answer, as z4t shows it: no answer makes it panic, breaks a
//! table, or commands the terminal. The first byte says what the rest is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protobuf::Message;
use z4_proto::generated::{admin, collection};
use z4t::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 5 {
        0 => {
            if let Ok(delivery) = collection::Delivery::parse_from_bytes(bytes) {
                fuzzing::delivery(&delivery.into());
            }
        }
        1 => {
            if let Ok(namespace) = admin::Namespace::parse_from_bytes(bytes) {
                fuzzing::namespace(&namespace.into());
            }
        }
        2 => {
            if let Ok(stats) = admin::NamespaceStats::parse_from_bytes(bytes) {
                fuzzing::stats(&stats.into());
            }
        }
        3 => {
            if let Ok(cluster) = admin::ClusterInfo::parse_from_bytes(bytes) {
                fuzzing::cluster(&cluster.into());
            }
        }
        _ => {
            if let Ok(answer) = admin::GetPeerStatusResponse::parse_from_bytes(bytes) {
                let namespaces: Vec<_> = answer.peers.iter().map(namespace).collect();
                let namespaces: Vec<_> = namespaces.into_iter().map(Into::into).collect();
                let peers: Vec<_> = answer.peers.into_iter().map(Into::into).collect();
                let info = admin::ClusterInfo::default();
                fuzzing::peers(&info.into(), &peers, &namespaces);
            }
        }
    }
});

/// A namespace that is made of what a member says, so that one input draws both.
fn namespace(peer: &admin::PeerStatus) -> admin::Namespace {
    let mut namespace = admin::Namespace::default();
    namespace.set_name(peer.get_error().to_owned());
    namespace.mut_counts().set_pending(peer.get_commit_index());
    namespace.mut_counts().set_dead(peer.get_applied_index());
    namespace.mut_settings().dead_keep = peer.last_backup_age.clone();
    namespace.mut_settings().set_pending_max(peer.get_term());
    namespace
}
