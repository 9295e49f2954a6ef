//! A peer to be tortured: a log of entries as a leader writes them, and a state of what
//! they do, flushed, compacted and cut behind at the moments that a test chooses.

use std::collections::BTreeMap;

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, Entry, EntryType};
use tempfile::TempDir;
use z4_consensus::proposals::Envelope;
use z4_consensus::Change;
use z4_core::invariants::state_hash;
use z4_core::walk::Walk;
use z4_core::Outcome;
use z4_proto::level::LEVEL_MAX;

use super::super::crash::newcomer;
use super::super::machine::carry;
use super::judge::committed_of;
use super::*;

/// One entry in so many changes the members.
const CHANGE_EVERY: u64 = 10;

pub(super) struct Peer {
    store: Store,
    machine: TaskMachine<RocksState>,
    walk: Walk,
    term: u64,
    /// The fingerprint of the state at each index at which it was written.
    written: BTreeMap<u64, u128>,
    dir: TempDir,
}

impl Peer {
    /// The only member of a new cluster.
    pub fn founded(seed: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let store = founded(dir.path());
        Self::of(dir, store, Walk::new(seed), 1)
    }

    /// A member that has begun with a snapshot of its leader.
    pub fn installed(seed: u64) -> Self {
        let mut leader = Self::founded(seed);
        leader.go_on(60);
        let made = leader.machine.checkpoint().unwrap();
        let dir = TempDir::new().unwrap();
        let mut store = open(dir.path()).unwrap();
        store.join(newcomer()).unwrap();
        let db = |of: &TempDir| of.path().join("db");
        carry(&db(&leader.dir), &db(&dir), made.position);
        machine(&store).install(made.position).unwrap();
        let hard_state = HardState {
            term: leader.term,
            commit: made.position.index,
            ..HardState::default()
        };
        store.log().reset(made.position, &hard_state).unwrap();
        drop(store);
        let store = open(dir.path()).unwrap();
        Self::of(dir, store, leader.walk, leader.term)
    }

    fn of(dir: TempDir, store: Store, walk: Walk, term: u64) -> Self {
        let mut peer = Self {
            machine: machine(&store),
            store,
            walk,
            term,
            written: BTreeMap::new(),
            dir,
        };
        peer.note();
        peer
    }

    /// Appends `count` entries, one by one, and applies them.
    pub fn go_on(&mut self, count: u64) {
        for _ in 0..count {
            let index = self.machine.applied().position.index + 1;
            if index.is_multiple_of(CHANGE_EVERY) {
                let entry = self.change(index);
                self.apply(entry);
                continue;
            }
            let (stamp_ns, commands) = self.walk.step();
            let outcomes = self.apply(self.entry(index, stamp_ns, &commands));
            self.walk.learn(&commands, &outcomes);
        }
    }

    /// Appends `count` entries that are never committed: a later leader, whose term
    /// begins here, replaces them.
    pub fn is_replaced(&mut self, count: u64) {
        let from = self.machine.applied().position.index + 1;
        for index in from..from + count {
            let entry = self.entry(index, 0, &[create(1)]);
            self.append(entry, from - 1);
        }
        self.term += 1;
    }

    fn entry(&self, index: u64, stamp_ns: u64, commands: &[Command]) -> Entry {
        let envelope = Envelope {
            stamp_ns,
            commands: commands.iter().map(encode_command).collect(),
        };
        let mut entry = Entry::default();
        (entry.index, entry.term) = (index, self.term);
        entry.data = envelope.encode().into();
        entry
    }

    /// An entry by which this peer is at another address.
    fn change(&self, index: u64) -> Entry {
        let address = format!("127.0.0.1:{index}");
        let change = Change::SetAddresses(BTreeMap::from([(1, address)]));
        let conf = ConfChange {
            context: change.encode(LEVEL_MAX).into(),
            ..ConfChange::default()
        };
        let mut entry = Entry::default();
        (entry.index, entry.term) = (index, self.term);
        entry.set_entry_type(EntryType::EntryConfChange);
        entry.data = conf.write_to_bytes().unwrap().into();
        entry
    }

    /// The commit index of an entry rides on the write of the next one.
    fn apply(&mut self, entry: Entry) -> Vec<Outcome> {
        let committed = committed_of(&entry, &self.machine.applied().membership);
        let commit = entry.index - 1;
        self.append(entry, commit);
        self.machine.apply(vec![committed]).unwrap().remove(0)
    }

    fn append(&self, entry: Entry, commit: u64) {
        let write = LogWrite {
            entries: vec![entry],
            hard_state: Some(HardState {
                term: self.term,
                vote: 1,
                commit,
                ..HardState::default()
            }),
            sync: true,
        };
        self.store.log().write(&write).unwrap();
    }

    fn note(&mut self) {
        let hash = state_hash(&self.store.view()).unwrap();
        let index = self.machine.applied().position.index;
        self.written.insert(index, hash);
    }

    /// Makes durable what was applied; gives the index to which that leads.
    pub fn flush(&mut self) -> Position {
        self.note();
        self.machine.flusher()().unwrap()
    }

    /// Writes what was applied to the database, which keeps it in memory.
    pub fn write(&mut self) {
        self.note();
        self.store.live().rows().write().unwrap();
    }

    /// Makes a snapshot for others, and drops it.
    pub fn checkpoint(&mut self) {
        self.note();
        let position = self.machine.checkpoint().unwrap().position;
        self.machine.drop_snapshot(position);
    }

    /// Cuts the log behind an entry.
    pub fn cut(&self, through: Position) {
        self.store.log().cut_through(through).unwrap();
    }

    /// Brings the log from its write-ahead file into a table.
    pub fn flush_log(&self) {
        self.store.log().db().flush().unwrap();
    }

    /// Compacts the state, by which older tables go.
    pub fn compact(&self) {
        self.store.space().compaction()();
    }

    /// Lets RocksDB compact nothing by itself any more.
    pub fn hold_compactions(&self) {
        self.store.space().allow_compaction(false, false).unwrap();
    }

    /// Ends the peer; gives its folder, and the fingerprint of the state at each index at which
    /// the state was written.
    pub fn end(self) -> (TempDir, BTreeMap<u64, u128>) {
        (self.dir, self.written)
    }
}
