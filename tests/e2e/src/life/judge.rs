//! The rules, applied to what everybody saw and was told.

use std::collections::{BTreeMap, BTreeSet};

use z4_proto::generated::collection::{DeathReason, LeaseOutcome, Task};

use super::history::{Act, History, Lease, Seen};
use super::{Fate, ATTEMPTS};
use crate::load::Told;

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Tasks that were acked for certain.
    pub done: usize,
    /// Tasks that are gone after an ack whose answer was lost.
    pub done_unheard: usize,
    /// Dead letters.
    pub dead: usize,
    /// Leases that were seen.
    pub leases: usize,
    /// Leases that came again to their consumer on another stream.
    pub resumed: usize,
    /// Late ends that were refused; by then others had the tasks, or were done.
    pub refused: usize,
    /// Leases that ended by their deadline, as far as can be told.
    pub expired: usize,
    /// Breaches of the rules, one sentence each.
    pub broken: Vec<String>,
}

/// Judges. `dead`: the dead letters at the end, when nothing else was left.
#[must_use]
pub fn judge(history: &History, told: &Told, dead: &[Task]) -> Verdict {
    let mut verdict = Verdict {
        dead: dead.len(),
        ..Verdict::default()
    };
    let tasks = history.tasks();
    let dead: BTreeMap<&str, &Task> = dead.iter().map(|task| (task.get_id(), task)).collect();
    for (id, seen) in tasks.iter() {
        one_task(id, seen, dead.get(id.as_str()).copied(), &mut verdict);
    }
    for task in dead.values() {
        one_dead(task, tasks.get(task.get_id()), &mut verdict);
    }
    for refused in &told.refused {
        verdict
            .broken
            .push(format!("a create was refused: {refused:?}"));
    }
    let mut ids = BTreeSet::new();
    for acked in &told.acked {
        let id = acked.created.task_id.as_str();
        if !ids.insert(id) {
            verdict
                .broken
                .push(format!("two creates were given one task, {id}"));
        }
        let ended = dead.contains_key(id) || tasks.get(id).is_some_and(may_be_done);
        if !ended {
            verdict.broken.push(format!(
                "task {id} was created and acknowledged, and is neither done nor dead: {:?}",
                tasks.get(id)
            ));
        }
    }
    verdict
}

/// Whether an ack for it was confirmed, or was sent and never answered.
fn may_be_done(seen: &Seen) -> bool {
    seen.leases.values().any(|lease| {
        is_done(lease)
            || lease.open.contains(&Act::Ack)
            || lease
                .answers
                .contains(&(Act::Ack, LeaseOutcome::LEASE_OUTCOME_UNCERTAIN))
    })
}

fn is_done(lease: &Lease) -> bool {
    lease
        .answers
        .contains(&(Act::Ack, LeaseOutcome::LEASE_OUTCOME_DONE))
}

fn one_task(id: &str, seen: &Seen, dead: Option<&Task>, verdict: &mut Verdict) {
    verdict.leases += seen.leases.len();
    let done: Vec<u64> = seen
        .leases
        .iter()
        .filter(|(_, lease)| is_done(lease))
        .map(|(token, _)| *token)
        .collect();
    let mut say = |rule: String| verdict.broken.push(format!("task {id}: {rule}: {seen:?}"));
    match done[..] {
        [] => {}
        [token] => {
            verdict.done += 1;
            if seen.leases.keys().any(|later| *later > token) {
                say("it was leased after its ack was confirmed".into());
            }
            if dead.is_some() {
                say("it is a dead letter, and its ack was confirmed".into());
            }
            if Fate::of(&seen.payload) != Fate::Good {
                say("it cannot have been done".into());
            }
        }
        _ => say("two acks were confirmed".into()),
    }
    if done.is_empty() && dead.is_none() && may_be_done(seen) {
        verdict.done_unheard += 1;
    }
    let leases: Vec<_> = seen.leases.iter().collect();
    for pair in leases.windows(2) {
        let ((token, lease), (next_token, next)) = (pair[0], pair[1]);
        if next.attempt < lease.attempt {
            let rule = format!("attempt {} came after {}", next.attempt, lease.attempt);
            verdict.broken.push(format!("task {id}: {rule}"));
        }
        if has_ended(lease) {
            continue;
        }
        verdict.expired += 1;
        // By machine time, with no clock of ours: the next lease begins when
        // this one is over, not before.
        let overlaps = next
            .began_ns
            .is_some_and(|began_ns| began_ns < lease.deadline_ns);
        if overlaps {
            verdict.broken.push(format!(
                "task {id}: lease {token} lived until {}, and lease {next_token} began at {:?}",
                lease.deadline_ns, next.began_ns
            ));
        }
    }
    for lease in seen.leases.values() {
        one_lease(id, lease, verdict);
    }
}

/// Whether its holder ended it, or may have.
fn has_ended(lease: &Lease) -> bool {
    let ends = |act: &Act| *act != Act::Extend;
    let answered = |(act, outcome): &(Act, LeaseOutcome)| {
        ends(act)
            && matches!(
                outcome,
                LeaseOutcome::LEASE_OUTCOME_WAITING
                    | LeaseOutcome::LEASE_OUTCOME_DEAD
                    | LeaseOutcome::LEASE_OUTCOME_DONE
                    | LeaseOutcome::LEASE_OUTCOME_UNCERTAIN
            )
    };
    lease.open.iter().any(ends) || lease.answers.iter().any(answered) || lease.left
}

fn one_lease(id: &str, lease: &Lease, verdict: &mut Verdict) {
    let names: BTreeSet<_> = lease.consumers.iter().collect();
    verdict.resumed += lease.consumers.len() - 1;
    if names.len() > 1 {
        verdict
            .broken
            .push(format!("task {id}: one lease went to {names:?}"));
    }
    if lease.attempt > ATTEMPTS {
        verdict
            .broken
            .push(format!("task {id}: attempt {} was made", lease.attempt));
    }
    let refused = lease.answers.iter().filter(|(_, outcome)| {
        matches!(
            outcome,
            LeaseOutcome::LEASE_OUTCOME_EXPIRED
                | LeaseOutcome::LEASE_OUTCOME_TAKEN
                | LeaseOutcome::LEASE_OUTCOME_GONE
                | LeaseOutcome::LEASE_OUTCOME_ALREADY_DEAD
        )
    });
    verdict.refused += refused.count();
}

/// A dead letter died by the rules.
fn one_dead(task: &Task, seen: Option<&Seen>, verdict: &mut Verdict) {
    let id = task.get_id();
    let said = |act: Act| {
        seen.is_some_and(|seen| {
            seen.leases.values().any(|lease| {
                lease.open.contains(&act) || lease.answers.iter().any(|(did, _)| *did == act)
            })
        })
    };
    let lawful = match task.get_death_reason() {
        DeathReason::DEATH_REASON_ATTEMPTS => task.get_failures() == ATTEMPTS,
        DeathReason::DEATH_REASON_PERMANENT => {
            Fate::of(task.get_payload()) == Fate::Hopeless && said(Act::NackForGood)
        }
        _ => false,
    };
    if !lawful {
        verdict
            .broken
            .push(format!("task {id} should not be dead: {task:?}"));
    }
}
