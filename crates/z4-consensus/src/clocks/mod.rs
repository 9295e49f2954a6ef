//! Clocks of other peers as this one measures them, and the rule for a leader whose own
//! clock is wrong.
//!
//! A leader stamps entries with its wall clock, and tasks fall due by the stamps. A leader
//! whose clock is an hour ahead would deliver an hour early. So peers measure each other's
//! clocks ([`Exchange`]), and a leader stamps only while its clock is at most
//! [`Clocks::new`]'s `max_offset_ns` ahead of the clocks of a majority of the voters, its
//! own among them.
//!
//! **What is measured** is a *shift*: the wall clock of a peer minus the monotonic clock of
//! this one, in nanoseconds. It does not depend on the own wall clock, so a step of that one
//! needs nothing to be measured anew: the next look at it sees the step.
//!
//! **Errors.** A sample comes as a range that holds the true shift, whatever the two ways
//! took: it is as wide as the round trip. Ranges of several samples are intersected (Marzullo,
//! Owicki 1983), which is at least as good as to keep the sample of the least round trip
//! (RFC 5905, section 10), and needs no window. A sample that contradicts those before it says
//! that the clock of the peer was set, and replaces them. A clock that was set by less than a
//! contradiction shows is within the range of the newest sample all the same, because the
//! intersection never leaves it. So a leader that stamps is ahead of a majority by the
//! bound and a round trip at most, as of the newest samples.
//!
//! A clock counts as ahead only if it is so for certain, at whichever ends of the ranges the
//! truth is. A slow network alone never makes a right clock a wrong one.

mod exchange;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use exchange::{ClockSample, Echo, Exchange};

use crate::limits;
use crate::membership::Membership;
use crate::planted::planted;
use crate::replica::Now;

/// A measured clock of another peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    /// The least shift that it can have, in nanoseconds.
    pub least_ns: i64,
    /// The greatest one.
    pub most_ns: i64,
    /// When it was measured, in nanoseconds of the monotonic clock of this peer.
    pub at_ns: u64,
}

impl Measured {
    /// The range as of now: clocks do not run at quite the same pace.
    fn aged(self, now_ns: u64) -> Self {
        let age_ns = now_ns.saturating_sub(self.at_ns);
        let by_ns = i64::try_from(age_ns / limits::CLOCK_DRIFT_ONE_IN).unwrap_or(i64::MAX);
        Self {
            least_ns: self.least_ns.saturating_sub(by_ns),
            most_ns: self.most_ns.saturating_add(by_ns),
            ..self
        }
    }

    fn is_within(&self, now_ns: u64, span: std::time::Duration) -> bool {
        now_ns.saturating_sub(self.at_ns) <= span.as_nanos() as u64
    }

    fn middle_ns(&self) -> i64 {
        self.least_ns.midpoint(self.most_ns)
    }
}

/// The wall clock of another peer minus that of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockOffset {
    /// In nanoseconds; less than 0 when the other clock is behind.
    pub offset_ns: i64,
    /// The greatest error of it, in nanoseconds.
    pub error_ns: u64,
}

/// The limit of a leader: its wall clock may be so far ahead of its monotonic clock for it to
/// stamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClockLimit(pub(crate) i64);

impl ClockLimit {
    /// The limit of a leader whose clock is not compared with others.
    pub const FREE: Self = Self(i64::MAX);
    /// The limit of a leader that has not measured enough clocks: it does not stamp.
    pub const UNMEASURED: Self = Self(i64::MIN);

    /// Tells whether a leader may stamp by what its clocks show, and may tell it to others.
    #[must_use]
    pub fn allows(self, now: Now) -> bool {
        self == Self::FREE || now.shift_ns() <= self.0
    }
}

/// The reason for which a leader does not stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClockFault {
    /// Its clock is ahead of those of most voters.
    #[error(
        "its clock is {ahead_ms} ms ahead of those of most voters, and {limit_ms} ms are allowed"
    )]
    Ahead {
        /// By so much for certain, in milliseconds.
        ahead_ms: u64,
        /// The bound, in milliseconds.
        limit_ms: u64,
    },
    /// The peer leads since a moment ago, or hears nothing.
    #[error("its clock is not compared with those of most voters yet")]
    Unmeasured,
}

/// The clocks of the other members. The table has a row at most for each member.
#[derive(Debug)]
pub struct Clocks {
    max_offset_ns: i64,
    by_member: BTreeMap<u64, Measured>,
}

impl Clocks {
    /// A table that knows no clock. A leader may be ahead by `max_offset_ns` nanoseconds.
    #[must_use]
    pub fn new(max_offset_ns: u64) -> Self {
        Self {
            max_offset_ns: i64::try_from(max_offset_ns).unwrap_or(i64::MAX),
            by_member: BTreeMap::new(),
        }
    }

