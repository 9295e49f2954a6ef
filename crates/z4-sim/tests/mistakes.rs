//! The checkers find mistakes that are put in on purpose: here those of the
//! shell, which any build can plant. `make mutants` plants them all.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{catch_unwind, AssertUnwindSafe};

use z4_sim::{run, Options};

/// Expects one of the first runs to fail with one of these words.
fn is_found(mistake: &'static str, words: &[&str]) {
    let mut seen = Vec::new();
    for seed in 0..40 {
        let options = Options {
            planted: Some(mistake),
            ..Options::of_seed(seed, 60)
        };
        // raft-rs panics on some of them, which is a way to be found too, but
        // not the one that is looked for.
        let result = catch_unwind(AssertUnwindSafe(|| run(&options)));
        let Ok(Err(failure)) = result else { continue };
        if words.iter().any(|word| failure.contains(word)) {
            return;
        }
        seen.push(failure);
    }
    panic!("{mistake} was not found; failures: {seen:?}");
}

#[test]
fn a_disk_that_loses_synced_entries() {
    is_found(
        "disk-loses-synced",
        &[
            "log was lost",
            "another entry",
            "promise 1",
            "leader completeness",
            "do not belong together",
        ],
    );
}

#[test]
fn acks_before_a_quorum_has_it() {
    is_found("ack-before-quorum", &["promise 1"]);
}

#[test]
fn a_replica_that_goes_its_own_way() {
    is_found("one-replica-skips", &["promise 7"]);
}

#[test]
fn a_replica_that_reads_its_clock() {
    is_found("local-clock-in-apply", &["promise 7"]);
}
