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
                let peers = answer.peers.into_iter().map(Into::into);
                fuzzing::peers(&admin::ClusterInfo::default().into(), peers.collect());
            }
        }
    }
});
