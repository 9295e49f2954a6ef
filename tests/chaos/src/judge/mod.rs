//! Lays what everybody was told beside what became of the tasks. The rules are
//! those of `z4-check`, which judge simulated clusters too; a breach is a sentence
//! with what is needed to look into it.
//!
//! | file | promise |
//! |---|---|
//! | `requests` | a create, however often repeated, makes its tasks once; one that was refused, none |
//! | `deliveries` | at least once, not before its time, in one hand, never after its end |
//! | `indexes` | what was asked later has the higher log index |
//! | `calls` | what was acknowledged is seen by every call that begins later |
//! | `counts` | the counts of the namespace are what the clients know |
//! | `ends` | every acknowledged task ended in a way that somebody asked for; none dies that may not |

mod calls;
mod counts;
mod deliveries;
mod ends;
mod indexes;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use z4_core::state::NamespaceCounts;
use z4_core::TaskId;

use crate::record::{Call, Told};

/// The tasks that are dead letters at the end, when nothing else is left.
pub type Dead = BTreeSet<TaskId>;

/// What a judge found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is broken; nothing when every promise was kept.
    pub broken: Vec<String>,
    /// Tasks whose calls were put in an order.
    pub ordered_tasks: u64,
    /// Calls that were put in an order.
    pub ordered_calls: u64,
    /// Tasks for which no order was found in the steps that are allowed, and
    /// there may be one.
    pub gave_up: u64,
}

/// Judges a round whose every task has ended.
pub fn judge(namespace: &str, told: &Told, dead: &Dead, counts: &NamespaceCounts) -> Verdict {
    let mut verdict = Verdict {
        broken: told.absurd.clone(),
        ..Verdict::default()
    };
    verdict.broken.extend(requests::check(told));
    verdict.broken.extend(deliveries::check(told));
    verdict.broken.extend(indexes::check(told, &by_label(told)));
    verdict
        .broken
        .extend(counts::check(namespace, told, counts));
    verdict.broken.extend(ends::check(told, dead));
    calls::check(namespace, told, &mut verdict);
    verdict
}

/// The tasks that carry these labels and were seen by anybody: place, id.
fn seen_with(by_label: &ByLabel, labels: &[u64]) -> Vec<(u32, TaskId)> {
    let mut seen = Vec::new();
    for (place, label) in labels.iter().enumerate() {
        let ids = by_label.get(label).into_iter().flatten();
        seen.extend(ids.map(|id| (place as u32, *id)));
    }
    seen
}

/// What came to consumers or was listed, by what it carries: one task for a
/// label, or it is a breach.
type ByLabel = BTreeMap<u64, BTreeSet<TaskId>>;

fn by_label(told: &Told) -> ByLabel {
    let mut ids = ByLabel::new();
    let handed = told.handed.iter().map(|handed| (handed.id, handed.label));
    for (id, label) in handed.chain(told.listed.iter().copied()) {
        ids.entry(label).or_default().insert(id);
    }
    ids
}

/// The labels of a create; none of another call.
fn labels(call: &Call) -> &[u64] {
    match call {
        Call::Create { labels, .. } => labels,
        _ => &[],
    }
}
