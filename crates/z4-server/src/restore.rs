//! A backup becomes the beginning of a new cluster, with this peer as its only member.

use std::fs::File;
use std::io::{Read, Write};

use prometheus::Registry;
use slog::{info, warn, Logger};
use z4_backup::{read_all, Header, Item, Manifest, ReadError};
use z4_consensus::log::Position;
use z4_storage::{Restoration, RestorePlan, Settled, StorageError, Store};

use crate::descriptors::Budget;
use crate::membership;
use crate::options::{Options, Restore};

/// Restores a backup and prints what came of it.
///
/// # Errors
/// The reason and its remedy, for a person.
pub(crate) fn run(
    restore: &Restore,
    options: &Options,
    budget: &Budget,
    logger: &Logger,
) -> Result<(), String> {
    let name = restore.from.display().to_string();
    let file: Box<dyn Read> = match restore.from.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => {
            let opened = File::open(&restore.from);
            Box::new(opened.map_err(|e| format!("{name} cannot be opened: {e}"))?)
        }
    };
    let mut store = membership::open_store(options, budget, &Registry::new(), logger)?;
    let cluster_id = membership::new_cluster_id();
    let begin = |header: &Header| plan(header, cluster_id, &options.peer_advertise_addr);
    let (mut restoration, manifest) =
        take(file, &mut store, begin, logger).map_err(|why| told(&name, &why, options))?;
    let header = &manifest.header;
    info!(logger, "all rows are written and are read once more"; "rows" => manifest.rows);
    let broken = restoration
        .check(manifest.state_hash, header.cluster_id)
        .map_err(|e| e.to_string())?;
    for violation in &broken {
        warn!(logger, "the backup holds a state that is not sound, as its cluster did";
            "violation" => violation);
    }
    let settled = restoration
        .settle(!restore.resume)
        .map_err(|e| e.to_string())?;
    let position = restoration.found().map_err(|e| e.to_string())?;
    info!(logger, "restored a backup"; "from_cluster" => header.cluster_id_hex(),
        "from_index" => header.index, "cluster" => membership::id_text(&cluster_id),
        "index" => position.index, "rows" => manifest.rows);
    let text = summary(
        &manifest,
        &membership::id_text(&cluster_id),
        settled,
        options,
    );
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| format!("cannot write to standard output: {e}"))
}

fn plan(header: &Header, cluster_id: [u8; 16], address: &str) -> RestorePlan {
    RestorePlan {
        cluster_id,
        address: address.to_owned(),
        at: Position {
            index: header.index,
            term: header.term,
        },
        level: header.level,
    }
}

/// Why the rows were not all taken.
enum Untaken {
    /// The file is no whole backup; `has_begun`: some of it was written.
    File {
        why: String,
        has_begun: bool,
    },
    Store(StorageError),
}

/// Reads the file and writes its rows.
fn take<'a>(
    file: impl Read,
    store: &'a mut Store,
    plan: impl Fn(&Header) -> RestorePlan,
    logger: &Logger,
) -> Result<(Restoration<'a>, Manifest), Untaken> {
    let (mut unused, mut begun) = (Some(store), None);
    let read = read_all(file, |item| -> Result<(), StorageError> {
        match item {
            Item::Header(header) => {
                info!(logger, "restoring a backup"; "from_cluster" => header.cluster_id_hex(),
                    "from_peer" => &header.peer_id, "from_index" => header.index,
                    "tasks" => header.tasks, "namespaces" => header.namespaces);
                // A reader gives one header, before all else.
                if let Some(store) = unused.take() {
                    begun = Some(store.restore(plan(&header))?);
                }
            }
            Item::Rows(rows) => {
                if let Some(restoration) = &mut begun {
                    restoration.put(rows)?;
                }
            }
            Item::Manifest(_) => {}
        }
        Ok(())
    });
    match (read, begun) {
        (Ok(manifest), Some(restoration)) => Ok((restoration, manifest)),
        (Ok(_), None) => Err(Untaken::File {
            why: "it has no header".to_owned(),
            has_begun: false,
        }),
        (Err(ReadError::Backup(error)), begun) => Err(Untaken::File {
            why: error.to_string(),
            has_begun: begun.is_some(),
        }),
        (Err(ReadError::Taker(error)), _) => Err(Untaken::Store(error)),
    }
}

fn told(name: &str, why: &Untaken, options: &Options) -> String {
    match why {
        Untaken::Store(error) => error.to_string(),
        Untaken::File { why, has_begun } => {
            let erase = match has_begun {
                true => format!(
                    "; no cluster was founded; erase {} and {} before you restore again",
                    options.db_data_dir.display(),
                    options.peer_data_dir.display()
                ),
                false => "; nothing was written".to_owned(),
            };
            format!("{name}: {why}{erase}")
        }
    }
}

fn summary(manifest: &Manifest, cluster: &str, settled: Settled, options: &Options) -> String {
    let header = &manifest.header;
    let paused = match settled.namespaces_paused {
        0 => "No namespace was paused.".to_owned(),
        count => format!(
            "{count} namespaces are paused: let them go on with z4t ns resume NAMESPACE when you \
             are ready."
        ),
    };
    format!(
        "{} is the only member of a new cluster, {cluster}, with {} tasks in {} namespaces of \
         cluster {} as of entry {}, state hash {}.\n\
         {} leases were ended, and their tasks wait again. {paused}\n\
         Tasks that were done after the backup come again, and what was created after it is not \
         there.\n\
         Start the peer with the same directories, and add others with z4t add-peer.\n",
        options.peer_id,
        header.tasks,
        header.namespaces,
        header.cluster_id_hex(),
        header.index,
        manifest.state_hash_hex(),
        settled.leases_ended,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_cluster_goes_on_from_where_the_backup_was_made() {
        let header = Header {
            cluster_id: [1; 16],
            term: 7,
            index: 900,
            level: 5,
            ..Header::default()
        };
        let plan = plan(&header, [2; 16], "10.0.0.1:6356");
        let at = Position {
            index: 900,
            term: 7,
        };
        assert_eq!((plan.at, plan.level), (at, 5));
        assert_eq!(plan.cluster_id, [2; 16], "a cluster of its own");
        assert_eq!(plan.address, "10.0.0.1:6356");
    }
}
