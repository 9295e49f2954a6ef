//! Gauges of the task state, read when somebody asks for metrics.

use std::collections::BTreeMap;

use crate::limits;
use prometheus::{GaugeVec, IntGauge, IntGaugeVec, Opts, Registry};
use z4_core::state::{
    due_next_of, find_namespace, NamespaceCounts, NamespaceRow, Row, RowKey, StateError,
};
use z4_core::{Namespace, View};

/// Label of all others together. No namespace can have this name.
const OTHERS: &str = "(others)";

/// Gauges of the task state of this peer.
#[derive(Clone, Debug)]
pub(crate) struct TaskMetrics {
    pending: IntGaugeVec,
    leased: IntGaugeVec,
    dead: IntGaugeVec,
    lateness_mean: GaugeVec,
    oldest_due_age: GaugeVec,
    paused: IntGaugeVec,
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
        let seconds = |name: &str, help: &str| {
            let gauges = GaugeVec::new(Opts::new(name, help), &["namespace"])?;
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
            lateness_mean: seconds(
                "z4_server_tasks_lateness_mean_seconds",
                "Moving mean of the time from due to leased, of first leases; of the fullest 100 namespaces",
            )?,
            oldest_due_age: seconds(
                "z4_server_tasks_oldest_due_age_seconds",
                "How long the oldest task that waits has been due, 0 for none; of the fullest 100 namespaces",
            )?,
            paused: per_namespace(
                "z4_server_namespace_paused",
                "1 while nothing of a namespace is leased because it is paused; of the fullest 100 namespaces",
            )?,
            namespaces,
        })
    }

    /// Reads all namespaces into the gauges: counters of all of them, and of the fullest how
    /// late they are. `now_ns` is machine time.
    ///
    /// # Errors
    /// [`StateError`] when the store fails.
    pub(crate) fn sample(&self, view: &impl View, now_ns: u64) -> Result<(), StateError> {
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
        self.lateness_mean.reset();
        self.oldest_due_age.reset();
        self.paused.reset();
        for (_, name) in rows.iter().take(limits::METRIC_SERIES_MAX) {
            if let Some(row) = find_namespace(view, name)? {
                self.sample_one(view, name, &row, now_ns)?;
            }
        }
        Ok(())
    }

    /// How late a namespace is: a look at the head of each of its queues, whatever their
    /// length.
    fn sample_one(
        &self,
        view: &impl View,
        name: &Namespace,
        row: &NamespaceRow,
        now_ns: u64,
    ) -> Result<(), StateError> {
        let label = &[name.as_str()];
        let lateness = self.lateness_mean.with_label_values(label);
        lateness.set(seconds(row.lateness_mean_ns));
        let oldest_ns = due_next_of(view, row, None)?.unwrap_or(now_ns);
        let age = self.oldest_due_age.with_label_values(label);
        age.set(seconds(now_ns.saturating_sub(oldest_ns)));
        let paused = self.paused.with_label_values(label);
        paused.set(i64::from(row.paused_at_ns.is_some()));
        Ok(())
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus::TextEncoder;
    use z4_core::command::{Command, CreateTasks, Due, NewTask};
    use z4_core::{Machine, MemState, NamespaceId, State};

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
        metrics.sample(&state, 0).unwrap();
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
        metrics.sample(&MemState::default(), 0).unwrap();
        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert!(!text.contains("ns103"), "{text}");
    }

    #[test]
    fn the_fullest_tell_how_late_they_are_and_others_do_not() {
        const S: u64 = 1_000_000_000;
        let registry = Registry::new();
        let metrics = TaskMetrics::new(&registry).unwrap();
        let mut machine = Machine::open(MemState::default()).unwrap();
        let name = Namespace::new("late").unwrap();
        let tasks = [Due::Now, Due::AfterSeconds(3_600)].map(|due| NewTask {
            due,
            ..NewTask::default()
        });
        let create = Command::CreateTasks(CreateTasks {
            namespace: name.clone(),
            request_id: String::new(),
            tasks: tasks.into(),
        });
        machine
            .apply_entry(1, 10 * S, vec![create], &mut Vec::new())
            .unwrap();
        let mut state = machine.state().clone();
        let mut row = find_namespace(&state, &name).unwrap().unwrap();
        row.lateness_mean_ns = 250_000_000;
        row.paused_at_ns = Some(11 * S);
        // Without the counts of its two tasks it would be the one that is left out.
        row.counts.pending = 1_000;
        state.put(RowKey::Namespace(name), Row::Namespace(Box::new(row)));
        (101..=201).for_each(|n| namespace(&mut state, n, u64::from(n)));
        metrics.sample(&state, 40 * S).unwrap();
        let text = TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        for line in [
            "z4_server_tasks_oldest_due_age_seconds{namespace=\"late\"} 30\n",
            "z4_server_tasks_lateness_mean_seconds{namespace=\"late\"} 0.25\n",
            "z4_server_namespace_paused{namespace=\"late\"} 1\n",
            // Nothing of it is due: its tasks are counts without rows.
            "z4_server_tasks_oldest_due_age_seconds{namespace=\"ns201\"} 0\n",
            "z4_server_namespace_paused{namespace=\"ns201\"} 0\n",
        ] {
            assert!(text.contains(line), "{line} {text}");
        }
        let series = |name: &str| text.matches(&format!("\n{name}{{")).count();
        assert_eq!(series("z4_server_tasks_oldest_due_age_seconds"), 100);
        assert_eq!(series("z4_server_tasks_lateness_mean_seconds"), 100);
        assert_eq!(series("z4_server_namespace_paused"), 100);
    }
}
