//! `z4-chaos`: real faults on a real cluster, with every promise checked.
//!
//! A run starts real peers, each in a network namespace of its own, lets many
//! clients work and records what each was told, makes one fault after another as
//! a seed draws them, and judges: what was acknowledged is there, once, on time,
//! in one hand, and everything goes on by itself when a fault is over.
//!
//! | file | what |
//! |---|---|
//! | `room` | the namespaces that a run takes place in, and its end |
//! | `net`, `proxy` | bridge, addresses, losses; delays and cuts |
//! | `peer`, `cluster` | processes and their disks (`z4-faultfs`), members |
//! | `tables` | where the rows of a peer are |
//! | `plan`, `fault/` | what goes wrong, and when |
//! | `counted/` | so many kills or power losses, one after the other |
//! | `soak/` | half of the peak for long, and what grows meanwhile |
//! | `z4_e2e::life` | clients, what they were told, and the end of every task |
//! | `z4_check::told` | every promise was kept |
//! | `run`, `report` | the order of it all, and the figures |

mod cluster;
mod counted;
mod exit;
mod fault;
mod net;
mod options;
mod peer;
mod plan;
mod proxy;
mod report;
mod room;
mod run;
mod shell;
mod soak;
mod tables;

use std::path::Path;
use std::process::exit;
use std::thread;
use std::time::Duration;

use structopt::StructOpt;

use options::{Course, Options};
use report::Report;

/// How long a run may take beyond its time before it counts as hung: it begins, its
/// last tasks end, and millions of operations are judged.
const HANG_LIMIT: Duration = Duration::from_secs(900);

fn main() {
    let options = Options::from_args();
    if let Err(why) = options.check() {
        eprintln!("z4-chaos: {why}");
        exit(exit::USAGE);
    }
    let code = match &options.inside {
        Some(folder) => inside(&options, folder),
        None => outside(&options),
    };
    exit(code);
}

/// Makes a folder and a room, and starts the run there.
fn outside(options: &Options) -> i32 {
    if let Err(why) = room::possible() {
        eprintln!("z4-chaos: nothing was tested: {why}");
        return exit::NOT_HERE;
    }
    let folder = match tempfile::Builder::new().prefix("z4-chaos-").tempdir() {
        Ok(folder) => folder,
        Err(why) => {
            eprintln!("z4-chaos: no folder for the run: {why}");
            return exit::BROKEN;
        }
    };
    let seed = options.seed.unwrap_or_else(run::some_seed);
    println!("seed {seed}, {}", words(options));
    let arguments = options.arguments(seed);
    let code = match room::run_inside(&arguments, folder.path()) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("z4-chaos: {why}");
            exit::BROKEN
        }
    };
    if options.keep || [exit::VIOLATED, exit::INVALID, exit::BROKEN].contains(&code) {
        // The line with the figures stays the last one of the output.
        eprintln!("logs and histories: {}", folder.keep().display());
        eprintln!("again: scripts/chaos release {}", quoted(&arguments));
    }
    code
}

/// The work that is ahead, for the first line.
fn words(options: &Options) -> String {
    let minutes = options.length().as_secs_f64() / 60.0;
    match options.course() {
        Course::Drawn => format!("{minutes} minutes"),
        Course::Counted(strike, count) => {
            format!("{count} {}, at most {minutes} minutes", strike.words())
        }
        Course::Soak => format!("a soak of {minutes} minutes"),
    }
}

/// Arguments as a shell takes them.
fn quoted(arguments: &[String]) -> String {
    let quote = |argument: &String| match argument.contains(' ') {
        true => format!("'{argument}'"),
        false => argument.clone(),
    };
    arguments.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The run itself, as the first process of its room.
fn inside(options: &Options, folder: &Path) -> i32 {
    room::end_with_the_outside();
    let limit = options.length() + HANG_LIMIT;
    thread::spawn(move || {
        thread::sleep(limit);
        println!("the run hangs: it is not over {HANG_LIMIT:?} after its time");
        exit(exit::BROKEN);
    });
    let seed = options.seed.unwrap_or_else(run::some_seed);
    match run::run(options, seed, folder) {
        Ok(report) => verdict(&report),
        Err(why) => {
            println!("the run did not begin: {why}");
            exit::BROKEN
        }
    }
}

fn verdict(report: &Report) -> i32 {
    print!("{}", report.tables());
    for violation in &report.violations {
        println!("VIOLATION: {violation}");
    }
    let mut code = exit::PASSED;
    for why in report.invalid() {
        println!("INVALID: {why}");
        code = exit::INVALID;
    }
    if !report.violations.is_empty() {
        code = exit::VIOLATED;
    }
    println!("{}", report.last_line());
    code
}
