//! The clock of the leader, as a peer that does not lead hears of it.
//!
//! A task that was leased ahead is delivered once it is due by the clock of the leader,
//! and a peer that follows cannot read that clock. The leader's stamps in the log tell it,
//! and a leader also says what its clock shows: with all it sends, and once more when a
//! task is due that it knows to be held elsewhere. A reading is in the past when it is
//! heard, so whoever goes by it is never early.

/// A reading of a leader's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockReading {
    /// The leader.
    pub leader: u64,
    /// The term in which it leads.
    pub term: u64,
    /// Nanoseconds since the Unix epoch.
    pub at_ns: u64,
}

/// The last reading that was heard, between whoever hears and the delivery thread.
///
/// ```
/// use z4_delivery::{ClockReading, LeaderClock};
///
/// let reading = |at_ns| ClockReading { leader: 1, term: 4, at_ns };
/// let mut clock = LeaderClock::default();
/// assert!(!clock.heard(reading(10)), "nobody waits for it");
/// assert_eq!(clock.before_turn(), Some(reading(10)));
/// assert!(!clock.after_turn(Some(20)));
/// assert!(!clock.heard(reading(19)));
/// assert!(clock.heard(reading(20)), "the delivery thread is to be woken");
/// assert!(!clock.heard(reading(21)), "once");
/// assert!(!clock.heard(reading(15)), "an older one may come later");
/// assert_eq!(clock.before_turn(), Some(reading(21)));
/// clock.heard(reading(25));
/// assert!(clock.after_turn(Some(22)), "it came during the turn: the next is due at once");
/// assert_eq!(clock.before_turn(), Some(reading(25)));
/// assert!(!clock.after_turn(Some(22)), "who knows of it and waits still, waits for more");
/// ```
#[derive(Debug, Default)]
pub struct LeaderClock {
    last: Option<ClockReading>,
    /// The reading that the last turn went by.
    given: Option<ClockReading>,
    awaited_ns: Option<u64>,
}

impl LeaderClock {
    /// A leader said what its clock shows. Tells whether the delivery thread waits for that,
    /// and has to be woken.
    pub fn heard(&mut self, reading: ClockReading) -> bool {
        let is_older =
            |last: ClockReading| (last.term, last.at_ns) >= (reading.term, reading.at_ns);
        if self.last.is_some_and(is_older) {
            return false;
        }
        self.last = Some(reading);
        let is_awaited = |at_ns: &mut u64| *at_ns <= reading.at_ns;
        self.awaited_ns.take_if(is_awaited).is_some()
    }

    /// The reading to give to the sessions before a turn, by
    /// [`Input::LeaderClock`](crate::Input::LeaderClock).
    pub fn before_turn(&mut self) -> Option<ClockReading> {
        self.given = self.last;
        self.last
    }

    /// Takes the time that the turn said it waits for
    /// ([`Turn::awaits_clock_ns`](crate::Turn::awaits_clock_ns)). Tells whether it was heard
    /// meanwhile, so that the next turn is due at once.
    pub fn after_turn(&mut self, awaits_ns: Option<u64>) -> bool {
        let is_new = self.last != self.given;
        let at_ns = self.last.filter(|_| is_new).map_or(0, |last| last.at_ns);
        self.awaited_ns = awaits_ns.filter(|awaited_ns| *awaited_ns > at_ns);
        awaits_ns.is_some() && self.awaited_ns.is_none()
    }
}
