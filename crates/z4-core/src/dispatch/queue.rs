//! One namespace as the dispatcher sees it: who waits, what is due next, what
//! is in flight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Consumer;
use crate::command::{LeaseTasks, Taker};
use crate::limits;
use crate::limits::{DISPATCH_IN_FLIGHT_MAX, DISPATCH_LOST_NS};
use crate::task::Namespace;

/// When something is due that no command in flight takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum NextDue {
    /// The store has to be asked.
    #[default]
    Unknown,
    /// At this machine time, in nanoseconds.
    At(u64),
    /// Not until an event says so.
    Never,
}

impl NextDue {
    pub(super) fn of(due_at_ns: Option<u64>) -> Self {
        due_at_ns.map_or(Self::Never, Self::At)
    }

    /// Notes that all tasks that are due through this machine time were leased.
    pub(super) fn leased_through(&mut self, at_ns: u64) {
        if matches!(*self, Self::At(known) if known <= at_ns) {
            *self = Self::Unknown;
        }
    }

    pub(super) fn lower(&mut self, due_at_ns: u64) {
        *self = match *self {
            Self::Unknown => Self::Unknown,
            Self::At(known) => Self::At(known.min(due_at_ns)),
            Self::Never => Self::At(due_at_ns),
        };
    }
}

/// Whether the namespace lets nothing through, whoever has room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Shut {
    #[default]
    No,
    /// Until this machine time, in nanoseconds.
    Until(u64),
    /// Until an event says that something has changed.
    UntilEvent,
}

/// The abilities of whoever holds the dispatcher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Reach {
    /// Most leases of a namespace that are offered to ride at a time.
    pub(super) riders_max: usize,
    /// How far ahead a command leases, in milliseconds.
    pub(super) ahead_ms: u64,
}

/// A lease command between proposal and apply, or one that was offered to ride.
#[derive(Debug)]
pub(super) struct InFlight {
    /// Machine time at which it was proposed, in nanoseconds. `None`: it was offered to
    /// ride, and whether it was taken is not known.
    pub(super) at_ns: Option<u64>,
    /// Whom it names; their room is reserved.
    pub(super) takers: Vec<Taker>,
    /// The command leases ahead.
    pub(super) is_ahead: bool,
}

impl InFlight {
    /// When it counts as lost; a rider may wait for as long as it likes.
    fn lost_at_ns(&self) -> Option<u64> {
        let at_ns = self.at_ns?;
        Some(at_ns.saturating_add(DISPATCH_LOST_NS))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Consumers of the namespace.
    pub(super) members: usize,
    /// Those that may have room, each once, in the order of their turns.
    pub(super) ready: VecDeque<String>,
    pub(super) next_due: NextDue,
    pub(super) in_flight: VecDeque<InFlight>,
    /// The time under which it stands among the dispatcher's wakes.
    pub(super) armed: Option<u64>,
    pub(super) shut: Shut,
    /// Riders name somebody who takes less than they would give: they are to be recalled.
    pub(super) must_recall: bool,
    /// No proposal before this machine time, in nanoseconds.
    not_before_ns: u64,
    /// No lease ahead before this machine time, in nanoseconds: what the last one left, it
    /// left for want of room, or because it must wait for its time.
    pub(super) ahead_from_ns: u64,
}

impl Queue {
    /// Lines a consumer up for a turn if it has room and is not in line yet.
    pub(super) fn line_up(&mut self, name: &str, consumer: &mut Consumer) {
        if consumer.room() > 0 && !consumer.in_line {
            consumer.in_line = true;
            self.ready.push_back(name.to_owned());
        }
    }

    pub(super) fn rest_until(&mut self, at_ns: u64) {
        self.not_before_ns = self.not_before_ns.max(at_ns);
    }

    /// What commands in flight may still grant a consumer.
    pub(super) fn reserved_for(&self, consumer: &str) -> u64 {
        let takers = self.in_flight.iter().flat_map(|flying| &flying.takers);
        let its = takers.filter(|taker| taker.consumer == consumer);
        its.map(|taker| u64::from(taker.room)).sum()
    }

    pub(super) fn may_propose(&self, now_ns: u64, reach: Reach) -> bool {
        let is_due = |at_ns| self.lease_at_ns(at_ns, reach) <= now_ns;
        let due = matches!(self.next_due, NextDue::At(at_ns) if is_due(at_ns));
        due && self.proposed() < DISPATCH_IN_FLIGHT_MAX
            && self.open_at_ns().is_some_and(|at_ns| at_ns <= now_ns)
    }

    /// When to lease what is due at this machine time, in nanoseconds.
    fn lease_at_ns(&self, due_at_ns: u64, reach: Reach) -> u64 {
        if reach.ahead_ms == 0 {
            return due_at_ns;
        }
        let ahead_ns = due_at_ns.saturating_sub(limits::DISPATCH_AHEAD_START_NS);
        ahead_ns.max(self.ahead_from_ns).min(due_at_ns)
    }

    /// A command did not come into the log.
    pub(super) fn not_leased(&mut self, failed: &InFlight) {
        match failed.at_ns {
            Some(at_ns) if !failed.is_ahead => self.next_due.lower(at_ns),
            _ => self.next_due = NextDue::Unknown,
        }
    }

    /// From when on a proposal may be made; `None`: not before an event.
    fn open_at_ns(&self) -> Option<u64> {
        match self.shut {
            Shut::No => Some(self.not_before_ns),
            Shut::Until(at_ns) => Some(at_ns.max(self.not_before_ns)),
            Shut::UntilEvent => None,
        }
    }

