//! `life`: the whole life of many tasks under faults, audited; see
//! [`z4_e2e::life`].

use std::time::Duration;

use z4_e2e::life::work::Crew;
use z4_e2e::life::{self, Outcome};
use z4_e2e::Cluster;

use crate::report::Report;

/// Runs on three peers of this program's own.
///
/// # Errors
/// When a promise was broken, the report being given all the same; or as
/// [`life::run`].
///
/// # Panics
/// See [`life::run`].
pub fn run(plan: &life::Plan, report: &mut Report) -> Result<(), String> {
    let mut cluster = Cluster::three();
    let outcome = life::run(&mut cluster, "life", plan)?;
    figures(plan, &outcome, report);
    let broken = &outcome.verdict.broken;
    for line in broken.iter().take(20) {
        eprintln!("{line}");
    }
    match broken.len() {
        0 => Ok(()),
        n => Err(format!("{n} promises were broken")),
    }
}

fn figures(plan: &life::Plan, outcome: &Outcome, report: &mut Report) {
    let (counts, verdict) = (&outcome.counts, &outcome.verdict);
    let seen = &verdict.deliveries;
    report
        .add("seconds", plan.length.as_secs())
        .add("seed", plan.seed)
        .add("consumers", plan.crew.consumers)
        .add("kills", outcome.kills)
        .add("created", counts.created)
        .add("done", counts.done)
        .add("dead", counts.dead)
        .add("acks_confirmed", seen.acked)
        .add("deliveries_seen", seen.deliveries)
        .add("leases_resumed", seen.resumed)
        .add("leases_run_out", seen.after_expiry)
        .add("ends_refused", outcome.refused)
        .add("calls_put_in_order", verdict.ordered_calls);
    report.add_rounded("settled_after_s", outcome.settled_after.as_secs_f64());
    report.add("state_hash", outcome.state_hash.clone());
    report.add("broken", verdict.broken.len());
}

/// Eight producers that hardly pause, and these consumers.
#[must_use]
pub fn plan(length: Duration, kill_every: Duration, consumers: usize, seed: u64) -> life::Plan {
    life::Plan {
        length,
        kill_every,
        crew: Crew {
            pause_ms: 1..10,
            consumers,
            ..Crew::default()
        },
        seed,
    }
}
