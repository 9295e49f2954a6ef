//! Peers in one process: real ports, real gRPC, state in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, missing_docs)]

pub mod client;
pub mod consume;
mod log_lines;
mod machine;
pub mod propose;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::client::Client;
use z4_consensus::log::Position;
use z4_consensus::machine::Applied;
use z4_consensus::mem_log::MemLog;
use z4_consensus::runtime::{prepare, Parts, Pending, Runtime};
use z4_consensus::{Handle, Identity, Levels, Membership};
use z4_core::{Machine, Outcome};
use z4_rpc::accept::{ConnectionLimits, ConnectionMetrics};
use z4_rpc::server::{serve_clients, serve_peers, Environments, Port, PortParts};
use z4_rpc::{
    GrpcTransport, LanePort, Metrics, Network, NetworkParts, Node, OwnLevels, PeerHooks, PeerTls,
    Timer,
};

use self::machine::{MemMachine, SharedState, Snapshots};

/// What the snapshots of a test stand for.
pub type SnapshotsOfTest = Snapshots;

pub const CLUSTER: [u8; 16] = [7; 16];
/// The levels of all peers here.
const LEVELS: Levels = Levels { min: 1, max: 2 };

pub struct Peer {
    pub node: Node<SharedState>,
    pub peer_address: String,
    pub address: String,
    pub starter: Arc<Starter>,
    pub metrics: Metrics,
    /// Its port of lanes, if it has one.
    pub lane_port: Option<LanePort>,
    ports: Vec<Port>,
    dir: tempfile::TempDir,
}

/// Starts the runtime, now or when the peer joins.
pub struct Starter {
    handle: Handle<Outcome>,
    pending: Mutex<Option<Pending<Outcome>>>,
    identity: Arc<OnceLock<Identity>>,
    state: SharedState,
    network: Network,
    node: Node<SharedState>,
    snapshots: Snapshots,
    dir: std::path::PathBuf,
    runtime: Mutex<Option<Runtime>>,
}

fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_nanos() as u64
}

impl Starter {
    fn start(&self, identity: Identity, log: MemLog, applied: Applied) -> Result<(), String> {
        let pending = self.pending.lock().unwrap().take();
        let Some(pending) = pending else {
            return Err("this peer is in a cluster already".into());
        };
        let _ = self.identity.set(identity.clone());
        let dir = self.dir.clone();
        let transport = GrpcTransport::new(
            self.network.clone(),
            self.handle.clone(),
            Arc::new(move |p: Position| dir.join(format!("{}-{}", p.index, p.term))),
        );
        let parts = Parts {
            seed: identity.raft_id,
            identity,
            address: self.network.advertise_addr().to_owned(),
            log: Arc::new(log),
            machine: MemMachine {
                machine: Machine::open(self.state.clone()).unwrap(),
                applied,
                delivery: self.node.delivery().clone(),
                snapshots: Arc::clone(&self.snapshots),
                dir: self.dir.clone(),
            },
            transport,
            clock: wall_ns,
            own: self.node.said_levels(),
            log_keep_entries: 10_000,
            max_clock_offset: z4_consensus::limits::CLOCK_OFFSET_MAX,
            metrics: z4_consensus::metrics::Metrics::new(&prometheus::Registry::new()).unwrap(),
            logger: log_lines::logger(self.network.peer_id()),
            on_removed: Box::new(|| ()),
        };
        let runtime = Runtime::start(parts, pending, &self.handle).map_err(|e| e.to_string())?;
        *self.runtime.lock().unwrap() = Some(runtime);
        Ok(())
    }
}

impl Peer {
    /// A peer that waits to be added.
    pub fn waiting(peer_id: &str, snapshots: &Snapshots) -> Self {
        Self::waiting_with(peer_id, snapshots, Some("127.0.0.1:0"))
    }

    /// The same, with its port of lanes there.
    pub fn waiting_with(peer_id: &str, snapshots: &Snapshots, lanes: Option<&str>) -> Self {
        Self::waiting_behind(peer_id, snapshots, lanes, None)
    }

