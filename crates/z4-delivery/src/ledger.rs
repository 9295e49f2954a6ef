//! The leases of a session: the one place in which its credit is counted.
//!
//! The log is the truth. A lease comes in when the log grants it and leaves when the
//! log says that it ended, or that another session has it, and by nothing else: an answer to an ack, a task that was
//! written, a lease that was given back only move it from one place to another.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use z4_core::command::Grant;

use crate::input::Key;
use crate::output::Delivery;

/// Where a lease of a session is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// The lease was granted ahead, and waits for its due time.
    Held,
    /// It waits for room at the consumer.
    Waiting,
    /// It was handed to the shell, which has not said what became of it.
    OnWay,
    /// The consumer has it.
    InHand,
    /// It is being given back.
    Returning,
    /// It ran out before it was delivered; the log will say so.
    Over,
}

/// A lease of a session.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) grant: Grant,
    /// Granted to this session, not to an earlier one of its consumer.
    pub(crate) is_own: bool,
    /// It may have been delivered before, on an earlier session of the consumer: it
    /// comes again whatever the credit.
    pub(crate) is_resumed: bool,
    /// Its client has said what became of the task.
    pub(crate) is_spoken: bool,
    /// Another session of the consumer has resumed it since. The client may work on it
    /// still, so it takes room until the log says that it ended; it is not this session's
    /// to be given back.
    pub(crate) is_elsewhere: bool,
    /// Others had better have it from then on, in nanoseconds of the wall clock, if
    /// it still waits.
    pub(crate) release_at_ns: u64,
    pub(crate) place: Place,
}

impl Lease {
    fn delivery(&self) -> Delivery {
        let (grant, is_resumed) = (self.grant.clone(), self.is_resumed);
        Delivery { grant, is_resumed }
    }

    /// The lease, and its deadline in machine nanoseconds.
    pub(crate) fn key_until(&self) -> (Key, u64) {
        (self.grant.key(), self.grant.deadline_ns)
    }
}

/// How many leases are somewhere, and their bytes of payload and metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    leases: BTreeMap<Key, Lease>,
    /// Those that wait, in their order; some may wait no longer.
    waiting: VecDeque<Key>,
    /// Leases that are held, by their due times, in machine nanoseconds.
    held: BTreeSet<(u64, Key)>,
    /// Leases that came to be held since [`take_expected`](Self::take_expected), and may be
    /// so no more.
    expected: Vec<Key>,
    sums: [Sum; 6],
    /// Granted to this session since it opened.
    received: u64,
    /// Those of them that have not ended.
    own: u64,
}

impl Ledger {
    /// A lease comes, and waits or is held. `false`: it is known already.
    pub(crate) fn insert(&mut self, lease: Lease) -> bool {
        let key = lease.grant.key();
        if self.leases.contains_key(&key) {
            return false;
        }
        self.received += u64::from(lease.is_own);
        self.own += u64::from(lease.is_own);
        self.add(&lease);
        match lease.place {
            Place::Held => self.expected.push(key),
            _ => self.waiting.push_back(key),
        }
        self.leases.insert(key, lease);
        true
    }

    /// The log says that a lease ended.
    pub(crate) fn end(&mut self, key: &Key) -> Option<Lease> {
        let lease = self.leases.remove(key)?;
        self.subtract(&lease);
        self.own -= u64::from(lease.is_own);
        Some(lease)
    }

    /// A lease is somewhere else. `None`: it has ended.
    pub(crate) fn move_to(&mut self, key: &Key, place: Place) -> Option<&Lease> {
        let mut lease = self.leases.remove(key)?;
        self.subtract(&lease);
        lease.place = place;
        self.add(&lease);
        Some(self.leases.entry(*key).or_insert(lease))
    }

    /// Holds no longer the leases whose tasks are due by this machine time, in nanoseconds.
    pub(crate) fn ripen(&mut self, due_by_ns: u64) {
        while let Some((_, key)) = self.held.first().filter(|(at_ns, _)| *at_ns <= due_by_ns) {
            let key = *key;
            self.move_to(&key, Place::Waiting);
            self.waiting.push_back(key);
        }
    }

