//! The hunt for mistakes that are put in on purpose.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use structopt::StructOpt;
use z4_sim::mistakes::{Mistake, MISTAKES};
use z4_sim::Options;

use crate::batch::{quiet_panics, simulate};

/// Which mistakes, and how long to look.
#[derive(StructOpt, Debug)]
pub struct Hunt {
    /// One mistake alone
    #[structopt(long)]
    only: Option<String>,
    /// Seeds after which a mistake counts as missed
    #[structopt(long, default_value = "2000")]
    seeds: u64,
    /// The first seed
    #[structopt(long, default_value = "1")]
    first: u64,
    /// Simulated seconds of each seed
    #[structopt(long, default_value = "300")]
    seconds: u64,
    /// Seeds that are run with no mistake, to see that none is found
    #[structopt(long, default_value = "20")]
    clean: u64,
}

/// The mistake of this name.
///
/// # Errors
/// That there is none, and which there are.
pub fn find(name: &str) -> Result<Mistake, String> {
    let found = MISTAKES.iter().find(|(known, _)| *known == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = MISTAKES.iter().map(|(name, _)| *name).collect();
        format!("there is no mistake {name}; there are {}", names.join(", "))
    })
}

/// Looks for each mistake. `Ok(true)` when all were found, and none where none
/// was.
///
/// # Errors
/// What is wrong with the options, or that mistakes cannot be planted in this
/// build.
pub fn run(hunt: &Hunt) -> Result<bool, String> {
    if !cfg!(feature = "planted") {
        return Err("build with --features planted; `make mutants` does".into());
    }
    quiet_panics(false);
    let mistakes = match &hunt.only {
        Some(name) => vec![find(name)?],
        None => MISTAKES.to_vec(),
    };
    let clean = search(hunt, None, hunt.clean);
    if let Some((seed, what)) = &clean.found {
        println!("found where none is planted, seed {seed}: {what}");
    } else {
        println!("{} seeds with none planted: nothing found", clean.tried);
    }
    let mut found = 0;
    for (name, what) in &mistakes {
        let search = search(hunt, Some(name), hunt.seeds);
        let seconds = search.seconds;
        match search.found {
            Some((seed, violation)) => {
                found += 1;
                let first = violation.lines().next().unwrap_or_default();
                let first: String = first.chars().take(150).collect();
                println!(
                    "{name}: {what}\n    found by seed {seed} after {} seeds, {seconds:.1} s: {first}",
                    search.tried
                );
            }
            None => println!(
                "{name}: {what}\n    MISSED in {} seeds, {seconds:.1} s",
                search.tried
            ),
        }
    }
    println!("{} planted, {found} found", mistakes.len());
    Ok(found == mistakes.len() && clean.found.is_none())
}

struct Search {
    tried: u64,
    seconds: f64,
    found: Option<(u64, String)>,
}

/// Runs seeds until one of them fails.
fn search(hunt: &Hunt, planted: Option<&'static str>, seeds: u64) -> Search {
    let started = Instant::now();
    let (next, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let tried = AtomicU64::new(0);
    let found = Mutex::new(None::<(u64, String)>);
    let work = || {
        while !done.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds {
                return;
            }
            let seed = hunt.first + at;
            let options = Options {
                planted,
                ..Options::of_seed(seed, hunt.seconds)
            };
            let result = simulate(&options);
            tried.fetch_add(1, Ordering::Relaxed);
            if let Err(what) = result {
                done.store(true, Ordering::Relaxed);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                if found.as_ref().is_none_or(|(known, _)| seed < *known) {
                    *found = Some((seed, what));
                }
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    Search {
        tried: tried.into_inner(),
        seconds: started.elapsed().as_secs_f64(),
        found: found.into_inner().unwrap_or_else(PoisonError::into_inner),
    }
}
