//! The leases that a stream's consumer has in hand.

use std::collections::{BTreeSet, HashMap};

use z4_core::task::LeaseToken;
use z4_core::TaskId;

/// A lease.
pub(super) type Key = (TaskId, LeaseToken);

/// A lease in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held {
    pub(super) bytes: u64,
    /// In machine nanoseconds, as far as it is known here.
    pub(super) deadline_ns: u64,
    /// Granted to this stream, not to an earlier one of its consumer.
    pub(super) own: bool,
}

/// Delivered and not ended.
#[derive(Default)]
pub(super) struct Ledger {
    held: HashMap<Key, Held>,
    deadlines: BTreeSet<(u64, Key)>,
    bytes: u64,
}

impl Ledger {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Of payload and metadata.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn insert(&mut self, key: Key, held: Held) {
        self.remove(&key);
        self.bytes += held.bytes;
        self.deadlines.insert((held.deadline_ns, key));
        self.held.insert(key, held);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Held> {
        let held = self.held.remove(key)?;
        self.bytes -= held.bytes;
        self.deadlines.remove(&(held.deadline_ns, *key));
        Some(held)
    }

    pub(super) fn deadline_ns(&self, key: &Key) -> Option<u64> {
        self.held.get(key).map(|held| held.deadline_ns)
    }

    pub(super) fn set_deadline(&mut self, key: &Key, deadline_ns: u64) {
        if let Some(held) = self.remove(key) {
            let held = Held {
                deadline_ns,
                ..held
            };
            self.insert(*key, held);
        }
    }

    /// The earliest deadline.
    pub(super) fn first_ns(&self) -> Option<u64> {
        self.deadlines.first().map(|(at_ns, _)| *at_ns)
    }

    /// Those whose deadline is at or before a time.
    pub(super) fn until(&self, at_ns: u64) -> Vec<Key> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= at_ns);
        due.map(|(_, key)| *key).collect()
    }

    /// Empties it.
    pub(super) fn take(&mut self) -> Vec<(Key, Held)> {
        self.bytes = 0;
        self.deadlines.clear();
        self.held.drain().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        (TaskId::new(1, 1, n), LeaseToken(7))
    }

    fn held(bytes: u64, deadline_ns: u64) -> Held {
        Held {
            bytes,
            deadline_ns,
            own: true,
        }
    }

    #[test]
    fn bytes_and_deadlines_follow_what_is_held() {
        let mut ledger = Ledger::default();
        ledger.insert(key(1), held(10, 50));
        ledger.insert(key(2), held(5, 40));
        ledger.insert(key(2), held(6, 45));
        assert_eq!((ledger.bytes(), ledger.first_ns()), (16, Some(45)));
        ledger.set_deadline(&key(2), 60);
        ledger.set_deadline(&key(3), 1);
        assert_eq!(ledger.until(50), vec![key(1)]);
        assert_eq!(ledger.remove(&key(1)), Some(held(10, 50)));
        assert_eq!(ledger.remove(&key(1)), None);
        assert_eq!((ledger.bytes(), ledger.first_ns()), (6, Some(60)));
        assert_eq!(ledger.take().len(), 1);
        assert!(ledger.is_empty() && ledger.bytes() == 0 && ledger.first_ns().is_none());
    }
}
