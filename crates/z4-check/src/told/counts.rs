//! The counts of the namespace add up, and lie between what the clients know and
//! what they cannot exclude.

use std::collections::BTreeSet;

use z4_core::state::NamespaceCounts;
use z4_core::TaskId;

use super::judge::labels;
use super::{Act, Call, End, Told};
use crate::conserve::{self, Known};
use crate::Violation;

/// The count of the namespace that differs from what clients were told, if one does.
pub(super) fn check(namespace: &str, told: &Told, counts: &NamespaceCounts) -> Option<Violation> {
    let mut known = Known::default();
    let mut done = BTreeSet::new();
    let mut perhaps: BTreeSet<TaskId> = BTreeSet::new();
    for op in &told.ops {
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
    known.done = done.len() as u64;
    known.done_unknown = perhaps.difference(&done).count() as u64;
    conserve::check(namespace, counts, &known).err()
}
