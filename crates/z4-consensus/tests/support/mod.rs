//! Peers over memory: a log that counts its syncs, a machine that counts its
//! commands, a transport of channels.

use std::collections::BTreeMap;
use std::sync::{mpsc, Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use raft::eraftpb::{Message, MessageType};
use z4_consensus::counter::{Counter, CounterDisk, Cut};
use z4_consensus::log::{LogStore as _, Position};
use z4_consensus::machine::Applied;
use z4_consensus::mem_log::MemLog;
use z4_consensus::metrics::Metrics;
use z4_consensus::runtime::{prepare, Done, Parts, Proposal, Runtime, Sink};
use z4_consensus::{
    Change, Handle, Identity, Levels, Member, Membership, ProposeError, ReadError, SaidLevels,
    Status, Transport,
};

/// The levels of all peers here.
const LEVELS: Levels = Levels { min: 1, max: 2 };

/// Handles of the peers that run, by raft id.
type Net = Arc<Mutex<BTreeMap<u64, Handle<u64>>>>;

struct Wire {
    from: u64,
    net: Net,
}

impl Transport for Wire {
    fn send(&mut self, messages: Vec<Message>) {
        for message in messages {
            let to = message.to;
            let target = self.net.lock().unwrap().get(&to).cloned();
            let is_snapshot = message.get_msg_type() == MessageType::MsgSnapshot;
            let sent = match target {
                Some(peer) if is_snapshot => peer.snapshot_received(self.from, message),
                Some(peer) => peer.message(self.from, message),
                None => false,
            };
            if is_snapshot {
                let me = self.net.lock().unwrap().get(&self.from).cloned();
                if let Some(me) = me {
                    me.snapshot_sent(to, sent);
                }
            }
        }
    }

    fn members(&mut self, _membership: &Membership) {}
}

struct Peer {
    identity: Identity,
    log: Arc<MemLog>,
    disk: CounterDisk,
    runtime: Option<Runtime>,
}

/// Peers in one process.
pub struct Cluster {
    net: Net,
    peers: BTreeMap<u64, Peer>,
    /// Those of all counters, shared as files on a network would be.
    snapshots: Arc<Mutex<Vec<Cut>>>,
    logger: slog::Logger,
}

const CLUSTER_ID: [u8; 16] = [3; 16];
const WAIT: Duration = Duration::from_secs(20);
/// A disk takes its time; that is what group commit lives on.
const SYNC: Duration = Duration::from_micros(500);

fn wall_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
}

fn identity(raft_id: u64) -> Identity {
    Identity {
        cluster_id: CLUSTER_ID,
        raft_id,
        peer_id: format!("peer{raft_id}"),
    }
}

impl Cluster {
    pub fn bootstrap() -> Self {
        let mut cluster = Self {
            net: Net::default(),
            peers: BTreeMap::new(),
            snapshots: Arc::default(),
            logger: slog::Logger::root(slog::Discard, slog::o!()),
        };
        let first = Position { index: 1, term: 1 };
        let membership = Membership::bootstrap(&identity(1), "peer1:1");
        cluster.insert(
            1,
            MemLog::bootstrapped(),
            Applied {
                position: first,
                membership,
                stamp_ns: 0,
            },
        );
        cluster.wait(1, |status| status.leader_ready);
        cluster
    }

    fn insert(&mut self, raft_id: u64, log: MemLog, applied: Applied) {
        let disk = CounterDisk::sharing(&self.snapshots);
        disk.durable.lock().unwrap().0 = applied;
        let peer = Peer {
            identity: identity(raft_id),
            log: Arc::new(log.syncing_for(SYNC)),
            disk,
            runtime: None,
        };
        self.peers.insert(raft_id, peer);
        self.restart(raft_id);
    }

    pub fn restart(&mut self, raft_id: u64) {
        let peer = self.peers.get_mut(&raft_id).unwrap();
        // What a start does with a commit index that was not yet on disk.
        let applied = peer.disk.durable.lock().unwrap().0.position.index;
        peer.log.raise_commit(applied);
        let (handle, pending) = prepare();
        let parts = Parts {
            identity: peer.identity.clone(),
            address: String::new(),
            log: Arc::clone(&peer.log),
            machine: Counter::open(&peer.disk),
            transport: Wire {
                from: raft_id,
                net: Arc::clone(&self.net),
            },
            clock: wall_ns,
            seed: raft_id,
            own: SaidLevels {
                levels: LEVELS,
                version: String::new(),
                is_held: false,
            },
            log_keep_entries: 20,
            max_clock_offset: z4_consensus::limits::CLOCK_OFFSET_MAX,
            metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
            logger: self.logger.clone(),
            on_removed: Box::new(|| {}),
        };
        peer.runtime = Some(Runtime::start(parts, pending, &handle).unwrap());
        self.net.lock().unwrap().insert(raft_id, handle);
    }

