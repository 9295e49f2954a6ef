//! How many due tasks have their turn before one, by a bounded count.

use crate::state::{rank, NamespaceRow, RowKey, StateError, View};
use crate::task::{Priority, TaskId};

/// How many due tasks come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ahead {
    /// Counted.
    pub at_least: u64,
    /// By the lengths of the queues, which count those that are not due as well;
    /// equal to `at_least` when all were counted.
    pub at_most: u64,
}

/// How many tasks that are due at machine time `now_ns` come before the one at
/// `(due_at_ns, id)` of a priority. Counts `rows` of them at most.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn ahead(
    view: &impl View,
    row: &NamespaceRow,
    priority: Priority,
    (due_at_ns, id): (u64, TaskId),
    now_ns: u64,
    rows: u64,
) -> Result<Ahead, StateError> {
    let own = rank(priority);
    let (mut counted, mut at_most, mut whole) = (0, 0, true);
    for (rank, head) in (0u8..=own).zip(&row.queues) {
        if head.count == 0 || head.cursor.0 > now_ns {
            continue;
        }
        at_most += head.count;
        let from = RowKey::Due {
            namespace: row.id,
            rank,
            due_at_ns: head.cursor.0,
            id: head.cursor.1,
        };
        let to = RowKey::queue_end(row.id, rank);
        view.scan(&from, &to, &mut |key, _| {
            let RowKey::Due {
                due_at_ns: other_ns,
                id: other,
                ..
            } = key
            else {
                return true;
            };
            if other_ns > now_ns || (rank == own && (other_ns, other) >= (due_at_ns, id)) {
                return false;
            }
            if counted == rows {
                whole = false;
                return false;
            }
            counted += 1;
            true
        })?;
    }
    // The task itself stands in the last queue.
    let at_most = at_most.saturating_sub(1).max(counted);
    Ok(Ahead {
        at_least: counted,
        at_most: if whole { counted } else { at_most },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::state::{Row, State};
    use crate::{MemState, NamespaceId};

    #[test]
    fn higher_priorities_and_earlier_times_come_first() {
        let mut state = MemState::new();
        let mut row = NamespaceRow::new(NamespaceId(1));
        let mut put = |priority: u8, due_at_ns: u64| {
            let id = TaskId::new(1, due_at_ns, 0);
            let priority = Priority::new(priority).unwrap();
            let due = Row::Due {
                touched: false,
                bytes: 0,
                max_attempts: 0,
                ttl_ms: 0,
            };
            state.put(RowKey::due(row.id, priority, due_at_ns, id), due);
            let head = &mut row.queues[usize::from(rank(priority))];
            if head.count == 0 {
                head.cursor = (due_at_ns, id);
            }
            head.count += 1;
        };
        // Due, due, not due; then the queue of the task; then one below it.
        [10, 20, 90].into_iter().for_each(|at| put(9, at));
        [5, 30, 40, 50].into_iter().for_each(|at| put(5, at));
        put(4, 1);
        let of = |priority, at, rows| {
            let priority = Priority::new(priority).unwrap();
            let place = (at, TaskId::new(1, at, 0));
            ahead(&state, &row, priority, place, 60, rows).unwrap()
        };
        let exactly = |n| Ahead {
            at_least: n,
            at_most: n,
        };
        assert_eq!(of(9, 10, 100), exactly(0));
        assert_eq!(of(5, 40, 100), exactly(4));
        assert_eq!(of(4, 1, 100), exactly(6));
        let bounded = Ahead {
            at_least: 3,
            at_most: 6,
        };
        assert_eq!(of(5, 40, 3), bounded);
    }
}
