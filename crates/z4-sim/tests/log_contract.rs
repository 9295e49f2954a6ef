//! The simulated disk keeps the contract of logs, and loses what it must.

#![allow(clippy::unwrap_used)]

use z4_consensus::log::{LogStore, LogWrite};
use z4_consensus::log_contract::{self, at, entry};
use z4_sim::disk::SimLog;

#[test]
fn the_simulated_disk_keeps_the_contract() {
    log_contract::run(SimLog::new);
}

fn write(log: &SimLog, index: u64, sync: bool) {
    log.write(&LogWrite {
        entries: vec![entry(index, 1, 3)],
        hard_state: None,
        sync,
    })
    .unwrap();
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let log = SimLog::new();
    write(&log, 1, true);
    write(&log, 2, false);
    write(&log, 3, false);
    assert_eq!(log.last().unwrap(), at(3, 1));
    assert!(log.is_synced(1) && !log.is_synced(2));
    log.crash(1);
    assert_eq!(log.last().unwrap(), at(2, 1), "a prefix survives");
    write(&log, 3, false);
    log.sync();
    log.crash(0);
    assert_eq!(log.last().unwrap(), at(3, 1), "what was synced stays");
}
