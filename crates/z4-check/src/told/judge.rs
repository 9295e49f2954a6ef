//! Lays what everybody was told beside what became of the tasks; a breach is a
//! sentence with what is needed to look into it.

use std::collections::{BTreeMap, BTreeSet};

use z4_core::state::NamespaceCounts;
use z4_core::TaskId;

use super::{
    calls, counts, deaths, deliveries, ends, holders, indexes, requests, Call, Dead, Told,
};
use crate::delivery::Report;

/// What a judge found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is broken; nothing when every promise was kept.
    pub broken: Vec<String>,
    /// The deliveries by their reasons.
    pub deliveries: Report,
    /// Tasks whose calls were put in an order.
    pub ordered_tasks: u64,
    /// Calls that were put in an order.
    pub ordered_calls: u64,
    /// Tasks for which no order was found in the steps that are allowed, and
    /// there may be one.
    pub gave_up: u64,
}

/// Judges a round whose every task has ended.
#[must_use]
pub fn judge(namespace: &str, told: &Told, dead: &Dead, counts: &NamespaceCounts) -> Verdict {
    let deliveries = deliveries::check(told);
    let mut found = requests::check(told);
    found.extend(deliveries.violations.iter().cloned());
    found.extend(holders::check(told));
    found.extend(indexes::check(told, &by_label(told)));
    found.extend(counts::check(namespace, told, counts));
    found.extend(ends::check(told, dead));
    found.extend(deaths::check(told, dead));
    let mut verdict = Verdict {
        broken: told.absurd.clone(),
        deliveries,
        ..Verdict::default()
    };
    let found = found.iter().map(ToString::to_string);
    verdict.broken.extend(found);
    calls::check(namespace, told, &mut verdict);
    verdict
}

/// The tasks that carry these labels and were seen by anybody: place, id.
pub(super) fn seen_with(by_label: &ByLabel, labels: &[u64]) -> Vec<(u32, TaskId)> {
    let mut seen = Vec::new();
    for (place, label) in labels.iter().enumerate() {
        let ids = by_label.get(label).into_iter().flatten();
        seen.extend(ids.map(|id| (place as u32, *id)));
    }
    seen
}

/// What came to consumers or was listed, by what it carries: one task for a
/// label, or it is a breach.
pub(super) type ByLabel = BTreeMap<u64, BTreeSet<TaskId>>;

pub(super) fn by_label(told: &Told) -> ByLabel {
    let mut ids = ByLabel::new();
    let handed = told.handed.iter().map(|handed| (handed.id, handed.label));
    for (id, label) in handed.chain(told.listed.iter().copied()) {
        ids.entry(label).or_default().insert(id);
    }
    ids
}

/// The labels of a create; none of another call.
pub(super) fn labels(call: &Call) -> &[u64] {
    match call {
        Call::Create { labels, .. } => labels,
        _ => &[],
    }
}
