//! The figures of a soak, and what they mean.

use std::fmt::Write;
use std::time::Duration;

use super::series::Growth;

/// Done are to be so many in a hundred of the tasks that were planned: the others were
/// left out in long faults.
const HELD_MIN: f64 = 70.0;

/// Growth in a shorter soak tells nothing: request ids are remembered for ten
/// minutes, and heaps grow meanwhile.
const LENGTH_MIN: Duration = Duration::from_secs(29 * 60);

/// The figures of a soak.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How long it was.
    pub length: Duration,
    /// Tasks of batches a second in the closed loop.
    pub peak_per_s: f64,
    /// Tasks of batches that were to be made a second after that.
    pub target_per_s: f64,
    /// Tasks of batches that were done a second after that, with the faults.
    pub held_per_s: f64,
    /// Tasks that were not made, because faults had held up the producers.
    pub left_out: u64,
    /// Times between faults in which latencies were taken.
    pub quiet: u32,
    /// Times between faults that were too short for it.
    pub restless: u32,
    /// How much things grew.
    pub growth: Vec<Growth>,
    /// Names of things of which there is too little to tell.
    pub unknown: Vec<&'static str>,
}

impl Outcome {
    fn is_short(&self) -> bool {
        self.length < LENGTH_MIN
    }

    /// A sentence for each thing that grew too much; none of a short soak.
    pub fn broken(&self) -> Vec<String> {
        let growth = self.growth.iter().filter(|_| !self.is_short());
        growth.filter_map(Growth::too_much).collect()
    }

    /// Why the run proves nothing.
    pub fn invalid(&self) -> Vec<String> {
        let mut why: Vec<String> = self
            .unknown
            .iter()
            .map(|name| format!("{name}: too few samples for a slope; make the soak longer"))
            .collect();
        if self.is_short() {
            why.push(format!(
                "what grew in {:.0} minutes tells nothing; a soak takes {} at least",
                self.length.as_secs_f64() / 60.0,
                LENGTH_MIN.as_secs() / 60 + 1
            ));
        }
        if self.held_per_s * 100.0 < self.target_per_s * HELD_MIN {
            why.push(format!(
                "{:.0} tasks/s were done of {:.0}, at least {HELD_MIN:.0} of 100 are needed",
                self.held_per_s, self.target_per_s
            ));
        }
        why
    }

    /// The table, for people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "\npeak {:.0} tasks/s; {:.0} to be held, {:.0} done; {} tasks left out; latencies \
             taken {} times, {} times too short\n{:<14} {:>15} {:>10} {:>10} {:>10}\n",
            self.peak_per_s,
            self.target_per_s,
            self.held_per_s,
            self.left_out,
            self.quiet,
            self.restless,
            "second half",
            "median",
            "growth",
            "surely",
            "allowed"
        );
        for growth in &self.growth {
            let _ = writeln!(text, "{}", growth.row());
        }
        text
    }

    /// The words for the line that a run ends with.
    pub fn line(&self) -> String {
        let grown: Vec<String> = self.growth.iter().map(Growth::words).collect();
        format!(
            "soak of {:.1} minutes at {:.0} tasks/s, peak {:.0}; in the second half {}",
            self.length.as_secs_f64() / 60.0,
            self.held_per_s,
            self.peak_per_s,
            grown.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::series::Watched;
    use super::*;

    #[test]
    fn growth_fails_a_run_that_is_long_enough() {
        let grown = |length, least| Outcome {
            length,
            growth: vec![Growth {
                watched: Watched::Descriptors,
                level: 50.0,
                growth: 9.0,
                least,
            }],
            ..Outcome::default()
        };
        assert_eq!(grown(LENGTH_MIN, 8.5).broken().len(), 1);
        assert_eq!(grown(LENGTH_MIN, 7.5).broken(), Vec::<String>::new());
        let short = LENGTH_MIN - Duration::from_secs(1);
        assert_eq!(grown(short, 8.5).broken(), Vec::<String>::new());
    }

    #[test]
    fn a_load_that_was_not_held_proves_nothing() {
        let outcome = |held_per_s| Outcome {
            length: LENGTH_MIN,
            target_per_s: 100.0,
            held_per_s,
            ..Outcome::default()
        };
        assert_eq!(outcome(70.0).invalid(), Vec::<String>::new());
        assert_eq!(
            outcome(69.0).invalid(),
            ["69 tasks/s were done of 100, at least 70 of 100 are needed"]
        );
        let mut blind = outcome(100.0);
        blind.unknown.push("disk");
        assert_eq!(blind.invalid().len(), 1);
        blind.length = LENGTH_MIN - Duration::from_secs(1);
        assert_eq!(blind.invalid().len(), 2);
        blind.length = LENGTH_MIN;
        assert_eq!(
            blind.invalid(),
            ["disk: too few samples for a slope; make the soak longer"]
        );
    }
}
