//! Tests of the crate as a whole, in one place.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contracts;
mod crash;
mod damage;
mod layers;
mod machine;
mod restore;
mod space;
mod start;
mod survivor;
mod tables;
mod torture;
mod verify;
mod walk;

use std::path::Path;

use prometheus::Registry;
use raft::eraftpb::HardState;
use slog::{o, Discard, Logger};
use z4_consensus::log::{LogError, LogStore, LogWrite, Position};
use z4_consensus::log_contract::entry;
use z4_consensus::machine::{Committed, StateMachine};
use z4_core::command::{CreateTasks, LeaseTasks, NewTask, Taker};
use z4_core::{Command, Namespace};
use z4_proto::command::encode_command;

use crate::limits;
use crate::{Metrics, RocksState, StorageError, Store, StoreOptions, TaskMachine};

pub(crate) const CLUSTER: [u8; 16] = [7; 16];

pub(crate) fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

pub(crate) fn options(root: &Path, peer_id: &str) -> StoreOptions {
    StoreOptions {
        db_dir: root.join("db"),
        peer_dir: root.join("peer"),
        peer_id: peer_id.to_owned(),
        open_files_max: limits::OPEN_FILES_MAX,
        logger: Logger::root(Discard, o!()),
        metrics: metrics(),
    }
}

pub(crate) fn open(root: &Path) -> Result<Store, StorageError> {
    Store::open(options(root, "peer1"))
}

pub(crate) fn founded(root: &Path) -> Store {
    let mut store = open(root).unwrap();
    store.bootstrap(CLUSTER, "127.0.0.1:1").unwrap();
    store
}

pub(crate) fn machine(store: &Store) -> TaskMachine<RocksState> {
    TaskMachine::open(store.state(), store.applied().clone(), Box::new(|_| ())).unwrap()
}

pub(crate) fn at(index: u64, term: u64) -> Position {
    Position { index, term }
}

/// Appends entries `from..=to` of a term, with a hard state that commits them.
pub(crate) fn append(log: &impl LogStore, from: u64, to: u64, term: u64) {
    append_uncommitted(log, from, to, term, to);
}

/// Appends entries `from..=to` of a term, committed up to `commit`.
pub(crate) fn append_uncommitted(log: &impl LogStore, from: u64, to: u64, term: u64, commit: u64) {
    log.write(&LogWrite {
        entries: (from..=to).map(|i| entry(i, term, 100)).collect(),
        hard_state: Some(HardState {
            term,
            vote: 1,
            commit,
            ..HardState::default()
        }),
        sync: true,
    })
    .unwrap();
}

pub(crate) fn create(count: usize) -> Command {
    let task = NewTask {
        payload: b"payload".to_vec(),
        ..NewTask::default()
    };
    Command::CreateTasks(CreateTasks {
        namespace: Namespace::new("ns").unwrap(),
        request_id: String::new(),
        tasks: vec![task; count],
    })
}

pub(crate) fn lease(room: u32) -> Command {
    Command::LeaseTasks(LeaseTasks {
        namespace: Namespace::new("ns").unwrap(),
        takers: vec![Taker {
            consumer: "c".into(),
            room,
        }],
        lease_ms: 0,
        ahead_ms: 0,
    })
}

/// An entry of term 1 with these commands.
pub(crate) fn committed(index: u64, commands: &[Command]) -> Committed {
    Committed {
        position: at(index, 1),
        stamp_ns: index * 1_000,
        commands: commands.iter().map(encode_command).collect(),
        membership: None,
    }
}

/// Applies entries `from..=to`, each of one create.
pub(crate) fn apply(machine: &mut impl StateMachine, from: u64, to: u64) {
    for index in from..=to {
        machine.apply(vec![committed(index, &[create(1)])]).unwrap();
    }
}
