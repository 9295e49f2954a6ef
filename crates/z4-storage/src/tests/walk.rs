//! A random walk over all commands, on RocksDB and in memory side by side. What
//! the machine should do is tested in z4-core; here both stores, and the
//! encoding of commands and rows between, must come to the same.

use tempfile::TempDir;
use z4_core::invariants::{check, state_hash};
use z4_core::walk::Walk;
use z4_core::Command;

use super::*;
use crate::MemDisk;

const STEPS: u64 = 12_000;

fn entry(index: u64, stamp_ns: u64, commands: &[Command]) -> Committed {
    Committed {
        stamp_ns,
        ..committed(index, commands)
    }
}

#[test]
fn both_stores_walk_the_same_way() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let mut real = machine(&store);
    let disk = MemDisk::default();
    disk.bootstrap(store.applied().clone());
    let (mem, applied) = disk.open();
    let mut model = TaskMachine::open(mem, applied, Box::new(|_| ())).unwrap();
    let mut walk = Walk::new(7);
    let mut index = 1;
    let mut run = Vec::new();
    for step in 0..STEPS {
        index += 1;
        let (stamp_ns, commands) = walk.step();
        run.push(entry(index, stamp_ns, &commands));
        let outcomes = model
            .apply(vec![entry(index, stamp_ns, &commands)])
            .unwrap();
        walk.learn(&commands, &outcomes[0]);
        // What was begun is made durable later, with commits in between.
        match step % 31 {
            3 => model.machine().state().begin_flush(),
            17 => drop(model.flusher()().unwrap()),
            23 => drop(real.flusher()().unwrap()),
            _ => {}
        }
        // In runs of different length: a batch holds several entries.
        let compare = step % 100 == 0 || step + 1 == STEPS;
        if compare || step % 7 == 0 || step % 11 == 0 {
            let replies = real.apply(std::mem::take(&mut run)).unwrap();
            assert_eq!(replies.last(), outcomes.last(), "step {step}");
        }
        if compare {
            let hash = state_hash(model.machine().state()).unwrap();
            assert_eq!(state_hash(&store.view()).unwrap(), hash, "step {step}");
            let report = check(&store.view()).unwrap();
            assert_eq!(report, check(model.machine().state()).unwrap());
            report.verdict().unwrap();
            // What is on disk is all that a machine needs.
            drop(real);
            let applied = model.applied().clone();
            real = TaskMachine::open(store.state(), applied, Box::new(|_| ())).unwrap();
        }
    }
}
