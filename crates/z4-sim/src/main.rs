//! Runs simulated clusters: `z4-sim run` and `z4-sim mutants`.

mod batch;
mod hunt;

use std::process::ExitCode;

use structopt::StructOpt;

/// Simulated z4 clusters under faults.
#[derive(StructOpt, Debug)]
enum Command {
    /// Runs seeds; ends with `N seeds, T s simulated, V violations`.
    Run(batch::Run),
    /// Plants mutants, one after another, and looks for each; ends with
    /// `M planted, F found`.
    Mutants(hunt::Hunt),
}

fn main() -> ExitCode {
    let done = match Command::from_args() {
        Command::Run(run) => batch::run(&run),
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
