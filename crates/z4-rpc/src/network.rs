//! Connections to other peers: what all of them share.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use futures::Future;
use grpcio::{Channel, ChannelBuilder, Client, Environment};
use z4_consensus::clocks::{ClockSample, Exchange, Measured};
use z4_consensus::{AddressBook, Identity, Membership};
use z4_proto::generated::peer::{self, Opening};

use crate::delivery::wall_ns;
use crate::disk_admission::DiskAdmission;
use crate::lane::Lanes;
use crate::levels::{self, OwnLevels};
use crate::limits;
use crate::metrics::Metrics;
use crate::peer::Assembling;
use crate::timer::Timer;
use crate::tls::PeerTls;
use crate::transport::Link;

/// What connections to other peers share. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

/// What a network is made of.
pub struct NetworkParts {
    /// Runs the connections to peers and the peer port, and other ports too.
    pub env: Arc<Environment>,
    /// Wakes what waits.
    pub timer: Timer,
    /// Who this peer is; empty until it is in a cluster.
    pub identity: Arc<OnceLock<Identity>>,
    /// The name people gave this peer, also before it is in a cluster.
    pub peer_id: String,
    /// `host:port` at which others reach its peer port.
    pub advertise_addr: String,
    /// The levels that its binary knows, and whether it holds that of the cluster.
    pub levels: OwnLevels,
    /// TLS between peers; `None`: they talk in the clear.
    pub tls: Option<PeerTls>,
    /// Counters.
    pub metrics: Metrics,
    /// Parent of log lines.
    pub logger: slog::Logger,
}

struct Inner {
    parts: NetworkParts,
    own: levels::Own,
    /// A channel that leads nowhere; it runs tasks that belong to no call.
    tasks: Client,
    addresses: Mutex<Addresses>,
    disk_admission: DiskAdmission,
    lanes: Lanes,
    assembling: Assembling,
    exchange: Mutex<Exchange>,
    /// The ways to other peers, as the transport has them.
    links: Mutex<HashMap<u64, Weak<Link>>>,
}

#[derive(Default)]
struct Addresses {
    book: AddressBook,
    /// The members as the transport was told of them last.
    membership: Membership,
    /// Peers whose addresses are being looked into, or were just now.
    checks: HashMap<u64, Check>,
    /// Members that could not be reached where they were dialled last.
    unreached: BTreeSet<u64>,
}

/// A look at an address.
struct Check {
    began_at: Instant,
    is_running: bool,
}

