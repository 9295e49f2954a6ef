//! `z4-peers`: z4 side by side with other systems, the same work for each.

mod disk;
mod html;
mod inside;
mod json;
mod load;
mod measure;
mod processes;
mod results;
mod servers;
mod system;
mod systems;
mod table;
mod turn;
mod work;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use structopt::StructOpt;
use tokio::signal::unix::{signal, SignalKind};
use tokio::task::LocalSet;

use crate::results::{Measured, Results};
use crate::system::{text, System};
use crate::systems::beanstalkd::Beanstalkd;
use crate::systems::etcd::Etcd;
use crate::systems::nats::Nats;
use crate::systems::postgres::Postgres;
use crate::systems::rabbitmq::RabbitMq;
use crate::systems::redis::Redis;
use crate::systems::z4::Z4;
use crate::turn::{turn, Plan};
use crate::work::Work;

const SYSTEMS: [&str; 7] = [
    Z4::NAME,
    RabbitMq::NAME,
    Nats::NAME,
    Etcd::NAME,
    Redis::NAME,
    Postgres::NAME,
    Beanstalkd::NAME,
];

/// z4 side by side with other systems on this machine.
///
/// Starts each system in a folder of its own, gives the same work to each in turn, and
/// prints medians and ratios. Z4_BIN_DIR names the folder of z4-server and z4t. A system
/// that cannot be started is left out, and the reason is printed.
#[derive(StructOpt)]
struct Options {
    /// Only these systems.
    #[structopt(long, use_delimiter = true, possible_values = &SYSTEMS)]
    only: Vec<String>,
    /// How long each work is measured.
    #[structopt(long, default_value = "4")]
    seconds: f64,
    /// How long each work goes on before it is measured.
    #[structopt(long, default_value = "1")]
    warm_up_seconds: f64,
    /// Rounds; the medians of all count.
    #[structopt(long, default_value = "3")]
    rounds: usize,
    /// Only these works: create-1, create-64, create-1024, callers-64, batch-100,
    /// cycle-64, cycle-1024, open-create, open-cycle.
    #[structopt(long, use_delimiter = true)]
    works: Vec<Work>,
    /// Starts a second in the open loops.
    #[structopt(long, default_value = "1000")]
    rate: f64,
    /// Where the systems keep their data; without it where temporary files are.
    #[structopt(long)]
    folder: Option<PathBuf>,
    /// Where peers.json and peers.html are written.
    #[structopt(long, default_value = ".")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let outcome = { runtime }
        .enable_all()
        .build()
        .map_err(text)
        .and_then(|runtime| {
            let local = LocalSet::new();
            runtime.block_on(local.run_until(async {
                tokio::select! {
                    outcome = run(&options) => outcome,
                    // All that was started is ended when `run` is dropped.
                    why = told_to_end() => Err(why),
                }
            }))
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("z4-peers: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn told_to_end() -> String {
    let (Ok(mut int), Ok(mut term)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return "signals cannot be waited for".to_owned();
    };
    tokio::select! {
        _ = int.recv() => "interrupted".to_owned(),
        _ = term.recv() => "terminated".to_owned(),
    }
}

fn span(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|e| format!("{seconds} seconds: {e}"))
}

async fn run(options: &Options) -> Result<(), String> {
    if !(options.rate > 0.0 && options.rate.is_finite()) {
        return Err(format!("a rate of {} a second is none", options.rate));
    }
    let works = match options.works.is_empty() {
        true => Work::all(options.rate),
        false => options
            .works
            .iter()
            .map(|work| work.at(options.rate))
            .collect(),
    };
    let plan = Plan {
        works,
        length: span(options.seconds)?,
        warm_up: span(options.warm_up_seconds)?,
        folder: options.folder.clone(),
    };
    let wanted = |name: &&str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    let names: Vec<&'static str> = SYSTEMS.into_iter().filter(wanted).collect();
    let mut results = Results::new(&plan, options.rounds.max(1));
    let mut next_run = 0;
    for round in 1..=results.rounds {
        for name in &names {
            eprintln!("round {round} of {}: {name}", results.rounds);
            match *name {
                Z4::NAME => one::<Z4>(&plan, &mut results, &mut next_run).await,
                RabbitMq::NAME => one::<RabbitMq>(&plan, &mut results, &mut next_run).await,
                Nats::NAME => one::<Nats>(&plan, &mut results, &mut next_run).await,
                Etcd::NAME => one::<Etcd>(&plan, &mut results, &mut next_run).await,
                Redis::NAME => one::<Redis>(&plan, &mut results, &mut next_run).await,
                Postgres::NAME => one::<Postgres>(&plan, &mut results, &mut next_run).await,
                _ => one::<Beanstalkd>(&plan, &mut results, &mut next_run).await,
            }
        }
    }
    print!("{}", table::text(&results));
    fs::create_dir_all(&options.output).map_err(text)?;
    for (name, content) in [
        ("peers.json", json::text(&results)),
        ("peers.html", html::text(&results)),
    ] {
        let path = options.output.join(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        eprintln!("written: {}", path.display());
    }
    match results
        .systems
        .iter()
        .all(|system| system.figures.is_empty())
    {
        true => Err("no system could be measured".to_owned()),
        false => Ok(()),
    }
}

/// One turn of a system; what came of it, the reason of a failure included, goes to the
/// results.
async fn one<S: System>(plan: &Plan, results: &mut Results, next_run: &mut u64) {
    let version = match S::version() {
        Ok(version) => version,
        Err(why) => return results.left_out(S::NAME, S::SETUP, &why),
    };
    match turn::<S>(plan, next_run).await {
        Err(why) => results.left_out(S::NAME, S::SETUP, &why),
        Ok(turn) => {
            let system = results.system(S::NAME, S::SETUP);
            system.version = version;
            system.synced_write_ms.push(turn.synced_write_ms);
            for (work, why) in turn.failures {
                eprintln!("{} {work}: {why}", S::NAME);
                system.faults.push(format!("{work}: {why}"));
            }
            for (work, figures) in turn.figures {
                eprintln!(
                    "  {:12} {:>9.0}/s p50 {:>9.3} ms p99 {:>9.3} ms {}",
                    work.name,
                    figures.rate,
                    figures.p50_ms,
                    figures.p99_ms,
                    figures.faults.join("; ")
                );
                system
                    .faults
                    .extend(figures.faults.iter().map(|f| format!("{work}: {f}")));
                system.figures.push(Measured { work, figures });
            }
        }
    }
}