    /// Commands that were proposed and have not come back.
    fn proposed(&self) -> usize {
        self.in_flight.iter().filter(|f| f.at_ns.is_some()).count()
    }

    /// Leases that were offered to ride, and may have been taken.
    fn riders(&self) -> usize {
        self.in_flight.len() - self.proposed()
    }

    /// When one more lease may be offered to ride, in machine nanoseconds.
    pub(super) fn offer_at_ns(&self, reach: Reach) -> Option<u64> {
        let has_place = !self.ready.is_empty()
            && self.riders() < reach.riders_max
            && self.in_flight.len() < DISPATCH_IN_FLIGHT_MAX;
        match self.shut {
            _ if !has_place => None,
            Shut::No => Some(0),
            Shut::Until(at_ns) => Some(at_ns),
            Shut::UntilEvent => None,
        }
    }

    /// Tells whether a lease that was offered to ride names this consumer.
    pub(super) fn has_rider_for(&self, consumer: &str) -> bool {
        let mut offered = self.in_flight.iter().filter(|f| f.at_ns.is_none());
        offered.any(|f| f.takers.iter().any(|taker| taker.consumer == consumer))
    }

    /// Whom a command names that counts as lost by now.
    pub(super) fn lost(&self, now_ns: u64) -> Option<&[Taker]> {
        let is_lost = |f: &&InFlight| f.lost_at_ns().is_some_and(|at_ns| at_ns <= now_ns);
        let lost = self.in_flight.iter().find(is_lost)?;
        Some(&lost.takers)
    }

    /// When to look at this namespace, in machine nanoseconds.
    pub(super) fn wake_at_ns(&self, reach: Reach) -> Option<u64> {
        if self.must_recall {
            return Some(0);
        }
        let offer = self.offer_at_ns(reach);
        let lost = self.in_flight.iter().filter_map(InFlight::lost_at_ns).min();
        let has_takers = !self.ready.is_empty() || self.riders() > 0;
        let proposal = if !has_takers || self.proposed() >= DISPATCH_IN_FLIGHT_MAX {
            None
        } else {
            self.open_at_ns().and_then(|open_ns| match self.next_due {
                NextDue::Unknown => Some(open_ns),
                NextDue::At(at_ns) => Some(self.lease_at_ns(at_ns, reach).max(open_ns)),
                NextDue::Never => None,
            })
        };
        proposal.into_iter().chain(lost).chain(offer).min()
    }

    /// A command that names those whose turn it is, and reserves their room.
    /// `None` when none of them has so much.
    pub(super) fn deal(
        &mut self,
        namespace: &Namespace,
        consumers: &mut BTreeMap<String, Consumer>,
        room_min: u64,
    ) -> Option<LeaseTasks> {
        let mut shares = self.shares(consumers);
        let (_, lease_ms, _) = *shares.first()?;
        // One command has one length of leases. Consumers with another length have
        // their turn when more is due than these take.
        shares.retain(|(_, ms, _)| *ms == lease_ms);
        if shares.iter().all(|(_, _, share)| *share < room_min) {
            return None;
        }
        let mut left = limits::LEASE_COUNT_MAX as u64;
        let mut takers = Vec::with_capacity(shares.len());
        let count = shares.len();
        for (place, (name, _, share)) in shares.into_iter().enumerate() {
            // A consumer that takes less than an even part leaves more to those behind
            // it.
            let even = left.div_ceil((count - place) as u64);
            let room = share.min(even);
            left -= room;
            if let Some(consumer) = consumers.get_mut(&name) {
                consumer.reserved += room;
            }
            takers.push(Taker {
                consumer: name,
                room: u32::try_from(room).unwrap_or(u32::MAX),
            });
        }
        self.take_turns(&takers, consumers);
        Some(LeaseTasks {
            namespace: namespace.clone(),
            takers,
            lease_ms,
            ahead_ms: 0,
        })
    }

    /// Those in line with room, the length of their leases, and the share of
    /// their room that one command may take. Others leave the line.
    fn shares(&mut self, consumers: &mut BTreeMap<String, Consumer>) -> Vec<(String, u64, u64)> {
        let last = self.in_flight.len() + 1 >= DISPATCH_IN_FLIGHT_MAX;
        let mut shares = Vec::new();
        self.ready.retain(|name| {
            let Some(consumer) = consumers.get_mut(name) else {
                return false;
            };
            let room = consumer.room();
            consumer.in_line = room > 0;
            if consumer.in_line && shares.len() < limits::LEASE_TAKERS_MAX {
                let share = if last { room } else { room.div_ceil(2) };
                shares.push((name.clone(), consumer.lease_ms, share));
            }
            consumer.in_line
        });
        shares
    }

    /// Moves those that were named to the end of the line, the first of them
    /// last: it was dealt to first, and the next one is now. Who has no room
    /// left leaves the line.
    fn take_turns(&mut self, takers: &[Taker], consumers: &mut BTreeMap<String, Consumer>) {
        let named: BTreeSet<_> = takers.iter().map(|taker| taker.consumer.as_str()).collect();
        self.ready.retain(|name| !named.contains(name.as_str()));
        let (first, rest) = takers.split_at(takers.len().min(1));
        for taker in rest.iter().chain(first) {
            if let Some(consumer) = consumers.get_mut(&taker.consumer) {
                consumer.in_line = false;
                self.line_up(&taker.consumer, consumer);
            }
        }
    }
}
