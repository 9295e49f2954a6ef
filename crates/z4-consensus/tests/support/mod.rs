//! Peers over memory: a log that counts its syncs, a machine that counts its
//! commands, a transport of channels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState, Message, MessageType};
use z4_consensus::log::{LogError, LogStore, LogWrite, Position};
use z4_consensus::machine::{Applied, Flusher, MachineError};
use z4_consensus::metrics::Metrics;
use z4_consensus::runtime::{prepare, Done, Parts, Proposal, Runtime, Sink};
use z4_consensus::{
    Change, Committed, Handle, Identity, Member, Membership, ProposeError, ReadError, StateMachine,
    Status, Transport,
};

#[derive(Default)]
struct LogInner {
    hard_state: HardState,
    cut: Position,
    entries: Vec<Entry>,
    syncs: u64,
}

#[derive(Default)]
struct MemLog(Mutex<LogInner>);

impl LogStore for MemLog {
    fn hard_state(&self) -> Result<HardState, LogError> {
        Ok(self.0.lock().unwrap().hard_state.clone())
    }

    fn cut(&self) -> Result<Position, LogError> {
        Ok(self.0.lock().unwrap().cut)
    }

    fn last(&self) -> Result<Position, LogError> {
        let log = self.0.lock().unwrap();
        Ok(log.entries.last().map_or(log.cut, |e| Position {
            index: e.index,
            term: e.term,
        }))
    }

    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let log = self.0.lock().unwrap();
        let mut bytes = 0;
        let mut run = Vec::new();
        for index in low..high {
            let at = index.checked_sub(log.cut.index + 1);
            let entry = at.and_then(|at| log.entries.get(at as usize));
            let entry = entry.ok_or_else(|| LogError(format!("no entry {index}")))?;
            bytes += u64::from(entry.compute_size());
            if bytes > bytes_max && !run.is_empty() {
                break;
            }
            run.push(entry.clone());
        }
        Ok(run)
    }

    fn term(&self, index: u64) -> Result<Option<u64>, LogError> {
        let log = self.0.lock().unwrap();
        if index == log.cut.index {
            return Ok(Some(log.cut.term));
        }
        let at = index.checked_sub(log.cut.index + 1);
        Ok(at
            .and_then(|at| log.entries.get(at as usize))
            .map(|e| e.term))
    }

    fn write(&self, write: &LogWrite) -> Result<(), LogError> {
        let mut log = self.0.lock().unwrap();
        if let Some(hard_state) = &write.hard_state {
            log.hard_state = hard_state.clone();
        }
        if let Some(first) = write.entries.first() {
            let keep = (first.index - log.cut.index - 1) as usize;
            assert!(keep <= log.entries.len(), "a gap in the log");
            log.entries.truncate(keep);
            log.entries.extend(write.entries.iter().cloned());
        }
        if write.sync {
            log.syncs += 1;
            drop(log);
            // A disk takes its time; that is what group commit lives on.
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    fn cut_through(&self, through: Position) -> Result<(), LogError> {
        let mut log = self.0.lock().unwrap();
        let gone = through.index.saturating_sub(log.cut.index) as usize;
        log.entries.drain(..gone);
        log.cut = through;
        Ok(())
    }

    fn reset(&self, to: Position, hard_state: &HardState) -> Result<(), LogError> {
        let mut log = self.0.lock().unwrap();
        log.entries.clear();
        log.cut = to;
        log.hard_state = hard_state.clone();
        Ok(())
    }
}

/// Snapshots of all counters, shared as files on a network would be.
type Snapshots = Arc<Mutex<BTreeMap<Position, (u64, Applied)>>>;

struct Counter {
    count: Arc<AtomicU64>,
    installs: Arc<AtomicU64>,
    applied: Applied,
    durable: Arc<Mutex<(u64, Applied)>>,
    latest: Arc<Mutex<(u64, Applied)>>,
    snapshots: Snapshots,
}

impl StateMachine for Counter {
    type Reply = u64;

    fn applied(&self) -> &Applied {
        &self.applied
    }

    fn apply(&mut self, run: Vec<Committed>) -> Result<Vec<Vec<u64>>, MachineError> {
        let mut replies = Vec::new();
        for entry in run {
            assert_eq!(
                entry.position.index,
                self.applied.position.index + 1,
                "a gap"
            );
            let count = |_| self.count.fetch_add(1, Ordering::SeqCst) + 1;
            replies.push(entry.commands.iter().map(count).collect());
            self.applied.position = entry.position;
            if let Some(membership) = entry.membership {
                self.applied.membership = membership;
            }
        }
        let now = (self.count.load(Ordering::SeqCst), self.applied.clone());
        *self.latest.lock().unwrap() = now;
        Ok(replies)
    }

    fn flusher(&self) -> Flusher {
        let (latest, durable) = (Arc::clone(&self.latest), Arc::clone(&self.durable));
        Box::new(move || {
            let now = latest.lock().unwrap().clone();
            let position = now.1.position;
            *durable.lock().unwrap() = now;
            Ok(position)
        })
    }

    fn checkpoint(&mut self) -> Result<Applied, MachineError> {
        let now = (self.count.load(Ordering::SeqCst), self.applied.clone());
        self.snapshots
            .lock()
            .unwrap()
            .insert(self.applied.position, now);
        Ok(self.applied.clone())
    }

    fn drop_snapshot(&mut self, _position: Position) {}

    fn install(&mut self, position: Position) -> Result<(), MachineError> {
        let snapshot = self.snapshots.lock().unwrap().get(&position).cloned();
        let snapshot = snapshot.ok_or_else(|| MachineError("no such snapshot".to_owned()))?;
        self.count.store(snapshot.0, Ordering::SeqCst);
        self.applied = snapshot.1.clone();
        *self.latest.lock().unwrap() = snapshot.clone();
        *self.durable.lock().unwrap() = snapshot;
        self.installs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

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
    durable: Arc<Mutex<(u64, Applied)>>,
    count: Arc<AtomicU64>,
    installs: Arc<AtomicU64>,
    runtime: Option<Runtime>,
}

/// Peers in one process.
pub struct Cluster {
    net: Net,
    peers: BTreeMap<u64, Peer>,
    snapshots: Snapshots,
    logger: slog::Logger,
}

const CLUSTER_ID: [u8; 16] = [3; 16];
const WAIT: Duration = Duration::from_secs(20);

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
            snapshots: Snapshots::default(),
            logger: slog::Logger::root(slog::Discard, slog::o!()),
        };
        let first = Position { index: 1, term: 1 };
        let log = MemLog::default();
        let mut hard_state = HardState::default();
        (hard_state.term, hard_state.commit) = (1, 1);
        log.reset(first, &hard_state).unwrap();
        let membership = Membership::bootstrap(&identity(1), "peer1:1");
        cluster.insert(
            1,
            log,
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
        let peer = Peer {
            identity: identity(raft_id),
            log: Arc::new(log),
            durable: Arc::new(Mutex::new((0, applied))),
            count: Arc::default(),
            installs: Arc::default(),
            runtime: None,
        };
        self.peers.insert(raft_id, peer);
        self.restart(raft_id);
    }

    pub fn restart(&mut self, raft_id: u64) {
        let peer = self.peers.get_mut(&raft_id).unwrap();
        let durable = peer.durable.lock().unwrap().clone();
        peer.count.store(durable.0, Ordering::SeqCst);
        // What a start does with a commit index that was not yet on disk.
        {
            let mut log = peer.log.0.lock().unwrap();
            log.hard_state.commit = log.hard_state.commit.max(durable.1.position.index);
        }
        let machine = Counter {
            count: Arc::clone(&peer.count),
            installs: Arc::clone(&peer.installs),
            applied: durable.1.clone(),
            latest: Arc::new(Mutex::new(durable)),
            durable: Arc::clone(&peer.durable),
            snapshots: Arc::clone(&self.snapshots),
        };
        let (handle, pending) = prepare();
        let parts = Parts {
            identity: peer.identity.clone(),
            address: String::new(),
            log: Arc::clone(&peer.log),
            machine,
            transport: Wire {
                from: raft_id,
                net: Arc::clone(&self.net),
            },
            clock: wall_ns,
            seed: raft_id,
            log_keep_entries: 20,
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
        let before = peer.durable.lock().unwrap().clone();
        handle.stop();
        peer.runtime.take().unwrap().join();
        *peer.durable.lock().unwrap() = before;
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
        self.handle(raft_id).propose(Proposal {
            command: command.to_vec(),
            units: 0,
            accepted: None,
            sink: Sink::new(move |result| drop(tx.send(result))),
        });
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
        self.peers[&raft_id].count.load(Ordering::SeqCst)
    }

    pub fn installs(&self, raft_id: u64) -> u64 {
        self.peers[&raft_id].installs.load(Ordering::SeqCst)
    }

    pub fn cut(&self, raft_id: u64) -> u64 {
        self.peers[&raft_id].log.0.lock().unwrap().cut.index
    }

    pub fn syncs(&self, raft_id: u64) -> u64 {
        self.peers[&raft_id].log.0.lock().unwrap().syncs
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
