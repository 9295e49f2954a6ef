//! The crates wired into a peer: storage under consensus under services.
//!
//! A peer that is in no cluster serves its ports all the same, to say so and to
//! be added; its consensus starts when a leader gives it an identity.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use prometheus::Registry;
use slog::{crit, info, o, warn, Logger};
use z4_consensus::log::Position;
use z4_consensus::machine::Applied;
use z4_consensus::runtime::{prepare, Parts, Pending, Runtime};
use z4_consensus::{Handle, Identity, Levels};
use z4_core::{Event, Outcome};
use z4_proto::level::{LEVEL_MAX, LEVEL_MIN};
use z4_rpc::accept::{ConnectionLimits, ConnectionMetrics, PortWatch};
use z4_rpc::limits as rpc;
use z4_rpc::server::{self, Port, PortParts};
use z4_rpc::{
    AppliedEvents, GrpcTransport, LanePort, Network, NetworkParts, Node, OwnLevels, PeerHooks,
    PeerTls, PortTls, Timer,
};
use z4_storage::{EventSink, RocksView, StorageError, Store, TaskMachine};

use crate::access;
use crate::assembly;
use crate::backups::{self, BackupAge};
use crate::certificates::Certificates;
use crate::disk::{Guard, Watched};
use crate::facts;
use crate::limits;
use crate::membership;
use crate::options::{Options, LANE_PORT_DEFAULT, LANE_PORT_NAME};

/// The levels that this release knows.
pub(crate) const LEVELS: Levels = Levels {
    min: LEVEL_MIN,
    max: LEVEL_MAX,
};

/// A peer that serves its ports.
pub(crate) struct Peer {
    node: Node<RocksView>,
    starter: Arc<Starter>,
    service_port: Port,
    peer_port: Port,
    lane_port: Option<LanePort>,
    guard: Guard,
    logger: Logger,
}

/// What the ports of a peer may have, and who counts it.
pub(crate) struct PeerPorts {
    /// Connections at the service port.
    pub clients: ConnectionLimits,
    /// Files that the process may have open.
    pub descriptors_max: u64,
    /// Counters of connections.
    pub metrics: ConnectionMetrics,
    /// The certificates that the ports show.
    pub certificates: Certificates,
}

impl Peer {
    /// Starts a peer on opened storage. `on_removed` is called when it learns that it was
    /// removed from its cluster, after that was noted; it must not block.
    ///
    /// # Errors
    /// The reason, for a person.
    pub(crate) fn start(
        options: &Options,
        ports: PeerPorts,
        store: &Arc<Store>,
        backup_age: &Arc<BackupAge>,
        on_removed: Arc<dyn Fn() + Send + Sync>,
        registry: &Registry,
        logger: &Logger,
    ) -> Result<Self, String> {
        let (handle, pending) = prepare();
        let envs = server::Environments::new();
        let identity = Arc::new(OnceLock::new());
        let network = Network::new(NetworkParts {
            env: Arc::clone(&envs.peers),
            timer: Timer::start().map_err(|e| e.to_string())?,
            identity: Arc::clone(&identity),
            peer_id: options.peer_id.clone(),
            advertise_addr: options.peer_advertise_addr.clone(),
            levels: own_levels(store, logger)?,
            tls: ports.certificates.peers.clone(),
            metrics: z4_rpc::Metrics::new(registry).map_err(|e| e.to_string())?,
            logger: logger.new(o!("part" => "rpc")),
        });
        let access = access::read(options)?;
        let view = store.view();
        access.refresh(&view).map_err(|e| e.to_string())?;
        let metrics = z4_consensus::metrics::Metrics::new(registry).map_err(|e| e.to_string())?;
        let sources = facts::Sources {
            descriptors_max: ports.descriptors_max,
            connections: ports.metrics.clone(),
            certificates: ports.certificates.clone(),
            backup_age: Arc::clone(backup_age),
            consensus: metrics.clone(),
        };
        let facts = facts::hook(options, sources);
        let node = Node::start(handle, view, network, access, facts).map_err(|e| e.to_string())?;
        let starter = Arc::new(Starter {
            store: Arc::clone(store),
            db_dir: options.db_data_dir.clone().into(),
            log_keep_entries: options.log_keep_entries,
            max_clock_offset: options.max_clock_offset,
            address: options.peer_advertise_addr.clone(),
            identity,
            node: node.clone(),
            metrics,
            logger: logger.clone(),
            on_removed,
            phase: Mutex::new(Phase::Waiting(pending)),
        });
        // Before consensus starts: a link to another peer looks for it when it opens.
        let lane_port = serve_lanes(options, &ports.metrics, &node, logger)?;
        let guard = watch_disk(options, store, &node, registry, logger)?;
        if let Some(identity) = store.identity() {
            let applied = store.applied().clone();
            starter.run(&mut starter.phase(), identity.clone(), applied)?;
        }
        let parts = |port: u16, limits: ConnectionLimits, tls: Option<PortTls>| PortParts {
            address: SocketAddr::new(options.bind(), port),
            limits,
            metrics: ports.metrics.clone(),
            tls,
        };
        let certificates = &ports.certificates;
        let settings = options
            .join
            .settings(&options.peer_id, &options.peer_advertise_addr);
        if let Some(settings) = &settings {
            // Before the peer port answers: others compare the list with theirs.
            node.network().assembling().begin(settings);
        }
        let hooks = starter.hooks();
        let of_peers = ConnectionLimits {
            count_max: rpc::PEER_CONNECTIONS_MAX,
            per_address_max: rpc::PEER_CONNECTIONS_PER_ADDRESS_MAX,
        };
        let of_peer_port = certificates.peers.as_ref().map(PeerTls::port);
        let parts_of_peers = parts(options.peer_port, of_peers, of_peer_port);
        let peer_port = server::serve_peers(envs.peers, parts_of_peers, &node, hooks)
            .map_err(|e| format!("{e} set Z4_PEER_PORT"))?;
        let of_service_port = certificates.service.clone();
        let parts_of_clients = parts(options.service_port, ports.clients, of_service_port);
        let state = backups::hooks(store, backup_age, logger);
        let service_port = server::serve_clients(envs.clients, parts_of_clients, &node, state)
            .map_err(|e| format!("{e} set Z4_SERVICE_PORT"))?;
        let (of_service, of_peers) = (service_port.renewal(), peer_port.renewal());
        certificates
            .follow(of_service, of_peers, logger)
            .map_err(|e| format!("no thread that follows certificates: {e}"))?;
        if let Some(settings) = settings {
            assembly::start(settings, &starter, logger)
                .map_err(|e| format!("no thread that looks for a cluster: {e}"))?;
        }
        info!(logger, "serving"; "service_port" => service_port.number(),
            "peer_port" => peer_port.number(),
            "lane_port" => lane_port.as_ref().map_or(0, LanePort::number));
        Ok(Self {
            node,
            starter,
            service_port,
            peer_port,
            lane_port,
            guard,
            logger: logger.clone(),
        })
    }

