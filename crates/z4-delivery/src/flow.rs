//! How much a Consume session may have, by count and by bytes, and what waits for
//! room.
//!
//! The leader keeps to the count. It does not know of bytes: what is granted beyond
//! them waits here, as much again as may be in flight; the rest is released, and no
//! more is taken until a lease ends. So that this is rare, the credit is cut to what
//! will fit by the mean size of tasks.
//!
//! A consumer with a name whose connection broke may be at another peer, with all
//! that it was granted here, long before this peer notices. So nothing is released
//! in its name but when a message of it came after there was cause to: who speaks on
//! this session is here. What a silent one was not given runs out.

use z4_core::command::Grant;
use z4_core::planted;

use crate::input::Key;
use crate::ledger::{Lease, Ledger, Place};
use crate::limits;
use crate::output::Delivery;

/// See the module.
#[derive(Debug)]
pub(crate) struct Flow {
    in_flight_max: u64,
    bytes_max: u64,
    /// The consumer has a name, and may be elsewhere by now.
    is_named: bool,
    pub(crate) ledger: Ledger,
    mean_bytes: u64,
    /// Something was released for want of room: no more until a lease ends.
    is_blocked: bool,
    is_draining: bool,
    /// Messages that came from the consumer.
    heard: u64,
    /// What is written is acknowledged: so many may be granted and not written.
    unwritten_max: Option<u64>,
}

impl Flow {
    /// Of GetTaskStream.
    pub(crate) fn of_stream() -> Self {
        let in_flight_max = limits::STREAM_WINDOW + limits::STREAM_UNACKED_MAX;
        Self {
            unwritten_max: Some(limits::STREAM_WINDOW),
            ..Self::new(in_flight_max, u64::MAX, false)
        }
    }

    pub(crate) fn new(in_flight_max: u64, bytes_max: u64, is_named: bool) -> Self {
        Self {
            in_flight_max,
            bytes_max,
            is_named,
            ledger: Ledger::default(),
            mean_bytes: 0,
            is_blocked: false,
            is_draining: false,
            heard: 0,
            unwritten_max: None,
        }
    }

    /// A message came from the consumer.
    pub(crate) fn heard(&mut self) {
        self.heard += 1;
    }

    pub(crate) fn set_credit(&mut self, in_flight_max: Option<u64>, bytes_max: Option<u64>) {
        self.in_flight_max = in_flight_max.unwrap_or(self.in_flight_max);
        self.bytes_max = bytes_max.unwrap_or(self.bytes_max);
        self.is_blocked = false;
    }

    /// No more deliveries but of what was delivered before.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// So many tasks may be with the consumer, granted to this session.
    pub(crate) fn window(&self) -> u64 {
        if self.is_draining {
            return 0;
        }
        if self.is_blocked && self.with_consumer() > 0 {
            return self.ledger.own();
        }
        let fitting = match self.mean_bytes {
            0 => u64::MAX,
            mean => (self.bytes_max.saturating_mul(2) / mean).max(1),
        };
        let others = match planted!("resumed-beyond-credit") {
            true => 0,
            false => self.ledger.others(),
        };
        let written = self.ledger.at(Place::InHand).count;
        let most = match self.unwritten_max {
            Some(unwritten) => self.in_flight_max.min(unwritten + written),
            None => self.in_flight_max,
        };
        most.min(fitting).saturating_sub(others)
    }

    /// Leases that the consumer has or is to have.
    fn with_consumer(&self) -> u64 {
        let places = [Place::Waiting, Place::OnWay, Place::InHand];
        places
            .iter()
            .map(|place| self.ledger.at(*place).count)
            .sum()
    }

    /// The log granted a lease. `false`: it is known already.
    pub(crate) fn granted(
        &mut self,
        grant: Grant,
        is_own: bool,
        is_resumed: bool,
        wall_ns: u64,
    ) -> bool {
        if is_own {
            let mean = self.mean_bytes;
            self.mean_bytes = match mean {
                0 => grant.bytes.max(1),
                _ => (mean - mean / 8 + grant.bytes / 8).max(1),
            };
        }
        let key = (grant.id, grant.token);
        let lease = Lease {
            release_at_ns: wall_ns + grant.deadline_ns.saturating_sub(wall_ns) / 2,
            grant,
            is_own,
            is_resumed,
            is_spoken: false,
            heard_before: self.heard,
            heard_when_late: None,
            place: Place::Waiting,
        };
        self.ledger.insert(key, lease)
    }

    /// The log says that a lease ended.
    pub(crate) fn ended(&mut self, key: &Key) -> Option<Lease> {
        let lease = self.ledger.end(key)?;
        if lease.place != Place::Returning {
            self.is_blocked = false;
        }
        Some(lease)
    }

