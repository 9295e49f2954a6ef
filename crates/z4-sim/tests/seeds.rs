//! Simulated clusters under faults: a few seeds with every run of the tests,
//! among them all that ever failed. `make sim` runs many, fresh ones.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use z4_sim::{run, Options, Report};

/// Seeds that failed once, with the simulated seconds they need and what they
/// found. They stay here for ever; see docs/bugs.md. A change of the simulator
/// makes other runs of them, so each bug has a test of its own besides.
const PAST: &[(u64, u64, &str)] = &[
    (
        3,
        300,
        "log matching counted what was never on a disk: the checker",
    ),
    (
        60,
        300,
        "stamps fell behind a snapshot when the clock was behind",
    ),
    (4, 60, "a request went with its namespace: the checker"),
    (1, 100, "a namespace goes in steps: the checker"),
    (
        1_795_798_542_893,
        300,
        "a newcomer to a cluster at rest was not promoted",
    ),
];

/// Runs each seed, on as many threads as there are cores.
fn simulate(all: &[(u64, u64)]) -> Report {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut total = Report::default();
        while let Some((seed, seconds)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = run(&Options::of_seed(*seed, *seconds));
            total.add(&report.unwrap_or_else(|broken| {
                panic!("seed {seed}, {seconds} s: {broken}\n  make sim SEED={seed} SECONDS={seconds} ARGS=--trace")
            }));
        }
        total
    };
    let mut total = Report::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            total.add(&worker.join().expect("a seed keeps the promises"));
        }
    });
    total
}

#[test]
fn seeds_keep_the_promises() {
    let all: Vec<_> = (0..24).map(|seed| (seed, 40)).collect();
    let total = simulate(&all);
    // It was a simulation of something.
    assert!(total.acked > 1_000 && total.leases > 2_000, "{total:?}");
    assert!(total.crashes > 20 && total.leaders > 30, "{total:?}");
    assert!(total.linearized > 4_000 && total.hashes > 100, "{total:?}");
}

#[test]
fn seeds_that_failed_once_keep_the_promises() {
    let all: Vec<_> = PAST.iter().map(|(seed, s, _)| (*seed, *s)).collect();
    simulate(&all);
}

/// The best log that is left ends with the removal of its own peer; see docs/bugs.md.
#[test]
fn a_survivor_that_was_being_removed_is_recovered() {
    let options = Options {
        lost: true,
        clients: 1,
        consumers: 1,
        ..Options::of_seed(162, 6)
    };
    run(&options).unwrap();
}

#[test]
fn one_seed_gives_one_run() {
    for seed in [3, 4, 7] {
        let options = Options::of_seed(seed, 30);
        let (first, second) = (run(&options).unwrap(), run(&options).unwrap());
        assert_eq!(first, second, "seed {seed}");
    }
    let other = run(&Options::of_seed(8, 30)).unwrap();
    assert_ne!(other.trace, run(&Options::of_seed(3, 30)).unwrap().trace);
}