    /// The peer, to those who ask how it is.
    pub(crate) fn handle(&self) -> &Handle<Outcome> {
        self.node.handle()
    }

    /// The connections to other peers.
    pub(crate) fn network(&self) -> &Network {
        self.node.network()
    }

    /// Whether its ports accept connections, to those who ask.
    pub(crate) fn ports(&self) -> [PortWatch; 2] {
        [self.service_port.watch(), self.peer_port.watch()]
    }

    /// Stops in the order in which nothing is lost: no more calls, streams give
    /// back what they have not written, leadership is handed over, state is
    /// flushed, and only then do other peers lose the connection.
    pub(crate) fn stop(self) {
        let service_port = self.service_port;
        let calls = thread::spawn(move || service_port.shutdown(limits::CALL_GRACE));
        self.node.drain();
        // A thread that panicked has ended the process.
        let _ = calls.join();
        info!(self.logger, "no more calls");
        let phase = std::mem::replace(&mut *self.starter.phase(), Phase::Stopped);
        if let Phase::Running(runtime) = phase {
            self.node.handle().stop();
            runtime.join();
        }
        drop(self.guard);
        info!(self.logger, "consensus stopped, state flushed");
        self.node.stop();
        if let Some(lane_port) = self.lane_port {
            lane_port.stop();
        }
        self.peer_port.shutdown(limits::PEER_GRACE);
    }
}

/// Opens the port of lanes, unless it is turned off. The default port may be taken, by
/// another peer of this machine mostly: then everything goes over the peer port.
fn serve_lanes(
    options: &Options,
    metrics: &ConnectionMetrics,
    node: &Node<RocksView>,
    logger: &Logger,
) -> Result<Option<LanePort>, String> {
    let port = options.peer_lane_port.unwrap_or(LANE_PORT_DEFAULT);
    if port == 0 {
        return Ok(None);
    }
    let address = SocketAddr::new(options.bind(), port);
    let parts = PortParts {
        address,
        limits: ConnectionLimits {
            count_max: rpc::LANE_CONNECTIONS_MAX,
            per_address_max: rpc::LANE_CONNECTIONS_PER_ADDRESS_MAX,
        },
        metrics: metrics.clone(),
        // The network has it, because lanes are dialled with it too.
        tls: None,
    };
    match LanePort::start(parts, node) {
        Ok(lane_port) => Ok(Some(lane_port)),
        Err(error) if options.peer_lane_port.is_none() => {
            warn!(logger, "no port for raft messages alone, they go over the peer port";
                "address" => address.to_string(), "error" => error.to_string(),
                "remedy" => format!("set {LANE_PORT_NAME} to a free port, or to 0 for none"));
            Ok(None)
        }
        Err(error) => Err(format!(
            "cannot listen at {address}: {error}; is another process on this port? set \
             {LANE_PORT_NAME} to another port, or to 0 to have raft messages go over the peer port"
        )),
    }
}

