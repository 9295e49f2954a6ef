//! Every acknowledged task came at least once; none before its time, none to two
//! at once, none after its end, and each repeated delivery has a reason.

use std::collections::BTreeMap;

use z4_core::TaskId;

use super::indexes::Entries;
use super::judge::{labels, seen_with, ByLabel};
use super::part::Part;
use super::{Act, Call, Closed, End, Handed, Op, Spec};
use crate::delivery::{Created, Delivered, Deliveries, Removed, Report, Returned};

/// The deliveries of a part by their reasons, and what is broken. `entries` are those
/// of the whole round.
pub(super) fn check(part: &Part<'_>, by_label: &ByLabel, entries: &Entries) -> Report {
    let mut seen = Deliveries::default();
    for op in &part.ops {
        let labels = labels(&op.call);
        if let End::Made(ids) = &op.end {
            for (label, id) in labels.iter().zip(ids) {
                created(part, &mut seen, *label, *id, true);
            }
        } else {
            // Nobody was told of them, but they say themselves who made them.
            for (place, id) in seen_with(by_label, labels) {
                created(part, &mut seen, labels[place as usize], id, false);
            }
        }
        ended(&mut seen, op, entries);
    }
    for handed in &part.handed {
        delivered(&mut seen, handed);
    }
    closed(part, &mut seen);
    // All tasks have ended: all were due. Every task says who made it: there are
    // no strangers.
    seen.check(u64::MAX, 0)
}

fn created(part: &Part<'_>, seen: &mut Deliveries, label: u64, id: TaskId, acked: bool) {
    let spec = part.spec(label);
    let created = Created {
        due_ns: spec.map_or(0, |spec| spec.due_ns),
        acked,
        may_vanish: spec.is_some_and(may_vanish),
    };
    seen.created(id, created);
}

/// Whether it may end before anybody saw it: it waits for so long only, or the
/// leases of its few attempts were granted to streams that broke before it came.
fn may_vanish(spec: &Spec) -> bool {
    spec.ttl_ms > 0 || spec.attempts_max > 0
}

fn delivered(seen: &mut Deliveries, handed: &Handed) {
    seen.delivered(Delivered {
        task: handed.id,
        token: handed.token,
        attempt: handed.attempt,
        deliveries: handed.deliveries,
        granted_ns: handed.began_ns,
        deadline_ns: handed.deadline_ns,
        asked_ns: handed.asked_ns,
        at_ns: handed.at_ns,
        resumed: handed.resumed,
    });
}

/// Who closes a stream in good order gives back what it holds. So a lease ends
/// early when its consumer did that between its last delivery and the next lease.
/// When it was not told the end, it may have had the lease again before that was
/// done. A stream that broke gives back nothing: its consumer may have its leases
/// at another peer.
fn closed(part: &Part<'_>, seen: &mut Deliveries) {
    let mut closed: BTreeMap<&str, Vec<&Closed>> = BTreeMap::new();
    for one in &part.told.closed_streams {
        closed.entry(&one.consumer).or_default().push(one);
    }
    let mut leases: Vec<&Handed> = part.handed.clone();
    leases.sort_by_key(|handed| (handed.id, handed.token, handed.at_ns));
    for pair in leases.windows(2) {
        let (last, next) = (pair[0], pair[1]);
        if last.id != next.id || last.token == next.token {
            continue;
        }
        let of = closed.get(&*last.consumer).into_iter().flatten();
        let gives_back = |one: &&Closed| {
            let grace_ns = if one.is_over {
                0
            } else {
                part.told.lease_max_ns
            };
            (last.at_ns..=next.at_ns + grace_ns).contains(&(one.at_ns + grace_ns))
        };
        if of.copied().any(|one| gives_back(&one)) {
            seen.returned(last.id, last.token, Returned::Closed);
        }
    }
}

fn ended(seen: &mut Deliveries, op: &Op, entries: &Entries) {
    let may_be = matches!(op.end, End::Done | End::Died | End::Unknown);
    let acked = op.end != End::Unknown;
    let at_ns = op.at_ns;
    match (&op.call, &op.end) {
        (Call::Lease(Act::Ack, id, token), End::Done) => seen.acked(*id, *token, at_ns),
        (Call::Lease(Act::Ack, id, token), End::Unknown) => seen.ack_unknown(*id, *token),
        (Call::Lease(Act::Nack | Act::NackForGood, id, token), _) if may_be => {
            seen.returned(*id, *token, Returned::Nacked);
        }
        (Call::Lease(Act::Release, id, token), _) if may_be => {
            seen.returned(*id, *token, Returned::Released);
        }
        (Call::Lease(Act::Extend, id, token), End::Lasts(ns)) => {
            seen.extended(*id, *token, Some(*ns));
        }
        (Call::Lease(Act::Extend, id, token), End::Unknown) => seen.extended(*id, *token, None),
        (Call::Redrive(id), _) if may_be => seen.redriven(*id),
        (Call::Cancel(id) | Call::Purge(id), _) if may_be => {
            let index = entries.above(at_ns);
            seen.removed(
                *id,
                Removed {
                    acked,
                    at_ns,
                    index,
                },
            );
        }
        _ => {}
    }
}
