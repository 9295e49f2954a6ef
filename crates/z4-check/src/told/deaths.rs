//! A task dies by its last attempt, by its age, or by the word of a consumer that
//! had it, and by nothing else; and none is tried more often than it may be.

use std::collections::{BTreeMap, BTreeSet};

use z4_core::task::DeathReason;
use z4_core::TaskId;

use super::judge::labels;
use super::part::Part;
use super::{Act, Call, Death, End, Spec};
use crate::{Rule, Violation};

/// The dead letters that had no cause, or that came too late.
pub(super) fn check(part: &Part<'_>) -> Vec<Violation> {
    let labels = label_of(part);
    let spec_of = |id: &TaskId| labels.get(id).and_then(|label| part.spec(*label));
    let given_up = given_up(part);
    let mut broken = Vec::new();
    for (id, death) in &part.dead {
        let is_lawful = |spec| is_lawful(spec, death, given_up.contains(id));
        if spec_of(id).is_some_and(|spec| !is_lawful(spec)) {
            let spec = spec_of(id);
            let text = format!("task {id} may not have died so: {death:?}, of {spec:?}");
            broken.push(Violation::new(Rule::DiedWithoutCause, text));
        }
    }
    for op in &part.ops {
        if let (Call::Lease(_, id, _), End::Died) = (&op.call, &op.end) {
            if spec_of(id).is_some_and(|spec| !spec.may_die()) {
                let text = format!("task {id} died and may not: {op:?}");
                broken.push(Violation::new(Rule::DiedWithoutCause, text));
            }
        }
    }
    for handed in &part.handed {
        let most = spec_of(&handed.id).map_or(0, |spec| spec.attempts_max);
        if most > 0 && handed.attempt > most {
            let text = format!("{most} attempts are allowed: {handed:?}");
            broken.push(Violation::new(Rule::DiedTooLate, text));
        }
    }
    broken
}

fn is_lawful(spec: &Spec, death: &Death, is_given_up: bool) -> bool {
    match death.reason {
        DeathReason::Attempts => spec.attempts_max > 0 && death.failures == spec.attempts_max,
        DeathReason::Ttl => spec.ttl_ms > 0,
        DeathReason::Permanent => is_given_up,
    }
}

/// Tasks of which a consumer said that they will never succeed, and may have been
/// heard.
fn given_up(part: &Part<'_>) -> BTreeSet<TaskId> {
    let said = part.ops.iter().filter_map(|op| match (&op.call, &op.end) {
        (Call::Lease(Act::NackForGood, id, _), End::Died | End::Unknown) => Some(*id),
        _ => None,
    });
    said.collect()
}

/// The label of each task, as the client that made or saw it knows it.
fn label_of(part: &Part<'_>) -> BTreeMap<TaskId, u64> {
    let handed = part.handed.iter().map(|handed| (handed.id, handed.label));
    let mut of: BTreeMap<TaskId, u64> = handed.chain(part.listed.iter().copied()).collect();
    for op in &part.ops {
        if let End::Made(ids) = &op.end {
            of.extend(ids.iter().copied().zip(labels(&op.call).iter().copied()));
        }
    }
    of
}
