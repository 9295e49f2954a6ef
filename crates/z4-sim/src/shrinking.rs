//! Shrinks a seed that fails, and tells what is left of it.

use std::time::{Duration, Instant};

use structopt::StructOpt;
use z4_sim::shrink::{shrink, Budget, Shrunk};
use z4_sim::Options;

use crate::batch::{quiet_panics, simulate};
use crate::flags::{replay, Shape};

/// Enough for two passes over all that can go; most failures need half of it.
const BUDGET: Budget = Budget {
    runs: 60,
    time: Duration::from_secs(120),
};

// Not a comment of the documentation: see `Shape`.
// The flags of the run that is to be made smaller.
#[derive(StructOpt, Debug)]
pub struct Smaller {
    /// The seed that fails
    #[structopt(long)]
    seed: u64,
    #[structopt(flatten)]
    shape: Shape,
}

/// Shrinks one seed. `Ok(true)` when it fails, and was shrunk as far as that goes.
///
/// # Errors
/// The flag that is wrong.
pub fn run(smaller: &Smaller) -> Result<bool, String> {
    let options = smaller.shape.options()?(smaller.seed);
    quiet_panics(false);
    match simulate(&options) {
        Ok(_) => {
            println!(
                "seed {} keeps every promise: there is nothing to shrink. Give the flags with \
                 which it failed.",
                options.seed
            );
            Ok(false)
        }
        Err(failure) => {
            println!("seed {}: {failure}", options.seed);
            tell(&options, &failure);
            Ok(true)
        }
    }
}

/// Shrinks a run that failed, and prints what is left and how to see it again.
pub fn tell(options: &Options, failure: &str) {
    let began = Instant::now();
    let shrunk = shrink(options, failure, BUDGET, |smaller| simulate(smaller).err());
    let bound = match shrunk.is_cut_short {
        false => String::new(),
        true => format!(
            ", the most that is spent on it ({} runs or {} s)",
            BUDGET.runs,
            BUDGET.time.as_secs()
        ),
    };
    println!(
        "  shrunk in {} runs, {:.1} s{bound}",
        shrunk.runs,
        began.elapsed().as_secs_f64()
    );
    println!("  {}", difference(options, &shrunk));
    println!("  {}", shrunk.failure);
    println!("  replay: {}", replay(&shrunk.options));
}

/// The sizes of a run before and after.
fn difference(before: &Options, after: &Shrunk) -> String {
    let after = &after.options;
    let kinds = before.faults.names().count();
    let left: Vec<_> = after.faults.names().collect();
    let numbers = [
        ("seconds", before.work_ms / 1_000, after.work_ms / 1_000),
        ("peers", before.peers, after.peers),
        ("clients", before.clients, after.clients),
        (
            "consumers of a namespace",
            before.consumers,
            after.consumers,
        ),
        ("kinds of faults", kinds as u64, left.len() as u64),
    ];
    let told = numbers.map(|(what, before, after)| format!("{what} {before} -> {after}"));
    let hours = match before.hours && !after.hours {
        true => "; no clock jumps by an hour",
        false => "",
    };
    let left = match left.is_empty() {
        true => String::new(),
        false => format!(" ({})", left.join(", ")),
    };
    format!("{}{left}{hours}", told.join(", "))
}
