//! A run that fails is made smaller, and what is left fails alike when it is run
//! again.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use z4_sim::failure::is_alike;
use z4_sim::faults::{Fault, Faults};
use z4_sim::shrink::{shrink, Budget};
use z4_sim::{run, Options};

fn failure(options: &Options) -> Option<String> {
    // A failure that raft-rs finds by itself is another one than that which is looked for.
    catch_unwind(AssertUnwindSafe(|| run(options))).ok()?.err()
}

#[test]
fn a_mutant_is_left_with_little_around_it() {
    let seeds = (0..40).map(|seed| Options {
        planted: Some("ack-before-quorum"),
        ..Options::of_seed(seed, 60)
    });
    let words = "acknowledged and is not committed";
    let mut failures = seeds.filter_map(|options| failure(&options).map(|what| (options, what)));
    let found = failures.find(|(_, what)| what.contains(words));
    let (whole, what) = found.expect("the mutant is found");
    let budget = Budget {
        runs: 60,
        time: Duration::from_secs(60),
    };
    let shrunk = shrink(&whole, &what, budget, failure);
    let left = &shrunk.options;
    assert!(left.work_ms <= whole.work_ms / 2, "{shrunk:?}");
    assert!(left.clients < whole.clients, "{shrunk:?}");
    assert!(left.faults.names().count() <= 6, "{shrunk:?}");
    assert_eq!(failure(left).as_ref(), Some(&shrunk.failure));
    assert!(is_alike(&shrunk.failure, &what), "{shrunk:?}");
}

#[test]
fn a_small_run_is_smaller_and_keeps_every_promise() {
    for seed in 0..8 {
        let whole = Options::of_seed(seed, 20);
        let small = Options {
            clients: 1,
            ..whole.clone()
        };
        let (all, few) = (run(&whole).unwrap(), run(&small).unwrap());
        assert!(3 * few.operations < 2 * all.operations, "seed {seed}");
        let small = Options {
            consumers: 1,
            ..small
        };
        assert_ne!(run(&small).unwrap().trace, few.trace, "seed {seed}");
    }
}

/// Leaving out what did not act is what shrinks a failure that hardly ever comes.
#[test]
fn a_run_is_the_same_one_without_a_fault_that_had_not_acted() {
    // They act at their moment alone, and are counted each time.
    let sudden = [
        "pause",
        "clock-jump",
        "client-crash",
        "consumer-stall",
        "rolling",
    ];
    let mut left_out = 0;
    for seed in 1..7 {
        let whole = Options::of_seed(seed, 20);
        let report = run(&whole).unwrap();
        let idle = sudden
            .iter()
            .filter(|name| !report.faults.contains_key(*name));
        let faults = idle
            .clone()
            .fold(Faults::all(), |faults, name| faults.without(name).unwrap());
        left_out += Fault::ALL.len() - faults.names().count();
        let without = Options { faults, ..whole };
        assert_eq!(run(&without).unwrap(), report, "seed {seed}");
    }
    assert!(left_out >= 10, "only {left_out}");
}
