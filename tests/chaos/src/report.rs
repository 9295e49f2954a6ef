//! The figures of a run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use z4_check::told::{End, Told};

use crate::counted::Tally;
use crate::soak;

/// Load before the first fault below which a run proves nothing, in operations
/// per second.
const CALM_RATE_MIN: f64 = 100.0;
/// Of so many tasks, one may be left without an order of its calls.
const GAVE_UP_SHARE: u64 = 100;

/// What one fault cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Until writes were acknowledged again.
    pub recovery: Duration,
    /// The longest time without an acknowledged write.
    pub gap: Duration,
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Operations that went through the client crate; they are among the others.
    through_crate: u64,
    operations: BTreeMap<&'static str, BTreeMap<String, u64>>,
    faults: BTreeMap<&'static str, Vec<Cost>>,
    /// Faults that were not seen to act.
    pub unseen: Vec<&'static str>,
    /// What was broken.
    pub violations: Vec<String>,
    /// Operations per second before the first fault.
    pub calm_rate: f64,
    /// Rounds that were judged, and how long each took to end its last task.
    pub drains: Vec<Duration>,
    /// Tasks for whose calls an order was looked for.
    pub ordered_tasks: u64,
    /// Those calls.
    pub ordered_calls: u64,
    /// Tasks for which that took too long.
    pub gave_up: u64,
    /// Operations that were judged.
    pub judged: u64,
    /// The strikes of a run that counts.
    pub tally: Option<Tally>,
    /// The figures of a soak.
    pub soak: Option<soak::Outcome>,
}

impl Report {
    /// Counts a round's operations.
    pub fn count(&mut self, told: &Told) {
        for op in &told.ops {
            let outcome = match &op.end {
                End::Made(_) | End::Done | End::Died | End::Lasts(_) => "done".to_owned(),
                End::Stands(stands) => format!("{stands:?}").to_lowercase(),
                End::Refused(why) => format!("refused ({why})"),
                End::Unknown => "unknown".to_owned(),
            };
            self.add(op.call.name(), outcome);
        }
        for handed in &told.handed {
            let outcome = if handed.resumed {
                "resumed"
            } else {
                "new lease"
            };
            self.add("delivery", outcome.to_owned());
        }
        let is_through = |client: &u32| told.through_crate.contains(client);
        let ops = told.ops.iter().filter(|op| is_through(&op.client)).count();
        let handed = told.handed.iter().filter(|h| is_through(&h.client));
        self.through_crate += (ops + handed.count()) as u64;
    }

    fn add(&mut self, name: &'static str, outcome: String) {
        let of = self.operations.entry(name).or_default();
        *of.entry(outcome).or_default() += 1;
    }

    /// A fault was made, and what it cost.
    pub fn fault(&mut self, name: &'static str, cost: Cost) {
        self.faults.entry(name).or_default().push(cost);
    }

    /// All operations.
    pub fn operation_count(&self) -> u64 {
        self.operations.values().flat_map(BTreeMap::values).sum()
    }

    /// All faults.
    pub fn fault_count(&self) -> usize {
        self.faults.values().map(Vec::len).sum()
    }

    /// Why the run proves nothing; nothing when it does.
    pub fn invalid(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.calm_rate < CALM_RATE_MIN {
            why.push(format!(
                "{:.0} operations/s before the first fault, at least {CALM_RATE_MIN} are needed",
                self.calm_rate
            ));
        }
        if self.through_crate == 0 {
            why.push("nothing went through z4-client".into());
        }
        if !self.unseen.is_empty() {
            why.push(format!("not seen to act: {}", self.unseen.join(", ")));
        }
        // Of these nobody knows whether a read was stale.
        if self.gave_up * GAVE_UP_SHARE > self.ordered_tasks {
            why.push(format!(
                "no order was looked for to the end at {} of {} tasks",
                self.gave_up, self.ordered_tasks
            ));
        }
        why.extend(self.tally.iter().flat_map(Tally::invalid));
        why.extend(self.soak.iter().flat_map(soak::Outcome::invalid));
        why
    }

