//! The contract suites of the seams, on RocksDB.

use tempfile::TempDir;
use z4_consensus::log::LogStore;
use z4_consensus::log_contract;
use z4_core::state::{contract, Row, RowKey, StateError};
use z4_core::{State, View};

use super::*;
use crate::{MemDisk, RaftLog, RocksState, TaskStore};

#[test]
fn the_raft_log_keeps_the_contract() {
    let dir = TempDir::new().unwrap();
    let mut count = 0;
    log_contract::run(|| {
        count += 1;
        RaftLog::open(&dir.path().join(count.to_string()), metrics()).unwrap()
    });
}

/// Reopens the log before every read: all that the suite sees comes from disk.
struct Reopened {
    dir: TempDir,
}

impl Reopened {
    fn log(&self) -> RaftLog {
        RaftLog::open(self.dir.path(), metrics()).unwrap()
    }
}

impl LogStore for Reopened {
    fn hard_state(&self) -> Result<HardState, z4_consensus::log::LogError> {
        self.log().hard_state()
    }
    fn cut(&self) -> Result<Position, z4_consensus::log::LogError> {
        self.log().cut()
    }
    fn last(&self) -> Result<Position, z4_consensus::log::LogError> {
        self.log().last()
    }
    fn entries(
        &self,
        low: u64,
        high: u64,
        bytes_max: u64,
    ) -> Result<Vec<raft::eraftpb::Entry>, z4_consensus::log::LogError> {
        self.log().entries(low, high, bytes_max)
    }
    fn term(&self, index: u64) -> Result<Option<u64>, z4_consensus::log::LogError> {
        self.log().term(index)
    }
    fn write(&self, write: &LogWrite) -> Result<(), z4_consensus::log::LogError> {
        self.log().write(write)
    }
    fn cut_through(&self, through: Position) -> Result<(), z4_consensus::log::LogError> {
        self.log().cut_through(through)
    }
    fn reset(
        &self,
        to: Position,
        hard_state: &HardState,
    ) -> Result<(), z4_consensus::log::LogError> {
        self.log().reset(to, hard_state)
    }
}

#[test]
fn the_raft_log_keeps_the_contract_across_restarts() {
    // One case of each kind is enough here; the whole suite would open the
    // database hundreds of times.
    let log = Reopened {
        dir: TempDir::new().unwrap(),
    };
    append(&log, 1, 20, 1);
    append(&log, 11, 12, 2);
    assert_eq!(log.last().unwrap(), at(12, 2));
    assert_eq!(log.hard_state().unwrap().commit, 12);
    log.cut_through(at(5, 1)).unwrap();
    assert_eq!(log.cut().unwrap(), at(5, 1));
    assert_eq!(log.entries(6, 13, u64::MAX).unwrap().len(), 7);
    assert_eq!(log.term(5).unwrap(), Some(1));
    log.cut_through(at(12, 2)).unwrap();
    assert_eq!(log.last().unwrap(), at(12, 2));
    log.reset(at(30, 3), &HardState::default()).unwrap();
    assert_eq!(
        (log.cut().unwrap(), log.last().unwrap()),
        (at(30, 3), at(30, 3))
    );
}

/// A state with the directory it lives in.
struct Housed {
    state: RocksState,
    _store: Store,
    _dir: TempDir,
    commits: bool,
}

impl Housed {
    fn new(commits: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let store = open(dir.path()).unwrap();
        Self {
            state: store.state(),
            _store: store,
            _dir: dir,
            commits,
        }
    }

    fn commit(&mut self) {
        if self.commits {
            self.state.commit(at(1, 1), None).unwrap();
        }
    }
}

impl View for Housed {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.state.get(key)
    }
    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        self.state.scan(from, to, visit)
    }
}

impl State for Housed {
    fn put(&mut self, key: RowKey, row: Row) {
        self.state.put(key, row);
        self.commit();
    }
    fn put_new(&mut self, key: RowKey, row: Row) {
        self.state.put_new(key, row);
        self.commit();
    }
    fn delete(&mut self, key: &RowKey) {
        self.state.delete(key);
        self.commit();
    }
}

#[test]
fn the_task_state_keeps_the_contract_before_its_commit() {
    contract::run(|| Housed::new(false));
}

#[test]
fn the_task_state_keeps_the_contract_after_its_commit() {
    contract::run(|| Housed::new(true));
}

#[test]
fn the_state_in_memory_keeps_the_contract() {
    contract::run(|| MemDisk::default().open().0);
}

#[test]
fn scans_merge_what_is_pending_committed_being_flushed_and_stored() {
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use z4_core::{MemState, NamespaceId, TaskId};

    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    let mut real = store.state();
    let mut model = MemState::new();
    let key = |n: u32| {
        RowKey::due(
            NamespaceId(n % 3),
            Default::default(),
            u64::from(n),
            TaskId::default(),
        )
    };
    let rows = |view: &dyn View, from: u32, to: u32, limit: usize| {
        let mut seen = Vec::new();
        view.scan(&key(from), &key(to), &mut |k, r| {
            seen.push((k, r));
            seen.len() < limit
        })
        .unwrap();
        seen
    };
    for round in 0..2_000u64 {
        let n = rng.gen_range(0..40);
        if rng.gen_bool(0.6) {
            let touched = rng.gen();
            let row = Row::Due {
                touched,
                bytes: u64::from(n),
                max_attempts: n,
                ttl_ms: u64::from(n),
            };
            match model.get(&key(n)).unwrap() {
                Some(_) => real.put(key(n), row),
                None => real.put_new(key(n), row),
            }
            model.put(
                key(n),
                Row::Due {
                    touched,
                    bytes: u64::from(n),
                    max_attempts: n,
                    ttl_ms: u64::from(n),
                },
            );
        } else {
            real.delete(&key(n));
            model.delete(&key(n));
        }
        match rng.gen_range(0..40) {
            0 => store.live().rows().cut(),
            1 | 2 => drop(store.live().flush().unwrap()),
            _ => {}
        }
        if rng.gen_bool(0.1) {
            real.commit(at(round, 1), None).unwrap();
            let all = (&RowKey::Meta, &RowKey::End);
            let (mut a, mut b) = (Vec::new(), Vec::new());
            store
                .view()
                .scan(all.0, all.1, &mut |k, r| {
                    a.push((k, r));
                    true
                })
                .unwrap();
            model
                .scan(all.0, all.1, &mut |k, r| {
                    b.push((k, r));
                    true
                })
                .unwrap();
            assert_eq!(a, b);
        }
        let (from, to, limit) = (
            rng.gen_range(0..40),
            rng.gen_range(0..40),
            rng.gen_range(1..9),
        );
        assert_eq!(rows(&real, from, to, limit), rows(&model, from, to, limit));
        assert_eq!(real.get(&key(n)).unwrap(), model.get(&key(n)).unwrap());
    }
}
