//! `life`: the whole life of many tasks under faults, audited; see
//! [`z4_e2e::life`].

use std::time::Duration;

use z4_e2e::life::{self, Outcome};
use z4_e2e::Cluster;

use crate::report::Report;

/// Runs on three peers of this program's own.
///
/// # Errors
/// When a promise was broken; the report is given all the same.
///
/// # Panics
/// See [`life::run`].
pub fn run(plan: &life::Plan, report: &mut Report) -> Result<(), String> {
    let mut cluster = Cluster::three();
    let outcome = life::run(&mut cluster, "life", plan);
    figures(plan, &outcome, report);
    let broken = outcome.broken("life");
    for line in broken.iter().take(20) {
        eprintln!("{line}");
    }
    match broken.len() {
        0 => Ok(()),
        n => Err(format!("{n} promises were broken")),
    }
}

fn figures(plan: &life::Plan, outcome: &Outcome, report: &mut Report) {
    let Outcome {
        created,
        kills,
        verdict,
        stats,
        settled_after,
        state_hash,
    } = outcome;
    let counts = stats.get_counts();
    report
        .add("seconds", plan.length.as_secs())
        .add("seed", plan.seed);
    report.add("consumers", plan.consumers).add("kills", *kills);
    report.add("acknowledged_creates", *created);
    report.add("created", counts.get_created());
    report
        .add("done", counts.get_done())
        .add("dead", counts.get_dead());
    report.add("deliveries", counts.get_deliveries());
    report.add("failures", counts.get_failures());
    report
        .add("acks_confirmed", verdict.done)
        .add("done_and_answer_lost", verdict.done_unheard);
    report
        .add("leases_seen", verdict.leases)
        .add("leases_resumed", verdict.resumed)
        .add("leases_run_out", verdict.expired)
        .add("ends_refused", verdict.refused);
    report.add_rounded("settled_after_s", settled_after.as_secs_f64());
    report.add("state_hash", state_hash.clone());
    report.add("broken", verdict.broken.len());
}

/// Eight producers, about a thousand creates a second.
#[must_use]
pub fn plan(length: Duration, kill_every: Duration, consumers: usize, seed: u64) -> life::Plan {
    life::Plan {
        length,
        kill_every,
        consumers,
        producers: 8,
        pause: Duration::from_millis(5),
        seed,
    }
}
