//! The two ports of gRPC, and their end within a time.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use grpcio::{ChannelBuilder, EnvBuilder, Environment, ServerBuilder};
use z4_core::View;
use z4_proto::generated::{
    access_grpc, admin_grpc, collection_grpc, health_grpc, peer_grpc, reflection_v1_grpc,
    reflection_v1alpha_grpc,
};

use crate::accept::{
    Acceptor, AcceptorParts, ConnectionLimits, ConnectionMetrics, PortWatch, ServerOptions,
    Services, Serving,
};
use crate::access::{AccessService, Front};
use crate::admin::AdminService;
use crate::backup::{Backups, StateHooks};
use crate::collection::CollectionService;
use crate::delivery::lease_service;
use crate::health::HealthService;
use crate::limits;
use crate::node::Node;
use crate::peer::{PeerHooks, PeerService};
use crate::reflection::ReflectionService;
use crate::timer::Timer;
use crate::tls::PortTls;

/// The threads of gRPC. Nothing that runs on them may block.
pub struct Environments {
    /// Of the service port.
    pub clients: Arc<Environment>,
    /// Of the peer port and of the connections to peers.
    pub peers: Arc<Environment>,
}

impl Environments {
    /// The threads for this machine. On one or two cores there is one thread for all: a
    /// commit goes from a client to the peers and back without waking a second one. On
    /// more cores peers have a thread of their own, so that no crowd of clients delays a
    /// heartbeat.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let clients = env("z4-grpc");
        let peers = match cores > limits::SHARED_ENVIRONMENT_CORES_MAX {
            true => env("z4-peer"),
            false => Arc::clone(&clients),
        };
        Self { clients, peers }
    }
}

impl Default for Environments {
    fn default() -> Self {
        Self::new()
    }
}

fn env(name: &str) -> Arc<Environment> {
    let builder = EnvBuilder::new().cq_count(limits::GRPC_THREADS);
    Arc::new(builder.name_prefix(name).build())
}

/// Where a port is opened, and for whom.
pub struct PortParts {
    /// Port 0 picks a free one.
    pub address: SocketAddr,
    /// How many connections there may be.
    pub limits: ConnectionLimits,
    /// Counters of connections.
    pub metrics: ConnectionMetrics,
    /// The certificate that those who connect are shown; `None`: they are served in the clear.
    pub tls: Option<PortTls>,
}

/// A port that is being served.
pub struct Port {
    serving: Arc<Serving>,
    acceptor: Acceptor,
    timer: Timer,
}

/// Serves clients.
///
/// # Errors
/// For a person: the port is taken, or the address is not one of this machine.
pub fn serve_clients<V: View + Clone + Send + Sync + 'static>(
    env: Arc<Environment>,
    parts: PortParts,
    node: &Node<V>,
    hooks: StateHooks,
) -> Result<Port, String> {
    let options = {
        let env = Arc::clone(&env);
        move || channel_options(&env, limits::MESSAGE_LEN_MAX)
    };
    let of_services = node.clone();
    // One for all servers of the port: it makes one backup at a time, whoever serves it.
    let backups = Backups::new(hooks);
    let services = move || {
        let node = || of_services.clone();
        let reflection = ReflectionService::new();
        let mut builder = ServerBuilder::new(Arc::clone(&env));
        if of_services.access().is_on() {
            builder = builder.add_checker(Front {
                access: of_services.access().clone(),
                metrics: of_services.network().metrics().clone(),
            });
        }
        builder
            .register_service(collection_grpc::create_collection(CollectionService::new(
                node(),
            )))
            .register_service(lease_service(node()))
            .register_service(admin_grpc::create_admin(AdminService::new(
                node(),
                backups.clone(),
            )))
            .register_service(access_grpc::create_access(AccessService::new(node())))
            .register_service(health_grpc::create_health(HealthService::new(node())))
            .register_service(reflection_v1_grpc::create_server_reflection(
                reflection.clone(),
            ))
            .register_service(reflection_v1alpha_grpc::create_server_reflection(
                reflection,
            ))
    };
    listen(
        "service",
        Box::new(services),
        Box::new(options),
        parts,
        node,
    )
}

