//! What every [`LogStore`] must do, as one suite run on each implementation.
//!
//! For tests: [`run`] panics with the broken rule.

// A suite that finds a broken rule has to say so and stop.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use protobuf::Message as _;
use raft::eraftpb::{Entry, HardState};

use crate::log::{LogStore, LogWrite, Position};

/// Runs the suite; `make` gives a fresh, empty log each time.
///
/// # Panics
/// When the implementation breaks a rule.
pub fn run<L: LogStore>(mut make: impl FnMut() -> L) {
    an_empty_log_is_at_zero(&make());
    entries_read_back(&make());
    reads_stop_at_the_size_asked_for(&make());
    a_new_suffix_replaces_the_old(&make());
    the_hard_state_reads_back(&make());
    a_write_with_gaps_changes_nothing(&make());
    a_cut_forgets_and_repeats(&make());
    a_cut_log_goes_on(&make());
    a_log_cut_at_its_end_goes_on(&make());
    a_reset_empties(&make());
    a_reset_goes_behind_the_end(&make());
    reads_outside_are_refused(&make());
}

/// An entry with `len` bytes of data.
#[must_use]
pub fn entry(index: u64, term: u64, len: usize) -> Entry {
    Entry {
        index,
        term,
        data: vec![index as u8; len].into(),
        ..Entry::default()
    }
}

/// A position.
#[must_use]
pub fn at(index: u64, term: u64) -> Position {
    Position { index, term }
}

fn append(log: &impl LogStore, entries: Vec<Entry>) {
    let write = LogWrite {
        entries,
        hard_state: None,
        sync: true,
    };
    log.write(&write).unwrap();
}

fn terms(log: &impl LogStore, low: u64, high: u64) -> Vec<u64> {
    let entries = log.entries(low, high, u64::MAX).unwrap();
    assert_eq!(entries.len() as u64, high - low);
    for (entry, index) in entries.iter().zip(low..) {
        assert_eq!(entry.index, index);
        assert_eq!(log.term(index).unwrap(), Some(entry.term));
    }
    entries.iter().map(|e| e.term).collect()
}

fn an_empty_log_is_at_zero(log: &impl LogStore) {
    assert_eq!(log.cut().unwrap(), Position::default());
    assert_eq!(log.last().unwrap(), Position::default());
    assert_eq!(log.hard_state().unwrap(), HardState::default());
    assert_eq!(log.term(0).unwrap(), Some(0), "the cut's own term");
    assert_eq!(log.term(1).unwrap(), None);
}

fn entries_read_back(log: &impl LogStore) {
    let written: Vec<_> = (1..=300).map(|i| entry(i, 1 + i / 100, 10)).collect();
    append(log, written[..200].to_vec());
    append(log, written[200..].to_vec());
    assert_eq!(log.last().unwrap(), at(300, 4));
    assert_eq!(log.entries(1, 301, u64::MAX).unwrap(), written);
    assert_eq!(log.entries(255, 258, u64::MAX).unwrap(), written[254..257]);
    assert_eq!(log.term(199).unwrap(), Some(2));
    assert_eq!(log.term(301).unwrap(), None);
}

fn reads_stop_at_the_size_asked_for(log: &impl LogStore) {
    append(log, (1..=10).map(|i| entry(i, 1, 1_000)).collect());
    let one = u64::from(entry(1, 1, 1_000).compute_size());
    assert_eq!(log.entries(1, 11, 0).unwrap().len(), 1, "at least one");
    assert_eq!(log.entries(1, 11, one * 3).unwrap().len(), 3);
    assert_eq!(log.entries(1, 11, one * 4 - 1).unwrap().len(), 3);
    assert_eq!(log.entries(9, 11, u64::MAX).unwrap().len(), 2);
}

fn a_new_suffix_replaces_the_old(log: &impl LogStore) {
    append(log, (1..=10).map(|i| entry(i, 1, 5)).collect());
    append(log, vec![entry(6, 2, 5), entry(7, 2, 5)]);
    assert_eq!(log.last().unwrap(), at(7, 2));
    assert_eq!(terms(log, 1, 8), [1, 1, 1, 1, 1, 2, 2]);
    assert_eq!(log.term(8).unwrap(), None, "what was behind is gone");
    assert!(log.entries(7, 9, u64::MAX).is_err());
    append(log, vec![entry(8, 3, 5)]);
    assert_eq!(terms(log, 7, 9), [2, 3]);
    append(log, vec![entry(1, 4, 5)]);
    assert_eq!(log.last().unwrap(), at(1, 4));
}

