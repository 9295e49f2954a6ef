//! Gauges of the task state, read when somebody asks for metrics.

use std::collections::BTreeMap;

use crate::limits;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use z4_core::state::{NamespaceCounts, Row, RowKey, StateError};
use z4_core::View;

/// Label of all others together. No namespace can have this name.
const OTHERS: &str = "(others)";

/// Gauges of the task state of this peer.
#[derive(Clone, Debug)]
pub(crate) struct TaskMetrics {
    pending: IntGaugeVec,
    leased: IntGaugeVec,
    dead: IntGaugeVec,
    namespaces: IntGauge,
}

/// Counts of one series.
#[derive(Clone, Copy, Default)]
struct Sums {
    pending: u64,
    leased: u64,
    dead: u64,
}

impl Sums {
    fn of(counts: &NamespaceCounts) -> Self {
        Self {
            pending: counts.pending,
            leased: counts.leased,
            dead: counts.dead,
        }
    }

    fn all(self) -> u64 {
        self.pending + self.leased + self.dead
    }
}

impl TaskMetrics {
    /// Registers the gauges.
    ///
    /// # Errors
    /// When the registry has gauges of these names.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let per_namespace = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["namespace"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let namespaces = IntGauge::new("z4_server_namespaces", "Namespaces of the cluster")?;
        registry.register(Box::new(namespaces.clone()))?;
        Ok(Self {
            pending: per_namespace(
                "z4_server_tasks_pending",
                "Tasks that wait, as applied here; namespaces past the fullest 100 together",
            )?,
            leased: per_namespace(
                "z4_server_tasks_leased",
                "Tasks under live leases, as applied here; namespaces past the fullest 100 together",
            )?,
            dead: per_namespace(
                "z4_server_tasks_dead",
                "Dead letters, as applied here; namespaces past the fullest 100 together",
            )?,
            namespaces,
        })
    }

    /// Reads the counters of all namespaces into the gauges.
    ///
    /// # Errors
    /// [`StateError`] when the store fails.
    pub(crate) fn sample(&self, view: &impl View) -> Result<(), StateError> {
        let mut rows = Vec::new();
        let (from, to) = RowKey::namespaces();
        view.scan(&from, &to, &mut |key, row| {
            if let (RowKey::Namespace(name), Row::Namespace(row)) = (key, row) {
                rows.push((Sums::of(&row.counts), name));
            }
            true
        })?;
        self.namespaces.set(number(rows.len() as u64));
        // Fullest first; by name among equals, so that series do not flicker.
        rows.sort_by(|a, b| {
            let fuller = b.0.all().cmp(&a.0.all());
            fuller.then_with(|| a.1.cmp(&b.1))
        });
        let mut series = BTreeMap::new();
        for (place, (counts, name)) in rows.iter().enumerate() {
            let label = if place < limits::METRIC_SERIES_MAX {
                name.as_str()
            } else {
                OTHERS
            };
            let sums: &mut Sums = series.entry(label).or_default();
            sums.pending += counts.pending;
            sums.leased += counts.leased;
            sums.dead += counts.dead;
        }
        for gauges in [&self.pending, &self.leased, &self.dead] {
            gauges.reset();
        }
        for (label, sums) in series {
            for (gauges, count) in [
                (&self.pending, sums.pending),
                (&self.leased, sums.leased),
                (&self.dead, sums.dead),
            ] {
                gauges.with_label_values(&[label]).set(number(count));
            }
        }
        Ok(())
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus::TextEncoder;
    use z4_core::state::NamespaceRow;
    use z4_core::{MemState, Namespace, NamespaceId, State};

    use super::*;

    fn namespace(state: &mut MemState, number: u32, pending: u64) {
        let name = Namespace::new(&format!("ns{number:03}")).unwrap();
        let mut row = NamespaceRow::new(NamespaceId(number));
        row.counts = NamespaceCounts {
            created: 3 * pending,
            pending,
            leased: pending / 2,
            dead: pending - pending / 2,
            cancelled: pending,
            ..NamespaceCounts::default()
        };
        state.put(RowKey::Namespace(name), Row::Namespace(Box::new(row)));
    }

    #[test]
    fn the_fullest_have_a_series_and_nothing_is_left_out() {
        let registry = Registry::new();
        let metrics = TaskMetrics::new(&registry).unwrap();
        let mut state = MemState::default();
        (1..=103).for_each(|n| namespace(&mut state, n, u64::from(n)));
        metrics.sample(&state).unwrap();
        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert!(text.contains("z4_server_namespaces 103\n"), "{text}");
        assert!(
            text.contains("z4_server_tasks_pending{namespace=\"ns103\"} 103\n"),
            "{text}"
        );
        assert!(
            text.contains("z4_server_tasks_pending{namespace=\"(others)\"} 6\n"),
            "{text}"
        );
        for line in [
            "z4_server_tasks_leased{namespace=\"ns103\"} 51\n",
            "z4_server_tasks_dead{namespace=\"ns103\"} 52\n",
            "z4_server_tasks_dead{namespace=\"(others)\"} 4\n",
        ] {
            assert!(text.contains(line), "{line} {text}");
        }
        assert!(!text.contains("ns003"), "{text}");
        // Another peer's state: what is gone must not linger.
        metrics.sample(&MemState::default()).unwrap();
        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert!(!text.contains("ns103"), "{text}");
    }
}