impl Network {
    /// A network of these parts.
    #[must_use]
    pub fn new(parts: NetworkParts) -> Self {
        let tasks = Client::new(Channel::lame(Arc::clone(&parts.env), "z4-tasks"));
        Self {
            inner: Arc::new(Inner {
                own: levels::Own::new(parts.levels.clone()),
                parts,
                tasks,
                addresses: Mutex::default(),
                disk_admission: DiskAdmission::default(),
                lanes: Lanes::default(),
                assembling: Assembling::default(),
                exchange: Mutex::default(),
                links: Mutex::default(),
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

    /// The levels that this peer knows, and whether it holds that of the cluster.
    pub(crate) fn own(&self) -> &levels::Own {
        &self.inner.own
    }

    /// The message in which this peer says which levels it knows.
    pub(crate) fn own_levels(&self) -> peer::Levels {
        let of_cluster = self.addresses().membership.level;
        self.own().message(of_cluster)
    }

    /// Which peers have room on their disks.
    #[must_use]
    pub fn disk_admission(&self) -> &DiskAdmission {
        &self.inner.disk_admission
    }

    /// What this peer says of itself while it is in no cluster.
    #[must_use]
    pub fn assembling(&self) -> &Assembling {
        &self.inner.assembling
    }

    /// The lanes of this peer.
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.inner.lanes
    }

    /// There is another way to a peer.
    pub(crate) fn link_opened(&self, to: u64, link: &Arc<Link>) {
        let mut links = self.links();
        links.retain(|_, link| link.strong_count() > 0);
        links.insert(to, Arc::downgrade(link));
    }

    /// Tells a peer what the clock of this one shows, if there is a way to it and this one
    /// leads. Does not block.
    pub(crate) fn tell_clock(&self, to: u64) {
        let link = self.links().get(&to).and_then(Weak::upgrade);
        if let Some(link) = link {
            link.tell_clock();
        }
    }

    /// What this peer says of its clocks to another one with the next batch, if it is time to.
    /// `now_ns` is of the clock by which clocks are measured.
    pub(crate) fn clock_sample(&self, to: u64, now_ns: u64) -> Option<ClockSample> {
        self.exchange().to_send(to, now_ns, wall_ns)
    }

    /// What another peer has said of its clocks; gives how its clock is, if that tells enough.
    pub(crate) fn clock_heard(
        &self,
        from: u64,
        sample: &ClockSample,
        now_ns: u64,
    ) -> Option<Measured> {
        self.exchange().heard(from, sample, now_ns)
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        // A half sample that a panic leaves is none.
        let exchange = self.inner.exchange.lock();
        exchange.unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<u64, Weak<Link>>> {
        // A map of pointers, which a panic leaves whole.
        let links = self.inner.links.lock();
        links.unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task on a thread of gRPC, and a part of it on this thread at once. It must
    /// not block.
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

    /// TLS between peers, where it is on.
    pub(crate) fn tls(&self) -> Option<&PeerTls> {
        self.inner.parts.tls.as_ref()
    }

    /// The number of the certificate that this peer shows; it rises when there is another
    /// one, and a connection that was made before should be made anew when it broke.
    pub(crate) fn generation(&self) -> u64 {
        self.tls().map_or(0, |tls| tls.watched.current().0)
    }

    /// A connection to a peer port, of its own: bulk on one never holds up
    /// heartbeats on another.
    pub(crate) fn channel(&self, address: &str) -> Channel {
        let len = limits::PEER_MESSAGE_LEN_MAX as i32;
        let builder = ChannelBuilder::new(Arc::clone(&self.inner.parts.env))
            .max_receive_message_len(len)
            .max_send_message_len(len)
            .initial_reconnect_backoff(limits::RECONNECT_MIN)
            .max_reconnect_backoff(limits::RECONNECT_MAX)
            .keepalive_time(limits::KEEPALIVE_TIME)
            .keepalive_timeout(limits::KEEPALIVE_TIMEOUT)
            .enable_http_proxy(false)
            .use_local_subchannel_pool(true)
            // A peer that comes back under its name with another IP address is
            // found again when the next attempt is made.
            .raw_cfg_int(
                CString::from(c"grpc.dns_min_time_between_resolutions_ms"),
                limits::RESOLVE_INTERVAL.as_millis() as i32,
            );
        match self.tls() {
            Some(tls) => builder.set_credentials(tls.channel()).connect(address),
            None => builder.connect(address),
        }
    }

    /// The opening of a stream to a member; `None` while this peer is in no
    /// cluster.
    pub(crate) fn opening(&self, to: u64, to_address: &str) -> Option<Opening> {
        let identity = self.identity()?;
        let mut opening = Opening::default();
        opening.set_cluster_id(identity.cluster_id.to_vec());
        opening.set_from_raft_id(identity.raft_id);
        opening.set_from_peer_id(identity.peer_id.clone());
        opening.set_to_raft_id(to);
        opening.set_protocol_version(limits::PROTOCOL_VERSION);
        opening.set_from_address(self.advertise_addr().to_owned());
        opening.set_to_address(to_address.to_owned());
        opening.set_levels(self.own_levels());
        Some(opening)
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        let addresses = self.inner.addresses.lock();
        addresses.unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to dial a peer now; see [`AddressBook`].
    pub(crate) fn address(&self, membership: &Membership, raft_id: u64) -> Option<String> {
        let addresses = self.addresses();
        let address = addresses.book.dial(membership, raft_id);
        address.map(str::to_owned)
    }

    /// Whether no address of a peer is known.
    pub(crate) fn is_lost(&self, raft_id: u64) -> bool {
        let addresses = self.addresses();
        addresses
            .book
            .dial(&addresses.membership, raft_id)
            .is_none()
    }

    /// A peer was dialled at this address, and it answered.
    pub(crate) fn found(&self, raft_id: u64, address: &str) {
        self.addresses().book.found(raft_id, address);
    }

    /// A peer could not be reached at this address: another one has its turn.
    pub(crate) fn failed(&self, raft_id: u64, address: &str) {
        let mut addresses = self.addresses();
        let Addresses {
            book, membership, ..
        } = &mut *addresses;
        book.failed(membership, raft_id, address);
    }

    /// A stream to a peer could not be opened, or was refused.
    pub(crate) fn unreached(&self, raft_id: u64) {
        self.addresses().unreached.insert(raft_id);
    }

    /// A stream to a peer was opened.
    pub(crate) fn reached(&self, raft_id: u64) {
        self.addresses().unreached.remove(&raft_id);
    }

    /// Voters that this peer does not reach, each with the address at which it is
    /// dialled, for a person.
    pub(crate) fn unreached_voters(&self) -> Vec<String> {
        let addresses = self.addresses();
        let of = |id: &u64| {
            let member = addresses.membership.members.get(id)?;
            let dialled = addresses.book.dial(&addresses.membership, *id)?;
            member
                .voter
                .then(|| format!("{} at {dialled}", member.peer_id))
        };
        addresses.unreached.iter().filter_map(of).collect()
    }

    /// The members changed.
    pub(crate) fn members(&self, membership: &Membership) {
        let mut addresses = self.addresses();
        addresses.book.keep(membership);
        let members = &membership.members;
        addresses.unreached.retain(|id| members.contains_key(id));
        self.exchange().keep(|id| members.contains_key(&id));
        addresses.membership = membership.clone();
    }

    /// Whether the members have another address of this peer than its own, so
    /// that it has to say its own.
    pub(crate) fn is_misknown(&self) -> bool {
        let Some(identity) = self.identity() else {
            return false;
        };
        let addresses = self.addresses();
        let own = addresses.membership.members.get(&identity.raft_id);
        own.is_some_and(|own| own.address != self.advertise_addr())
    }

    /// Whether what a peer says of its address may be looked into now: one look at
    /// a time, and none soon after another. Bounds how often one peer can have this
    /// one dial somewhere. The look ends with [`Network::checked`].
    pub(crate) fn may_check(&self, raft_id: u64) -> bool {
        let mut addresses = self.addresses();
        let is_recent = |at: Instant| at.elapsed() < limits::ADDRESS_CHECK_INTERVAL;
        let counts = |check: &mut Check| check.is_running || is_recent(check.began_at);
        addresses.checks.retain(|_, check| counts(check));
        let may = addresses.checks.len() < limits::ADDRESS_CHECK_COUNT_MAX
            && !addresses.checks.contains_key(&raft_id);
        if may {
            let check = Check {
                began_at: Instant::now(),
                is_running: true,
            };
            addresses.checks.insert(raft_id, check);
        }
        may
    }

    /// What a peer said of its address was looked into.
    pub(crate) fn checked(&self, raft_id: u64) {
        if let Some(check) = self.addresses().checks.get_mut(&raft_id) {
            check.is_running = false;
        }
    }
}
