//! `z4-load`: puts load on z4 and prints what it measured.

#[cfg(test)]
mod checks;
mod crew;
mod cycle;
#[cfg(test)]
mod fake;
mod faults;
mod figures;
mod first_create;
mod floor;
mod growth;
mod lateness;
mod life;
mod place;
mod producer;
mod random;
mod report;
mod soak;
mod stats;
mod strangers;
mod stream;
mod tally;
mod unary;

use std::time::Duration;

use structopt::clap::arg_enum;
use structopt::StructOpt;

use crate::faults::Fault;
use crate::place::Place;
use crate::report::{Form, Report};

/// How long tasks that are missing at the end are waited for.
const GRACE: Duration = Duration::from_secs(30);

arg_enum! {
    /// How creates are sent.
    #[derive(Debug, Clone, Copy)]
    enum Mode {
        Unary,
        Stream,
        Producer,
    }
}

/// Load, faults and figures of z4.
///
/// Without --target, a command starts three peers of its own (z4-server and z4t
/// must lie beside this program, or in the folder that Z4_BIN_DIR names) and
/// prints the processor time they spent. Z4_PEER_LANE_PORT=0 in the environment
/// starts them without lanes.
#[derive(StructOpt)]
struct Options {
    /// Form of the figures.
    #[structopt(
        short,
        long,
        global = true,
        default_value = "text",
        possible_values = &["text", "json"],
        case_insensitive = true
    )]
    output: Form,
    #[structopt(subcommand)]
    command: Command,
}

#[derive(StructOpt)]
enum Command {
    /// Creates tasks as fast as they are acknowledged: rate, latency, errors.
    Create {
        #[structopt(
            long,
            default_value = "unary",
            possible_values = &["unary", "stream", "producer"],
            case_insensitive = true
        )]
        mode: Mode,
        /// Callers with one create in flight each (unary).
        #[structopt(long, default_value = "64")]
        callers: usize,
        /// Creates in flight on each stream (stream, producer).
        #[structopt(long, default_value = "1024")]
        window: usize,
        #[structopt(long, default_value = "10")]
        seconds: f64,
        #[structopt(long, default_value = "100")]
        payload_bytes: usize,
        /// Services to send to, host:port, in turn.
        #[structopt(long, use_delimiter = true)]
        target: Vec<String>,
        /// Sends to the one that leads only.
        #[structopt(long)]
        leader_only: bool,
    },
    /// Creates tasks due at random times and measures when each comes.
    Lateness {
        #[structopt(long, default_value = "20000")]
        tasks: usize,
        /// The times are spread over this long.
        #[structopt(long, default_value = "10")]
        over_seconds: f64,
        /// From now to the earliest time; the creates must be done by then.
        #[structopt(long, default_value = "15")]
        lead_seconds: f64,
        /// Streams that read, at the peers in turn.
        #[structopt(long, default_value = "3")]
        streams: usize,
        #[structopt(long, use_delimiter = true)]
        target: Vec<String>,
        /// Repeats the times of a run that printed it.
        #[structopt(long)]
        seed: Option<u64>,
    },
    /// Creates and consumes at all peers, then audits: lost, twice, early.
    Soak {
        #[structopt(long, default_value = "60")]
        seconds: f64,
        /// Creates a second; 0 for as many as go.
        #[structopt(long, default_value = "500")]
        rate: f64,
        #[structopt(long, default_value = "16")]
        producers: usize,
        #[structopt(long, use_delimiter = true)]
        target: Vec<String>,
        #[structopt(long)]
        seed: Option<u64>,
    },
    /// Kill -9 of the leader under load on three peers of its own, audited.
    KillLeader {
        #[structopt(long, default_value = "20")]
        rounds: usize,
        #[structopt(long)]
        seed: Option<u64>,
    },
    /// Kill -9 of all three peers at once under load, audited.
    KillAll {
        #[structopt(long, default_value = "10")]
        rounds: usize,
        #[structopt(long)]
        seed: Option<u64>,
    },
    /// The whole life of tasks under faults on three peers of its own: consumers
    /// that crash, stall, nack, extend, drain; the leader killed over and over;
    /// audited.
    Life {
        #[structopt(long, default_value = "120")]
        seconds: f64,
        #[structopt(long, default_value = "5")]
        kill_every_seconds: f64,
        #[structopt(long, default_value = "32")]
        consumers: usize,
        #[structopt(long)]
        seed: Option<u64>,
    },
    /// Whole lives of tasks: create, deliver, ack, while so many due tasks wait.
    Cycle {
        /// Due tasks that wait, one rate for each.
        #[structopt(long, use_delimiter = true, default_value = "1000,1000000")]
        backlog: Vec<usize>,
        #[structopt(long, default_value = "15")]
        seconds: f64,
        /// Consumers that create too, at the peers in turn.
        #[structopt(long, default_value = "6")]
        workers: usize,
        /// Tasks that each holds at most; all together fewer than wait, or it is
        /// the workers that wait.
        #[structopt(long, default_value = "100")]
        in_flight: u32,
        #[structopt(long, default_value = "100")]
        payload_bytes: usize,
        #[structopt(long, use_delimiter = true)]
        target: Vec<String>,
    },
    /// What this machine can do at best: a synced write, a round trip over loopback, a
    /// commit of three bare peers; and one create of z4 beside them.
    Floor {
        /// How long each is measured, three times.
        #[structopt(long, default_value = "3")]
        seconds: f64,
        #[structopt(long, default_value = "256")]
        payload_bytes: usize,
    },
    /// Shows what grows with the tasks that wait, the namespaces, the consumers and the tasks
    /// consumed before: rates, lateness, memory, disk, and the time to serve again.
    Growth(growth::Plan),
    /// What strangers cost one peer and those who call it: connections that say nothing,
    /// handshakes that never end, garbage, calls that are cancelled as fast as they come.
    /// Z4_E2E_TLS=1 measures them behind TLS.
    Strangers {
        /// How long each flood lasts, and the calm before it.
        #[structopt(long, default_value = "10")]
        seconds: f64,
        /// Connections that say nothing.
        #[structopt(long, default_value = "9800")]
        idle: usize,
        /// Connections of a flood of calls.
        #[structopt(long, default_value = "200")]
        connections: usize,
    },
    /// Rates of 1 caller, many callers and a stream, their ratios, and
    /// lateness, on three peers of its own.
    Figures {
        /// How long each rate is measured.
        #[structopt(long, default_value = "10")]
        seconds: f64,
        #[structopt(long, default_value = "100")]
        payload_bytes: usize,
        #[structopt(long, default_value = "64")]
        callers: usize,
        #[structopt(long, default_value = "1024")]
        window: usize,
        #[structopt(long, default_value = "20000")]
        tasks: usize,
        #[structopt(long)]
        seed: Option<u64>,
    },
}

