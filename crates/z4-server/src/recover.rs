//! Work on the disks of a peer whose cluster has lost its quorum for good.

use std::io::Write;

use prometheus::Registry;
use slog::Logger;

use crate::descriptors::Budget;
use crate::membership;
use crate::options::{Force, Options, Recover};

/// Does a step of a recovery and prints what came of it.
///
/// # Errors
/// The reason and its remedy, for a person.
pub(crate) fn run(
    step: &Recover,
    options: &Options,
    budget: &Budget,
    logger: &Logger,
) -> Result<(), String> {
    let mut store = membership::open_store(options, budget, &Registry::new(), logger)?;
    let evidence = store.evidence().map_err(|e| e.to_string())?;
    let text = match step {
        Recover::Inspect => evidence.to_json(),
        Recover::Force(force) => {
            check(force, &membership::id_text(&evidence.cluster_id))?;
            let cluster_id = membership::new_cluster_id();
            store
                .found_again(cluster_id, &options.peer_advertise_addr)
                .map_err(|e| e.to_string())?;
            let beware = match evidence.is_removed() {
                true => {
                    "Its log ends with its own removal: the others may have gone on for long \
                         without it.\n"
                }
                false => "",
            };
            format!(
                "{} is the only member of a new cluster, {}, with all up to entry {} of cluster {}.\n{beware}\
                 Start it. Then erase the directories of each other peer, start it, and add it with \
                 z4t add-peer.\n",
                evidence.peer_id,
                membership::id_text(&cluster_id),
                evidence.last_index,
                membership::id_text(&evidence.cluster_id)
            )
        }
    };
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| format!("cannot write to standard output: {e}"))
}

fn check(force: &Force, cluster_id: &str) -> Result<(), String> {
    if force.confirm.trim() == cluster_id {
        return Ok(());
    }
    Err(format!(
        "--confirm is {:?}, and these directories are of cluster {cluster_id}; nothing was changed; \
         give that id if its quorum is lost for good",
        force.confirm
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_id_of_the_cluster_confirms() {
        let force = |confirm: &str| Force {
            confirm: confirm.into(),
        };
        assert_eq!(check(&force("07ff"), "07ff"), Ok(()));
        for other in ["", "07f", "07FF", "yes"] {
            let why = check(&force(other), "07ff").err().unwrap_or_default();
            assert!(why.contains("of cluster 07ff"), "{other}: {why}");
        }
    }
}