    /// What is beyond the credit, or has waited for too long; it counts as being
    /// given back from now on. With deadlines.
    pub(crate) fn surplus(&mut self, wall_ns: u64) -> Vec<(Key, u64)> {
        let mut surplus = Vec::new();
        while let Some(key) = self.ledger.waiting(false) {
            let heard = self.heard;
            let Some(front) = self.ledger.get_mut(&key) else {
                break;
            };
            if front.is_resumed || front.release_at_ns > wall_ns {
                break;
            }
            let heard_before = *front.heard_when_late.get_or_insert(heard);
            let deadline_ns = front.grant.deadline_ns;
            self.is_blocked = true;
            if deadline_ns <= wall_ns {
                // Others have it by now.
                self.ledger.move_to(&key, Place::Over);
                continue;
            }
            if self.may_be_elsewhere(heard_before) {
                break;
            }
            self.ledger.move_to(&key, Place::Returning);
            surplus.push((key, deadline_ns));
        }
        while self.is_draining || self.is_over_count() || self.is_over_bytes() {
            let is_over_bytes = self.is_over_bytes();
            let Some(key) = self.ledger.waiting(true) else {
                break;
            };
            let lease = self.ledger.get(&key).filter(|lease| !lease.is_resumed);
            let Some(lease) = lease else { break };
            let (heard_before, deadline_ns) = (lease.heard_before, lease.grant.deadline_ns);
            self.is_blocked |= is_over_bytes;
            if !self.is_draining && self.may_be_elsewhere(heard_before) {
                break;
            }
            self.ledger.move_to(&key, Place::Returning);
            surplus.push((key, deadline_ns));
        }
        surplus
    }

    /// Whether the consumer may be at another peer, for all that is known: it was
    /// silent since so many of its messages had come.
    fn may_be_elsewhere(&self, heard_before: u64) -> bool {
        self.is_named && self.heard == heard_before && !planted!("silent-consumer-released")
    }

    fn is_over_count(&self) -> bool {
        self.with_consumer() > self.in_flight_max
    }

    fn is_over_bytes(&self) -> bool {
        let sum = |place| self.ledger.at(place);
        let (waiting, on_way, in_hand) =
            (sum(Place::Waiting), sum(Place::OnWay), sum(Place::InHand));
        let all = waiting.bytes + on_way.bytes + in_hand.bytes;
        let others = in_hand.count > 0 || on_way.count > 0 || waiting.count > 1;
        others && all > self.bytes_max.saturating_mul(2)
    }

    /// What may go to the consumer next; it counts as on its way from now on.
    pub(crate) fn next(&mut self, wall_ns: u64) -> Vec<Delivery> {
        let mut next = Vec::new();
        let is_behind = self.unwritten_max.is_some()
            && self.ledger.at(Place::InHand).count >= limits::STREAM_UNACKED_MAX;
        if is_behind || self.ledger.at(Place::OnWay).count > limits::BATCH_LEN_MAX as u64 {
            return next;
        }
        while next.len() < limits::BATCH_LEN_MAX {
            let Some(key) = self.ledger.waiting(false) else {
                break;
            };
            let Some(lease) = self.ledger.get(&key) else {
                break;
            };
            if lease.grant.deadline_ns <= wall_ns {
                // Others have it by now.
                self.ledger.move_to(&key, Place::Over);
                self.is_blocked = false;
                continue;
            }
            let (on_way, in_hand) = (self.ledger.at(Place::OnWay), self.ledger.at(Place::InHand));
            let bytes = on_way.bytes + in_hand.bytes;
            let is_alone = on_way.count + in_hand.count == 0;
            let is_counted = on_way.count + in_hand.count < self.in_flight_max
                || planted!("resumed-beyond-credit");
            let fits = bytes.saturating_add(lease.grant.bytes) <= self.bytes_max && is_counted;
            if !(lease.is_resumed || fits || is_alone) {
                break;
            }
            next.push(Delivery {
                grant: lease.grant.clone(),
                is_resumed: lease.is_resumed,
            });
            self.ledger.move_to(&key, Place::OnWay);
        }
        next
    }

    /// When to look at what waits, in nanoseconds of the wall clock.
    pub(crate) fn look_at_ns(&mut self) -> Option<u64> {
        let key = self.ledger.waiting(false)?;
        let front = self.ledger.get(&key)?;
        // A late one goes when its consumer says something, or is over.
        let at_ns = match front.heard_when_late {
            Some(_) => front.grant.deadline_ns,
            None => front.release_at_ns,
        };
        (!front.is_resumed).then_some(at_ns)
    }
}

#[cfg(test)]
mod tests;
