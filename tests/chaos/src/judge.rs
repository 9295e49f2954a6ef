//! Lays what everybody was told beside what became of the tasks. A breach is a
//! sentence with what is needed to look into it.

use std::collections::{BTreeMap, BTreeSet};

use z4_core::TaskId;

use crate::record::{Act, Call, End, Handed, Told};

/// The tasks that are dead letters at the end, when nothing else is left.
pub type Dead = BTreeSet<TaskId>;

/// What is broken; nothing when every promise was kept.
pub fn judge(told: &Told, dead: &Dead) -> Vec<String> {
    let mut broken = told.absurd.clone();
    broken.extend(doubled(told));
    broken.extend(lost(told, dead));
    broken.extend(early(told));
    broken.extend(after_the_end(told, dead));
    broken.extend(overlapping(told));
    broken
}

/// A create that was sent once, or repeated under one request id, made one task.
fn doubled(told: &Told) -> Vec<String> {
    let mut ids: BTreeMap<u64, BTreeSet<TaskId>> = BTreeMap::new();
    for op in &told.ops {
        if let (Call::Create { labels, .. }, End::Made(made)) = (&op.call, &op.end) {
            for (label, id) in labels.iter().zip(made) {
                ids.entry(*label).or_default().insert(*id);
            }
        }
    }
    for handed in &told.handed {
        ids.entry(handed.label).or_default().insert(handed.id);
    }
    let more = ids.into_iter().filter(|(_, ids)| ids.len() > 1);
    more.map(|(label, ids)| format!("doubled: create {label} made {ids:?}"))
        .collect()
}

/// What was created and acknowledged has ended in a way that somebody asked for.
fn lost(told: &Told, dead: &Dead) -> Vec<String> {
    let mut ended: BTreeSet<TaskId> = dead.clone();
    for op in &told.ops {
        let may_be_done = matches!(op.end, End::Done | End::Unknown);
        match op.call {
            Call::Cancel(id) | Call::Purge(id) | Call::Lease(Act::Ack, id, _) if may_be_done => {
                ended.insert(id);
            }
            _ => {}
        }
    }
    let mut broken = Vec::new();
    for op in &told.ops {
        let End::Made(ids) = &op.end else { continue };
        for id in ids.iter().filter(|id| !ended.contains(id)) {
            broken.push(format!(
                "lost: task {id} was acknowledged and never ended: {op:?}"
            ));
        }
    }
    broken
}

/// No lease begins before the task's time.
fn early(told: &Told) -> Vec<String> {
    let is_early = |handed: &&Handed| handed.began_ns.is_some_and(|ns| ns < handed.due_ns);
    let early = told.handed.iter().filter(is_early);
    early.map(|handed| format!("early: {handed:?}")).collect()
}

/// What was acknowledged as done does not come again.
fn after_the_end(told: &Told, dead: &Dead) -> Vec<String> {
    let mut done: BTreeMap<TaskId, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for op in &told.ops {
        if let (Call::Lease(Act::Ack, id, token), End::Done) = (&op.call, &op.end) {
            let before = done.insert(*id, *token);
            if before.is_some_and(|before| before != *token) {
                broken.push(format!("done twice: {op:?}"));
            }
            if dead.contains(id) {
                broken.push(format!("dead after it was done: {op:?}"));
            }
        }
    }
    for handed in &told.handed {
        if done
            .get(&handed.id)
            .is_some_and(|token| handed.token > *token)
        {
            broken.push(format!("leased after it was done: {handed:?}"));
        }
    }
    broken
}

/// By machine time, a lease begins when the one before has ended.
fn overlapping(told: &Told) -> Vec<String> {
    struct Lease<'a> {
        first: &'a Handed,
        deadline_ns: u64,
        may_have_ended: bool,
    }
    let mut leases: BTreeMap<(TaskId, u64), Lease<'_>> = BTreeMap::new();
    let mut broken = Vec::new();
    for handed in &told.handed {
        let lease = leases.entry((handed.id, handed.token)).or_insert(Lease {
            first: handed,
            deadline_ns: 0,
            may_have_ended: false,
        });
        lease.deadline_ns = lease.deadline_ns.max(handed.deadline_ns);
        lease.may_have_ended |= told.left.contains(&handed.consumer);
        if lease.first.consumer != handed.consumer {
            broken.push(format!("one lease for two: {:?}, {handed:?}", lease.first));
        }
    }
    for op in &told.ops {
        let Call::Lease(act, id, token) = &op.call else {
            continue;
        };
        let Some(lease) = leases.get_mut(&(*id, *token)) else {
            continue;
        };
        match (act, &op.end) {
            (Act::Extend, End::Lasts(ns)) => lease.deadline_ns = lease.deadline_ns.max(*ns),
            (Act::Extend, _) => {}
            (_, End::Done | End::Died | End::Unknown) => lease.may_have_ended = true,
            _ => {}
        }
    }
    let all: Vec<_> = leases.iter().collect();
    for pair in all.windows(2) {
        let (((id, _), before), ((next_id, _), next)) = (pair[0], pair[1]);
        let overlaps = next
            .first
            .began_ns
            .is_some_and(|ns| ns < before.deadline_ns);
        if id == next_id && overlaps && !before.may_have_ended {
            broken.push(format!(
                "two leases at once: {:?} until {}, and {:?}",
                before.first, before.deadline_ns, next.first
            ));
        }
    }
    broken
}
