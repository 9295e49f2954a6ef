//! File descriptors: how many the process may have, and what they are for.
//!
//! A database that finds no descriptor ends the peer, so clients must never be
//! able to use them up. The limit is raised as far as the system lets, and is
//! given out here, once: what databases, snapshots and peers need comes first,
//! and connections of clients get of the rest.
//!
//! | for | descriptors |
//! |---|---|
//! | tables that the databases keep open | 3 × a sixteenth of the limit, 64 to 512 each |
//! | other files of the databases | 3 × 64 |
//! | snapshots on their way | 64 |
//! | connections from peers | 256 |
//! | connections to peers, and their names | 64 |
//! | lanes from peers, and to peers | 64 |
//! | the status port | 48 |
//! | the process itself | 64 |
//! | connections of clients | `Z4_CONNECTIONS_MAX`, else the rest, at most 10,000 and at least 64 |

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use z4_rpc::accept::ConnectionLimits;
use z4_rpc::limits as rpc;
use z4_storage::limits as storage;

use crate::limits;
use crate::options::Options;

/// What the descriptors are given to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Budget {
    /// How many the process may have.
    pub limit: u64,
    /// Tables that each database keeps open.
    pub open_files_max: usize,
    /// Connections at the service port.
    pub clients: ConnectionLimits,
}

/// Raises the limit on descriptors as far as it may be, and gives them out.
///
/// # Errors
/// There are too few: for a person, with the figures and the remedy.
pub(crate) fn give_out(options: &Options) -> Result<Budget, String> {
    give_out_of(raise(), options)
}

/// Sets the soft limit to the hard one; what holds then.
fn raise() -> u64 {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    // Where the system refuses, what was before holds on.
    let holds = setrlimit(Resource::Nofile, raised).map_or(before, |()| raised);
    let limit = holds.current.unwrap_or(limits::DESCRIPTORS_MAX);
    limit.min(limits::DESCRIPTORS_MAX)
}

fn give_out_of(limit: u64, options: &Options) -> Result<Budget, String> {
    let open_files_max = usize::try_from(limit / limits::STORE_PART)
        .unwrap_or(storage::OPEN_FILES_MAX)
        .clamp(storage::OPEN_FILES_MIN, storage::OPEN_FILES_MAX);
    let stores = limits::STORE_COUNT * (open_files_max as u64 + limits::STORE_DESCRIPTORS)
        + limits::SNAPSHOT_DESCRIPTORS;
    let peers = rpc::PEER_CONNECTIONS_MAX as u64 + limits::DIAL_DESCRIPTORS;
    let peers = peers + limits::LANE_DESCRIPTORS;
    let own = limits::STATUS_CONNECTIONS_MAX as u64 + limits::BASE_DESCRIPTORS;
    let rest = limit.saturating_sub(stores + peers + own);
    let asked = options.connections_max;
    let clients = asked.unwrap_or((rpc::CONNECTIONS_MAX_DEFAULT as u64).min(rest) as usize);
    let clients_min = asked.unwrap_or(rpc::CONNECTIONS_MIN) as u64;
    if rest < clients_min {
        let needed = (stores + peers + own).saturating_add(clients_min);
        let fewer = match asked {
            Some(_) => ", or set Z4_CONNECTIONS_MAX lower",
            None => "",
        };
        return Err(format!(
            "the limit on open files is {limit}, and {needed} are needed: {stores} for the \
             databases and snapshots, {peers} for other peers, {own} for the process and its \
             status port, {clients_min} for connections of clients; raise the hard limit (ulimit \
             -Hn, LimitNOFILE= of systemd, --ulimit nofile= of docker){fewer}"
        ));
    }
    // Half of all: clients behind one address are many, and others get in.
    let half = clients.div_ceil(2);
    Ok(Budget {
        limit,
        open_files_max,
        clients: ConnectionLimits {
            count_max: clients,
            per_address_max: options.connections_per_address_max.unwrap_or(half),
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use structopt::StructOpt;

    use super::*;

    fn of(limit: u64, args: &[&str]) -> Result<Budget, String> {
        let args = ["z4-server"].iter().chain(args);
        give_out_of(limit, &Options::from_iter_safe(args).unwrap())
    }

    #[test]
    fn all_that_is_given_out_is_within_the_limit() {
        for limit in [1_008, 1_024, 4_096, 8_192, 20_000, 1 << 20] {
            let budget = of(limit, &[]).unwrap();
            let stores = 3 * (budget.open_files_max as u64 + 64) + 64;
            let sum = stores + 256 + 64 + 64 + 48 + 64 + budget.clients.count_max as u64;
            assert!(sum <= limit, "{limit}: {budget:?}");
        }
        let usual = of(1 << 20, &[]).unwrap();
        assert_eq!(usual.open_files_max, 512);
        assert_eq!(
            (usual.clients.count_max, usual.clients.per_address_max),
            (10_000, 5_000)
        );
    }

    #[test]
    fn too_few_are_refused_with_figures_and_remedy() {
        let said = of(64, &[]).unwrap_err();
        for part in [
            "open files is 64",
            "1008 are needed",
            "LimitNOFILE",
            "ulimit",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let said = of(4_096, &["--connections-max", "4000"]).unwrap_err();
        assert!(said.contains("4000 for connections"), "{said}");
        assert!(said.contains("Z4_CONNECTIONS_MAX"), "{said}");
        // The largest that can be written does not overflow the sum.
        let most = u64::MAX.to_string();
        let said = of(4_096, &["--connections-max", &most]).unwrap_err();
        assert!(said.contains(&format!("{most} for connections")), "{said}");
    }

    #[test]
    fn what_is_asked_for_is_given() {
        let args = [
            "--connections-max",
            "9",
            "--connections-per-address-max",
            "3",
        ];
        let clients = of(4_096, &args).unwrap().clients;
        assert_eq!((clients.count_max, clients.per_address_max), (9, 3));
    }
}
