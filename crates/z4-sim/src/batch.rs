//! Many seeds, on all cores.

use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use structopt::StructOpt;
use z4_sim::mutants::PANIC;
use z4_sim::sometimes::{BATCH_MIN, SOMETIMES};
use z4_sim::{Options, Report};

use crate::flags::{replay, Shape};
use crate::shrinking;

/// One seed in so many is run twice, to see that it gives one run.
const TWICE_EVERY: u64 = 100;
/// Words for a seed that gives two runs, which no single run shows.
const DIFFER: &str = "two runs of this seed differ";
/// Most failures that are told at length.
const TOLD_MAX: usize = 5;

/// Which seeds, how long, with which faults.
#[derive(StructOpt, Debug)]
pub struct Run {
    /// How many seeds
    #[structopt(long, default_value = "100")]
    seeds: u64,
    /// The first seed; a fresh one, from the clock, unless given
    #[structopt(long)]
    first: Option<u64>,
    /// One seed alone, with all that happens in it when --trace is given
    #[structopt(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    #[structopt(flatten)]
    shape: Shape,
    /// Print each event of the run (for one seed)
    #[structopt(long)]
    trace: bool,
    /// Prints each seed as it ends
    #[structopt(long)]
    verbose: bool,
}

/// What became of a batch.
#[derive(Default)]
struct Tally {
    seeds: u64,
    total: Report,
    failures: BTreeMap<u64, String>,
}

/// Runs seeds. `Ok(true)` when nothing was violated.
///
/// # Errors
/// What is wrong with the options.
pub fn run(run: &Run) -> Result<bool, String> {
    let (first, count) = match (run.seed, run.first) {
        (Some(seed), _) => (seed, 1),
        (None, Some(first)) => (first, run.seeds),
        (None, None) => (fresh(), run.seeds),
    };
    let print = run.trace && run.seed.is_some();
    let shaped = run.shape.options()?;
    let options = |seed: u64| Options {
        print,
        ..shaped(seed)
    };
    let started = Instant::now();
    quiet_panics(run.trace);
    if count > 1 {
        println!("seeds {first} to {}", first.saturating_add(count - 1));
    }
    let tally = Mutex::new(Tally::default());
    let next = AtomicU64::new(0);
    let work = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at >= count {
            return;
        }
        let seed = first.wrapping_add(at);
        let mut result = simulate(&options(seed));
        if let (Ok(once), true) = (&result, at.is_multiple_of(TWICE_EVERY)) {
            match simulate(&options(seed)) {
                Ok(again) if again == *once => {}
                _ => result = Err(DIFFER.into()),
            }
        }
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.seeds += 1;
        match result {
            Ok(report) => {
                if run.verbose || count == 1 {
                    println!("seed {seed}: {report:?}");
                }
                tally.total.add(&report);
            }
            Err(what) => {
                println!("seed {seed}: {what}");
                println!("  replay: {}", replay(&options(seed)));
                tally.failures.insert(seed, what);
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A seed that is asked for alone is shown as it is; `z4-sim shrink` makes it smaller.
    let first_failed = tally.failures.iter().find(|(_, what)| *what != DIFFER);
    if let Some((seed, what)) = first_failed.filter(|_| count > 1) {
        println!("seed {seed} is the first that failed; a smaller run of it:");
        shrinking::tell(&options(*seed), what);
    }
    // Nothing settles where a quorum is lost, so rare events of that time are not asked for.
    let rare = if run.shape.lost { &[] } else { SOMETIMES };
    Ok(tell(&tally, rare, started.elapsed().as_secs_f64()))
}

/// Runs one seed; a panic is a violation like any other.
pub fn simulate(options: &Options) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(|| z4_sim::run(options))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("{PANIC}{}", text.unwrap_or("without a word")))
    })
}

/// Panics are violations, told with their seed; the usual words on top of them
/// would drown it.
pub fn quiet_panics(loud: bool) {
    if !loud {
        std::panic::set_hook(Box::new(|_| {}));
    }
}

/// A seed that no run had before.
fn fresh() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(1, |since| since.as_millis() as u64)
}

/// Tells how the batch went. Whether nothing was violated.
fn tell(tally: &Tally, rare: &[&str], seconds: f64) -> bool {
    let total = &tally.total;
    if tally.seeds > 1 {
        println!(
            "{} events, {} entries, {} requests, {} creates acknowledged, {} deliveries, {} reads",
            total.events, total.entries, total.operations, total.acked, total.leases, total.reads
        );
        println!(
            "{} operations put in order, {} states compared; settled within {} ms, {} ms beyond \
             the lead of machine time",
            total.linearized, total.hashes, total.settled_ms, total.beyond_lead_ms
        );
        println!(
            "{} leaders, {} crashes, {} snapshots installed, {} changes by the administrator",
            total.leaders, total.crashes, total.installs, total.changes
        );
        let faults: Vec<_> = total
            .faults
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!("sudden faults: {}", faults.join(", "));
        println!("now and then:");
        for what in rare {
            let count = total.seen.get(what).copied().unwrap_or_default();
            println!("  {count:>8}  {what}");
        }
    }
    let mut violations = tally.failures.len();
    let missed = rare.iter().filter(|what| !total.seen.contains_key(*what));
    if tally.seeds >= BATCH_MIN {
        for what in missed {
            println!("never reached: {what}");
            violations += 1;
        }
    }
    for (seed, what) in tally.failures.iter().take(TOLD_MAX) {
        println!("seed {seed}: {what}");
    }
    let simulated_s = total.simulated_ms / 1_000;
    println!(
        "{:.0} s of time, {:.0} s simulated in each",
        seconds,
        simulated_s as f64 / seconds.max(1e-3)
    );
    println!(
        "{} seeds, {simulated_s} s simulated, {violations} violations",
        tally.seeds
    );
    violations == 0
}
