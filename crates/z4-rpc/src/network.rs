//! Connections to other peers: what all of them share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::Future;
use grpcio::{Channel, ChannelBuilder, Client, Environment};
use z4_consensus::{Identity, Membership};
use z4_proto::generated::peer::Opening;

use crate::limits;
use crate::metrics::Metrics;
use crate::room::Room;
use crate::timer::Timer;

/// What connections to other peers share. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

/// What a network is made of.
pub struct NetworkParts {
    /// Runs the connections and the peer port.
    pub env: Arc<Environment>,
    /// Wakes what waits.
    pub timer: Timer,
    /// Who this peer is; empty until it is in a cluster.
    pub identity: Arc<OnceLock<Identity>>,
    /// The name people gave this peer, also before it is in a cluster.
    pub peer_id: String,
    /// `host:port` at which others reach its peer port.
    pub advertise_addr: String,
    /// Counters.
    pub metrics: Metrics,
    /// Parent of log lines.
    pub logger: slog::Logger,
}

struct Inner {
    parts: NetworkParts,
    /// Goes nowhere; runs tasks that belong to no call.
    tasks: Client,
    /// Addresses that peers gave of themselves: a newcomer has to answer its
    /// leader before it has a list of members.
    learned: Mutex<HashMap<u64, String>>,
    room: Room,
}

/// Addresses learned at most: real clusters have a handful.
const LEARNED_MAX: usize = 1_024;

impl Network {
    /// A network of these parts.
    #[must_use]
    pub fn new(parts: NetworkParts) -> Self {
        let tasks = Client::new(Channel::lame(Arc::clone(&parts.env), "z4-tasks"));
        Self {
            inner: Arc::new(Inner {
                parts,
                tasks,
                learned: Mutex::default(),
                room: Room::default(),
            }),
        }
    }

    /// Who this peer is, once it is in a cluster.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.inner.parts.identity.get()
    }

    /// The name of this peer.
    #[must_use]
    pub fn peer_id(&self) -> &str {
        &self.inner.parts.peer_id
    }

    /// `host:port` of this peer's peer port, as others reach it.
    #[must_use]
    pub fn advertise_addr(&self) -> &str {
        &self.inner.parts.advertise_addr
    }

    /// Which peers have room on their disks.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.inner.room
    }

    /// Runs a task on a peer thread. It must not block.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.inner.tasks.spawn(task);
    }

    pub(crate) fn timer(&self) -> &Timer {
        &self.inner.parts.timer
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.parts.metrics
    }

    pub(crate) fn logger(&self) -> &slog::Logger {
        &self.inner.parts.logger
    }

    /// A connection to a peer port, of its own: bulk on one never holds up
    /// heartbeats on another.
    pub(crate) fn channel(&self, address: &str) -> Channel {
        let len = limits::PEER_MESSAGE_LEN_MAX as i32;
        ChannelBuilder::new(Arc::clone(&self.inner.parts.env))
            .max_receive_message_len(len)
            .max_send_message_len(len)
            .initial_reconnect_backoff(limits::RECONNECT_MIN)
            .max_reconnect_backoff(limits::RECONNECT_MAX)
            .keepalive_time(limits::KEEPALIVE_TIME)
            .keepalive_timeout(limits::KEEPALIVE_TIMEOUT)
            .enable_http_proxy(false)
            .use_local_subchannel_pool(true)
            .connect(address)
    }

    /// The opening of a stream to a member; `None` while this peer is in no
    /// cluster.
    pub(crate) fn opening(&self, to: u64) -> Option<Opening> {
        let identity = self.identity()?;
        let mut opening = Opening::default();
        opening.set_cluster_id(identity.cluster_id.to_vec());
        opening.set_from_raft_id(identity.raft_id);
        opening.set_from_peer_id(identity.peer_id.clone());
        opening.set_to_raft_id(to);
        opening.set_protocol_version(limits::PROTOCOL_VERSION);
        opening.set_from_address(self.advertise_addr().to_owned());
        Some(opening)
    }

    /// Keeps the address that an authenticated peer gave of itself.
    pub(crate) fn learn(&self, raft_id: u64, address: &str) {
        if address.is_empty() || address.len() > limits::ADDRESS_LEN_MAX {
            return;
        }
        let mut learned = self
            .inner
            .learned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if learned.len() < LEARNED_MAX || learned.contains_key(&raft_id) {
            learned.insert(raft_id, address.to_owned());
        }
    }

    /// The address of a peer: as the members have it, else as it said itself.
    pub(crate) fn address(&self, membership: &Membership, raft_id: u64) -> Option<String> {
        if let Some(member) = membership.members.get(&raft_id) {
            return Some(member.address.clone());
        }
        if membership.removed.contains(&raft_id) {
            return None;
        }
        let learned = self
            .inner
            .learned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        learned.get(&raft_id).cloned()
    }
}
