//! Dead letters that a filter takes, a part at a time: who redrives or purges
//! many does so in commands of a bounded size.

use super::Place;
use crate::state::{find_status, NamespaceRow, RowKey, StateError, View};
use crate::task::{DeathReason, Phase, TaskId};

/// Which dead letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeadFilter {
    /// Died at or after this machine time, in nanoseconds.
    pub from_ns: u64,
    /// Died before this machine time, in nanoseconds; `None`: whenever.
    pub to_ns: Option<u64>,
    /// Why; `None`: whatever the reason.
    pub reason: Option<DeathReason>,
}

/// A part of the dead letters of a namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadPage {
    /// Oldest first; may be none although there is a next part.
    pub ids: Vec<TaskId>,
    /// Where the next part begins; `None`: this was the last one.
    pub next: Option<Place>,
}

/// The dead letters that a filter takes among the next `count` from a place on.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn dead_letters(
    view: &impl View,
    row: &NamespaceRow,
    filter: &DeadFilter,
    from: Place,
    count: usize,
) -> Result<DeadPage, StateError> {
    let start = from
        .max(row.dead_from)
        .max((filter.from_ns, TaskId::default()));
    let mut page = DeadPage::default();
    let (first, end) = RowKey::dead_letters(row.id, start);
    view.scan(&first, &end, &mut |key, _| {
        let RowKey::Dead { at_ns, id, .. } = key else {
            return true;
        };
        if filter.to_ns.is_some_and(|to_ns| at_ns >= to_ns) {
            return false;
        }
        if page.ids.len() == count {
            page.next = Some((at_ns, id));
            return false;
        }
        page.ids.push(id);
        true
    })?;
    if let Some(wanted) = filter.reason {
        let mut taken = Vec::with_capacity(page.ids.len());
        for id in page.ids {
            let status = find_status(view, row.id, id)?;
            let reason = status.and_then(|status| match status.phase {
                Phase::Dead { reason, .. } => Some(reason),
                _ => None,
            });
            if reason == Some(wanted) {
                taken.push(id);
            }
        }
        page.ids = taken;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::state::{Row, State};
    use crate::task::{Priority, TaskStatus};
    use crate::{MemState, NamespaceId};

    /// Ten dead letters that died at 100, 110, …; the odd ones of age.
    fn ten() -> (MemState, NamespaceRow) {
        let mut state = MemState::new();
        let row = NamespaceRow::new(NamespaceId(3));
        for n in 0..10 {
            let id = TaskId::new(n, n, 0);
            let reason = match n % 2 {
                0 => DeathReason::Attempts,
                _ => DeathReason::Ttl,
            };
            let at_ns = 100 + 10 * n;
            state.put(RowKey::dead(row.id, at_ns, id), Row::Dead);
            state.put(RowKey::dead(NamespaceId(4), at_ns, id), Row::Dead);
            let status = TaskStatus {
                phase: Phase::Dead {
                    at_ns,
                    reason,
                    forget_at_ns: 0,
                },
                deliveries: 1,
                failures: 1,
                returns: 0,
                first_due_at_ns: n,
                priority: Priority::default(),
                bytes: 1,
                max_attempts: 0,
                ttl_ms: 0,
                last_error: String::new(),
            };
            state.put(RowKey::Status(row.id, id), Row::Status(status));
        }
        (state, row)
    }

    fn all(state: &MemState, row: &NamespaceRow, filter: DeadFilter, count: usize) -> Vec<u64> {
        let (mut found, mut from) = (Vec::new(), Some((0, TaskId::default())));
        while let Some(place) = from {
            let page = dead_letters(state, row, &filter, place, count).unwrap();
            found.extend(page.ids);
            from = page.next;
        }
        let number = |id: &TaskId| (0..10).find(|n| TaskId::new(*n, *n, 0) == *id).unwrap();
        found.iter().map(number).collect()
    }

    #[test]
    fn each_part_goes_on_where_the_last_one_ended() {
        let (state, row) = ten();
        for count in [1, 3, 9, 10, 11] {
            let found = all(&state, &row, DeadFilter::default(), count);
            assert_eq!(found, (0..10).collect::<Vec<_>>(), "{count} at a time");
        }
    }

    #[test]
    fn time_and_reason_are_looked_at() {
        let (state, mut row) = ten();
        let filter = |from_ns, to_ns, reason| DeadFilter {
            from_ns,
            to_ns,
            reason,
        };
        let some = filter(120, Some(150), None);
        assert_eq!(all(&state, &row, some, 2), [2, 3, 4]);
        let old = filter(0, None, Some(DeathReason::Ttl));
        assert_eq!(all(&state, &row, old, 3), [1, 3, 5, 7, 9]);
        let none = filter(0, None, Some(DeathReason::Permanent));
        assert_eq!(all(&state, &row, none, 3), [0; 0]);
        // What is below the start was removed.
        row.dead_from = (130, TaskId::default());
        assert_eq!(
            all(&state, &row, DeadFilter::default(), 4).first(),
            Some(&3)
        );
    }
}
