//! Facts of the process, the machine and the settings of a peer, which this crate does not
//! know: the server tells them when somebody asks for the status of the peer.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use z4_tls::ClientAuth;

/// Gives the facts as they are now. Called from a thread of reads, for it may wait for a
/// disk.
pub type FactsHook = Arc<dyn Fn() -> Facts + Send + Sync>;

/// The facts of a server. What it cannot find out is left at its default.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Facts {
    /// For how long it has served.
    pub uptime: Duration,
    /// Its process.
    pub process: ProcessFacts,
    /// The volumes of its data folders.
    pub volumes: Vec<VolumeFacts>,
    /// How its ports are kept from strangers.
    pub ports: PortFacts,
    /// How long ago it last sent a backup to its end; `None`: it never did.
    pub last_backup_age: Option<Duration>,
    /// How far the clock of a leader may be ahead.
    pub clock_offset_max: Duration,
    /// The machine that it runs on.
    pub system: SystemFacts,
    /// Writes to its raft log that were synced.
    pub log_syncs: u64,
}

/// The resources that a process uses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessFacts {
    /// Processor time of all its threads.
    pub cpu: Duration,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Memory in swap.
    pub swapped_bytes: u64,
    /// Most that the buffers of the databases take.
    pub buffers_bytes_max: u64,
    /// File descriptors that are open.
    pub descriptors: u64,
    /// How many may be.
    pub descriptors_max: u64,
    /// Connections of clients.
    pub connections: u64,
    /// How many there may be.
    pub connections_max: u64,
}

/// A volume with data on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VolumeFacts {
    /// The data folders on it: `db`, `peer`, or both.
    pub folders: Vec<&'static str>,
    /// The size of the volume.
    pub size_bytes: u64,
    /// The part that the process may still fill.
    pub free_bytes: u64,
    /// The part that stays free.
    pub reserve_bytes: u64,
    /// The kind of its file system.
    pub filesystem: String,
}

/// How the ports are kept from strangers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortFacts {
    /// The service port and the status port speak TLS.
    pub service_tls: bool,
    /// The certificate that clients are asked for.
    pub client_auth: ClientAuth,
    /// The peer port and lanes speak TLS.
    pub peer_tls: bool,
    /// Ports without TLS may leave loopback.
    pub is_insecure: bool,
    /// The ports are opened on more than loopback.
    pub is_beyond_loopback: bool,
    /// The certificate that runs out first, and when.
    pub certificate: Option<(String, SystemTime)>,
}

impl Default for PortFacts {
    fn default() -> Self {
        Self {
            service_tls: false,
            client_auth: ClientAuth::Off,
            peer_tls: false,
            is_insecure: false,
            is_beyond_loopback: false,
            certificate: None,
        }
    }
}

/// The machine of a peer, as its process sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SystemFacts {
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// The part of it that the control group of the process may use; 0: no limit.
    pub memory_limit_bytes: u64,
    /// always, madvise or never.
    pub transparent_huge_pages: String,
    /// `vm.overcommit_memory`.
    pub overcommit_memory: u32,
    /// `net.core.somaxconn`.
    pub somaxconn: u64,
}
