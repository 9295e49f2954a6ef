//! `kill-leader` and `kill-all`: rounds of kill -9 under load on three peers of
//! this program's own, audited each.
//!
//! A round counts only when creates were acknowledged before the fault and
//! after it. Tasks are due at once and nobody reads them until the round's
//! faults are over: then every acknowledged task must come, under its id, once.

use std::thread;
use std::time::{Duration, Instant};

use z4_check::Rule;
use z4_e2e::audit::{drain, missing_by_id, Audit};
use z4_e2e::load::Load;
use z4_e2e::{Client, Cluster};

use crate::first_create::{self, First};
use crate::random::Random;
use crate::report::Report;
use crate::stats::Times;

/// How long anything in a round may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Creates that must be acknowledged before a fault and after it.
const GATE: usize = 50;
/// Producers, each with one create in flight.
const PRODUCERS: usize = 8;
/// Acknowledged tasks that are asked for by id in a round, about.
const ASKED_BY_ID: usize = 200;

/// Which peers are killed in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The leader; it is started again once others serve.
    Leader,
    /// All three at once; they are started again at once.
    All,
}

/// What came of all rounds.
#[derive(Default)]
struct Totals {
    acked: usize,
    before: usize,
    retried: usize,
    unknown: usize,
    lost: u64,
    missing_by_id: usize,
    made_twice: u64,
    /// Breaches of all kinds.
    broken: u64,
    gaps: Times,
    fault_to_all_up: Times,
}

/// Runs the rounds and prints one line for each to standard error.
///
/// # Errors
/// When a promise was broken; the report is given all the same.
///
/// # Panics
/// When the cluster does not come back within 30 s of a fault, or a round's
/// producers were not served before or after it: the figures would say nothing.
pub fn run(fault: Fault, rounds: usize, seed: u64, report: &mut Report) -> Result<(), String> {
    let mut cluster = Cluster::three();
    let clients = cluster.clients();
    let mut random = Random::new(seed);
    let mut totals = Totals::default();
    for round in 1..=rounds {
        // The fault comes at another moment of the cluster's life each time.
        let delay = random.below(Duration::from_millis(700));
        self::round(&mut cluster, &clients, fault, round, delay, &mut totals);
    }
    report.add("rounds", rounds).add("seed", seed);
    report
        .add("acked", totals.acked)
        .add("acked_before_faults", totals.before);
    report
        .add("acked_after_a_retry", totals.retried)
        .add("outcome_unknown", totals.unknown);
    report
        .add("lost", totals.lost)
        .add("missing_by_id", totals.missing_by_id);
    report.add("made_twice", totals.made_twice);
    report.add("broken", totals.broken);
    totals.gaps.report("first_create", report);
    if fault == Fault::All {
        totals.fault_to_all_up.report("all_answer_again", report);
    }
    match totals.broken {
        0 => Ok(()),
        broken => Err(format!("{broken} promises were broken")),
    }
}

fn round(
    cluster: &mut Cluster,
    clients: &[Client],
    fault: Fault,
    round: usize,
    delay: Duration,
    totals: &mut Totals,
) {
    let namespace = format!("round-{round}");
    let leader = cluster.wait_leader();
    let load = Load::start(clients, &namespace, PRODUCERS, Duration::ZERO);
    load.wait_for_more(GATE, LIMIT);
    thread::sleep(delay);
    let before = load.acked();
    let start = Instant::now();
    let first = match fault {
        Fault::Leader => {
            cluster.peers[leader].kill();
            let others: Vec<Client> = cluster
                .others(leader)
                .iter()
                .map(|n| clients[*n].clone())
                .collect();
            first_create::after(start, &others, &namespace, LIMIT)
        }
        Fault::All => {
            cluster.kill_all();
            cluster.peers.iter_mut().for_each(z4_e2e::Peer::start);
            let first = first_create::after(start, clients, &namespace, LIMIT);
            cluster.start_missing();
            totals.fault_to_all_up.push(start.elapsed());
            first
        }
    };
    load.wait_for_more(GATE, LIMIT);
    cluster.start_missing();
    let First {
        gap,
        acked,
        unknown,
    } = first;
    let mut told = load.finish();
    told.acked.extend(acked);
    told.unknown.extend(unknown);
    let step = told.acked.len() / ASKED_BY_ID;
    let missing = missing_by_id(clients, &namespace, &told, step);
    let came = drain(clients, &namespace, told.acked.len(), LIMIT);
    let audit = Audit::of(&told, &came);
    eprintln!(
        "round {round}: first create after {:.0} ms; {} acked before; {}",
        gap.as_secs_f64() * 1e3,
        before,
        audit.summary()
    );
    for (what, detail) in [
        ("not found by id", missing.first().map(|m| format!("{m:?}"))),
        ("refused", told.refused.first().map(|r| format!("{r:?}"))),
    ] {
        if let Some(detail) = detail {
            eprintln!("round {round}: {what}: {detail}");
        }
    }
    totals.acked += audit.acked;
    totals.before += before;
    totals.retried += told.acked.iter().filter(|a| a.created.tries > 1).count();
    totals.unknown += told.unknown.len();
    totals.lost += audit.count(Rule::NeverDelivered);
    totals.missing_by_id += missing.len();
    totals.made_twice += audit.count(Rule::MadeTwice);
    totals.broken += audit.broken() + (missing.len() + told.refused.len()) as u64;
    totals.gaps.push(gap);
}
