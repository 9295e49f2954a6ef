//! Every acknowledged task ended in a way that somebody asked for: it was acked,
//! cancelled or purged, or may have been, or is a dead letter.

use std::collections::BTreeSet;

use z4_core::TaskId;

use super::part::Part;
use super::{Act, Call, End};
use crate::{Rule, Violation};

/// The tasks that are neither ended nor dead letters, and so are lost.
pub(super) fn check(part: &Part<'_>) -> Vec<Violation> {
    let mut ended: BTreeSet<TaskId> = part.dead.keys().copied().collect();
    let mut broken = Vec::new();
    for op in &part.ops {
        let (id, is_ack) = match op.call {
            Call::Lease(Act::Ack, id, _) => (id, true),
            Call::Cancel(id) | Call::Purge(id) => (id, false),
            _ => continue,
        };
        if op.end == End::Done && part.dead.contains_key(&id) {
            let how = if is_ack { "acked" } else { "removed" };
            let text = format!("task {id} was {how} and is a dead letter: {op:?}");
            broken.push(Violation::new(Rule::EndedTwice, text));
        }
        if matches!(op.end, End::Done | End::Unknown) {
            ended.insert(id);
        }
    }
    for op in &part.ops {
        let End::Made(ids) = &op.end else { continue };
        for id in ids.iter().filter(|id| !ended.contains(id)) {
            let text = format!("task {id} was acknowledged, is gone, and nobody ended it: {op:?}");
            broken.push(Violation::new(Rule::Lost, text));
        }
    }
    broken
}