    /// Leases that are held and were not told of yet.
    pub(crate) fn take_expected(&mut self) -> Vec<Delivery> {
        let keys = std::mem::take(&mut self.expected);
        let held = keys.iter().filter_map(|key| self.leases.get(key));
        let held = held.filter(|lease| lease.place == Place::Held);
        held.map(Lease::delivery).collect()
    }

    /// When the first of those that are held is due, in machine nanoseconds.
    pub(crate) fn held_until_ns(&self) -> Option<u64> {
        self.held.first().map(|(at_ns, _)| *at_ns)
    }

    /// Several leases are somewhere else.
    pub(crate) fn move_all(&mut self, leases: &[(Key, u64)], place: Place) {
        for (key, _) in leases {
            self.move_to(key, place);
        }
    }

    /// A lease is on its way to the consumer.
    pub(crate) fn hand_over(&mut self, key: &Key) -> Option<Delivery> {
        Some(self.move_to(key, Place::OnWay)?.delivery())
    }

    /// Leases that were on their way wait again, before all others.
    pub(crate) fn put_back(&mut self, keys: &[Key]) {
        for key in keys.iter().rev() {
            let lease = self.leases.get(key);
            if lease.is_some_and(|lease| lease.place == Place::OnWay) {
                self.move_to(key, Place::Waiting);
                self.waiting.push_front(*key);
            }
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Lease> {
        self.leases.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Lease> {
        self.leases.get_mut(key)
    }

    /// The first lease that waits.
    pub(crate) fn first_waiting(&mut self) -> Option<&mut Lease> {
        while let Some(key) = self.waiting.front().copied() {
            if self.waits(&key) {
                return self.leases.get_mut(&key);
            }
            self.waiting.pop_front();
        }
        None
    }

    /// The last lease that waits, those that are held included.
    pub(crate) fn last_waiting(&mut self) -> Option<&mut Lease> {
        if let Some((_, key)) = self.held.last() {
            return self.leases.get_mut(key);
        }
        while let Some(key) = self.waiting.back().copied() {
            if self.waits(&key) {
                return self.leases.get_mut(&key);
            }
            self.waiting.pop_back();
        }
        None
    }

    fn waits(&self, key: &Key) -> bool {
        let lease = self.leases.get(key);
        lease.is_some_and(|lease| lease.place == Place::Waiting)
    }

    pub(crate) fn at(&self, place: Place) -> Sum {
        self.sums[place as usize]
    }

    /// All leases that are in one of these places, with deadlines.
    pub(crate) fn all_at(&self, places: &[Place]) -> Vec<(Key, u64)> {
        let leases = self.leases.values();
        let there = leases.filter(|lease| places.contains(&lease.place));
        there.map(Lease::key_until).collect()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.leases.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.leases.len()
    }

    /// Leases that the consumer has, or may yet be given, or that are not given
    /// back yet.
    pub(crate) fn open(&self) -> u64 {
        self.leases.len() as u64 - self.at(Place::Over).count
    }

    /// Granted to this session since it opened.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Those of them that have not ended: they fill its credit.
    pub(crate) fn own(&self) -> u64 {
        self.own
    }

    /// Granted to earlier sessions of the consumer, and not ended.
    pub(crate) fn others(&self) -> u64 {
        self.leases.len() as u64 - self.own
    }

    fn add(&mut self, lease: &Lease) {
        let sum = &mut self.sums[lease.place as usize];
        sum.count += 1;
        sum.bytes += lease.grant.bytes;
        if lease.place == Place::Held {
            self.held.insert((lease.grant.due_at_ns, lease.grant.key()));
        }
    }

    fn subtract(&mut self, lease: &Lease) {
        let sum = &mut self.sums[lease.place as usize];
        sum.count -= 1;
        sum.bytes -= lease.grant.bytes;
        if lease.place == Place::Held {
            self.held
                .remove(&(lease.grant.due_at_ns, lease.grant.key()));
        }
    }
}