/// The levels of this release, and whether this peer holds that of its cluster.
fn own_levels(store: &Arc<Store>, logger: &Logger) -> Result<OwnLevels, String> {
    let (registrar, logger) = (store.registrar(), logger.clone());
    Ok(OwnLevels {
        levels: LEVELS,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        is_held: registrar.holds_level().map_err(|e| e.to_string())?,
        note_hold: Arc::new(move |hold| {
            if let Err(error) = registrar.set_level_hold(hold) {
                let what = "cannot note whether the level is held";
                end_process(&logger, what, &error.to_string());
            }
        }),
    })
}

/// Watches over disk space.
fn watch_disk(
    options: &Options,
    store: &Arc<Store>,
    node: &Node<RocksView>,
    registry: &Registry,
    logger: &Logger,
) -> Result<Guard, String> {
    let watched = Watched {
        db_dir: options.db_data_dir.clone(),
        peer_dir: options.peer_data_dir.clone(),
        reserve_bytes: options.disk_reserve_bytes,
        keeper: store.space(),
        view: store.view(),
        handle: node.handle().clone(),
        admission: node.network().disk_admission().clone(),
        logger: logger.new(o!("part" => "disk")),
    };
    Guard::start(watched, registry)
}

/// Starts consensus: at once, or when this peer is added, or when it founds a cluster.
pub(crate) struct Starter {
    store: Arc<Store>,
    db_dir: Arc<Path>,
    log_keep_entries: u64,
    max_clock_offset: Duration,
    /// `host:port` of the peer port, as others reach it.
    address: String,
    identity: Arc<OnceLock<Identity>>,
    node: Node<RocksView>,
    metrics: z4_consensus::metrics::Metrics,
    logger: Logger,
    on_removed: Arc<dyn Fn() + Send + Sync>,
    phase: Mutex<Phase>,
}

/// How far a peer has come.
enum Phase {
    /// In no cluster.
    Waiting(Pending<Outcome>),
    /// A member.
    Running(Runtime),
    /// Stopping, or failed to start.
    Stopped,
}

/// How far a peer has come, for those who only look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// In no cluster.
    Waiting,
    /// A member, or one that was removed and still runs.
    Member,
    /// Stopping, or failed to start.
    Stopped,
}

impl Starter {
    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        // A phase is replaced whole: a panic leaves it as it was.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts consensus under an identity that is stored.
    fn run(&self, phase: &mut Phase, identity: Identity, applied: Applied) -> Result<(), String> {
        let Phase::Waiting(pending) = std::mem::replace(phase, Phase::Stopped) else {
            return Err("this peer is stopping or runs already".to_owned());
        };
        let raft_id = identity.raft_id;
        // Services and transport introduce themselves by it.
        let known = self.identity.get_or_init(|| identity.clone());
        if *known != identity {
            return Err(format!("this peer is raft id {} already", known.raft_id));
        }
        let delivery = self.node.delivery().clone();
        let (access, view) = (self.node.access().clone(), self.store.view());
        let logger = self.logger.clone();
        let events: EventSink = Box::new(move |run| {
            if run.is_jump || run.events.contains(&Event::Access) {
                if let Err(error) = access.refresh(&view) {
                    end_process(&logger, "cannot read the principals", &error.to_string());
                }
            }
            delivery.applied(AppliedEvents {
                events: run.events,
                stamp_ns: run.stamp_ns,
                pulse_next_ns: run.pulse_next_ns,
                is_jump: run.is_jump,
            });
        });
        let machine = TaskMachine::open(self.store.state(), applied, events).map_err(|e| e.0)?;
        let verdicts = self.node.verdicts().clone();
        let machine = machine.with_verdicts(Arc::new(move |mark_id, found| {
            verdicts.put(mark_id, found.map(of_storage));
        }));
        let db_dir = Arc::clone(&self.db_dir);
        let transport = GrpcTransport::new(
            self.node.network().clone(),
            self.node.handle().clone(),
            Arc::new(move |position| z4_storage::snapshot_dir(&db_dir, position)),
        );
        let registrar = self.store.registrar();
        let (logger, on_removed) = (self.logger.clone(), Arc::clone(&self.on_removed));
        let parts = Parts {
            identity,
            address: self.address.clone(),
            own: self.node.said_levels(),
            log: self.store.log(),
            machine,
            transport,
            clock: wall_clock_ns,
            // Peers that start together must not campaign together.
            seed: wall_clock_ns() ^ raft_id.rotate_left(32),
            log_keep_entries: self.log_keep_entries,
            max_clock_offset: self.max_clock_offset,
            metrics: self.metrics.clone(),
            logger: self.logger.new(o!("part" => "consensus")),
            on_removed: Box::new(move || {
                if let Err(error) = registrar.mark_removed() {
                    end_process(
                        &logger,
                        "cannot note the removal of this peer",
                        &error.to_string(),
                    );
                }
                on_removed();
            }),
        };
        let runtime = Runtime::start(parts, pending, self.node.handle());
        let runtime = runtime.map_err(|e| e.to_string())?;
        *phase = Phase::Running(runtime);
        info!(self.logger, "consensus started"; "raft_id" => raft_id);
        Ok(())
    }