    /// A peer like that, with TLS between peers.
    pub fn waiting_behind(
        peer_id: &str,
        snapshots: &Snapshots,
        lanes: Option<&str>,
        tls: Option<PeerTls>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (handle, pending) = prepare();
        let identity = Arc::new(OnceLock::new());
        // The port has to be known before it is served: free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer_address = free.local_addr().unwrap().to_string();
        drop(free);
        let envs = Environments::new();
        let counters = Metrics::new(&prometheus::Registry::new()).unwrap();
        let network = Network::new(NetworkParts {
            env: Arc::clone(&envs.peers),
            timer: Timer::start().unwrap(),
            identity: Arc::clone(&identity),
            peer_id: peer_id.into(),
            advertise_addr: peer_address.clone(),
            levels: OwnLevels {
                levels: LEVELS,
                version: "1".into(),
                is_held: false,
                note_hold: Arc::new(|_| ()),
            },
            tls: tls.clone(),
            metrics: counters.clone(),
            logger: log_lines::logger(peer_id),
        });
        let state = SharedState::default();
        let node = Node::start(
            handle.clone(),
            state.clone(),
            network.clone(),
            z4_rpc::Access::off(),
            Arc::new(z4_rpc::Facts::default),
        )
        .unwrap();
        let starter = Arc::new(Starter {
            handle,
            pending: Mutex::new(Some(pending)),
            identity,
            state,
            network,
            node: node.clone(),
            snapshots: Arc::clone(snapshots),
            dir: dir.path().to_owned(),
            runtime: Mutex::default(),
        });
        let (joining, incoming) = (Arc::clone(&starter), dir.path().to_owned());
        let hooks = PeerHooks {
            join: Arc::new(move |identity| {
                joining.start(identity, MemLog::default(), Applied::default())
            }),
            incoming_dir: Arc::new(move |p| incoming.join(format!("in-{}-{}", p.index, p.term))),
        };
        let limits = ConnectionLimits {
            count_max: 1_000,
            per_address_max: 1_000,
        };
        let metrics = ConnectionMetrics::new(&prometheus::Registry::new()).unwrap();
        let parts = |address: &str| PortParts {
            address: address.parse().unwrap(),
            limits,
            metrics: metrics.clone(),
            tls: None,
        };
        let lane_port = lanes.map(|at| LanePort::start(parts(at), &node).unwrap());
        let of_peers = PortParts {
            tls: tls.as_ref().map(PeerTls::port),
            ..parts(&peer_address)
        };
        let peers = serve_peers(envs.peers, of_peers, &node, hooks).unwrap();
        let clients = serve_clients(envs.clients, parts("127.0.0.1:0"), &node, no_state()).unwrap();
        let address = format!("127.0.0.1:{}", clients.number());
        Self {
            node,
            peer_address,
            address,
            starter,
            metrics: counters,
            lane_port,
            ports: vec![clients, peers],
            dir,
        }
    }

    /// The first peer of a cluster, leading.
    pub fn bootstrapped(peer_id: &str, snapshots: &Snapshots) -> Self {
        Self::bootstrapped_with(peer_id, snapshots, Some("127.0.0.1:0"))
    }

    /// The same, with its port of lanes there.
    pub fn bootstrapped_with(peer_id: &str, snapshots: &Snapshots, lanes: Option<&str>) -> Self {
        Self::founded(Self::waiting_with(peer_id, snapshots, lanes), peer_id)
    }

    /// The first peer of a cluster out of one that waits.
    pub fn founded(peer: Self, peer_id: &str) -> Self {
        let identity = Identity {
            cluster_id: CLUSTER,
            raft_id: 1,
            peer_id: peer_id.into(),
        };
        let applied = Applied {
            position: Position { index: 1, term: 1 },
            membership: Membership::bootstrap(&identity, &peer.peer_address),
            stamp_ns: 0,
        };
        peer.starter
            .start(identity, MemLog::bootstrapped(), applied)
            .unwrap();
        eventually("a leader", || peer.node.handle().status().leader_ready);
        peer
    }

    /// Where its snapshots go.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub fn client(&self) -> Client {
        Client::connect(std::slice::from_ref(&self.address), Duration::from_secs(10)).unwrap()
    }

    pub fn stop(self) {
        self.node.drain();
        self.node.handle().stop();
        for port in self.ports {
            port.shutdown(Duration::from_millis(500));
        }
        if let Some(runtime) = self.starter.runtime.lock().unwrap().take() {
            runtime.join();
        }
        self.node.stop();
        if let Some(lane_port) = self.lane_port {
            lane_port.stop();
        }
        drop(self.dir);
    }
}

/// Waits for something that comes by itself, without a call to wait on.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Peers of these tests have no state that could be backed up.
fn no_state() -> z4_rpc::StateHooks {
    z4_rpc::StateHooks {
        at_once: Arc::new(|_| ()),
        sent: Arc::new(|_| ()),
        origin: Arc::new(|| Ok(None)),
    }
}
