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
//! | `z4_e2e::life` | clients, what they were told, and the end of every task |
//! | `z4_check::told` | every promise was kept |
//! | `run`, `report` | the order of it all, and the figures |

mod cluster;
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
mod tables;

use std::path::Path;
use std::process::exit;
use std::thread;
use std::time::Duration;

use structopt::StructOpt;

use options::Options;
use report::Report;

/// How long a run may take beyond its time before it counts as hung.
const HANG_LIMIT: Duration = Duration::from_secs(600);

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
    println!("seed {seed}, {} minutes", options.minutes);
    let mut arguments = vec![
        format!("--minutes={}", options.minutes),
        format!("--seed={seed}"),
    ];
    arguments.extend(options.faults.iter().map(|name| format!("--faults={name}")));
    arguments.extend(options.skip.iter().map(|name| format!("--skip={name}")));
    arguments.extend(options.peers.map(|count| format!("--peers={count}")));
    if options.lying_disks {
        arguments.push("--lying-disks".to_owned());
    }
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
        eprintln!("again: make chaos MINUTES={} SEED={seed}", options.minutes);
    }
    code
}

/// The run itself, as the first process of its room.
fn inside(options: &Options, folder: &Path) -> i32 {
    room::end_with_the_outside();
    let limit = Duration::from_secs_f64(options.minutes * 60.0) + HANG_LIMIT;
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
