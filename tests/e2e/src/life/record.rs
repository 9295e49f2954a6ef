//! The record that all clients of a round write to. Its times are nanoseconds of
//! this process's monotonic clock since the start of the record.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use z4_check::told::{Act, Call, End, Op, Told};
use z4_core::TaskId;

use super::work::LEASE_MAX;

/// The record of a round. Clones are one record.
#[derive(Debug, Clone)]
pub struct Record {
    start: Instant,
    told: Arc<Mutex<Told>>,
    made: Arc<AtomicU64>,
    acked: Arc<AtomicU64>,
}

impl Record {
    /// An empty record on a clock that began at `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        let told = Told {
            lease_max_ns: LEASE_MAX.as_nanos() as u64,
            ..Told::default()
        };
        Self {
            start,
            told: Arc::new(Mutex::new(told)),
            made: Arc::default(),
            acked: Arc::default(),
        }
    }

    /// Now.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// What there is so far.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An operation ended just now.
    pub fn ended(&self, client: u32, call: Call, invoked_ns: u64, end: End) {
        let at_ns = self.now_ns();
        let mut told = self.told();
        match (&call, &end) {
            (Call::Create { .. }, End::Made(ids)) => {
                told.writes.push((invoked_ns, at_ns));
                self.made.fetch_add(ids.len() as u64, Ordering::Relaxed);
            }
            (Call::Lease(Act::Ack, ..), End::Done) => {
                self.acked.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
        told.ops.push(Op {
            client,
            call,
            invoked_ns,
            at_ns,
            end,
        });
    }

    /// Acks that were done since `since_ns`, of tasks that these clients made: of those that
    /// nobody else was told to have made. It reads the whole record.
    #[must_use]
    pub fn acked_of(&self, makers: &[u32], since_ns: u64) -> u64 {
        let told = self.told();
        let others = told.ops.iter().filter(|op| !makers.contains(&op.client));
        // The tasks of others are few where it matters, and so is the memory for their ids.
        let made = others.filter_map(|op| match &op.end {
            End::Made(ids) => Some(ids),
            _ => None,
        });
        let of_others: HashSet<TaskId> = made.flatten().copied().collect();
        let later = told.ops.iter().filter(|op| op.at_ns >= since_ns);
        let acks = later.filter(|op| match (&op.call, &op.end) {
            (Call::Lease(Act::Ack, id, _), End::Done) => !of_others.contains(id),
            _ => false,
        });
        acks.count() as u64
    }

    /// Tasks that were made and not acked, about: some ended in other ways.
    #[must_use]
    pub fn open_tasks(&self) -> u64 {
        let made = self.made.load(Ordering::Relaxed);
        made.saturating_sub(self.acked.load(Ordering::Relaxed))
    }

    /// Operations so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        let told = self.told();
        (told.ops.len() + told.handed.len()) as u64
    }

    /// Something that must never be.
    pub fn absurd(&self, what: String) {
        self.told().absurd.push(what);
    }

    /// When the first create that was asked at `since_ns` or later was
    /// answered.
    #[must_use]
    pub fn first_write_since(&self, since_ns: u64) -> Option<u64> {
        let told = self.told();
        let later = told.writes.iter().rev().take_while(|w| w.1 >= since_ns);
        later.filter(|w| w.0 >= since_ns).map(|w| w.1).min()
    }

    /// The longest time without an answer to a create between two moments.
    #[must_use]
    pub fn longest_gap(&self, from_ns: u64, to_ns: u64) -> u64 {
        let told = self.told();
        let answers = told.writes.iter().map(|w| w.1);
        let mut last = from_ns;
        let mut longest = 0;
        for at in answers.filter(|at| (from_ns..=to_ns).contains(at)) {
            longest = longest.max(at.saturating_sub(last));
            last = at;
        }
        longest.max(to_ns.saturating_sub(last))
    }

    /// Operations that ended between two moments.
    #[must_use]
    pub fn count_between(&self, from_ns: u64, to_ns: u64) -> usize {
        let told = self.told();
        let within = |at: u64| (from_ns..to_ns).contains(&at);
        let ops = told.ops.iter().filter(|op| within(op.at_ns)).count();
        ops + told.handed.iter().filter(|h| within(h.at_ns)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_count_for_those_who_made_the_tasks() {
        let record = Record::new(Instant::now());
        let ids = [1, 2, 3, 4].map(|ordinal| TaskId::new(1, 1, ordinal));
        let make = |client, ids: &[TaskId]| {
            let (request, labels) = (None, vec![0; ids.len()]);
            record.ended(
                client,
                Call::Create { request, labels },
                0,
                End::Made(ids.to_vec()),
            );
        };
        let ack = |id, end| record.ended(9, Call::Lease(Act::Ack, id, 1), 0, end);
        make(7, &ids[..3]);
        make(8, &ids[3..]);
        ack(ids[0], End::Done);
        let between_ns = record.now_ns() + 1;
        std::thread::sleep(std::time::Duration::from_millis(1));
        ack(ids[1], End::Done);
        ack(ids[2], End::Unknown);
        ack(ids[3], End::Done);
        assert_eq!(record.acked_of(&[7], 0), 2);
        assert_eq!(record.acked_of(&[7], between_ns), 1);
        assert_eq!(record.acked_of(&[7, 8], between_ns), 2);
    }

    #[test]
    fn writes_count_again_when_one_that_began_later_is_answered() {
        let record = Record::new(Instant::now());
        record.told().writes = vec![(1, 10), (5, 30), (12, 31), (25, 40)];
        // The one that began at 5 may have been done before.
        assert_eq!(record.first_write_since(11), Some(31));
        assert_eq!(record.first_write_since(26), None);
        assert_eq!(record.longest_gap(10, 41), 20);
        assert_eq!(record.longest_gap(31, 100), 60);
    }
}