    /// Takes the identity that a leader gives this peer, durably, and starts. A peer
    /// that cannot store it, or cannot start with it, ends: what is on its disks is
    /// known to its next start alone.
    fn join(&self, identity: Identity) -> Result<(), String> {
        match self.identity.get() {
            Some(known) if *known == identity => return Ok(()),
            Some(known) => {
                return Err(format!(
                    "this peer is raft id {} of a cluster already; erase its directories first",
                    known.raft_id
                ))
            }
            None => {}
        }
        let mut phase = self.phase();
        if !matches!(*phase, Phase::Waiting(_)) {
            return Err("this peer is stopping or runs already".to_owned());
        }
        match self.store.registrar().join(&identity) {
            Ok(()) => {}
            Err(refused @ (StorageError::OtherPeer { .. } | StorageError::NotEmpty { .. })) => {
                return Err(refused.to_string());
            }
            Err(error) => {
                let what = "cannot store the identity of this peer";
                end_process(&self.logger, what, &error.to_string());
            }
        }
        // It holds nothing yet, as when it was opened.
        let applied = self.store.applied().clone();
        if let Err(error) = self.run(&mut phase, identity, applied) {
            end_process(&self.logger, "cannot start as a new member", &error);
        }
        Ok(())
    }

    /// The connections to other peers.
    pub(crate) fn network(&self) -> &Network {
        self.node.network()
    }

    /// The services of this peer.
    pub(crate) fn node(&self) -> &Node<RocksView> {
        &self.node
    }

    /// How far this peer has come.
    pub(crate) fn standing(&self) -> Standing {
        match *self.phase() {
            Phase::Waiting(_) => Standing::Waiting,
            Phase::Running(_) => Standing::Member,
            Phase::Stopped => Standing::Stopped,
        }
    }

    /// Founds a cluster with this peer as its first member, durably, and starts; nothing,
    /// when a leader has added it meanwhile. A peer that cannot store it ends, as in
    /// [`join`](Self::join).
    pub(crate) fn found(&self) {
        let mut phase = self.phase();
        if !matches!(*phase, Phase::Waiting(_)) {
            return;
        }
        let registrar = self.store.registrar();
        let founded = registrar.bootstrap(membership::new_cluster_id(), &self.address);
        let (identity, applied) = match founded {
            Ok(founded) => founded,
            Err(error) => {
                let what = "cannot found a cluster";
                end_process(&self.logger, what, &error.to_string());
            }
        };
        info!(
            self.logger,
            "founded a cluster: all peers of Z4_JOIN are empty and agree"
        );
        if let Err(error) = self.run(&mut phase, identity, applied) {
            end_process(&self.logger, "cannot start as the founder", &error);
        }
    }

    fn hooks(self: &Arc<Self>) -> PeerHooks {
        let starter = Arc::clone(self);
        let db_dir = Arc::clone(&self.db_dir);
        let logger = self.logger.clone();
        PeerHooks {
            join: Arc::new(move |identity| starter.join(identity)),
            incoming_dir: Arc::new(move |position: Position| {
                let dir = z4_storage::incoming_dir(&db_dir, position);
                if let Some(Err(error)) = dir.parent().map(std::fs::create_dir_all) {
                    // Receiving fails next, by name, and is tried again.
                    slog::error!(logger, "cannot make the directory of snapshots"; "error" => %error);
                }
                dir
            }),
        }
    }
}

/// Says why, and ends the process.
pub(crate) fn end_process(logger: &Logger, what: &str, error: &str) -> ! {
    crit!(logger, "{}", what; "error" => error);
    // The logger is asynchronous; standard error is not.
    eprintln!("z4: {what}: {error}");
    std::process::abort();
}

fn of_storage(verdict: z4_storage::Verdict) -> z4_rpc::Verdict {
    z4_rpc::Verdict {
        index: verdict.position.index,
        state_hash: verdict.state_hash,
        rows: verdict.rows,
        violations: verdict.violations,
    }
}

/// Nanoseconds since 1970. A clock before 1970 counts as 1970: stamps rise
/// along the log whatever it says.
pub(crate) fn wall_clock_ns() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
}
