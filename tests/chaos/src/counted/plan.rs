//! The plan says whom a strike is at, and when the next one comes. All of it follows
//! from the seed, and from what is left to be struck.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// The members that a strike is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// Who leads.
    Leader,
    /// One member by chance.
    Anyone,
    /// Two members or more at once, and not all, by chance.
    Some,
    /// All members at once.
    All,
}

/// The chances of a run.
pub struct Plan {
    rng: StdRng,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The aim of the next strike, when `left` peers are to be struck yet, and leaders
    /// were too few so far or not.
    pub fn aim(&mut self, left: u32, leaders_lack: bool) -> Aim {
        let drawn = match self.rng.gen_range(0..100) {
            _ if leaders_lack => Aim::Leader,
            0..=54 => Aim::Leader,
            55..=83 => Aim::Anyone,
            84..=91 => Aim::Some,
            _ => Aim::All,
        };
        // A strike at several may be at more than are left: five at most.
        match drawn {
            Aim::Some | Aim::All if left < 5 => Aim::Anyone,
            drawn => drawn,
        }
    }

    /// The members that it is at.
    pub fn victims(&mut self, aim: Aim, leader: usize, members: &[usize]) -> Vec<usize> {
        let count = match aim {
            Aim::Leader => return vec![leader],
            Aim::Anyone => 1,
            Aim::Some => self.rng.gen_range(2..members.len().max(3)),
            Aim::All => members.len(),
        };
        let some = members.choose_multiple(&mut self.rng, count);
        some.copied().collect()
    }

    /// How long those who were struck are away: mostly too short to be missed, now and
    /// then long enough that others lead for a while.
    pub fn away(&mut self) -> Duration {
        let ms = match self.rng.gen_range(0..10) {
            0 => self.rng.gen_range(500..2_000),
            1..=3 => self.rng.gen_range(50..500),
            _ => self.rng.gen_range(0..50),
        };
        Duration::from_millis(ms)
    }

    /// True when the next strike comes before all have joined again.
    pub fn is_early(&mut self) -> bool {
        self.rng.gen_ratio(1, 5)
    }

    /// The pause before such a strike.
    pub fn early(&mut self) -> Duration {
        Duration::from_millis(self.rng.gen_range(0..700))
    }

    /// The chance that a loss of power draws from.
    pub fn chance(&mut self) -> &mut StdRng {
        &mut self.rng
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_one_plan_and_all_aims_come() {
        let drawn = |seed| -> Vec<Aim> {
            let mut plan = Plan::new(seed);
            (0..200).map(|_| plan.aim(1_000, false)).collect()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        for aim in [Aim::Leader, Aim::Anyone, Aim::Some, Aim::All] {
            assert!(drawn(1).contains(&aim), "{aim:?}");
        }
    }

    #[test]
    fn no_strike_is_at_more_than_are_left_and_lacking_leaders_are_made_up_for() {
        let mut plan = Plan::new(3);
        for _ in 0..200 {
            assert_eq!(plan.aim(9, true), Aim::Leader);
            let aim = plan.aim(4, false);
            assert_eq!(plan.victims(aim, 1, &[0, 1, 2, 3, 4]).len(), 1);
        }
        let some = plan.victims(Aim::Some, 0, &[0, 1, 2]);
        assert_eq!(some.len(), 2);
        assert_eq!(plan.victims(Aim::All, 0, &[0, 1, 2]).len(), 3);
        assert_eq!(plan.victims(Aim::Leader, 2, &[0, 1, 2]), [2]);
    }
}
