//! Facts that a peer tells of its process, its machine and its settings when it is asked
//! (`Admin.GetPeerStatus`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use z4_consensus::metrics::Metrics;
use z4_rpc::accept::ConnectionMetrics;
use z4_rpc::facts::{PortFacts, ProcessFacts, VolumeFacts};
use z4_rpc::{Facts, FactsHook};
use z4_storage::limits as storage;
use z4_tls::Watched;

use crate::backups::BackupAge;
use crate::certificates::Certificates;
use crate::disk::Volume;
use crate::limits;
use crate::options::{Options, TlsOptions};
use crate::process_metrics::{descriptors_open, Stat};
use crate::system;

/// The parts of the server that know the facts.
pub(crate) struct Sources {
    /// How many files the process may have open.
    pub descriptors_max: u64,
    /// Counters of connections.
    pub connections: ConnectionMetrics,
    /// The certificates of the ports.
    pub certificates: Certificates,
    /// The age of the last backup.
    pub backup_age: Arc<BackupAge>,
    /// Counters of consensus.
    pub consensus: Metrics,
}

/// The hook by which the services ask.
pub(crate) fn hook(options: &Options, sources: Sources) -> FactsHook {
    let (options, began_at) = (options.clone(), Instant::now());
    Arc::new(move || Facts {
        uptime: began_at.elapsed(),
        process: process(&sources),
        volumes: volumes(&options),
        ports: ports(&options, &sources.certificates),
        last_backup_age: sources.backup_age.now(),
        clock_offset_max: options.max_clock_offset,
        system: system::facts(),
        log_syncs: sources.consensus.log_sync_writes(),
    })
}

fn process(sources: &Sources) -> ProcessFacts {
    let stat = Stat::now();
    let cpu_seconds = stat.as_ref().map_or(0.0, Stat::cpu_seconds);
    let (connections, connections_max) = sources.connections.of_clients();
    ProcessFacts {
        cpu: Duration::try_from_secs_f64(cpu_seconds).unwrap_or_default(),
        resident_bytes: stat.as_ref().map_or(0, Stat::resident_bytes),
        swapped_bytes: system::swapped_bytes(),
        buffers_bytes_max: buffers_bytes_max(),
        descriptors: descriptors_open().unwrap_or(0),
        descriptors_max: sources.descriptors_max,
        connections,
        connections_max,
    }
}

/// The cache of both databases, all write buffers of theirs, and the changed rows of the
/// state on their way to it.
fn buffers_bytes_max() -> u64 {
    let buffers = limits::LIVE_STORE_COUNT * storage::WRITE_BUFFER_COUNT_MAX as usize;
    let layers = 2 * storage::LAYER_BUFFERS_MAX;
    (storage::BLOCK_CACHE_BYTES + (buffers + layers) * storage::WRITE_BUFFER_BYTES) as u64
}

/// The volumes of both data folders; one, when they share it.
fn volumes(options: &Options) -> Vec<VolumeFacts> {
    let folders = [
        ("db", &options.db_data_dir),
        ("peer", &options.peer_data_dir),
    ];
    let mut devices = Vec::new();
    let mut volumes: Vec<VolumeFacts> = Vec::new();
    for (folder, path) in folders {
        let Ok(volume) = Volume::of(path) else {
            continue;
        };
        match devices.iter().position(|device| *device == volume.device) {
            Some(at) => volumes[at].folders.push(folder),
            None => {
                devices.push(volume.device);
                volumes.push(facts_of(folder, &volume, path, options.disk_reserve_bytes));
            }
        }
    }
    volumes
}

fn facts_of(
    folder: &'static str,
    volume: &Volume,
    path: &Path,
    reserve_bytes: Option<u64>,
) -> VolumeFacts {
    VolumeFacts {
        folders: vec![folder],
        size_bytes: volume.size_bytes,
        free_bytes: volume.free_bytes,
        reserve_bytes: volume.reserve_bytes(reserve_bytes),
        filesystem: system::filesystem(path),
    }
}

fn ports(options: &Options, certificates: &Certificates) -> PortFacts {
    let service = certificates.service.as_ref().map(|tls| &tls.watched);
    let peers = certificates.peers.as_ref().map(|tls| &tls.watched);
    PortFacts {
        service_tls: service.is_some(),
        client_auth: options.tls.auth(),
        peer_tls: peers.is_some(),
        is_insecure: options.tls.insecure,
        is_beyond_loopback: TlsOptions::is_beyond_loopback(options.bind()),
        certificate: first_to_run_out([("service", service), ("peer", peers)]),
    }
}

/// The certificate that runs out first, of the ports and of their CAs, and when.
fn first_to_run_out(ports: [(&str, Option<&Arc<Watched>>); 2]) -> Option<(String, SystemTime)> {
    let mut first: Option<(i64, String)> = None;
    for (port, watched) in ports {
        let Some(watched) = watched else {
            continue;
        };
        for expiry in watched.current().1.expiries() {
            if first.as_ref().is_none_or(|(at_s, _)| expiry.at_s < *at_s) {
                first = Some((expiry.at_s, format!("{} of {port}", expiry.part.name())));
            }
        }
    }
    first.map(|(at_s, name)| {
        // Before 1970 is as long ago as it needs to be.
        let since = Duration::from_secs(u64::try_from(at_s).unwrap_or(0));
        (name, UNIX_EPOCH + since)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use structopt::StructOpt;

    use super::*;

    #[test]
    fn two_folders_of_one_volume_are_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let text = |name: &str| dir.path().join(name).display().to_string();
        let (db, peer) = (text("db"), text("peer"));
        for folder in [&db, &peer] {
            std::fs::create_dir(folder).unwrap();
        }
        let of = |peer: &str| {
            let line = ["z4-server", "--db-data-dir", &db, "--peer-data-dir", peer];
            let reserve = ["--disk-reserve-bytes", "7"];
            volumes(&Options::from_iter_safe(line.iter().chain(&reserve)).unwrap())
        };
        let shared = of(&peer);
        assert_eq!(shared.len(), 1, "{shared:?}");
        assert_eq!(shared[0].folders, ["db", "peer"]);
        assert_eq!(shared[0].reserve_bytes, 7);
        assert!(!shared[0].filesystem.is_empty());
        // Never the volume of a folder of ours.
        let apart = of("/proc");
        assert_eq!(apart.len(), 2, "{apart:?}");
        assert_eq!(apart[1].folders, ["peer"]);
    }

    #[test]
    fn buffers_are_most_of_what_a_peer_holds() {
        let mib = buffers_bytes_max() >> 20;
        assert!((256..1_024).contains(&mib), "{mib} MiB");
    }
}
