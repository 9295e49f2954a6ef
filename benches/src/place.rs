//! Where the load goes: a cluster that was given, or one that is started for
//! it.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grpcio::{EnvBuilder, Environment};
use z4_e2e::{Client, Cluster};
use z4_proto::generated::admin::PeerRole;

use crate::report::Report;
use crate::stats::Times;

/// The peers under load.
pub struct Place {
    /// Services of the peers, `host:port`.
    pub addresses: Vec<String>,
    /// The peers, when this program started them.
    pub cluster: Option<Cluster>,
}

impl Place {
    /// The peers at these addresses; three of its own when there are none.
    ///
    /// # Panics
    /// When peers of its own do not come up; the message has the reason and the
    /// end of their logs.
    #[must_use]
    pub fn open(targets: &[String]) -> Self {
        if targets.is_empty() {
            let cluster = Cluster::three();
            let addresses = cluster.peers.iter().map(|p| p.service_address());
            return Self {
                addresses: addresses.collect(),
                cluster: Some(cluster),
            };
        }
        Self {
            addresses: targets.to_vec(),
            cluster: None,
        }
    }

    /// A client of each peer, on completion queues of their own.
    #[must_use]
    pub fn clients(&self, queues: usize) -> Vec<Client> {
        let environment: Arc<Environment> = Arc::new(EnvBuilder::new().cq_count(queues).build());
        let client = |a: &String| Client::on(Arc::clone(&environment), a);
        self.addresses.iter().map(client).collect()
    }

    /// The address of the peer that leads.
    ///
    /// # Errors
    /// When none of the peers says that it does.
    pub fn leader(&self) -> Result<String, String> {
        let mut said = Vec::new();
        for client in self.clients(1) {
            match client.info() {
                Ok(info) if info.get_role() == PeerRole::PEER_ROLE_LEADER => {
                    return Ok(client.address)
                }
                Ok(info) => said.push(format!("{}: {:?}", client.address, info.get_role())),
                Err(error) => said.push(format!("{}: {error}", client.address)),
            }
        }
        Err(format!("none of the targets leads: {}", said.join(", ")))
    }

    /// Processor time of the peers so far; `None` when this program did not
    /// start them.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        self.cluster.as_ref().map(Cluster::cpu_time)
    }
}

/// What a synced append costs where peers that this program starts keep their
/// data: without it, rates say little.
///
/// # Errors
/// When the folder of temporary files cannot be written.
pub fn report_sync_cost(report: &mut Report) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = File::create(folder.path().join("probe"));
    let mut file = file.map_err(|e| e.to_string())?;
    let mut times = Times::default();
    for _ in 0..200 {
        let start = Instant::now();
        let synced = file.write_all(&[7; 512]).and_then(|()| file.sync_data());
        synced.map_err(|e| e.to_string())?;
        times.push(start.elapsed());
    }
    let ms = |share| times.percentile(share).as_secs_f64() * 1e3;
    report.add_rounded("disk_sync_p50_ms", ms(0.5));
    report.add_rounded("disk_sync_p99_ms", ms(0.99));
    Ok(())
}