    pub fn add(&mut self, raft_id: u64) {
        self.insert(raft_id, MemLog::default(), Applied::default());
        let change = Change::AddLearner {
            raft_id,
            peer_id: format!("peer{raft_id}"),
            address: format!("peer{raft_id}:1"),
            levels: None,
        };
        self.change(1, change).expect("added");
        let is_voter = |status: &Status| {
            status
                .membership
                .members
                .get(&raft_id)
                .is_some_and(|m: &Member| m.voter)
        };
        self.wait(raft_id, is_voter);
        self.wait(1, is_voter);
    }

    /// Stops a peer as if it had died: nobody hears of it, and its state falls
    /// back to what was flushed.
    pub fn crash(&mut self, raft_id: u64) {
        let handle = self.net.lock().unwrap().remove(&raft_id).unwrap();
        let peer = self.peers.get_mut(&raft_id).unwrap();
        let before = peer.disk.durable.lock().unwrap().clone();
        handle.stop();
        peer.runtime.take().unwrap().join();
        *peer.disk.durable.lock().unwrap() = before;
    }

    pub fn stop(&mut self, raft_id: u64) {
        let handle = self.handle(raft_id);
        handle.stop();
        self.peers
            .get_mut(&raft_id)
            .unwrap()
            .runtime
            .take()
            .unwrap()
            .join();
        self.net.lock().unwrap().remove(&raft_id);
    }

    pub fn handle(&self, raft_id: u64) -> Handle<u64> {
        self.net
            .lock()
            .unwrap()
            .get(&raft_id)
            .cloned()
            .expect("a running peer")
    }

    pub fn propose_with(
        &self,
        raft_id: u64,
        command: &[u8],
        tx: mpsc::Sender<Result<Done<u64>, ProposeError>>,
    ) {
        let sink = Sink::new(move |result| drop(tx.send(result)));
        let proposal = Proposal::new(command.to_vec(), 0, sink);
        self.handle(raft_id).propose(proposal);
    }

    pub fn propose(&self, raft_id: u64, command: &[u8]) -> Result<Done<u64>, ProposeError> {
        let (tx, rx) = mpsc::channel();
        self.propose_with(raft_id, command, tx);
        rx.recv_timeout(WAIT).expect("an answer")
    }

    pub fn change(&self, raft_id: u64, change: Change) -> Result<(), ProposeError> {
        let until = Instant::now() + WAIT;
        loop {
            let (tx, rx) = mpsc::channel();
            let sink = Sink::new(move |result| drop(tx.send(result)));
            self.handle(raft_id).change(change.clone(), sink);
            match rx.recv_timeout(WAIT).expect("an answer") {
                Err(ProposeError::Busy { .. }) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                result => return result,
            }
        }
    }

    pub fn transfer(&self, from: u64, to: u64) -> Result<(), ProposeError> {
        let (tx, rx) = mpsc::channel();
        let sink = Sink::new(move |result| drop(tx.send(result)));
        self.handle(from).transfer_leader(to, sink);
        rx.recv_timeout(WAIT).expect("an answer")
    }

    pub fn tell_removed(&self, raft_id: u64) {
        self.handle(raft_id).was_removed();
    }

    pub fn read(&self, raft_id: u64) -> Result<u64, ReadError> {
        let (tx, rx) = mpsc::channel();
        self.handle(raft_id)
            .read_index(Duration::from_secs(2), move |result| drop(tx.send(result)));
        rx.recv_timeout(WAIT).expect("an answer")
    }

    pub fn wait(&self, raft_id: u64, until: impl Fn(&Status) -> bool) {
        let deadline = Instant::now() + WAIT;
        while !until(&self.handle(raft_id).status()) {
            let status = self.handle(raft_id).status();
            assert!(
                Instant::now() < deadline,
                "peer {raft_id} stays at {status:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_for_leader(&self, among: &[u64]) -> u64 {
        let deadline = Instant::now() + WAIT;
        loop {
            let ready = |id: &&u64| self.handle(**id).status().leader_ready;
            if let Some(leader) = among.iter().find(ready) {
                return *leader;
            }
            assert!(Instant::now() < deadline, "no leader among {among:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn count(&self, raft_id: u64) -> u64 {
        self.peers[&raft_id].disk.commands()
    }

    /// The threads in which commands were applied, in order.
    pub fn appliers(&self, raft_id: u64) -> Vec<String> {
        self.peers[&raft_id].disk.appliers()
    }

    pub fn installs(&self, raft_id: u64) -> u64 {
        self.peers[&raft_id].disk.installs()
    }

    pub fn cut(&self, raft_id: u64) -> u64 {
        self.peers[&raft_id].log.cut().unwrap().index
    }

    pub fn syncs(&self, raft_id: u64) -> u64 {
        self.peers[&raft_id].log.syncs()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let handles: Vec<_> = self.net.lock().unwrap().values().cloned().collect();
        self.net.lock().unwrap().clear();
        for handle in handles {
            handle.stop();
        }
        for peer in self.peers.values_mut() {
            if let Some(runtime) = peer.runtime.take() {
                runtime.join();
            }
        }
    }
}
