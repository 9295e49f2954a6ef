//! The plan of faults: it follows from the seed alone, so that a run can be made
//! again with the same faults in the same order.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::fault::{Kind, KINDS};

/// The order of faults.
pub struct Plan {
    rng: StdRng,
    kinds: Vec<Kind>,
    /// Kinds that are to come; a new deck is shuffled when it is empty, so that
    /// no kind stays away for long.
    deck: Vec<Kind>,
}

/// The kinds with these names, or all, but those to skip.
///
/// # Errors
/// The name that is none; or none is left.
pub fn kinds(names: &[String], skip: &[String]) -> Result<Vec<Kind>, String> {
    let mut kinds = named(names)?;
    let skipped = if skip.is_empty() {
        Vec::new()
    } else {
        named(skip)?
    };
    kinds.retain(|kind| !skipped.iter().any(|skip| skip.name == kind.name));
    if kinds.is_empty() {
        return Err("FAULTS and SKIP leave no fault".into());
    }
    Ok(kinds)
}

/// The kinds with these names; all when none is given.
fn named(names: &[String]) -> Result<Vec<Kind>, String> {
    let all: Vec<Kind> = KINDS
        .iter()
        .flat_map(|kinds| kinds.iter())
        .copied()
        .collect();
    if names.is_empty() {
        return Ok(all);
    }
    let one = |name: &String| {
        let found = all.iter().find(|kind| kind.name == name.trim()).copied();
        found.ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|kind| kind.name).collect();
            format!("FAULTS, SKIP: {name:?} is none of: {}", names.join(", "))
        })
    };
    names.iter().map(one).collect()
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64, kinds: Vec<Kind>) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            kinds,
            deck: Vec::new(),
        }
    }

    /// Takes kinds out that cannot be made; false when none is left.
    #[must_use]
    pub fn without(&mut self, kinds: &[Kind]) -> bool {
        let out = |kind: &Kind| kinds.iter().any(|other| other.name == kind.name);
        self.kinds.retain(|kind| !out(kind));
        !self.kinds.is_empty()
    }

    /// The next fault, and the chance that it draws its particulars from.
    pub fn next(&mut self) -> (Kind, StdRng) {
        if self.deck.is_empty() {
            for kind in &self.kinds {
                self.deck.extend((0..kind.weight).map(|_| *kind));
            }
            self.deck.shuffle(&mut self.rng);
        }
        let chance = StdRng::seed_from_u64(self.rng.gen());
        // The deck was just filled: there is one.
        (self.deck.pop().unwrap_or(self.kinds[0]), chance)
    }

    /// The kinds that faults are drawn from.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// Keeps the kinds that `keeps` says yes to, or all when it says so to none.
    pub fn keep(&mut self, keeps: impl Fn(&Kind) -> bool) {
        let kept: Vec<Kind> = self.kinds.iter().copied().filter(keeps).collect();
        if !kept.is_empty() {
            self.kinds = kept;
        }
    }

    /// A number for something else that follows from the seed.
    pub fn number(&mut self) -> u64 {
        self.rng.gen()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(plan: &mut Plan, count: usize) -> Vec<&'static str> {
        (0..count).map(|_| plan.next().0.name).collect()
    }

    #[test]
    fn a_seed_draws_one_plan_and_every_kind_comes() {
        let all = kinds(&[], &[]).unwrap();
        let deck: u32 = all.iter().map(|kind| kind.weight).sum();
        let plan = |seed| names(&mut Plan::new(seed, all.clone()), deck as usize);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        assert!(all.iter().all(|kind| plan(7).contains(&kind.name)));
    }

    #[test]
    fn kinds_are_chosen_by_name() {
        let some = |names: &[&str], skip: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
            let found = kinds(&owned(names), &owned(skip));
            found.map(|kinds| kinds.iter().map(|kind| kind.name).collect::<Vec<_>>())
        };
        assert_eq!(some(&["kill all", " packet loss"], &[]).unwrap().len(), 2);
        assert_eq!(
            some(&["kill all", "garbage"], &["garbage"]).unwrap(),
            ["kill all"]
        );
        assert!(some(&["rain"], &[]).unwrap_err().contains("kill leader"));
        assert!(some(&["garbage"], &["garbage"]).is_err());
    }
}