    /// The clock of a member was measured.
    pub fn heard(&mut self, raft_id: u64, new: Measured) {
        let known = self.by_member.entry(raft_id).or_insert(new);
        let old = known.aged(new.at_ns);
        let both = Measured {
            least_ns: old.least_ns.max(new.least_ns),
            most_ns: old.most_ns.min(new.most_ns),
            at_ns: known.at_ns.max(new.at_ns),
        };
        // A range that is empty: the clock was set.
        *known = match both.least_ns <= both.most_ns {
            true => both,
            false if planted!("clock-step-unseen") => Measured {
                at_ns: both.at_ns,
                ..*known
            },
            false => new,
        };
    }

    /// The members changed: forgets who left.
    pub fn keep(&mut self, membership: &Membership) {
        self.by_member
            .retain(|id, _| membership.members.contains_key(id));
    }

    /// The clocks that were measured lately, as offsets from the own one.
    #[must_use]
    pub fn offsets(&self, now: Now) -> BTreeMap<u64, ClockOffset> {
        let of = |(id, measured): (&u64, &Measured)| {
            let is_new = measured.is_within(now.monotonic_ns, limits::CLOCK_SHOWN_FOR);
            let range = is_new.then(|| measured.aged(now.monotonic_ns))?;
            let offset = ClockOffset {
                offset_ns: range.middle_ns().saturating_sub(now.shift_ns()),
                error_ns: range.most_ns.abs_diff(range.least_ns) / 2,
            };
            Some((*id, offset))
        };
        self.by_member.iter().filter_map(of).collect()
    }

    /// The limit of the clock of this peer, whose raft id is `own`, if it leads these members.
    #[must_use]
    pub fn limit(&self, own: u64, membership: &Membership, now: Now) -> ClockLimit {
        if membership.level < crate::level::LEVEL_OF_LEVELS || membership.voter_count() <= 1 {
            return ClockLimit::FREE;
        }
        self.limit_of(own, own, membership, now)
    }

    /// The reason for which a clock that this limit does not allow is wrong.
    #[must_use]
    pub fn fault(&self, limit: ClockLimit, now: Now) -> ClockFault {
        if limit == ClockLimit::UNMEASURED {
            return ClockFault::Unmeasured;
        }
        let others_ns = limit.0.saturating_sub(self.max_offset_ns);
        let ahead_ns = now.shift_ns().saturating_sub(others_ns);
        ClockFault::Ahead {
            ahead_ms: u64::try_from(ahead_ns / 1_000_000).unwrap_or(0),
            limit_ms: self.max_offset_ns.unsigned_abs() / 1_000_000,
        }
    }

    /// The voter that is to lead in the place of this one, of those that `may` lead: one
    /// whose own clock would not be ahead, as measured here, and of these the one with the
    /// greatest clock, because machine time must not stand still for long either.
    #[must_use]
    pub fn heir(
        &self,
        own: u64,
        membership: &Membership,
        now: Now,
        may: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let others = membership.members.iter();
        let others = others.filter(|(id, member)| member.voter && **id != own && may(**id));
        let right = others.filter_map(|(id, _)| {
            let range = self.fresh(*id, now)?;
            let limit = self.limit_of(*id, own, membership, now);
            (range.least_ns <= limit.0).then_some((range.middle_ns(), *id))
        });
        right.max().map(|(_, id)| id)
    }

    /// The limit of the clock of a voter: it may be ahead by the bound of so many others that
    /// they are a majority together with it.
    fn limit_of(&self, subject: u64, own: u64, membership: &Membership, now: Now) -> ClockLimit {
        let voters = membership.members.iter().filter(|(_, member)| member.voter);
        let mut count = 0;
        let mut others: Vec<i64> = Vec::new();
        let mut needed = 0;
        for (id, _) in voters {
            count += 1;
            if *id == subject {
                needed -= 1;
            } else if *id == own {
                others.push(now.shift_ns());
            } else if let Some(range) = self.fresh(*id, now) {
                others.push(match planted!("clock-sign-wrong") {
                    true => 2 * now.shift_ns() - range.least_ns,
                    false => range.most_ns,
                });
            }
        }
        needed += count / 2 + 1;
        others.sort_unstable_by(|a, b| b.cmp(a));
        let last = usize::try_from(needed - 1)
            .ok()
            .map(|last| others.get(last));
        match last {
            // It is a majority by itself.
            None => ClockLimit::FREE,
            Some(None) => ClockLimit::UNMEASURED,
            Some(Some(shift_ns)) => ClockLimit(shift_ns.saturating_add(self.max_offset_ns)),
        }
    }

    /// The clock of a member, if it was measured a moment ago.
    fn fresh(&self, raft_id: u64, now: Now) -> Option<Measured> {
        let measured = self.by_member.get(&raft_id)?;
        let is_fresh = measured.is_within(now.monotonic_ns, limits::CLOCK_FRESH_FOR);
        is_fresh.then(|| measured.aged(now.monotonic_ns))
    }
}
