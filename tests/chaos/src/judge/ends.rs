//! Every acknowledged task ended in a way that somebody asked for: it was acked,
//! cancelled or purged, or may have been, or is a dead letter, and then one that
//! may be.

use std::collections::{BTreeMap, BTreeSet};

use z4_core::TaskId;

use super::{labels, Dead};
use crate::record::{Act, Call, End, Fate, Told};

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
    broken.extend(deaths(told, dead));
    broken
}

/// Tasks that died and may not: the namespace lets a task fail as often as it
/// will, so one that does not say itself how often, or for how long, lives until
/// somebody ends it. That consumers fail it now and then is no reason.
fn deaths(told: &Told, dead: &Dead) -> Vec<String> {
    let labels = label_of(told);
    let lives_on = |id: &TaskId| {
        let spec = labels.get(id).and_then(|label| told.specs.get(label));
        spec.is_some_and(|spec| spec.fate == Fate::Good && spec.ttl_ms == 0)
    };
    let mut broken = Vec::new();
    for id in dead.iter().filter(|id| lives_on(id)) {
        broken.push(format!(
            "task {id} is a dead letter and has neither limit nor time to live"
        ));
    }
    for op in &told.ops {
        if let (Call::Lease(_, id, _), End::Died) = (&op.call, &op.end) {
            if lives_on(id) {
                broken.push(format!(
                    "task {id} died and has neither limit nor time to live: {op:?}"
                ));
            }
        }
    }
    broken
}

/// What each task carries, from whoever made or saw it.
fn label_of(told: &Told) -> BTreeMap<TaskId, u64> {
    let handed = told.handed.iter().map(|handed| (handed.id, handed.label));
    let mut of: BTreeMap<TaskId, u64> = handed.chain(told.listed.iter().copied()).collect();
    for op in &told.ops {
        if let End::Made(ids) = &op.end {
            of.extend(ids.iter().copied().zip(labels(&op.call).iter().copied()));
        }
    }
    of
}
