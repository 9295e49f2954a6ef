//! Simulated clusters under faults.
//!
//! `cargo test -p z4-sim` runs a few seeds; `SEEDS=100..200` runs others,
//! `SEED=17` one of them, and `TRACE=1` with `-- --nocapture` shows what
//! happened.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::panic::{catch_unwind, AssertUnwindSafe};

use z4_sim::{run, Options, Report};

/// Seeds that run when none are asked for.
const SEEDS: std::ops::Range<u64> = 0..24;

fn seeds() -> Vec<u64> {
    let read = |text: &str| text.parse::<u64>().expect("a seed is a number");
    if let Ok(one) = std::env::var("SEED") {
        return vec![read(&one)];
    }
    match std::env::var("SEEDS") {
        Ok(range) => match range.split_once("..") {
            Some((from, to)) => (read(from)..read(to)).collect(),
            None => (0..read(&range)).collect(),
        },
        Err(_) => SEEDS.collect(),
    }
}

fn simulate(options: &Options) -> Result<Report, String> {
    let seed = options.seed;
    let result = catch_unwind(AssertUnwindSafe(|| run(options)));
    if let Ok(Ok(report)) = &result {
        println!("seed {seed}: {report:?}");
    }
    result
        .unwrap_or_else(|_| Err(format!("seed {seed}: panic\n  replay: SEED={seed} TRACE=1 cargo test -p z4-sim seeds -- --nocapture")))
}

/// How many seeds run side by side.
const WORKERS: usize = 2;

#[test]
fn seeds_keep_the_promises() {
    let seeds = seeds();
    let work = |first: usize| {
        let mine = seeds.iter().skip(first).step_by(WORKERS);
        let results = mine.map(|seed| simulate(&Options::of_seed(*seed)));
        results.filter_map(Result::err).collect::<Vec<_>>()
    };
    let failures: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|w| {
                scope.spawn({
                    let work = &work;
                    move || work(w)
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker"))
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn one_seed_gives_one_run() {
    for seed in [3, 4] {
        let options = Options::of_seed(seed);
        let (first, second) = (run(&options).unwrap(), run(&options).unwrap());
        assert_eq!(first, second, "seed {seed}");
    }
}
