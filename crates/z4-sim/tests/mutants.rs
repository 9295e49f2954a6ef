//! The checkers find mistakes that are put in on purpose: here those of the
//! shell, which any build can plant. `make mutants` plants them all.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{catch_unwind, AssertUnwindSafe};

use z4_sim::mutants::{find, MUTANTS};
use z4_sim::{run, Options};

/// Expects one of the first runs to fail in the words that are meant for it.
fn is_found(mistake: &str) {
    let mistake = find(mistake).unwrap();
    let mut seen = Vec::new();
    for seed in 0..40 {
        let options = Options {
            planted: Some(mistake.name),
            ..Options::of_seed(seed, 60)
        };
        // raft-rs panics on some of them, which is a way to be found too, but
        // not the one that is looked for.
        let result = catch_unwind(AssertUnwindSafe(|| run(&options)));
        let Ok(Err(failure)) = result else { continue };
        if mistake.is_shown_by(&failure) {
            return;
        }
        seen.push(failure);
    }
    panic!("{} was not found; failures: {seen:?}", mistake.name);
}

#[test]
fn a_disk_that_loses_synced_entries() {
    is_found("disk-loses-synced");
}

#[test]
fn acks_before_a_quorum_has_it() {
    is_found("ack-before-quorum");
}

#[test]
fn a_replica_that_goes_its_own_way() {
    is_found("one-replica-skips");
}

#[test]
fn a_replica_that_reads_its_clock() {
    is_found("local-clock-in-apply");
}

#[test]
fn an_ack_that_was_not_done() {
    is_found("late-ack-told-done");
}

#[test]
fn a_read_of_what_was() {
    is_found("read-of-another-time");
}

#[test]
fn mistakes_are_named_once_and_found_by_words() {
    for (at, mistake) in MUTANTS.iter().enumerate() {
        let known = find(mistake.name);
        assert_eq!(
            known.is_ok(),
            mistake.is_of_shell() || cfg!(feature = "planted"),
            "{known:?}"
        );
        let sorted = MUTANTS.get(at + 1).is_none_or(|n| mistake.name < n.name);
        assert!(sorted, "{} stands before its place", mistake.name);
        // A word that any failure has would find anything.
        assert!(!mistake.is_shown_by("at 7 ms: "), "{}", mistake.name);
        assert!(!mistake.is_shown_by("panic: at 7 ms: "), "{}", mistake.name);
    }
    let skips = find("one-replica-skips").unwrap();
    let words = "promise 7: peers 1 and 2 differ";
    assert!(skips.is_shown_by(&format!("at 7 ms: {words}")));
    assert!(!skips.is_shown_by(&format!("panic: {words}")));
    assert!(find("none").unwrap_err().contains("skip-sync"));
}
