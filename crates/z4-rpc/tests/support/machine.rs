//! The task machine over memory. Its snapshots are real files with their bytes
//! checked; what they stand for is passed beside them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use z4_consensus::log::Position;
use z4_consensus::machine::{Applied, Committed, Flusher, MachineError, StateMachine};
use z4_core::state::StateError;
use z4_core::state::{Row, RowKey, State, View};
use z4_core::{Event, Machine, MemState, Outcome};
use z4_proto::decode_command;
use z4_rpc::Delivery;

/// Rows that several may read.
#[derive(Clone, Default)]
pub struct SharedState(Arc<RwLock<MemState>>);

impl View for SharedState {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.0.read().unwrap().get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        self.0.read().unwrap().scan(from, to, visit)
    }
}

impl State for SharedState {
    fn put(&mut self, key: RowKey, row: Row) {
        self.0.write().unwrap().put(key, row);
    }

    fn delete(&mut self, key: &RowKey) {
        self.0.write().unwrap().delete(key);
    }
}

/// What the snapshots of a test's cluster hold.
pub type Snapshots = Arc<Mutex<HashMap<u64, (MemState, Applied)>>>;

pub struct MemMachine {
    pub machine: Machine<SharedState>,
    pub applied: Applied,
    pub delivery: Delivery<SharedState>,
    pub snapshots: Snapshots,
    pub dir: PathBuf,
}

/// What is in the large file of every snapshot.
pub fn filling() -> Vec<u8> {
    (0..1_000_000u32).map(|i| (i * 7) as u8).collect()
}

impl MemMachine {
    fn tell(&self, events: Vec<Event>, is_jump: bool) {
        self.delivery.applied(z4_rpc::AppliedEvents {
            events,
            stamp_ns: self.machine.stamp_ns(),
            pulse_next_ns: self.machine.pulse_next_ns(),
            is_jump,
        });
    }
}

impl StateMachine for MemMachine {
    type Reply = Outcome;

    fn applied(&self) -> &Applied {
        &self.applied
    }

    fn apply(&mut self, run: Vec<Committed>) -> Result<Vec<Vec<Outcome>>, MachineError> {
        let mut events = Vec::new();
        let mut replies = Vec::new();
        for entry in run {
            let commands = entry.commands.iter().map(|c| decode_command(c).unwrap());
            let index = entry.position.index;
            let outcomes =
                self.machine
                    .apply_entry(index, entry.stamp_ns, commands.collect(), &mut events);
            replies.push(outcomes.unwrap());
            self.applied.position = entry.position;
            if let Some(membership) = entry.membership {
                self.applied.membership = membership;
            }
        }
        self.tell(events, false);
        Ok(replies)
    }

    fn flusher(&self) -> Flusher {
        Box::new(|| Ok(Position::default()))
    }

    fn checkpoint(&mut self) -> Result<Applied, MachineError> {
        let position = self.applied.position;
        let dir = self
            .dir
            .join(format!("{}-{}", position.index, position.term));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("CURRENT"), b"x").unwrap();
        std::fs::write(dir.join("000001.sst"), filling()).unwrap();
        std::fs::write(dir.join("empty"), b"").unwrap();
        let state = self.machine.state().0.read().unwrap().clone();
        let held = (state, self.applied.clone());
        self.snapshots.lock().unwrap().insert(position.index, held);
        Ok(self.applied.clone())
    }

    fn drop_snapshot(&mut self, position: Position) {
        let dir = self
            .dir
            .join(format!("{}-{}", position.index, position.term));
        let _ = std::fs::remove_dir_all(dir);
    }

    fn install(&mut self, position: Position) -> Result<(), MachineError> {
        let dir = self
            .dir
            .join(format!("in-{}-{}", position.index, position.term));
        assert_eq!(std::fs::read(dir.join("000001.sst")).unwrap(), filling());
        assert_eq!(std::fs::read(dir.join("CURRENT")).unwrap(), b"x");
        assert_eq!(std::fs::read(dir.join("empty")).unwrap(), b"");
        let (state, applied) = self.snapshots.lock().unwrap()[&position.index].clone();
        let shared = self.machine.state().clone();
        *shared.0.write().unwrap() = state;
        self.machine = Machine::open(shared).unwrap();
        self.applied = applied;
        self.tell(Vec::new(), true);
        Ok(())
    }
}
