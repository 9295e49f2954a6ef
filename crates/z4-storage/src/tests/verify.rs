//! Marks: the state is checked as of their entry, whatever comes after.

use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use z4_core::invariants::state_hash;
use z4_core::state::{Row, RowKey, State};
use z4_core::task::{NamespaceId, TaskId};

use super::*;
use crate::machine::TaskStore;
use crate::verify::{Verdict, VerdictSink};
use crate::MemDisk;

type Found = (u64, Result<Verdict, String>);

fn sink() -> (VerdictSink, Receiver<Found>) {
    let (tell, told) = channel();
    let sink = Arc::new(move |id, verdict| tell.send((id, verdict)).unwrap());
    (sink, told)
}

fn next(told: &Receiver<Found>) -> Found {
    told.recv_timeout(Duration::from_secs(60)).unwrap()
}

#[test]
fn both_stores_find_the_same_at_a_mark_in_the_middle_of_a_run() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let disk = MemDisk::default();
    disk.bootstrap(store.applied().clone());
    let (mem, applied) = disk.open();
    let ((real_sink, real_told), (mem_sink, mem_told)) = (sink(), sink());
    let mut real = machine(&store).with_verdicts(real_sink);
    let opened = TaskMachine::open(mem, applied, Box::new(|_| ())).unwrap();
    let mut model = opened.with_verdicts(mem_sink);
    let run = vec![
        committed(2, &[create(5), lease(2)]),
        committed(3, &[create(1), Command::Mark { id: 77 }, create(2)]),
        committed(4, &[create(50), lease(20)]),
    ];
    let replies = real.apply(run.clone()).unwrap();
    assert_eq!(replies, model.apply(run).unwrap());
    let (real_found, mem_found) = (next(&real_told), next(&mem_told));
    assert_eq!(real_found, mem_found);
    let (id, verdict) = real_found;
    let verdict = verdict.unwrap();
    assert_eq!((id, verdict.position), (77, at(3, 1)));
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert!(verdict.rows > 16, "{verdict:?}");
    let now = state_hash(&store.view()).unwrap();
    assert_ne!(verdict.state_hash, now, "what came after is no part of it");
    // The same entries, without those that came after.
    let (sink, told) = sink();
    let dir = TempDir::new().unwrap();
    let mut short = machine(&founded(dir.path())).with_verdicts(sink);
    short
        .apply(vec![committed(2, &[create(5), lease(2)])])
        .unwrap();
    let mark = &[create(1), Command::Mark { id: 1 }, create(2)];
    short.apply(vec![committed(3, mark)]).unwrap();
    assert_eq!(next(&told).1.unwrap().state_hash, verdict.state_hash);
}

#[test]
fn what_is_wrong_on_disk_is_found() {
    let dir = TempDir::new().unwrap();
    let store = founded(dir.path());
    let (sink, told) = sink();
    let mut machine = machine(&store).with_verdicts(sink);
    machine.apply(vec![committed(2, &[create(3)])]).unwrap();
    // A row that no task accounts for, as a bug would leave it.
    let mut state = store.state();
    let orphan = RowKey::dead(NamespaceId(0), 5, TaskId::new(1, 2, 3));
    state.put(orphan, Row::Dead);
    state.commit(at(2, 1), None).unwrap();
    machine
        .apply(vec![committed(3, &[Command::Mark { id: 1 }])])
        .unwrap();
    let verdict = next(&told).1.unwrap();
    assert!(!verdict.violations.is_empty(), "{verdict:?}");
}