fn main() {
    let options = Options::from_args();
    let mut report = Report::default();
    let outcome = run(options.command, options.output, &mut report);
    report.print(options.output);
    if let Err(why) = outcome {
        eprintln!("z4-load: {why}");
        std::process::exit(1);
    }
}

fn run(command: Command, form: Form, report: &mut Report) -> Result<(), String> {
    let seed = |given: Option<u64>| given.unwrap_or_else(random::seed_of_now);
    match command {
        Command::Create {
            mode,
            callers,
            window,
            seconds,
            payload_bytes,
            target,
            leader_only,
        } => {
            let place = Place::open(&target);
            let mut clients = place.clients(1);
            if leader_only {
                let leader = place.leader()?;
                clients.retain(|c| c.address == leader);
            }
            let (length, before) = (length(seconds)?, place.cpu_time());
            let tally = match mode {
                Mode::Unary => unary::run(&clients, callers, length, payload_bytes),
                Mode::Stream => stream::run(&clients, window.max(1), length, payload_bytes),
                Mode::Producer => {
                    let addresses: Vec<_> = clients.iter().map(|c| c.address.clone()).collect();
                    producer::run(&addresses, window.max(1), length, payload_bytes)
                }
            };
            let spent = before
                .zip(place.cpu_time())
                .map(|(before, after)| after - before);
            *report = tally.report(spent);
            if tally.latency.len() == 0 {
                return Err(format!("no create was acknowledged: {:?}", tally.refused));
            }
        }
        Command::Lateness {
            tasks,
            over_seconds,
            lead_seconds,
            streams,
            target,
            seed: given,
        } => {
            let seed = seed(given);
            let plan = lateness::Plan {
                namespaces: lateness::own_namespace(seed),
                tasks,
                over: length(over_seconds)?,
                lead: length(lead_seconds)?,
                streams,
                seed,
                grace: GRACE,
            };
            *report = lateness::run(&Place::open(&target), &plan)?;
        }
        Command::Soak {
            seconds,
            rate,
            producers,
            target,
            seed: given,
        } => {
            let plan = soak::Plan {
                length: length(seconds)?,
                rate,
                producers: producers.max(1),
                seed: seed(given),
                grace: GRACE,
            };
            return soak::run(&Place::open(&target), &plan, report);
        }
        Command::KillLeader {
            rounds,
            seed: given,
        } => {
            return faults::run(Fault::Leader, rounds, seed(given), report);
        }
        Command::KillAll {
            rounds,
            seed: given,
        } => {
            return faults::run(Fault::All, rounds, seed(given), report);
        }
        Command::Life {
            seconds,
            kill_every_seconds,
            consumers,
            seed: given,
        } => {
            let (length, kill_every) = (length(seconds)?, length(kill_every_seconds)?);
            let plan = life::plan(length, kill_every, consumers, seed(given));
            return life::run(&plan, report);
        }
        Command::Cycle {
            backlog,
            seconds,
            workers,
            in_flight,
            payload_bytes,
            target,
        } => {
            let plan = cycle::Plan {
                backlogs: backlog,
                length: length(seconds)?,
                workers: workers.max(1),
                in_flight,
                payload_bytes,
            };
            *report = cycle::run(&Place::open(&target), &plan)?;
        }
        Command::Floor {
            seconds,
            payload_bytes,
        } => {
            *report = floor::run(&floor::Plan {
                length: length(seconds)?,
                payload_bytes,
            })?;
        }
        Command::Growth(plan) => {
            let table = growth::run(&plan)?;
            match form {
                Form::Text => print!("{}", table.text()),
                Form::Json => *report = table.report(),
            }
        }
        Command::Strangers {
            seconds,
            idle,
            connections,
        } => {
            *report = strangers::run(&strangers::Plan {
                length: length(seconds)?,
                idle,
                connections: connections.max(8),
            })?;
        }
        Command::Figures {
            seconds,
            payload_bytes,
            callers,
            window,
            tasks,
            seed: given,
        } => {
            *report = figures::run(&figures::Plan {
                length: length(seconds)?,
                payload_bytes,
                callers: callers.max(1),
                window: window.max(1),
                tasks,
                seed: seed(given),
            })?;
        }
    }
    Ok(())
}

/// A span given in seconds.
fn length(seconds: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(seconds).map_err(|e| format!("{seconds} seconds: {e}"))
}
