//! Runs simulated clusters: `z4-sim run`, `z4-sim shrink` and `z4-sim mutants`.

mod batch;
mod flags;
mod hunt;
mod shrinking;

use std::process::ExitCode;

use structopt::StructOpt;

/// Simulated z4 clusters under faults.
#[derive(StructOpt, Debug)]
enum Command {
    /// Runs seeds; ends with `N seeds, T s simulated, V violations`.
    Run(batch::Run),
    /// Makes a seed that fails smaller while it fails alike: less time, fewer peers,
    /// clients and consumers, without faults that it does not need. Prints the command
    /// that makes the run which is left. Ends with exit code 1 if the seed does not fail.
    Shrink(shrinking::Smaller),
    /// Plants mutants, one after another, and looks for each; ends with
    /// `M planted, F found`.
    Mutants(hunt::Hunt),
}

fn main() -> ExitCode {
    let done = match Command::from_args() {
        Command::Run(run) => batch::run(&run),
        Command::Shrink(smaller) => shrinking::run(&smaller),
        Command::Mutants(hunt) => hunt::run(&hunt),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("z4-sim: {wrong}");
            ExitCode::from(2)
        }
    }
}
