//! Every acknowledged task ended in a way that somebody asked for: it was acked,
//! cancelled or purged, or may have been, or is a dead letter.

use std::collections::BTreeSet;

use z4_core::TaskId;

use super::Dead;
use crate::record::{Act, Call, End, Told};

/// What is broken.
pub fn check(told: &Told, dead: &Dead) -> Vec<String> {
    let mut ended: BTreeSet<TaskId> = dead.clone();
    let mut broken = Vec::new();
    for op in &told.ops {
        let (id, is_ack) = match op.call {
            Call::Lease(Act::Ack, id, _) => (id, true),
            Call::Cancel(id) | Call::Purge(id) => (id, false),
            _ => continue,
        };
        if op.end == End::Done && dead.contains(&id) {
            let how = if is_ack { "acked" } else { "removed" };
            broken.push(format!("task {id} was {how} and is a dead letter: {op:?}"));
        }
        if matches!(op.end, End::Done | End::Unknown) {
            ended.insert(id);
        }
    }
    for op in &told.ops {
        let End::Made(ids) = &op.end else { continue };
        for id in ids.iter().filter(|id| !ended.contains(id)) {
            broken.push(format!(
                "lost: task {id} was acknowledged, is gone, and nobody ended it: {op:?}"
            ));
        }
    }
    broken
}
