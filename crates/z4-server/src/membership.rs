//! Storage opened, and a cluster founded when that was asked for.

use std::sync::Arc;

use prometheus::Registry;
use rand::RngCore;
use slog::{info, o, warn, Logger};
use z4_consensus::{Role, Status};
use z4_storage::{Metrics, Store, StoreOptions};

use crate::descriptors::Budget;
use crate::options::Options;

/// What was found in the directories of a peer.
pub(crate) enum Opened {
    /// The storage of a member, or of an empty peer.
    Ready(Arc<Store>),
    /// That of a peer that was removed from its cluster: what that means and what to do,
    /// for a person.
    Removed(String),
}

/// What a peer says that was removed, with the remedy.
pub(crate) fn removed_text(options: &Options) -> String {
    let again = match options.join.join.is_empty() {
        true => "start it again and add it anew (z4t add-peer)",
        false => "start it again, and it asks to be added",
    };
    format!(
        "peer {} was removed from its cluster and serves nothing; to have it back, erase {} and \
         {}, {again}",
        options.peer_id,
        options.db_data_dir.display(),
        options.peer_data_dir.display()
    )
}

/// Opens the peer's storage. With `Z4_BOOTSTRAP_CLUSTER` an empty peer becomes
/// the first of a new cluster.
///
/// # Errors
/// The reason and its remedy, for a person.
pub(crate) fn open(
    options: &Options,
    budget: &Budget,
    registry: &Registry,
    logger: &Logger,
) -> Result<Opened, String> {
    let mut store = open_store(options, budget, registry, logger)?;
    if store.is_removed() {
        return Ok(Opened::Removed(removed_text(options)));
    }
    let identity = store.identity().map(|identity| identity.raft_id);
    match (identity, options.bootstrap_cluster) {
        (Some(raft_id), asked) => {
            if asked {
                warn!(logger, "already in a cluster, Z4_BOOTSTRAP_CLUSTER is ignored"; "raft_id" => raft_id);
            }
            tell_of_other_address(&store, raft_id, options, logger);
        }
        (None, true) => {
            store
                .bootstrap(new_cluster_id(), &options.peer_advertise_addr)
                .map_err(|e| e.to_string())?;
            info!(logger, "made a cluster of one");
        }
        (None, false) if !options.join.join.is_empty() => {
            info!(logger, "in no cluster, looks for one"; "join" => &options.join.join);
        }
        (None, false) => info!(logger, "waiting to be added to a cluster";
            "remedy" => "z4t add-peer, or Z4_JOIN, or Z4_BOOTSTRAP_CLUSTER=true for a new cluster"),
    }
    Ok(Opened::Ready(Arc::new(store)))
}

/// Opens the peer's storage and founds nothing.
///
/// # Errors
/// The reason and its remedy, for a person.
pub(crate) fn open_store(
    options: &Options,
    budget: &Budget,
    registry: &Registry,
    logger: &Logger,
) -> Result<Store, String> {
    let metrics = Metrics::new(registry).map_err(|e| e.to_string())?;
    Store::open(StoreOptions {
        db_dir: options.db_data_dir.clone(),
        peer_dir: options.peer_data_dir.clone(),
        peer_id: options.peer_id.clone(),
        open_files_max: budget.open_files_max,
        logger: logger.new(o!("part" => "storage")),
        metrics,
    })
    .map_err(|e| e.to_string())
}

/// The members have the address of an earlier start until this peer has told
/// them, or has put it into the log itself.
fn tell_of_other_address(store: &Store, raft_id: u64, options: &Options, logger: &Logger) {
    let known = store.applied().membership.members.get(&raft_id);
    if let Some(known) = known.filter(|known| known.address != options.peer_advertise_addr) {
        info!(logger, "this peer has another address than before, and tells the members";
            "known_addr" => known.address.clone(),
            "advertise_addr" => options.peer_advertise_addr.clone());
    }
}

/// An id that no other cluster has.
pub(crate) fn new_cluster_id() -> [u8; 16] {
    let mut id = [0; 16];
    rand::thread_rng().fill_bytes(&mut id);
    id
}

/// The id of a cluster as people read it, in `z4t info` too.
pub(crate) fn id_text(cluster_id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*cluster_id))
}

/// Tells whether a peer of this status can serve; if not, what it waits for. `waits_for` is what
/// a peer says that assembles a cluster by itself.
///
/// # Errors
/// The reason, for a person.
pub(crate) fn ready(status: &Status, waits_for: Option<&str>) -> Result<(), String> {
    match status.role {
        Role::Waiting => Err(match waits_for {
            Some(waits_for) => format!("in no cluster yet: {waits_for}"),
            None => "in no cluster: waits to be added (z4t add-peer)".to_owned(),
        }),
        Role::Removed => Err(
            "removed from its cluster: erase its directories, start it again and add it anew (z4t add-peer)"
                .to_owned(),
        ),
        _ if status.leader == 0 => Err(format!(
            "knows no leader: waits for a quorum of its {} members",
            status.membership.members.len()
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_that_knows_a_leader_is_ready() {
        let status = |role, leader| Status {
            role,
            leader,
            ..Status::default()
        };
        assert_eq!(ready(&status(Role::Follower, 1), None), Ok(()));
        assert_eq!(ready(&status(Role::Leader, 2), None), Ok(()));
        for (status, word) in [
            (status(Role::Waiting, 0), "add-peer"),
            (status(Role::Removed, 1), "erase"),
            (status(Role::Candidate, 0), "quorum"),
        ] {
            let reason = ready(&status, None).err().unwrap_or_default();
            assert!(reason.contains(word), "{status:?}: {reason}");
        }
        let waits = ready(&status(Role::Waiting, 0), Some("nobody answers at h:1"));
        assert!(waits.is_err_and(|reason| reason.contains("at h:1")));
    }

    #[test]
    fn cluster_ids_differ() {
        assert_ne!(new_cluster_id(), new_cluster_id());
    }
}
