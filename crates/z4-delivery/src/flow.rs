//! How much a Consume session may have, by count and by bytes, and what waits for
//! room.
//!
//! The leader keeps to the count. It does not know of bytes: what is granted beyond
//! them waits here, as much again as may be in flight; the rest is released, and no
//! more is taken until a lease ends. So that this is rare, the credit is cut to what
//! will fit by the mean size of tasks.

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
    pub(crate) ledger: Ledger,
    mean_bytes: u64,
    /// Something was released for want of room: no more until a lease ends.
    is_blocked: bool,
    is_draining: bool,
    /// What is written is acknowledged: so many may be granted and not written.
    unwritten_max: Option<u64>,
}

impl Flow {
    /// Of GetTaskStream.
    pub(crate) fn of_stream() -> Self {
        let in_flight_max = limits::STREAM_WINDOW + limits::STREAM_UNACKED_MAX;
        Self {
            unwritten_max: Some(limits::STREAM_WINDOW),
            ..Self::new(in_flight_max, u64::MAX)
        }
    }

    pub(crate) fn new(in_flight_max: u64, bytes_max: u64) -> Self {
        Self {
            in_flight_max,
            bytes_max,
            ledger: Ledger::default(),
            mean_bytes: 0,
            is_blocked: false,
            is_draining: false,
            unwritten_max: None,
        }
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
        let unwritten_max = self.unwritten_max.map_or(u64::MAX, |most| most + written);
        let most = self.in_flight_max.min(unwritten_max).min(fitting);
        most.saturating_sub(others)
    }

    /// Leases that the consumer has or is to have.
    fn with_consumer(&self) -> u64 {
        let places = [Place::Held, Place::Waiting, Place::OnWay, Place::InHand];
        places.map(|place| self.ledger.at(place).count).iter().sum()
    }

    /// The log granted a lease. It is held while it is not due by a machine time, in
    /// nanoseconds. `false`: it is known already.
    pub(crate) fn granted(
        &mut self,
        grant: Grant,
        is_own: bool,
        is_resumed: bool,
        (wall_ns, due_by_ns): (u64, u64),
    ) -> bool {
        if is_own {
            self.mean_bytes = match self.mean_bytes {
                0 => grant.bytes.max(1),
                mean => (mean - mean / 8 + grant.bytes / 8).max(1),
            };
        }
        self.ledger.insert(Lease {
            release_at_ns: wall_ns + grant.deadline_ns.saturating_sub(wall_ns) / 2,
            place: match grant.due_at_ns > due_by_ns {
                true => Place::Held,
                false => Place::Waiting,
            },
            grant,
            is_own,
            is_resumed,
            is_spoken: false,
            is_elsewhere: false,
        })
    }

    /// The log says that a lease ended.
    pub(crate) fn ended(&mut self, key: &Key) -> Option<Lease> {
        let lease = self.ledger.end(key)?;
        self.is_blocked &= lease.place == Place::Returning;
        Some(lease)
    }

    /// What is beyond the credit, or has waited for too long; it counts as being
    /// given back from now on. With deadlines.
    pub(crate) fn surplus(&mut self, wall_ns: u64) -> Vec<(Key, u64)> {
        let mut surplus = Vec::new();
        while let Some(front) = self.ledger.first_waiting() {
            if front.is_resumed || front.release_at_ns > wall_ns {
                break;
            }
            let (key, deadline_ns) = front.key_until();
            self.is_blocked = true;
            if deadline_ns <= wall_ns {
                // Others have it by now.
                self.ledger.move_to(&key, Place::Over);
                continue;
            }
            self.ledger.move_to(&key, Place::Returning);
            surplus.push((key, deadline_ns));
        }
        while self.is_draining || self.is_over_count() || self.is_over_bytes() {
            let is_over_bytes = self.is_over_bytes();
            let last = self.ledger.last_waiting().filter(|last| !last.is_resumed);
            let Some(last) = last else { break };
            let key_until = last.key_until();
            self.is_blocked |= is_over_bytes;
            self.ledger.move_to(&key_until.0, Place::Returning);
            surplus.push(key_until);
        }
        surplus
    }

    fn is_over_count(&self) -> bool {
        let counted = match planted!("resumed-beyond-credit") {
            true => self.ledger.own(),
            false => self.with_consumer(),
        };
        counted > self.in_flight_max
    }

    fn is_over_bytes(&self) -> bool {
        let places = [Place::Held, Place::Waiting, Place::OnWay, Place::InHand];
        let bytes: u64 = places.map(|place| self.ledger.at(place).bytes).iter().sum();
        self.with_consumer() > 1 && bytes > self.bytes_max.saturating_mul(2)
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
            let (on_way, in_hand) = (self.ledger.at(Place::OnWay), self.ledger.at(Place::InHand));
            let (count, bytes) = (on_way.count + in_hand.count, on_way.bytes + in_hand.bytes);
            let Some(lease) = self.ledger.first_waiting() else {
                break;
            };
            let (key, deadline_ns) = lease.key_until();
            let fits = bytes.saturating_add(lease.grant.bytes) <= self.bytes_max
                && (count < self.in_flight_max || planted!("resumed-beyond-credit"));
            let goes = lease.is_resumed || !self.is_draining && (fits || count == 0);
            if deadline_ns <= wall_ns {
                // Others have it by now.
                self.ledger.move_to(&key, Place::Over);
                self.is_blocked = false;
            } else if goes {
                next.extend(self.ledger.hand_over(&key));
            } else {
                break;
            }
        }
        next
    }

    /// When to look at what waits, in nanoseconds of the wall clock.
    pub(crate) fn look_at_ns(&mut self) -> Option<u64> {
        let front = self.ledger.first_waiting();
        let front = front.filter(|front| !front.is_resumed)?;
        Some(front.release_at_ns)
    }
}

#[cfg(test)]
mod tests;
