//! The things that are watched in a soak, and how much they may grow.
//!
//! Only the second half of a run is looked at, for request ids (which are remembered for
//! ten minutes), tables and heaps grow to their bounds first; and of a life only what comes
//! after its first two minutes, for a process that has just been started does the same.
//! Growth counts when even its lower bound is above the limit: noise fails no run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::slope::{self, Life};

/// Something that is watched, with a limit for its growth in the second half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watched {
    /// Resident memory of a peer, without the cache of blocks and the write buffers, which
    /// have bounds of their own.
    Memory,
    /// Its open descriptors.
    Descriptors,
    /// Its threads.
    Threads,
    /// Bytes in its folders.
    Disk,
    /// Half of the creates take no longer.
    CreateP50,
    /// 99 of 100 creates take no longer.
    CreateP99,
    /// Half of the deliveries come no later after their due time.
    LateP50,
    /// 99 of 100 deliveries come no later.
    LateP99,
}

/// All of them.
pub const ALL: [Watched; 8] = [
    Watched::Memory,
    Watched::Descriptors,
    Watched::Threads,
    Watched::Disk,
    Watched::CreateP50,
    Watched::CreateP99,
    Watched::LateP50,
    Watched::LateP99,
];

impl Watched {
    /// Its name and unit.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Memory => ("memory", "MiB"),
            Self::Descriptors => ("descriptors", ""),
            Self::Threads => ("threads", ""),
            Self::Disk => ("disk", "MiB"),
            Self::CreateP50 => ("create p50", "ms"),
            Self::CreateP99 => ("create p99", "ms"),
            Self::LateP50 => ("lateness p50", "ms"),
            Self::LateP99 => ("lateness p99", "ms"),
        }
    }

    /// Growth in the second half that is allowed: a share of the level, or an amount,
    /// whichever is more.
    fn limits(self) -> (f64, f64) {
        match self {
            Self::Memory => (0.05, 10.0),
            Self::Descriptors => (0.05, 8.0),
            Self::Threads => (0.05, 4.0),
            // The log and the tables are cut and merged in steps of some MiB.
            Self::Disk => (0.05, 32.0),
            Self::CreateP50 | Self::LateP50 => (0.2, 2.0),
            Self::CreateP99 | Self::LateP99 => (0.2, 20.0),
        }
    }
}

/// The owner of a series: a place, and which process there.
pub type Whose = (usize, u32);

/// All series of a run.
#[derive(Debug, Default)]
pub struct Series {
    lives: BTreeMap<(Watched, Whose), Life>,
}

/// The growth of one thing.
#[derive(Debug, Clone, Copy)]
pub struct Growth {
    /// The thing.
    pub watched: Watched,
    /// The median.
    pub level: f64,
    /// How much it grew in the second half.
    pub growth: f64,
    /// How much at least.
    pub least: f64,
}

impl Series {
    /// A value, at a moment of the run in seconds.
    pub fn add(&mut self, watched: Watched, whose: Whose, at_s: f64, value: f64) {
        let life = self.lives.entry((watched, whose)).or_default();
        life.push((at_s, value));
    }

    /// The last value at each place.
    pub fn last(&self, watched: Watched) -> Vec<f64> {
        let mut last: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        let lives = self.lives.iter().filter(|((what, _), _)| *what == watched);
        for ((_, (place, _)), life) in lives {
            let Some(point) = life.last() else { continue };
            let kept = last.entry(*place).or_insert(*point);
            if point.0 > kept.0 {
                *kept = *point;
            }
        }
        last.into_values().map(|(_, value)| value).collect()
    }

    /// The growth of each thing in a run that lasted from 0 to `length`; those of which
    /// there is too little to tell stand in the second list.
    pub fn growth(&self, length: Duration) -> (Vec<Growth>, Vec<&'static str>) {
        let half_s = length.as_secs_f64() / 2.0;
        let mut known = Vec::new();
        let mut unknown = Vec::new();
        for watched in ALL {
            let lives = self.lives.iter().filter(|((what, _), _)| *what == watched);
            let lives: Vec<Life> = lives.map(|(_, life)| second_half(life, length)).collect();
            match slope::of(&lives) {
                None => unknown.push(watched.words().0),
                Some(slope) => known.push(Growth {
                    watched,
                    level: slope.level,
                    growth: slope.per_s * half_s,
                    least: slope.least_per_s * half_s,
                }),
            }
        }
        (known, unknown)
    }
}

