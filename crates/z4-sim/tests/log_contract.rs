//! The simulated disk keeps the contract of logs, and loses what it must.

#![allow(clippy::unwrap_used)]

use z4_consensus::log::{LogStore, LogWrite, Position};
use z4_consensus::log_contract::{self, at, entry};
use z4_sim::disk::{SimLog, Tear};

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
    assert!(log.has_synced(at(1, 1)) && !log.has_synced(at(2, 1)));
    assert_eq!(log.crash(1, None), 1);
    assert_eq!(log.last().unwrap(), at(2, 1), "a prefix survives");
    write(&log, 3, false);
    log.sync();
    log.crash(0, None);
    assert_eq!(log.last().unwrap(), at(3, 1), "what was synced stays");
}

#[test]
fn a_torn_write_is_dropped_by_recovery() {
    for at in 0..6 {
        let log = SimLog::new();
        write(&log, 1, true);
        write(&log, 2, false);
        let entries = (3..6).map(|index| entry(index, 1, 30)).collect();
        log.write(&LogWrite {
            entries,
            hard_state: None,
            sync: false,
        })
        .unwrap();
        assert_eq!(log.crash(1, Some(Tear(at))), 3);
        assert_eq!(log.last().unwrap(), at_index(2 + at % 4), "a part is seen");
        assert!(log.recover(), "and found out");
        assert_eq!(log.last().unwrap(), at_index(2));
        assert!(!log.recover());
    }
}

fn at_index(index: u64) -> Position {
    at(index, 1)
}
