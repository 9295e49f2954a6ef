//! There is an order of all calls at a task that explains every answer, and in
//! which no call comes after one that began when it was over: a read, at any peer,
//! sees what was acknowledged before.

use std::collections::BTreeMap;

use z4_core::TaskId;

use super::judge::{labels, seen_with, ByLabel, Verdict};
use super::part::Part;
use super::{Act, Call, End, Op, Spec};
use crate::history::{self, History, Nature, Reply, Standing};
use crate::task;

/// Steps of the search for each task.
const STEPS_MAX: u64 = 1_000_000;

/// Adds to the verdict.
pub(super) fn check(namespace: &str, part: &Part<'_>, by_label: &ByLabel, verdict: &mut Verdict) {
    // Not every delivery is seen: a stream may break with some on their way.
    let leased = Nature {
        leased: true,
        ..Nature::default()
    };
    let mut history = History::of(leased);
    let acks = acks(part);
    for op in &part.ops {
        let labels = labels(&op.call);
        let ack = ack_of(op).and_then(|lease| acks.get(&lease));
        let invoked_ns = ack.map_or(op.invoked_ns, |ack| ack.invoked_ns);
        let called = history.invoke(op.client, call(namespace, &op.call), invoked_ns);
        if ack.is_some_and(|ack| op.at_ns > ack.at_ns) {
            let gone = Reply::Stands(Standing::Missing);
            history.acked(called, op.at_ns, gone);
            continue;
        }
        // Of a create that was not answered the first task may be one that nobody
        // saw: each has the label that it carries, not the one of its place here.
        let tasks: Vec<(u64, TaskId)> = match &op.end {
            End::Made(ids) => labels.iter().copied().zip(ids.iter().copied()).collect(),
            _ => {
                let seen = seen_with(by_label, labels).into_iter();
                seen.map(|(place, id)| (labels[place as usize], id))
                    .collect()
            }
        };
        if let Call::Create { .. } = op.call {
            let ids: Vec<TaskId> = tasks.iter().map(|(_, id)| *id).collect();
            history.learned(called, &ids);
        }
        for (label, id) in tasks {
            let dies = part.spec(label).is_some_and(Spec::may_die);
            history.set_nature(id, Nature { dies, ..leased });
        }
        end(&mut history, called, op);
    }
    let report = task::check(&history, STEPS_MAX);
    verdict.ordered_tasks += report.tasks;
    verdict.ordered_calls += report.operations;
    verdict.gave_up += report.gave_up.len() as u64;
    let broken = report.violations.iter().map(|(_, why)| why.to_string());
    verdict.broken.extend(broken);
}

/// An ack that was done, whoever's proposal did it.
struct Acked {
    /// When it was said first.
    invoked_ns: u64,
    /// When it was answered first.
    at_ns: u64,
}

/// A consumer that says an ack twice may be told twice that it was done: what was
/// lost with a leader is proposed again, and that the task is gone while its lease
/// would be live says that its holder's ack did it. One of them did; by the other
/// the task is gone.
fn acks(part: &Part<'_>) -> BTreeMap<(TaskId, u64), Acked> {
    let mut acks: BTreeMap<(TaskId, u64), Acked> = BTreeMap::new();
    for op in &part.ops {
        let Some(lease) = ack_of(op) else { continue };
        let ack = acks.entry(lease).or_insert(Acked {
            invoked_ns: op.invoked_ns,
            at_ns: op.at_ns,
        });
        ack.invoked_ns = ack.invoked_ns.min(op.invoked_ns);
        ack.at_ns = ack.at_ns.min(op.at_ns);
    }
    acks
}

fn ack_of(op: &Op) -> Option<(TaskId, u64)> {
    match (&op.call, &op.end) {
        (Call::Lease(Act::Ack, id, token), End::Done) => Some((*id, *token)),
        _ => None,
    }
}

fn call(namespace: &str, call: &Call) -> history::Call {
    match call {
        Call::Create { request, .. } => history::Call::Create {
            request: request
                .as_ref()
                .map_or(0, |id| history::request_number(namespace, id)),
        },
        Call::Get(id) => history::Call::Get(*id),
        Call::Cancel(id) => history::Call::Cancel(*id),
        Call::Redrive(id) => history::Call::Redrive(*id),
        Call::Purge(id) => history::Call::Purge(*id),
        Call::Lease(act, id, token) => match act {
            Act::Ack => history::Call::Ack(*id, *token),
            Act::Nack | Act::NackForGood => history::Call::Nack(*id, *token),
            Act::Extend => history::Call::Extend(*id, *token),
            Act::Release => history::Call::Release(*id, *token),
        },
    }
}

fn end(history: &mut History, called: history::OpId, op: &Op) {
    let reply = match &op.end {
        End::Made(_) | End::Done | End::Lasts(_) => Reply::Done,
        End::Died => Reply::Died,
        End::Stands(stands) => Reply::Stands(*stands),
        End::Refused(_) => return history.refused(called, op.at_ns),
        End::Unknown => return,
    };
    history.acked(called, op.at_ns, reply);
}
