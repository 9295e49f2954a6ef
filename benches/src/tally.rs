//! What came of many creates.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::Report;
use crate::stats::Times;

/// Latencies of acknowledged creates, and the others by status.
#[derive(Debug, Default)]
pub struct Tally {
    /// One for each acknowledged create.
    pub latency: Times,
    /// How many were refused, by status.
    pub refused: BTreeMap<String, u64>,
    /// How long it took altogether.
    pub length: Duration,
}

impl Tally {
    /// Counts a create that was not acknowledged.
    pub fn refuse(&mut self, status: &str) {
        *self.refused.entry(status.to_owned()).or_default() += 1;
    }

    /// Adds what came of other creates.
    pub fn append(&mut self, other: Tally) {
        self.latency.append(other.latency);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
    }

    /// Acknowledged creates a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.length.as_secs_f64().max(1e-9)
    }

    /// The figures. `cpu` is the processor time that the peers spent.
    pub fn report(&self, cpu: Option<Duration>) -> Report {
        let mut report = Report::default();
        report.add("acked", self.latency.len());
        report.add_rounded("rate_per_s", self.rate());
        self.latency.report("latency", &mut report);
        report.add("refused", self.refused.values().sum::<u64>());
        for (status, count) in &self.refused {
            report.add(&format!("refused_{status}"), *count);
        }
        if let Some(cpu) = cpu {
            let tasks = self.latency.len().max(1) as f64;
            report.add_rounded("cpu_us_per_task_all_peers", cpu.as_secs_f64() * 1e6 / tasks);
        }
        report
    }
}
