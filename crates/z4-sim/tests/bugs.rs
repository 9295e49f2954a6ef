//! The checkers find mistakes that are put in on purpose.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{catch_unwind, AssertUnwindSafe};

use z4_sim::{run, Bug, Options};

/// Seeds tried until a mistake shows; most show in the first.
const TRIES: u64 = 12;

/// Expects one of the first runs to fail with one of these words.
fn is_found(bug: Bug, words: &[&str]) {
    let mut seen = Vec::new();
    for seed in 0..TRIES {
        let options = Options {
            bug: Some(bug),
            ..Options::of_seed(seed)
        };
        // raft-rs panics on some of them, which is a way to be found too.
        let result = catch_unwind(AssertUnwindSafe(|| run(&options)));
        let Ok(Err(failure)) = result else { continue };
        if words.iter().any(|word| failure.contains(word)) {
            return;
        }
        seen.push(failure);
    }
    panic!("{bug:?} was not found; failures: {seen:?}");
}

#[test]
fn a_disk_that_loses_synced_entries() {
    is_found(
        Bug::DiskLosesSynced,
        &[
            "log was lost",
            "another entry",
            "promise 1",
            "do not belong together",
        ],
    );
}

#[test]
fn promises_sent_before_the_sync() {
    is_found(
        Bug::SendsBeforeSync,
        &["before the term is synced", "before it is synced"],
    );
}

#[test]
fn leases_before_the_due_time() {
    is_found(Bug::LeasesEarly, &["promise 2"]);
}

#[test]
fn requests_that_are_forgotten() {
    is_found(Bug::ForgetsRequests, &["promise 4"]);
}

#[test]
fn reads_without_a_quorum() {
    is_found(Bug::ReadsWithoutQuorum, &["promise 5"]);
}

#[test]
fn a_replica_that_goes_its_own_way() {
    is_found(Bug::OnePeerSkipsAcks, &["promise 7"]);
}

#[test]
fn acks_before_the_commit() {
    is_found(Bug::AcksBeforeCommit, &["promise 1"]);
}

#[test]
fn acks_that_do_not_end_a_task() {
    is_found(Bug::AcksOnlyRelease, &["promise 3"]);
}
