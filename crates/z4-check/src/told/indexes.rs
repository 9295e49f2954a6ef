//! The log indexes that clients are told: a task's id holds that of the entry that
//! made it, a lease's token is that of its grant. What was asked after something
//! was answered has the higher one, at whatever peer.

use z4_core::task::ORDINAL_BITS;
use z4_core::TaskId;

use super::judge::{labels, seen_with, ByLabel};
use super::{Call, End, Op, Told};
use crate::index::{self, Indexed};
use crate::Violation;

/// The replies whose indexes of the log contradict each other, if any do.
pub(super) fn check(told: &Told, by_label: &ByLabel) -> Option<Violation> {
    let mut replies: Vec<Indexed> = Vec::new();
    for (op, id) in made(told, by_label) {
        let answered = matches!(op.end, End::Made(_));
        replies.push(Indexed {
            invoked_ns: op.invoked_ns,
            returned_ns: if answered { op.at_ns } else { u64::MAX },
            index: index_of(id),
        });
    }
    // When a stream's consumer asked for a lease says nothing: it may be one of an
    // earlier stream.
    replies.extend(told.handed.iter().map(|handed| Indexed {
        invoked_ns: 0,
        returned_ns: handed.at_ns,
        index: handed.token,
    }));
    index::check(&replies).err()
}

/// The entries that made tasks, by when they were asked for.
pub(super) struct Entries {
    /// When, and the lowest index of this one and all that were asked for later.
    lowest: Vec<(u64, u64)>,
}

impl Entries {
    /// All that is known of a round.
    pub(super) fn of(told: &Told, by_label: &ByLabel) -> Self {
        let made = made(told, by_label).into_iter();
        let mut lowest: Vec<(u64, u64)> =
            made.map(|(op, id)| (op.invoked_ns, index_of(id))).collect();
        lowest.sort_unstable();
        let mut least = u64::MAX;
        for (_, index) in lowest.iter_mut().rev() {
            least = least.min(*index);
            *index = least;
        }
        Self { lowest }
    }

    /// An index above that of everything that was answered at `at_ns`, the lowest
    /// that is known.
    pub(super) fn above(&self, at_ns: u64) -> Option<u64> {
        let first = self.lowest.partition_point(|(asked, _)| *asked <= at_ns);
        self.lowest.get(first).map(|(_, index)| *index)
    }
}

/// Tasks, and the creates that made them, answered or not.
fn made<'a>(told: &'a Told, by_label: &ByLabel) -> Vec<(&'a Op, TaskId)> {
    let mut made = Vec::new();
    for op in &told.ops {
        match (&op.call, &op.end) {
            (Call::Create { .. }, End::Made(ids)) => made.extend(ids.iter().map(|id| (op, *id))),
            (call @ Call::Create { .. }, _) => {
                let seen = seen_with(by_label, labels(call)).into_iter();
                made.extend(seen.map(|(_, id)| (op, id)));
            }
            _ => {}
        }
    }
    made
}

fn index_of(id: TaskId) -> u64 {
    // The lower half of an id: index, and place in the entry.
    let lower = id.as_bytes()[8..].iter();
    lower.fold(0, |number, byte| number << 8 | u64::from(*byte)) >> ORDINAL_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_the_index_of_its_entry() {
        assert_eq!(index_of(TaskId::new(u64::MAX, 77, 5)), 77);
        let highest = (1 << 44) - 1;
        assert_eq!(index_of(TaskId::new(0, highest, 1)), highest);
    }
}
