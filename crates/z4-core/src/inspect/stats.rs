//! How a namespace does: times and rates, at a cost that does not depend on how
//! many tasks it has.

use crate::limits;
use crate::state::{due_next_of, find_namespace, NamespaceRow, RateMark, StateError, View};
use crate::task::Namespace;
use crate::time::{MS_NS, SECOND_NS};

/// What is told of a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Counts, settings, marks.
    pub row: NamespaceRow,
    /// When the oldest task that is due and waits fell due, in machine
    /// nanoseconds; `None`: none is due.
    pub oldest_due_at_ns: Option<u64>,
    /// When the next one falls due, in machine nanoseconds; `None`: none will.
    pub next_due_at_ns: Option<u64>,
    /// What happened of late.
    pub rates: Rates,
}

/// What happened within a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// The time, in nanoseconds; greater than 0.
    pub elapsed_ns: u64,
    /// Tasks created in it.
    pub created: u64,
    /// Leases granted in it.
    pub deliveries: u64,
    /// Tasks acknowledged in it.
    pub done: u64,
}

/// Times and rates of a namespace at machine time `now_ns`; `None`: there is no
/// such namespace.
///
/// # Errors
/// [`StateError`] when the store fails.
pub fn stats(view: &impl View, name: &Namespace, now_ns: u64) -> Result<Option<Stats>, StateError> {
    let Some(row) = find_namespace(view, name)? else {
        return Ok(None);
    };
    let first = due_next_of(view, &row, None)?;
    let oldest_due_at_ns = first.filter(|at_ns| *at_ns <= now_ns);
    let next_due_at_ns = match first {
        Some(at_ns) if at_ns > now_ns => Some(at_ns),
        _ => due_next_of(view, &row, Some(now_ns))?,
    };
    let rates = rates(&row, now_ns);
    Ok(Some(Stats {
        row,
        oldest_due_at_ns,
        next_due_at_ns,
        rates,
    }))
}

/// What happened in a namespace of late: over 10 to 20 s; over less when it is
/// younger, over more when nothing happened meanwhile.
#[must_use]
pub fn rates(row: &NamespaceRow, now_ns: u64) -> Rates {
    let far_ns = 2 * limits::RATE_MARK_MS * MS_NS;
    let (before, last) = (row.window.before, row.window.last);
    let since = if before.at_ns == 0 {
        // All that ever happened is not older than the first mark.
        RateMark {
            at_ns: last.at_ns,
            ..RateMark::default()
        }
    } else if now_ns.saturating_sub(before.at_ns) <= far_ns {
        before
    } else {
        last
    };
    Rates {
        // Never over a moment, in which one task is a high rate.
        elapsed_ns: now_ns.saturating_sub(since.at_ns).max(SECOND_NS),
        created: row.counts.created.saturating_sub(since.created),
        deliveries: row.counts.deliveries.saturating_sub(since.deliveries),
        done: row.counts.done.saturating_sub(since.done),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::command::{Command, CreateTasks, Due, NewTask};
    use crate::task::WallTime;
    use crate::{Machine, MemState};

    const S: u64 = 1_000_000_000;

    fn name() -> Namespace {
        Namespace::new("n").unwrap()
    }

    fn create(machine: &mut Machine<MemState>, index: u64, at_ns: u64, due: Due) {
        let new = NewTask {
            due,
            ..NewTask::default()
        };
        let create = Command::CreateTasks(CreateTasks {
            namespace: name(),
            request_id: String::new(),
            tasks: vec![new],
        });
        machine
            .apply_entry(index, at_ns, vec![create], &mut Vec::new())
            .unwrap();
    }

    fn at(machine: &Machine<MemState>, now_ns: u64) -> Stats {
        stats(machine.state(), &name(), now_ns).unwrap().unwrap()
    }

    #[test]
    fn due_times_are_told_apart_by_now() {
        let mut machine = Machine::open(MemState::new()).unwrap();
        assert_eq!(stats(machine.state(), &name(), S).unwrap(), None);
        for (index, due_s) in [(1, 100), (2, 60), (3, 80)] {
            let due = Due::At(WallTime::from_ns(due_s * S));
            create(&mut machine, index, 10 * S, due);
        }
        let seen = at(&machine, 50 * S);
        assert_eq!(seen.oldest_due_at_ns, None);
        assert_eq!(seen.next_due_at_ns, Some(60 * S));
        let seen = at(&machine, 80 * S);
        assert_eq!(seen.oldest_due_at_ns, Some(60 * S));
        assert_eq!(seen.next_due_at_ns, Some(100 * S));
        let seen = at(&machine, 100 * S);
        assert_eq!(seen.next_due_at_ns, None);
        assert_eq!(seen.row.counts.pending, 3);
    }

    #[test]
    fn a_steady_rate_is_told_as_it_is() {
        let mut machine = Machine::open(MemState::new()).unwrap();
        // Five a second for a minute, from an hour on.
        let start = 3_600 * S;
        for n in 0..300 {
            let at_ns = start + n * S / 5;
            create(&mut machine, n + 1, at_ns, Due::Now);
            let rates = at(&machine, at_ns).rates;
            if n > 10 {
                let per_100_s = rates.created * 100 * S / rates.elapsed_ns;
                assert!((430..=560).contains(&per_100_s), "{n}: {rates:?}");
            }
            assert!(rates.elapsed_ns <= 20 * S, "{n}: {rates:?}");
        }
        // Then nothing: it falls.
        let rates = at(&machine, start + 160 * S).rates;
        assert!(rates.created * 100 * S / rates.elapsed_ns < 60, "{rates:?}");
    }
}
