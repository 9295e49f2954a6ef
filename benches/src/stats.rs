//! Percentiles of what was measured, exact: every value is kept.

use std::time::Duration;

use crate::report::Report;

/// Measured times.
#[derive(Debug, Default, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Adds all of another.
    pub fn append(&mut self, mut other: Times) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that is not below `share` of all; zero of none.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let place = (share * sorted.len() as f64).ceil() as usize;
        let time = sorted.get(place.saturating_sub(1));
        time.copied().unwrap_or_default()
    }

    /// p50, p90, p99, p99.9 and the largest, in milliseconds.
    pub fn report(&self, name: &str, report: &mut Report) {
        for (label, share) in [
            ("p50", 0.5),
            ("p90", 0.9),
            ("p99", 0.99),
            ("p999", 0.999),
            ("max", 1.0),
        ] {
            let ms = self.percentile(share).as_secs_f64() * 1e3;
            report.add(&format!("{name}_{label}_ms"), (ms * 1e3).round() / 1e3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact() {
        let mut times = Times::default();
        (1..=100)
            .rev()
            .for_each(|ms| times.push(Duration::from_millis(ms)));
        assert_eq!(times.percentile(0.5), Duration::from_millis(50));
        assert_eq!(times.percentile(0.99), Duration::from_millis(99));
        assert_eq!(times.percentile(1.0), Duration::from_millis(100));
        assert_eq!(Times::default().percentile(0.5), Duration::ZERO);
        let mut one = Times::default();
        one.push(Duration::from_secs(1));
        assert_eq!(one.percentile(0.5), Duration::from_secs(1));
    }
}