/// Serves other peers.
///
/// # Errors
/// For a person: the port is taken, or the address is not one of this machine.
pub fn serve_peers<V: View + Clone + Send + Sync + 'static>(
    env: Arc<Environment>,
    parts: PortParts,
    node: &Node<V>,
    hooks: PeerHooks,
) -> Result<Port, String> {
    let options = {
        let env = Arc::clone(&env);
        move || channel_options(&env, limits::PEER_MESSAGE_LEN_MAX)
    };
    // One for all servers of the port: it has one snapshot at a time, whoever serves it.
    let service = PeerService::new(node.clone(), hooks);
    let services = move || {
        let service = service.clone();
        ServerBuilder::new(Arc::clone(&env)).register_service(peer_grpc::create_peer(service))
    };
    listen("peer", Box::new(services), Box::new(options), parts, node)
}

fn channel_options(env: &Arc<Environment>, message_len_max: usize) -> ChannelBuilder {
    ChannelBuilder::new(Arc::clone(env))
        .max_receive_message_len(message_len_max as i32)
        .max_send_message_len(message_len_max as i32)
        .max_concurrent_stream(limits::CALLS_PER_CONNECTION_MAX)
        .keepalive_time(limits::KEEPALIVE_TIME)
        .keepalive_timeout(limits::KEEPALIVE_TIMEOUT)
        .keepalive_permit_without_calls(true)
        // Peers ping as often as this end does.
        .http2_min_recv_ping_interval_without_data(limits::KEEPALIVE_TIMEOUT)
        .raw_cfg_int(
            c"grpc.server_handshake_timeout_ms".to_owned(),
            limits::HANDSHAKE_TIMEOUT.as_millis() as i32,
        )
        .raw_cfg_int(
            c"grpc.max_connection_age_ms".to_owned(),
            limits::CONNECTION_AGE_MAX.as_millis() as i32,
        )
        .raw_cfg_int(
            c"grpc.max_connection_idle_ms".to_owned(),
            limits::CONNECTION_IDLE_MAX.as_millis() as i32,
        )
}

fn listen<V: View + Clone + Send + Sync + 'static>(
    port: &'static str,
    services: Services,
    options: ServerOptions,
    parts: PortParts,
    node: &Node<V>,
) -> Result<Port, String> {
    let address = parts.address;
    let serving = Arc::new(Serving::start(services, options, parts.tls)?);
    let parts = AcceptorParts {
        is_needed: true,
        port,
        address,
        limits: parts.limits,
        metrics: parts.metrics,
        logger: node.network().logger().clone(),
    };
    let taking = Arc::clone(&serving);
    let acceptor = Acceptor::start(parts, move |socket| taking.take(socket));
    Ok(Port {
        acceptor: acceptor.map_err(|error| {
            format!("cannot listen at {address}: {error}; is another process on this port?")
        })?,
        serving,
        timer: node.timer().clone(),
    })
}

impl Port {
    /// The number of the port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.acceptor.address().port()
    }

    /// Tells whether the port accepts connections, as long as it is served.
    #[must_use]
    pub fn watch(&self) -> PortWatch {
        self.acceptor.watch()
    }

    /// Renews what the port shows, while it is served.
    #[must_use]
    pub fn renewal(&self) -> Renewal {
        Renewal(Arc::downgrade(&self.serving))
    }

    /// Takes no more calls, waits for those in flight, and cancels what is not
    /// done after `grace`. Blocks; not to be called from a thread of gRPC.
    pub fn shutdown(self, grace: Duration) {
        self.acceptor.stop();
        self.serving.shutdown(&self.timer, grace);
    }
}

/// Gives a port the certificate that its files hold now.
#[derive(Clone)]
pub struct Renewal(Weak<Serving>);

impl Renewal {
    /// Shows what was read last to all who connect from now on. Connections that are open
    /// go on, and their clients are told to make new ones for what they call next.
    ///
    /// # Errors
    /// For a person; the port goes on as it was then.
    pub fn renew(&self) -> Result<(), String> {
        self.0.upgrade().map_or(Ok(()), |serving| serving.renew())
    }

    /// Shuts down what served connections from before the last renewal, once all of them have
    /// been told to go. Does not block; to be called again and again.
    pub fn end_old(&self) {
        if let Some(serving) = self.0.upgrade() {
            serving.end_old(Instant::now());
        }
    }
}