/// The part of a life that counts.
fn second_half(life: &Life, length: Duration) -> Life {
    let length_s = length.as_secs_f64();
    let warm_up_s = (length_s / 30.0).min(120.0);
    let begin_s = life.first().map_or(0.0, |(at_s, _)| *at_s);
    // A process from the beginning of the run is warm by the half of it.
    let from_s = (begin_s + warm_up_s).max(length_s / 2.0);
    let later = life.iter().filter(|(at_s, _)| *at_s >= from_s);
    later.copied().collect()
}

impl Growth {
    /// The most that it may grow.
    fn limit(&self) -> f64 {
        let (share, amount) = self.watched.limits();
        amount.max(self.level * share)
    }

    /// A sentence that says so, when it grew too much.
    pub fn too_much(&self) -> Option<String> {
        let (name, unit) = self.watched.words();
        (self.least > self.limit()).then(|| {
            format!(
                "{name} grew by {:.1} {unit} in the second half, surely by {:.1}; of {:.1} at \
                 most {:.1} are allowed",
                self.growth,
                self.least,
                self.level,
                self.limit()
            )
        })
    }

    /// A row of the table.
    pub fn row(&self) -> String {
        let (name, unit) = self.watched.words();
        format!(
            "{name:<14} {:>10.1} {unit:<4} {:>+10.2} {:>+10.2} {:>10.1}",
            self.level,
            self.growth,
            self.least,
            self.limit()
        )
    }

    /// A few words for the last line.
    pub fn words(&self) -> String {
        let (name, unit) = self.watched.words();
        let space = if unit.is_empty() { "" } else { " " };
        format!(
            "{name} {:+.1} of {:.1}{space}{unit}",
            self.growth, self.level
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LENGTH: Duration = Duration::from_secs(3_600);

    /// Three peers, which are started anew every ten minutes, each at another moment:
    /// 60 MiB at first, 40 more within two minutes, then so much more a minute.
    fn memory(leak_per_min: f64) -> Series {
        let mut series = Series::default();
        for second in (0..3_600).step_by(3) {
            for place in 0..3 {
                let shifted = second + 200 * place;
                let age_s = f64::from(shifted % 600);
                let noise = f64::from(second * 7_919 % 101) / 50.0;
                let value = 60.0 + age_s.min(120.0) / 3.0 + leak_per_min * age_s / 60.0 + noise;
                let whose = (place as usize, shifted / 600);
                series.add(Watched::Memory, whose, f64::from(second), value);
            }
        }
        series
    }

    fn grown(series: &Series) -> Growth {
        let (known, _) = series.growth(LENGTH);
        *known
            .iter()
            .find(|growth| growth.watched == Watched::Memory)
            .unwrap()
    }

    #[test]
    fn a_leak_of_a_process_fails_the_run_and_its_start_does_not() {
        let sound = grown(&memory(0.0));
        assert_eq!(sound.too_much(), None);
        assert!(sound.growth.abs() < 1.0, "{sound:?}");
        assert!(sound.level > 95.0 && sound.level < 105.0, "{sound:?}");
        // 15 MiB in half an hour.
        let leaks = grown(&memory(0.5));
        assert!((leaks.growth - 15.0).abs() < 1.0, "{leaks:?}");
        assert!(leaks.too_much().unwrap().contains("memory grew by"));
        // 9 MiB are allowed.
        assert_eq!(grown(&memory(0.3)).too_much(), None);
    }

    #[test]
    fn a_share_is_allowed_of_what_is_large() {
        let line = |per_s: f64| {
            let mut series = Series::default();
            for second in (0..3_600).step_by(30) {
                let at_s = f64::from(second);
                series.add(Watched::CreateP99, (0, 0), at_s, 200.0 + per_s * at_s);
            }
            series.growth(LENGTH).0[0].too_much()
        };
        // 36 ms of some 250 in half an hour, and 72 of some 310.
        assert_eq!(line(0.02), None);
        assert!(line(0.04).unwrap().contains("create p99 grew by 72.0 ms"));
    }

    #[test]
    fn the_last_value_at_a_place_is_that_of_its_last_process() {
        let series = memory(0.0);
        let last = series.last(Watched::Memory);
        assert_eq!(last.len(), 3);
        assert!(
            last.iter().all(|mib| (100.0..103.0).contains(mib)),
            "{last:?}"
        );
        assert_eq!(series.last(Watched::Disk), Vec::<f64>::new());
        let mut series = Series::default();
        series.add(Watched::Memory, (2, 9), 1.0, 70.0);
        series.add(Watched::Memory, (2, 3), 2.0, 50.0);
        assert_eq!(series.last(Watched::Memory), [50.0]);
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let (known, unknown) = memory(0.0).growth(LENGTH);
        assert_eq!(known.len(), 1);
        assert_eq!(unknown.len(), ALL.len() - 1);
        assert!(unknown.contains(&"lateness p99"));
    }
}
