//! `figures`: all figures of one sitting, on three fresh peers.

use std::time::Duration;

use z4_e2e::Client;

use crate::lateness;
use crate::place::{report_sync_cost, Place};
use crate::report::Report;
use crate::tally::Tally;
use crate::{stream, unary};

/// What to measure.
pub struct Plan {
    /// How long each rate is measured.
    pub length: Duration,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Callers of the many-callers figure.
    pub callers: usize,
    /// Creates in flight on the stream.
    pub window: usize,
    /// Tasks of the lateness figure, over ten seconds.
    pub tasks: usize,
    /// Seed of random times.
    pub seed: u64,
}

/// Measures one after the other. Creates go to the leader.
///
/// # Errors
/// When no peer leads, nothing was acknowledged, or a measure is not valid.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let mut report = Report::default();
    report_sync_cost(&mut report)?;
    let place = Place::open(&[]);
    let leader = place.leader()?;
    let at_leader = |queues| -> Vec<Client> {
        let clients = place.clients(queues);
        clients
            .into_iter()
            .filter(|c| c.address == leader)
            .collect()
    };
    // Connections, the namespace and the caches of the peers are warm.
    let _ = unary::run(&at_leader(1), 4, Duration::from_secs(1), plan.payload_bytes);
    let one = measured(&place, || {
        unary::run(&at_leader(1), 1, plan.length, plan.payload_bytes)
    });
    let many = measured(&place, || {
        unary::run(&at_leader(1), plan.callers, plan.length, plan.payload_bytes)
    });
    let streamed = measured(&place, || {
        stream::run(&at_leader(1), plan.window, plan.length, plan.payload_bytes)
    });
    let rate = one.0.rate();
    if one.0.latency.len() == 0 || many.0.latency.len() == 0 || streamed.0.latency.len() == 0 {
        return Err("a mode had no create acknowledged".to_owned());
    }
    for (name, (tally, cpu)) in [
        ("unary_1_caller", &one),
        ("unary_many_callers", &many),
        ("stream", &streamed),
    ] {
        report.add_part(name, tally.report(*cpu));
    }
    report
        .add("callers", plan.callers)
        .add("window", plan.window);
    report.add_rounded("many_callers_to_1_caller", many.0.rate() / rate);
    report.add_rounded("stream_to_1_caller", streamed.0.rate() / rate);
    drop(place);
    // Idle peers without a backlog.
    let idle = Place::open(&[]);
    let late = lateness::Plan {
        namespaces: lateness::own_namespace(plan.seed),
        tasks: plan.tasks,
        over: Duration::from_secs(10),
        lead: Duration::from_secs(15),
        streams: 3,
        seed: plan.seed,
        grace: Duration::from_secs(10),
    };
    report.add_part("lateness", lateness::run(&idle, &late)?);
    Ok(report)
}

/// Runs, and the processor time that the peers spent meanwhile.
fn measured(place: &Place, run: impl FnOnce() -> Tally) -> (Tally, Option<Duration>) {
    let before = place.cpu_time();
    let tally = run();
    let spent = before
        .zip(place.cpu_time())
        .map(|(before, after)| after - before);
    (tally, spent)
}