fn the_hard_state_reads_back(log: &impl LogStore) {
    let hard_state = HardState {
        term: 7,
        vote: 3,
        commit: 1,
        ..HardState::default()
    };
    log.write(&LogWrite {
        entries: vec![entry(1, 7, 1)],
        hard_state: Some(hard_state.clone()),
        sync: true,
    })
    .unwrap();
    append(log, vec![entry(2, 7, 1)]);
    assert_eq!(log.hard_state().unwrap(), hard_state);
    log.write(&LogWrite::default()).unwrap();
    assert_eq!(log.hard_state().unwrap(), hard_state);
    assert_eq!(log.last().unwrap(), at(2, 7));
}

fn a_write_with_gaps_changes_nothing(log: &impl LogStore) {
    append(log, vec![entry(1, 1, 1)]);
    for entries in [
        vec![entry(3, 1, 1)],
        vec![entry(2, 1, 1), entry(4, 1, 1)],
        vec![entry(0, 1, 1)],
    ] {
        let write = LogWrite {
            entries,
            hard_state: None,
            sync: true,
        };
        assert!(log.write(&write).is_err());
        assert_eq!(log.last().unwrap(), at(1, 1));
    }
}

fn a_cut_forgets_and_repeats(log: &impl LogStore) {
    append(log, (1..=10).map(|i| entry(i, i, 5)).collect());
    for through in [at(4, 4), at(4, 4), at(2, 2)] {
        log.cut_through(through).unwrap();
        assert_eq!(log.cut().unwrap(), at(4, 4));
        assert_eq!(log.term(3).unwrap(), None);
        assert_eq!(log.term(4).unwrap(), Some(4));
        assert_eq!(terms(log, 5, 11), [5, 6, 7, 8, 9, 10]);
        assert!(log.entries(4, 6, u64::MAX).is_err());
    }
    assert!(log.cut_through(at(11, 10)).is_err(), "no entry of the log");
}

fn a_cut_log_goes_on(log: &impl LogStore) {
    append(log, (1..=10).map(|i| entry(i, 1, 5)).collect());
    log.cut_through(at(5, 1)).unwrap();
    let write = LogWrite {
        entries: vec![entry(5, 2, 5)],
        hard_state: None,
        sync: true,
    };
    assert!(log.write(&write).is_err(), "what is cut is committed");
    append(log, vec![entry(6, 2, 5)]);
    assert_eq!(log.last().unwrap(), at(6, 2));
    append(log, vec![entry(7, 2, 5)]);
    assert_eq!(terms(log, 6, 8), [2, 2]);
}

fn a_log_cut_at_its_end_goes_on(log: &impl LogStore) {
    append(log, (1..=3).map(|i| entry(i, 1, 5)).collect());
    log.cut_through(at(3, 1)).unwrap();
    assert_eq!(log.last().unwrap(), at(3, 1));
    assert_eq!(log.term(3).unwrap(), Some(1));
    append(log, vec![entry(4, 2, 5)]);
    assert_eq!(terms(log, 4, 5), [2]);
}

fn a_reset_empties(log: &impl LogStore) {
    append(log, (1..=10).map(|i| entry(i, 1, 5)).collect());
    let hard_state = HardState {
        term: 3,
        commit: 6,
        ..HardState::default()
    };
    for _ in 0..2 {
        log.reset(at(6, 3), &hard_state).unwrap();
        assert_eq!(log.cut().unwrap(), at(6, 3));
        assert_eq!(log.last().unwrap(), at(6, 3));
        assert_eq!(log.hard_state().unwrap(), hard_state);
        assert_eq!(log.term(6).unwrap(), Some(3));
        assert_eq!(log.term(7).unwrap(), None);
    }
    append(log, vec![entry(7, 4, 5)]);
    assert_eq!(terms(log, 7, 8), [4]);
    assert_eq!(log.term(8).unwrap(), None);
}

fn a_reset_goes_behind_the_end(log: &impl LogStore) {
    append(log, vec![entry(1, 1, 5)]);
    log.reset(at(100, 9), &HardState::default()).unwrap();
    assert_eq!(log.last().unwrap(), at(100, 9));
    append(log, vec![entry(101, 9, 5)]);
    assert_eq!(terms(log, 101, 102), [9]);
}

fn reads_outside_are_refused(log: &impl LogStore) {
    append(log, vec![entry(1, 1, 5)]);
    assert!(log.entries(0, 1, u64::MAX).is_err());
    assert!(log.entries(1, 3, u64::MAX).is_err());
}
