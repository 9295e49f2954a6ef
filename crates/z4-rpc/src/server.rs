//! The two ports of gRPC, and their end within a time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use grpcio::{ChannelBuilder, EnvBuilder, Environment, Server, ServerBuilder};
use z4_core::View;
use z4_proto::generated::{
    admin_grpc, collection_grpc, health_grpc, peer_grpc, reflection_v1_grpc,
    reflection_v1alpha_grpc,
};

use crate::accept::{
    serve_socket, Acceptor, AcceptorParts, ConnectionLimits, ConnectionMetrics, PortWatch,
};
use crate::admin::AdminService;
use crate::collection::CollectionService;
use crate::delivery::lease_service;
use crate::health::HealthService;
use crate::limits;
use crate::node::Node;
use crate::peer::{PeerHooks, PeerService};
use crate::reflection::ReflectionService;
use crate::timer::Timer;

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

/// Where a port is opened, and for how many.
pub struct PortParts {
    /// Port 0 picks a free one.
    pub address: SocketAddr,
    /// How many connections there may be.
    pub limits: ConnectionLimits,
    /// Counters of connections.
    pub metrics: ConnectionMetrics,
}

/// A port that is being served.
pub struct Port {
    server: Arc<Mutex<Server>>,
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
) -> Result<Port, String> {
    let reflection = ReflectionService::new();
    let builder = ServerBuilder::new(Arc::clone(&env))
        .channel_args(channel_options(&env, limits::MESSAGE_LEN_MAX).build_args())
        .register_service(collection_grpc::create_collection(CollectionService::new(
            node.clone(),
        )))
        .register_service(lease_service(node.clone()))
        .register_service(admin_grpc::create_admin(AdminService::new(node.clone())))
        .register_service(health_grpc::create_health(HealthService::new(node.clone())))
        .register_service(reflection_v1_grpc::create_server_reflection(
            reflection.clone(),
        ))
        .register_service(reflection_v1alpha_grpc::create_server_reflection(
            reflection,
        ));
    listen("service", builder, parts, node)
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
    let builder = ServerBuilder::new(Arc::clone(&env))
        .channel_args(channel_options(&env, limits::PEER_MESSAGE_LEN_MAX).build_args())
        .register_service(peer_grpc::create_peer(PeerService::new(
            node.clone(),
            hooks,
        )));
    listen("peer", builder, parts, node)
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
            c"grpc.max_connection_idle_ms".to_owned(),
            limits::CONNECTION_IDLE_MAX.as_millis() as i32,
        )
}

fn listen<V: View + Clone + Send + Sync + 'static>(
    port: &'static str,
    builder: ServerBuilder,
    parts: PortParts,
    node: &Node<V>,
) -> Result<Port, String> {
    let address = parts.address;
    let failed = |error: String| {
        format!("cannot listen at {address}: {error}; is another process on this port?")
    };
    let builder = builder.requests_slot_per_cq(limits::CALLS_AWAITED);
    let mut server = builder.build().map_err(|e| failed(e.to_string()))?;
    server.start();
    let server = Arc::new(Mutex::new(server));
    let parts = AcceptorParts {
        is_needed: true,
        port,
        address,
        limits: parts.limits,
        metrics: parts.metrics,
        logger: node.network().logger().clone(),
    };
    let serving = Arc::clone(&server);
    let acceptor = Acceptor::start(parts, move |socket| {
        serve_socket(&mut lock(&serving), socket);
    });
    Ok(Port {
        acceptor: acceptor.map_err(|e| failed(e.to_string()))?,
        server,
        timer: node.timer().clone(),
    })
}

fn lock(server: &Mutex<Server>) -> std::sync::MutexGuard<'_, Server> {
    // gRPC has locks of its own; this one only makes the calls exclusive.
    server.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Takes no more calls, waits for those in flight, and cancels what is not
    /// done after `grace`. Blocks; not to be called from a thread of gRPC.
    pub fn shutdown(self, grace: Duration) {
        let started = Instant::now();
        self.acceptor.stop();
        let mut server = lock(&self.server);
        let mut done = server.shutdown();
        if block_on(self.timer.within(grace, &mut done)).is_some() {
            return;
        }
        server.cancel_all_calls();
        // Cancelled calls end at once; a second bounds what should not happen.
        let left = grace.saturating_sub(started.elapsed()) + Duration::from_secs(1);
        let _ = block_on(self.timer.within(left, done));
    }
}
