//! The ticks of Raft, of which the raft thread sleeps through those that do nothing.

use std::time::Instant;

use crate::limits;

/// The moments at which ticks are due.
pub(super) struct Ticks {
    last: Instant,
    /// The number of ticks that may pass until the thread has to be awake.
    pub(super) planned: u64,
}

impl From<Instant> for Ticks {
    fn from(last: Instant) -> Self {
        Self { last, planned: 1 }
    }
}

impl Ticks {
    /// The moment of the next tick, whether it does anything or not.
    pub(super) fn next(&self) -> Instant {
        self.last + limits::TICK
    }

    /// The moment at which the thread has to be awake.
    pub(super) fn until(&self) -> Instant {
        self.last + limits::TICK * u32::try_from(self.planned).unwrap_or(1)
    }

    /// Gives how many have passed. Of a sleep that was longer than planned, a leader makes up for
    /// what was planned, because its heartbeat is due. Others make up for one tick only: they
    /// must listen before they campaign.
    pub(super) fn passed(&mut self, now: Instant, leads: bool) -> u64 {
        let since = now.saturating_duration_since(self.last);
        let passed = (since.as_nanos() / limits::TICK.as_nanos()) as u64;
        if passed > self.planned {
            self.last = now;
            return if leads { self.planned } else { 1 };
        }
        self.last += limits::TICK * u32::try_from(passed).unwrap_or(1);
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_that_was_planned_is_made_up_for_and_a_stall_is_not() {
        let started = Instant::now();
        let mut ticks = Ticks::from(started);
        let passed = |ticks: &mut Ticks, planned, at: u32| {
            ticks.planned = planned;
            ticks.passed(started + limits::TICK * at / 10, false)
        };
        assert_eq!(passed(&mut ticks, 4, 9), 0);
        assert_eq!(passed(&mut ticks, 4, 11), 1);
        assert_eq!(passed(&mut ticks, 4, 55), 4, "late within a tick");
        assert_eq!(passed(&mut ticks, 4, 72), 2, "woken by a message");
        assert_eq!(ticks.until(), started + limits::TICK * 11);
        assert_eq!(passed(&mut ticks, 2, 1_000), 1, "it stood still");
        assert_eq!(passed(&mut ticks, 2, 1_009), 0);
        assert_eq!(passed(&mut ticks, 2, 1_020), 2);
        ticks.planned = 3;
        let late = ticks.passed(started + limits::TICK * 200, true);
        assert_eq!(
            late, 3,
            "the heartbeat of a leader that woke late goes at once"
        );
    }
}
