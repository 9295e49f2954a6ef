//! The hunt for mutants: mistakes that are put in on purpose.
//!
//! A mutant is found when a seed fails in the words that are meant for it, and
//! keeps all promises when nothing is planted. A seed that fails without it has
//! found something real.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use structopt::StructOpt;
use z4_sim::failure::is_alike;
use z4_sim::mutants::{find, Mutant, MUTANTS};
use z4_sim::{Options, Report};

use crate::batch::{quiet_panics, simulate};

/// Which mutants, and how long to look.
#[derive(StructOpt, Debug)]
pub struct Hunt {
    /// One mutant alone
    #[structopt(long)]
    only: Option<String>,
    /// Seeds after which a mutant counts as missed
    #[structopt(long, default_value = "2000")]
    seeds: u64,
    /// The first seed
    #[structopt(long, default_value = "1")]
    first: u64,
    /// Simulated seconds of each seed
    #[structopt(long, default_value = "300")]
    seconds: u64,
    /// Seeds that are run with no mutant, to see that none is found
    #[structopt(long, default_value = "20")]
    clean: u64,
}

/// Looks for each mutant. `Ok(true)` when all were found, and none where none
/// was.
///
/// # Errors
/// What is wrong with the options, or that mutants cannot be planted in this
/// build.
pub fn run(hunt: &Hunt) -> Result<bool, String> {
    if !cfg!(feature = "planted") {
        return Err("build with --features planted; `make mutants` does".into());
    }
    quiet_panics(false);
    let mutants: Vec<&Mutant> = match &hunt.only {
        Some(name) => vec![find(name)?],
        None => MUTANTS.iter().collect(),
    };
    let clean = Clean::default();
    let none = search(hunt, &clean, None, hunt.clean);
    let mut real = none.real;
    if real.is_empty() {
        println!("{} seeds with none planted: nothing found", none.tried);
    }
    let mut found = 0;
    for mutant in &mutants {
        let search = search(hunt, &clean, Some(mutant), hunt.seeds);
        let (tried, seconds) = (search.tried, search.seconds);
        println!("{}: {}", mutant.name, mutant.what);
        match search.found {
            Some((seed, violation)) => {
                found += 1;
                println!(
                    "    found by seed {seed} after {tried} seeds, {seconds:.1} s: {}",
                    short(&violation)
                );
            }
            None => println!("    MISSED in {tried} seeds, {seconds:.1} s"),
        }
        for (count, seed, other) in search.others.iter().take(OTHERS_MAX) {
            println!(
                "    {count} failed otherwise, as seed {seed}: {}",
                short(other)
            );
        }
        real.extend(search.real);
    }
    for (seed, what) in &real {
        println!("REAL, seed {seed} fails with none planted: {what}");
    }
    println!("{} planted, {found} found", mutants.len());
    Ok(found == mutants.len() && real.is_empty())
}

/// Most kinds of other failures that are told of one mutant.
const OTHERS_MAX: usize = 3;

/// What fits on a line of a violation.
fn short(violation: &str) -> String {
    let first = violation.lines().next().unwrap_or_default();
    first.chars().take(150).collect()
}

/// How seeds end with nothing planted: each is run once.
#[derive(Default)]
struct Clean(Mutex<BTreeMap<(u64, bool), Option<String>>>);

impl Clean {
    /// A seed was run with nothing planted. Returns its failure.
    fn know(&self, options: &Options, result: &Result<Report, String>) -> Option<String> {
        let failure = result.as_ref().err().cloned();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((options.seed, options.lost), failure.clone());
        failure
    }

    /// How a seed fails with nothing planted, if it does.
    fn fails(&self, options: &Options) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = known.get(&(options.seed, options.lost)).cloned();
        drop(known);
        failure.unwrap_or_else(|| self.know(options, &simulate(options)))
    }
}

#[derive(Default)]
struct Search {
    tried: u64,
    seconds: f64,
    /// The first seed that showed the mutant as it is meant to be shown.
    found: Option<(u64, String)>,
    /// Failures in other words: how many, and the first seed of each kind.
    others: Vec<(u64, u64, String)>,
    /// Seeds that fail though nothing is planted.
    real: BTreeMap<u64, String>,
}

impl Search {
    fn failed_otherwise(&mut self, seed: u64, what: String) {
        let known = self.others.iter_mut().find(|o| is_alike(&o.2, &what));
        match known {
            Some((count, ..)) => *count += 1,
            None => self.others.push((1, seed, what)),
        }
    }
}

/// Runs seeds until one of them shows the mutant; all of them if there is none.
fn search(hunt: &Hunt, clean: &Clean, planted: Option<&Mutant>, seeds: u64) -> Search {
    let started = Instant::now();
    let (next, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let search = Mutex::new(Search::default());
    let work = || {
        while !done.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds {
                return;
            }
            let seed = hunt.first + at;
            let options = |name| Options {
                planted: name,
                lost: planted.is_some_and(Mutant::is_of_loss),
                ..Options::of_seed(seed, hunt.seconds)
            };
            let result = simulate(&options(planted.map(|mutant| mutant.name)));
            let shown = match (&result, planted) {
                (Err(what), Some(mutant)) => mutant.is_shown_by(what),
                _ => false,
            };
            // What fails without the mutant says nothing about it.
            let real = match (&result, planted) {
                (_, None) => clean.know(&options(None), &result),
                (Err(_), Some(_)) if shown => clean.fails(&options(None)),
                _ => None,
            };
            let mut search = search.lock().unwrap_or_else(PoisonError::into_inner);
            search.tried += 1;
            match (result, real) {
                (_, Some(real)) => {
                    search.real.insert(seed, real);
                }
                (Err(what), None) if shown => {
                    done.store(true, Ordering::Relaxed);
                    if search.found.as_ref().is_none_or(|(known, _)| seed < *known) {
                        search.found = Some((seed, what));
                    }
                }
                (Err(what), None) => search.failed_otherwise(seed, what),
                (Ok(_), None) => {}
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let mut search = search.into_inner().unwrap_or_else(PoisonError::into_inner);
    search.seconds = started.elapsed().as_secs_f64();
    search
}
