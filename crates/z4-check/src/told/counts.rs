//! The clients know bounds of the counts of the namespace. The counts add up, and lie
//! between what the clients know and what they cannot exclude: see [`conserve`](crate::conserve).

use std::collections::BTreeSet;

use z4_core::TaskId;

use super::judge::labels;
use super::part::Part;
use super::{Act, Call, End};
use crate::conserve::Known;

/// Adds what the clients know of the tasks of a part.
pub(super) fn add(part: &Part<'_>, known: &mut Known) {
    let mut done = BTreeSet::new();
    let mut perhaps: BTreeSet<TaskId> = BTreeSet::new();
    for op in &part.ops {
        match (&op.call, &op.end) {
            (Call::Create { .. }, End::Made(ids)) => known.created += ids.len() as u64,
            (call @ Call::Create { .. }, End::Unknown) => {
                known.created_unknown += labels(call).len() as u64;
            }
            (Call::Cancel(_), End::Done) => known.cancelled += 1,
            (Call::Cancel(_), End::Unknown) => known.cancelled_unknown += 1,
            (Call::Lease(Act::Ack, id, _), End::Done) => {
                done.insert(*id);
            }
            (Call::Lease(Act::Ack, id, _), End::Unknown) => {
                perhaps.insert(*id);
            }
            _ => {}
        }
    }
    known.done += done.len() as u64;
    known.done_unknown += perhaps.difference(&done).count() as u64;
}