    /// The line that a run ends with.
    pub fn last_line(&self) -> String {
        let violations = self.violations.len();
        if let Some(tally) = &self.tally {
            let line = tally.line();
            return format!(
                "{line}, {} operations checked, {violations} violations",
                self.judged
            );
        }
        if let Some(soak) = &self.soak {
            return format!(
                "{} operations checked, {} faults, {}, {violations} violations",
                self.judged,
                self.fault_count(),
                soak.line()
            );
        }
        format!(
            "{} operations, {} faults, {violations} violations",
            self.operation_count(),
            self.fault_count()
        )
    }

    /// The tables, for people.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "\n{:<16} {:>8}  outcomes", "operation", "count");
        for (name, outcomes) in &self.operations {
            let listed: Vec<String> = outcomes.iter().map(|(o, n)| format!("{n} {o}")).collect();
            let count: u64 = outcomes.values().sum();
            let _ = writeln!(text, "{name:<16} {count:>8}  {}", listed.join(", "));
        }
        let _ = writeln!(text, "{} of these through z4-client", self.through_crate);
        if !self.faults.is_empty() {
            text.push_str(&self.faults_table());
        }
        if let Some(tally) = &self.tally {
            text.push_str(&tally.table());
        }
        if let Some(soak) = &self.soak {
            text.push_str(&soak.table());
        }
        let drains: Vec<String> = self.drains.iter().map(|d| seconds(*d)).collect();
        let _ = writeln!(
            text,
            "\n{:.0} operations/s before the first fault; rounds judged: {}, \
             drained in {} s; {} calls put in order, {} tasks left open",
            self.calm_rate,
            self.drains.len(),
            drains.join(", "),
            self.ordered_calls,
            self.gave_up
        );
        text
    }

    fn faults_table(&self) -> String {
        let mut text = format!(
            "\n{:<26} {:>5}  {:>15}  {:>14}  {:>15}\n",
            "fault", "count", "recovery median", "recovery worst", "longest gap (s)"
        );
        let mut all = Vec::new();
        for (name, costs) in &self.faults {
            text.push_str(&row(name, costs));
            all.extend_from_slice(costs);
        }
        text.push_str(&row("all", &all));
        text
    }
}

fn row(name: &str, costs: &[Cost]) -> String {
    let mut recoveries: Vec<Duration> = costs.iter().map(|cost| cost.recovery).collect();
    recoveries.sort();
    let median = recoveries.get(recoveries.len() / 2).copied();
    let worst = recoveries.last().copied();
    let gap = costs.iter().map(|cost| cost.gap).max();
    let show = |time: Option<Duration>| seconds(time.unwrap_or_default());
    format!(
        "{name:<26} {:>5}  {:>15}  {:>14}  {:>15}\n",
        costs.len(),
        show(median),
        show(worst),
        show(gap)
    )
}

/// The smallest of these times, in their order, that is not below `share` of all; zero
/// of none.
pub fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(place.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// Seconds with two decimals.
pub fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_proves_nothing_when_too_little_was_looked_at() {
        let report = |calm_rate, gave_up| Report {
            through_crate: 1,
            calm_rate,
            ordered_tasks: 1_000,
            gave_up,
            ..Report::default()
        };
        assert_eq!(report(100.0, 10).invalid(), Vec::<String>::new());
        assert_eq!(report(99.0, 0).invalid().len(), 1);
        assert_eq!(
            report(100.0, 11).invalid(),
            ["no order was looked for to the end at 11 of 1000 tasks"]
        );
        let mut alone = report(100.0, 0);
        alone.through_crate = 0;
        assert_eq!(alone.invalid(), ["nothing went through z4-client"]);
        let mut unseen = report(100.0, 0);
        unseen.unseen.push("rain");
        assert_eq!(unseen.invalid(), ["not seen to act: rain"]);
    }
}
