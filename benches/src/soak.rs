//! `soak`: producers and consumers at all peers, audited at the end.

use std::thread;
use std::time::Duration;

use z4_check::Rule;
use z4_e2e::audit::Audit;
use z4_e2e::load::Load;
use z4_e2e::{wait, Client, Reader};

use crate::place::Place;
use crate::report::Report;

/// What to do.
pub struct Plan {
    /// For how long creates are made.
    pub length: Duration,
    /// Creates a second, altogether; zero for as many as go.
    pub rate: f64,
    /// How many producers make them.
    pub producers: usize,
    /// Seed of the namespace's name: a run does not see the tasks of another.
    pub seed: u64,
    /// How long the last tasks are waited for.
    pub grace: Duration,
}

/// Runs and audits.
///
/// # Errors
/// When a promise was broken, or nothing was acknowledged; the report is given
/// all the same.
pub fn run(place: &Place, plan: &Plan, report: &mut Report) -> Result<(), String> {
    let namespace = format!("soak-{:x}", plan.seed);
    let clients: Vec<Client> = place.clients(2);
    let readers: Vec<Reader> = clients
        .iter()
        .map(|c| Reader::open(c, &namespace))
        .collect();
    let pause = match plan.rate {
        rate if rate > 0.0 => Duration::from_secs_f64(plan.producers as f64 / rate),
        _ => Duration::ZERO,
    };
    let load = Load::start(&clients, &namespace, plan.producers, pause);
    thread::sleep(plan.length);
    let told = load.finish();
    let have = || readers.iter().map(Reader::count).sum::<usize>();
    // Time up is no error here: the audit says what is missing.
    let _ = wait::within(plan.grace, || {
        wait::check(have() >= told.acked.len(), String::new)
    });
    thread::sleep(Duration::from_millis(500));
    let shares: Vec<usize> = readers.iter().map(Reader::count).collect();
    let came: Vec<_> = readers.into_iter().flat_map(Reader::stop).collect();
    let audit = Audit::of(&told, &came);
    let retried = told.acked.iter().filter(|a| a.created.tries > 1).count();
    report
        .add("acked", audit.acked)
        .add("delivered", audit.delivered);
    report.add_rounded("rate_per_s", audit.acked as f64 / plan.length.as_secs_f64());
    report.add("retried", retried);
    report
        .add("unknown", told.unknown.len())
        .add("refused", told.refused.len());
    report
        .add("lost", audit.count(Rule::NeverDelivered))
        .add("made_twice", audit.count(Rule::MadeTwice))
        .add("delivered_twice", audit.count(Rule::AfterEnd))
        .add("foreign", audit.count(Rule::NeverCreated))
        .add("early", audit.count(Rule::Early));
    report.add("delivered_by_stream", shares);
    if audit.acked == 0 {
        return Err("no create was acknowledged: nothing was audited".to_owned());
    }
    if !told.refused.is_empty() {
        return Err(format!("a create was refused: {:?}", told.refused[0]));
    }
    if !audit.is_clean() {
        return Err(audit.summary());
    }
    Ok(())
}
