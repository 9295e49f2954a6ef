//! The tally says what was struck, how long writes stayed away, and where the time went.

use std::fmt::Write;
use std::time::Duration;

use z4_faultfs::Lost;

use super::Strike;
use crate::report::{percentile, seconds};

/// Leaders are to be so many of a hundred struck peers at least.
const LEADERS_MIN: u32 = 40;
/// The plan makes up for it when fewer of them were leaders so far.
const LEADERS_GOAL: u32 = 45;
/// Operations a second under strikes below which a run proves nothing.
const RATE_MIN: f64 = 500.0;

/// The peers that a run has struck so far, and what that cost.
#[derive(Debug)]
pub struct Tally {
    /// How.
    pub strike: Strike,
    goal: u32,
    struck: u32,
    leaders: u32,
    strikes: u32,
    /// Strikes at more than one and not at all, and those at all.
    several: u32,
    all: u32,
    /// Strikes that the next one followed before all had joined.
    pub early: u32,
    /// Peers that lost something with the power, and what.
    hurt: u32,
    lost: Lost,
    gaps: Vec<Duration>,
    /// Time in which strikes were made, and operations in it.
    time: Duration,
    operations: u64,
    /// The part of that time until somebody led.
    pub seeking: Duration,
    /// Until all had joined again.
    pub joining: Duration,
    /// Until writes were acknowledged, after all had joined.
    pub writing: Duration,
}

impl Tally {
    /// Nothing was struck yet.
    pub fn new(strike: Strike, goal: u32) -> Self {
        Self {
            strike,
            goal,
            struck: 0,
            leaders: 0,
            strikes: 0,
            several: 0,
            all: 0,
            early: 0,
            hurt: 0,
            lost: Lost::default(),
            gaps: Vec::new(),
            time: Duration::ZERO,
            operations: 0,
            seeking: Duration::ZERO,
            joining: Duration::ZERO,
            writing: Duration::ZERO,
        }
    }

    /// How many peers are to be struck yet.
    pub fn left(&self) -> u32 {
        self.goal.saturating_sub(self.struck)
    }

    /// True when too few of those that were struck led.
    pub fn leaders_lack(&self) -> bool {
        self.leaders * 100 < self.struck * LEADERS_GOAL
    }

    /// So many of so many members were struck at once; what they lost, when it was the
    /// power.
    pub fn struck(&mut self, count: usize, members: usize, leader: bool, lost: &[Lost]) {
        self.strikes += 1;
        self.struck += count as u32;
        self.leaders += u32::from(leader);
        self.several += u32::from(count > 1 && count < members);
        self.all += u32::from(count == members);
        for one in lost {
            self.hurt += u32::from(one.writes + one.names > 0);
            self.lost.writes += one.writes;
            self.lost.names += one.names;
            self.lost.torn += one.torn;
        }
    }

    /// So many operations ended in a time of strikes.
    pub fn worked(&mut self, operations: u64, time: Duration) {
        self.operations += operations;
        self.time += time;
    }

    /// From each strike at a leader to the first acknowledged create that was asked
    /// for after it.
    pub fn gaps(&mut self, gaps: &[Duration]) {
        self.gaps.extend_from_slice(gaps);
        self.gaps.sort_unstable();
    }

    /// Why the run proves nothing.
    pub fn invalid(&self) -> Vec<String> {
        let words = self.strike.words();
        let mut why = Vec::new();
        if self.left() > 0 {
            why.push(format!(
                "{} {words} of {} were made",
                self.struck, self.goal
            ));
        }
        if self.leaders * 100 < self.struck * LEADERS_MIN {
            why.push(format!(
                "{} of {} {words} were of leaders, at least {LEADERS_MIN} of 100 are needed",
                self.leaders, self.struck
            ));
        }
        let rate = self.rate();
        if rate < RATE_MIN {
            why.push(format!(
                "{rate:.0} operations/s under {words}, at least {RATE_MIN} are needed"
            ));
        }
        if self.strike == Strike::PowerLoss && self.hurt == 0 {
            why.push("no power loss took anything away".into());
        }
        why
    }

    fn rate(&self) -> f64 {
        self.operations as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The beginning of the line that a run ends with.
    pub fn line(&self) -> String {
        let gap = |share| seconds(percentile(&self.gaps, share));
        let mut line = format!(
            "{} {}, {} of leaders, {} times several at once, {} times all at once",
            self.struck,
            self.strike.words(),
            self.leaders,
            self.several,
            self.all
        );
        if !self.gaps.is_empty() {
            let (p50, p99, max) = (gap(0.5), gap(0.99), gap(1.0));
            let _ = write!(line, ", write gap p50/p99/max {p50}/{p99}/{max} s");
        }
        line
    }

    /// More figures, for people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "\n{} strikes, {} of them followed by the next before all had joined; \
             {:.2} s for each peer that was struck; {:.0} operations/s\n\
             of {} s: {} s until somebody led, {} s until all had joined, {} s until \
             writes went on\n",
            self.strikes,
            self.early,
            self.time.as_secs_f64() / f64::from(self.struck.max(1)),
            self.rate(),
            seconds(self.time),
            seconds(self.seeking),
            seconds(self.joining),
            seconds(self.writing),
        );
        if self.strike == Strike::PowerLoss {
            let Lost {
                writes,
                names,
                torn,
            } = self.lost;
            let _ = writeln!(
                text,
                "{} peers lost something: {writes} writes, {names} changes of names, {torn} torn",
                self.hurt
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(writes: u64) -> Lost {
        Lost {
            writes,
            ..Lost::default()
        }
    }

    #[test]
    fn a_count_that_was_not_reached_proves_nothing() {
        let mut tally = Tally::new(Strike::PowerLoss, 4);
        tally.worked(10_000, Duration::from_secs(10));
        tally.struck(1, 3, true, &[lost(0)]);
        assert_eq!(
            tally.invalid(),
            [
                "1 power losses of 4 were made",
                "no power loss took anything away"
            ]
        );
        tally.struck(3, 3, true, &[lost(1), lost(0), lost(2)]);
        tally.gaps(&[Duration::from_millis(900), Duration::from_millis(400)]);
        assert_eq!(tally.invalid(), Vec::<String>::new());
        assert_eq!(
            tally.line(),
            "4 power losses, 2 of leaders, 0 times several at once, 1 times all at once, \
             write gap p50/p99/max 0.40/0.90/0.90 s"
        );
    }

    #[test]
    fn load_and_leaders_are_needed() {
        let mut tally = Tally::new(Strike::Kill, 3);
        tally.worked(4_990, Duration::from_secs(10));
        tally.struck(3, 3, true, &[]);
        assert!(tally.leaders_lack());
        assert_eq!(
            tally.invalid(),
            [
                "1 of 3 kills were of leaders, at least 40 of 100 are needed",
                "499 operations/s under kills, at least 500 are needed"
            ]
        );
    }
}
