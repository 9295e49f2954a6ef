//! How much a stream's consumer may have, by count and by bytes, and what waits
//! for room. Pure: decides, and does nothing.
//!
//! The leader keeps to the count. It does not know of bytes: what is granted
//! beyond them waits here, as much again as may be in flight; the rest is given
//! back, and no more is taken until a lease ends. So that this is rare, the
//! credit is cut to what will fit by the mean size of tasks.
//!
//! A consumer with a name whose connection broke may be at another peer, with all
//! that it was granted here, long before this peer notices. So nothing is given
//! back in its name but when a message of it came after there was cause to: who
//! speaks on this stream is here. What a silent one was not given runs out.

use std::borrow::Borrow;
use std::collections::{HashSet, VecDeque};

use z4_core::command::Grant;

use super::ledger::{Held, Key, Ledger};
use crate::limits;

/// A grant that is not delivered yet.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub(super) grant: Grant,
    /// Delivered before, on an earlier stream of the consumer: it comes again
    /// whatever the credit.
    pub(super) resumed: bool,
    /// Granted to this stream, not to an earlier one of its consumer.
    pub(super) own: bool,
    /// Then others had better have it, in nanoseconds of the clock.
    release_at_ns: u64,
    /// How many messages had come from the consumer when it came.
    heard_before: u64,
    /// And when it was time that others had it.
    heard_when_late: Option<u64>,
}

impl Borrow<Grant> for Wait {
    fn borrow(&self) -> &Grant {
        &self.grant
    }
}

impl Wait {
    pub(super) fn key(&self) -> Key {
        (self.grant.id, self.grant.token)
    }
}

/// See the module.
pub(super) struct Flow {
    in_flight_max: u64,
    bytes_max: u64,
    waiting: VecDeque<Wait>,
    waiting_bytes: u64,
    /// Taken out of `waiting` and not delivered.
    on_way: u64,
    on_way_bytes: u64,
    pub(super) ledger: Ledger,
    /// Granted to this stream.
    received: u64,
    /// Those of them that are no longer with it, as far as is known here.
    settled: u64,
    /// Those of them that ended, as the log says.
    ended: u64,
    /// Leases that were granted to earlier streams and are with this one.
    foreign: HashSet<Key>,
    mean_bytes: u64,
    blocked: bool,
    draining: bool,
    /// By how much `ended` is beyond `settled` without a cause that can be found.
    excess: u64,
    excess_since_ns: Option<u64>,
    /// The consumer has a name, and may be elsewhere by now.
    named: bool,
    /// Messages that came from it on this stream.
    heard: u64,
}

impl Flow {
    pub(super) fn new(in_flight_max: u64, bytes_max: u64) -> Self {
        Self {
            in_flight_max,
            bytes_max,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            on_way: 0,
            on_way_bytes: 0,
            ledger: Ledger::default(),
            received: 0,
            settled: 0,
            ended: 0,
            foreign: HashSet::new(),
            mean_bytes: 0,
            blocked: false,
            draining: false,
            excess: 0,
            excess_since_ns: None,
            named: false,
            heard: 0,
        }
    }

    /// The consumer has a name of its own: it can come back elsewhere.
    pub(super) fn name(&mut self) {
        self.named = true;
    }

    /// A message came from the consumer.
    pub(super) fn heard(&mut self) {
        self.heard += 1;
    }

    pub(super) fn set_credit(&mut self, in_flight_max: Option<u64>, bytes_max: Option<u64>) {
        self.in_flight_max = in_flight_max.unwrap_or(self.in_flight_max);
        self.bytes_max = bytes_max.unwrap_or(self.bytes_max);
        self.blocked = false;
    }

