//! Lays what everybody was told beside what became of the tasks; a breach is a
//! sentence with what is needed to look into it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use z4_core::state::NamespaceCounts;
use z4_core::TaskId;

use super::indexes::{self, Entries};
use super::part::{self, Part};
use super::{calls, counts, deaths, deliveries, ends, holders, requests, Call, Dead, End, Told};
use crate::conserve::{self, Known};
use crate::delivery::Report;

/// Operations and deliveries that are judged at once, about: some 50 MB.
const PART_LEN: usize = 50_000;

/// What a judge found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is broken; nothing when every promise was kept.
    pub broken: Vec<String>,
    /// The deliveries by their reasons.
    pub deliveries: Report,
    /// Operations and deliveries that were judged: all of the round.
    pub judged: u64,
    /// Tasks whose calls were put in an order.
    pub ordered_tasks: u64,
    /// Calls that were put in an order.
    pub ordered_calls: u64,
    /// Tasks for which no order was found in the steps that are allowed, and
    /// there may be one.
    pub gave_up: u64,
}

/// Judges a round whose every task has ended. Beside the record it takes the memory
/// for about 50,000 operations at a time, and 100 bytes for each operation.
#[must_use]
pub fn judge(namespace: &str, told: &Told, dead: &Dead, counts: &NamespaceCounts) -> Verdict {
    judge_by_parts(namespace, told, dead, counts, PART_LEN)
}

/// As [`judge`], with parts of about `part_len` operations and deliveries.
pub(super) fn judge_by_parts(
    namespace: &str,
    told: &Told,
    dead: &Dead,
    counts: &NamespaceCounts,
    part_len: usize,
) -> Verdict {
    let mut verdict = Verdict {
        broken: told.absurd.clone(),
        ..Verdict::default()
    };
    let by_label = seen_of_open_creates(told);
    let fell = indexes::check(told, &by_label);
    verdict.broken.extend(fell.map(|why| why.to_string()));
    let entries = Entries::of(told, &by_label);
    let mut known = Known::default();
    let len = told.ops.len() + told.handed.len();
    for part in part::divide(told, dead, len.div_ceil(part_len)) {
        verdict.part(namespace, &part, &entries);
        counts::add(&part, &mut known);
    }
    let differs = conserve::check(namespace, counts, &known).err();
    verdict.broken.extend(differs.map(|why| why.to_string()));
    verdict
}

impl Verdict {
    /// Adds what is found of the tasks of a part.
    fn part(&mut self, namespace: &str, part: &Part<'_>, entries: &Entries) {
        let by_label = by_label(part);
        let mut found = requests::check(part, &by_label);
        let deliveries = deliveries::check(part, &by_label, entries);
        found.extend(deliveries.violations.iter().cloned());
        self.deliveries.add(deliveries);
        found.extend(holders::check(part));
        found.extend(ends::check(part));
        found.extend(deaths::check(part));
        self.broken.extend(found.iter().map(ToString::to_string));
        calls::check(namespace, part, &by_label, self);
        self.judged += (part.ops.len() + part.handed.len()) as u64;
    }
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

fn by_label(part: &Part<'_>) -> ByLabel {
    let handed = part.handed.iter().map(|handed| (handed.id, handed.label));
    of_pairs(handed.chain(part.listed.iter().copied()))
}

/// The tasks of the whole round whose creates were not answered with them.
pub(super) fn seen_of_open_creates(told: &Told) -> ByLabel {
    let open = told.ops.iter().filter(|op| !matches!(op.end, End::Made(_)));
    let open: HashSet<u64> = open.flat_map(|op| labels(&op.call)).copied().collect();
    let handed = told.handed.iter().map(|handed| (handed.id, handed.label));
    let seen = handed.chain(told.listed.iter().copied());
    of_pairs(seen.filter(|(_, label)| open.contains(label)))
}

fn of_pairs(pairs: impl Iterator<Item = (TaskId, u64)>) -> ByLabel {
    let mut ids = ByLabel::new();
    for (id, label) in pairs {
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
