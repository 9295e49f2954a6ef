//! `cycle`: create, deliver, ack, round and round, while so many due tasks wait.

use std::thread;
use std::time::{Duration, Instant};

use z4_e2e::create;

use crate::crew::Crew;
use crate::place::Place;
use crate::report::Report;
use crate::stream;

/// What to measure.
pub struct Plan {
    /// Due tasks that wait, for each rate that is measured.
    pub backlogs: Vec<usize>,
    /// For how long each.
    pub length: Duration,
    /// Workers, at the peers in turn.
    pub workers: usize,
    /// Tasks that each holds at most.
    pub in_flight: u32,
    /// Bytes of each task.
    pub payload_bytes: usize,
}

/// Measures.
///
/// # Errors
/// When nothing was done, or something was refused.
pub fn run(place: &Place, plan: &Plan) -> Result<Report, String> {
    let mut report = Report::default();
    let mut rates = Vec::new();
    for backlog in &plan.backlogs {
        let (part, rate) = one(place, plan, *backlog)?;
        report.add_part(&format!("backlog_{backlog}"), part);
        rates.push(rate);
    }
    if let [first, .., last] = rates[..] {
        report.add_rounded("last_to_first", last / first);
    }
    Ok(report)
}

fn one(place: &Place, plan: &Plan, backlog: usize) -> Result<(Report, f64), String> {
    let namespace = format!("cycle-{backlog}");
    let request = create(&namespace, vec![b'x'; plan.payload_bytes]);
    let clients = place.clients(2);
    let streams = clients.len();
    let mut nth = 0;
    let filled = stream::run_with(&clients, 1_024, || {
        let share = backlog / streams + usize::from(nth < backlog % streams);
        nth += 1;
        std::iter::repeat_n(request.clone(), share)
    });
    if filled.latency.len() != backlog {
        return Err(format!("of {backlog} tasks: {:?}", filled.refused));
    }
    let rested = rest(place);
    let crew = Crew {
        requests: vec![request],
        workers: plan.workers,
        creators: plan.workers,
        in_flight: plan.in_flight,
    };
    let working = crew.start(&clients);
    let lives = working.measure(place, plan.length);
    // The next rate must not have to do with these.
    let refused = working.stop().refused;
    let mut report = Report::default();
    report
        .add("done", lives.done)
        .add_rounded("cycles_per_s", lives.per_s)
        .add_rounded("filled_per_s", filled.rate())
        .add_rounded("rested_s", rested.as_secs_f64());
    if let Some(us) = lives.cpu_us {
        report.add_rounded("cpu_us_per_cycle_all_peers", us);
    }
    report.add("refused", refused);
    if lives.done == 0 || refused > 0 {
        let done = lives.done;
        return Err(format!("{done} done, {refused} refused or broken off"));
    }
    Ok((report, lives.per_s))
}

/// Waits until the peers have done what filling left them to do, at most a
/// minute: the compaction of what is written in one go is not part of a cycle.
pub fn rest(place: &Place) -> Duration {
    const LOOK: Duration = Duration::from_secs(1);
    let start = Instant::now();
    while let Some(before) = place.cpu_time() {
        thread::sleep(LOOK);
        let busy = place.cpu_time().unwrap_or_default() - before;
        if busy < LOOK / 10 || start.elapsed() > Duration::from_secs(60) {
            break;
        }
    }
    start.elapsed()
}