    /// No more deliveries but of what was delivered before.
    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining
    }

    /// Nothing is with the consumer, nor on its way to it.
    pub(super) fn is_empty(&self) -> bool {
        self.ledger.is_empty() && self.on_way == 0 && self.waiting.is_empty()
    }

    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// What the consumer takes at once of what is granted to this stream.
    pub(super) fn window(&self) -> u64 {
        if self.draining {
            return 0;
        }
        if self.blocked && !self.is_empty() {
            return self.own_in_flight();
        }
        let fitting = match self.mean_bytes {
            0 => u64::MAX,
            mean => (self.bytes_max.saturating_mul(2) / mean).max(1),
        };
        self.in_flight_max
            .min(fitting)
            .saturating_sub(self.foreign.len() as u64)
    }

    fn own_in_flight(&self) -> u64 {
        let gone = self.settled.max(self.ended);
        self.received.saturating_sub(gone)
    }

    /// A lease comes; `resumed`: it was delivered before.
    pub(super) fn take(&mut self, grant: Grant, own: bool, resumed: bool, now_ns: u64) {
        let wait = Wait {
            release_at_ns: now_ns + grant.deadline_ns.saturating_sub(now_ns) / 2,
            grant,
            resumed,
            own,
            heard_before: self.heard,
            heard_when_late: None,
        };
        if own {
            self.received += 1;
            let mean = self.mean_bytes;
            self.mean_bytes = match mean {
                0 => wait.grant.bytes.max(1),
                _ => (mean - mean / 8 + wait.grant.bytes / 8).max(1),
            };
        } else if !self.foreign.insert(wait.key()) {
            // Both found and told of.
            return;
        }
        self.waiting_bytes += wait.grant.bytes;
        self.waiting.push_back(wait);
    }

    /// The log says that so many leases of this stream ended.
    pub(super) fn note_ended(&mut self, count: u64) {
        self.ended += count;
    }

    /// A lease is no longer with the consumer.
    fn end(&mut self, key: &Key, own: bool) {
        if own {
            self.settled += 1;
        } else {
            self.foreign.remove(key);
        }
        self.blocked = false;
    }

    pub(super) fn end_held(&mut self, key: &Key) {
        if let Some(held) = self.ledger.remove(key) {
            self.end(key, held.own);
        }
    }

    /// What is beyond the credit, or has waited for too long: to be given back.
    pub(super) fn surplus(&mut self, now_ns: u64) -> Vec<Grant> {
        let mut surplus = Vec::new();
        while let Some(front) = self.waiting.front_mut() {
            if front.resumed || front.release_at_ns > now_ns {
                break;
            }
            self.blocked = true;
            let heard_before = *front.heard_when_late.get_or_insert(self.heard);
            let is_over = front.grant.deadline_ns <= now_ns;
            if !is_over && self.is_elsewhere(heard_before) {
                break;
            }
            let Some(grant) = self.give_up(true) else {
                break;
            };
            // Others have what is over by now.
            surplus.extend((!is_over).then_some(grant));
        }
        while self.draining || self.is_over_count() || self.is_over_bytes() {
            let by_bytes = self.is_over_bytes();
            let back = self.waiting.back();
            if !self.draining && back.is_some_and(|wait| self.is_elsewhere(wait.heard_before)) {
                self.blocked |= by_bytes;
                break;
            }
            let Some(grant) = self.give_up(false) else {
                break;
            };
            self.blocked |= by_bytes;
            surplus.push(grant);
        }
        surplus
    }

    /// Whether the consumer may be at another peer, for all that is known: it was
    /// silent since so many of its messages had come.
    fn is_elsewhere(&self, heard_before: u64) -> bool {
        self.named && self.heard == heard_before
    }

    fn is_over_count(&self) -> bool {
        self.own_in_flight() + self.foreign.len() as u64 > self.in_flight_max
    }

    fn is_over_bytes(&self) -> bool {
        let all = self.ledger.bytes() + self.on_way_bytes + self.waiting_bytes;
        let others = !self.ledger.is_empty() || self.on_way > 0 || self.waiting.len() > 1;
        others && all > self.bytes_max.saturating_mul(2)
    }

    fn give_up(&mut self, first: bool) -> Option<Grant> {
        let wait = if first {
            self.waiting.pop_front()
        } else if self.waiting.back().is_some_and(|wait| wait.resumed) {
            None
        } else {
            self.waiting.pop_back()
        }?;
        self.waiting_bytes -= wait.grant.bytes;
        let blocked = self.blocked;
        self.end(&wait.key(), wait.own);
        self.blocked = blocked;
        Some(wait.grant)
    }

    /// What may go to the consumer next.
    pub(super) fn next(&mut self, now_ns: u64) -> Vec<Wait> {
        let mut next = Vec::new();
        while next.len() < limits::STREAM_READ_BATCH {
            let Some(wait) = self.waiting.front() else {
                break;
            };
            let in_hand = self.ledger.bytes() + self.on_way_bytes;
            let alone = self.ledger.is_empty() && self.on_way == 0;
            let fits = in_hand.saturating_add(wait.grant.bytes) <= self.bytes_max;
            let over = wait.grant.deadline_ns <= now_ns;
            if !(over || wait.resumed || fits || alone) {
                break;
            }
            let Some(wait) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_bytes -= wait.grant.bytes;
            if over {
                // Others have it by now.
                self.end(&wait.key(), wait.own);
                continue;
            }
            self.on_way += 1;
            self.on_way_bytes += wait.grant.bytes;
            next.push(wait);
        }
        next
    }

    fn off_way(&mut self, wait: &Wait) {
        self.on_way -= 1;
        self.on_way_bytes -= wait.grant.bytes;
    }

    /// What [`next`](Self::next) gave waits again.
    pub(super) fn put_back(&mut self, wait: Wait) {
        self.off_way(&wait);
        self.waiting_bytes += wait.grant.bytes;
        self.waiting.push_front(wait);
    }

    /// What [`next`](Self::next) gave was not there any more, or is given back.
    pub(super) fn skip(&mut self, wait: &Wait) {
        self.off_way(wait);
        self.end(&wait.key(), wait.own);
    }

    /// What [`next`](Self::next) gave is with the consumer.
    pub(super) fn delivered(&mut self, wait: &Wait, deadline_ns: u64) {
        self.off_way(wait);
        let held = Held {
            bytes: wait.grant.bytes,
            deadline_ns,
            own: wait.own,
        };
        self.ledger.insert(wait.key(), held);
    }

    /// What waits, when the stream ends.
    pub(super) fn take_waiting(&mut self) -> Vec<Wait> {
        self.waiting_bytes = 0;
        self.waiting.drain(..).collect()
    }

    /// When to look at leases and at what waits, in nanoseconds of the clock.
    pub(super) fn look_at_ns(&mut self, now_ns: u64) -> Option<u64> {
        if self.ended > self.settled + self.excess {
            self.excess_since_ns.get_or_insert(now_ns);
        } else {
            self.excess_since_ns = None;
        }
        let excess = self
            .excess_since_ns
            .map(|at| at + limits::LEASE_CHECK_DELAY_NS);
        let first = self.ledger.first_ns();
        let overdue = first.map(|at| at.saturating_add(limits::LEASE_OVERDUE_NS));
        let front = self.waiting.front().filter(|wait| !wait.resumed);
        // A late one goes when its consumer says something, or is over.
        let waited = front.map(|wait| match wait.heard_when_late {
            Some(_) => wait.grant.deadline_ns,
            None => wait.release_at_ns,
        });
        [excess, overdue, waited].into_iter().flatten().min()
    }

    /// The leases whose state has to be read to know whether they are live.
    pub(super) fn doubtful(&self, now_ns: u64) -> Vec<Key> {
        if self.is_excess_due(now_ns) {
            return self.ledger.until(u64::MAX);
        }
        let overdue_ns = now_ns.saturating_sub(limits::LEASE_OVERDUE_NS);
        self.ledger.until(overdue_ns)
    }

    /// The state of leases was read: their deadlines, if they are live.
    pub(super) fn looked(&mut self, found: Vec<(Key, Option<u64>)>, now_ns: u64) {
        for (key, deadline_ns) in found {
            let live = |at: &u64| at.saturating_add(limits::LEASE_OVERDUE_NS) > now_ns;
            match deadline_ns.filter(live) {
                Some(deadline_ns) => self.ledger.set_deadline(&key, deadline_ns),
                None => self.end_held(&key),
            }
        }
        self.excess = self.ended.saturating_sub(self.settled);
        self.excess_since_ns = None;
    }

    /// There is no lease that can have been among those that ended elsewhere.
    pub(super) fn settle_excess(&mut self, now_ns: u64) {
        if self.is_excess_due(now_ns) {
            self.looked(Vec::new(), now_ns);
        }
    }

    fn is_excess_due(&self, now_ns: u64) -> bool {
        let is_due = |since: u64| since + limits::LEASE_CHECK_DELAY_NS <= now_ns;
        self.excess_since_ns.is_some_and(is_due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use z4_core::task::LeaseToken;
    use z4_core::TaskId;

    const SECOND: u64 = 1_000_000_000;

    fn grant(n: u32, bytes: u64) -> Grant {
        Grant {
            consumer: "c~1.x.1".into(),
            id: TaskId::new(1, 1, n),
            token: LeaseToken(9),
            deadline_ns: 30 * SECOND,
            due_at_ns: 1,
            attempt: 1,
            deliveries: 1,
            bytes,
        }
    }

    /// A flow that took `count` grants of so many bytes, and delivered what fits.
    fn flow(in_flight_max: u64, bytes_max: u64, count: u32, bytes: u64) -> (Flow, usize, usize) {
        let mut flow = Flow::new(in_flight_max, bytes_max);
        for n in 0..count {
            flow.take(grant(n, bytes), true, false, 0);
        }
        let given_back = flow.surplus(0).len();
        let mut delivered = 0;
        loop {
            let next = flow.next(0);
            if next.is_empty() {
                return (flow, delivered, given_back);
            }
            for wait in next {
                delivered += 1;
                flow.delivered(&wait, wait.grant.deadline_ns);
            }
        }
    }

    fn key(n: u32) -> Key {
        (TaskId::new(1, 1, n), LeaseToken(9))
    }

    #[test]
    fn bytes_hold_back_what_the_leader_granted() {
        let (mut flow, delivered, given_back) = flow(100, 1_000, 50, 100);
        assert_eq!((delivered, given_back), (10, 30), "10 wait");
        assert_eq!(flow.window(), 20, "no more until a lease ends");
        flow.end_held(&key(0));
        assert_eq!(flow.next(0).len(), 1);
        assert!(flow.window() > 19, "and then there is");
    }

    #[test]
    fn one_task_above_the_bytes_goes_alone() {
        let (mut flow, delivered, given_back) = flow(100, 10, 3, 100);
        assert_eq!((delivered, given_back), (1, 2));
        assert_eq!(flow.window(), 1);
        flow.end_held(&key(0));
        flow.take(grant(7, 100), true, false, 0);
        assert!(flow.surplus(0).is_empty());
        assert_eq!(flow.next(0).len(), 1);
    }

    #[test]
    fn less_credit_gives_back_what_waits_and_takes_no_more() {
        let (mut flow, delivered, _) = flow(10, 500, 8, 100);
        assert_eq!(delivered, 5);
        flow.set_credit(Some(2), None);
        assert_eq!(flow.surplus(0).len(), 3);
        assert_eq!(flow.window(), 2, "of which 5 are used");
        flow.drain();
        assert_eq!(flow.window(), 0);
    }

    #[test]
    fn leases_of_before_take_room_and_come_whatever_the_credit() {
        let mut flow = Flow::new(3, 10);
        for n in 0..5 {
            flow.take(grant(n, 100), false, true, 0);
            flow.take(grant(n, 100), false, true, 0);
        }
        assert!(flow.surplus(0).is_empty());
        assert_eq!(flow.window(), 0);
        let next = flow.next(0);
        assert_eq!(next.len(), 5);
        next.iter().for_each(|w| flow.delivered(w, 30 * SECOND));
        (0..3).for_each(|n| flow.end_held(&key(n)));
        assert_eq!((flow.window(), flow.settled()), (1, 0));
    }

    #[test]
    fn leases_that_ended_elsewhere_free_the_count_at_once_and_the_bytes_soon() {
        let (mut flow, delivered, _) = flow(5, 1_000, 5, 200);
        assert_eq!(delivered, 5);
        flow.note_ended(2);
        flow.take(grant(8, 200), true, false, 0);
        flow.take(grant(9, 200), true, false, 0);
        assert!(flow.surplus(0).is_empty(), "they have their places");
        assert!(flow.next(0).is_empty(), "but not the bytes");
        let at_ns = flow.look_at_ns(SECOND).unwrap_or(0);
        assert_eq!(at_ns, SECOND + limits::LEASE_CHECK_DELAY_NS);
        assert!(flow.doubtful(SECOND).is_empty());
        assert_eq!(flow.doubtful(at_ns).len(), 5);
        let live = (0..5).map(|n| (key(n), (n > 1).then_some(40 * SECOND)));
        flow.looked(live.collect(), at_ns);
        assert_eq!((flow.next(0).len(), flow.settled()), (2, 2));
        assert_eq!(flow.ledger.first_ns(), Some(40 * SECOND));
    }

    #[test]
    fn a_lease_is_over_a_while_after_its_deadline() {
        let (mut flow, _, _) = flow(5, 1_000, 1, 1);
        let look_at_ns = flow.look_at_ns(0);
        let at_ns = 30 * SECOND + limits::LEASE_OVERDUE_NS;
        assert_eq!(look_at_ns, Some(at_ns));
        assert!(flow.doubtful(at_ns - 1).is_empty());
        assert_eq!(flow.doubtful(at_ns), vec![key(0)]);
        flow.looked(vec![(key(0), Some(30 * SECOND))], at_ns);
        assert_eq!((flow.settled(), flow.is_empty()), (1, true));
        assert_eq!(flow.look_at_ns(at_ns), None, "idle costs nothing");
    }

    #[test]
    fn what_waited_for_half_of_its_lease_is_given_back() {
        let (mut flow, _, _) = flow(5, 100, 2, 100);
        assert!(flow.surplus(15 * SECOND - 1).is_empty());
        assert_eq!(flow.surplus(15 * SECOND).len(), 1);
        assert_eq!(flow.window(), 1);
    }

    #[test]
    fn a_consumer_with_a_name_that_is_silent_gives_nothing_back() {
        let mut flow = Flow::new(100, 100);
        flow.name();
        (0..4).for_each(|n| flow.take(grant(n, 100), true, false, 0));
        assert!(flow.surplus(0).is_empty(), "it may be at another peer");
        assert_eq!(flow.next(0).len(), 1);
        assert_eq!(flow.window(), 4, "and takes no more");
        flow.heard();
        assert_eq!(flow.surplus(0).len(), 2, "beyond twice the bytes");
        // What has waited for half of its lease goes once it is heard of again.
        let late_ns = 15 * SECOND;
        assert_eq!(flow.look_at_ns(0), Some(late_ns));
        assert!(flow.surplus(late_ns).is_empty());
        assert_eq!(flow.look_at_ns(late_ns), Some(30 * SECOND));
        flow.heard();
        assert_eq!(flow.surplus(late_ns).len(), 1);
        assert!(flow.waiting.is_empty());
    }

    #[test]
    fn what_a_silent_consumer_was_not_given_is_over_with_its_lease() {
        let mut flow = Flow::new(100, 100);
        flow.name();
        (0..2).for_each(|n| flow.take(grant(n, 100), true, false, 0));
        assert_eq!(flow.next(0).len(), 1);
        assert!(flow.surplus(20 * SECOND).is_empty());
        assert!(flow.surplus(30 * SECOND).is_empty(), "others have it");
        assert_eq!((flow.waiting.len(), flow.settled()), (0, 1));
    }
}
