//! Who waits for which place in the log.
//!
//! A proposal's caller knows nothing but where its entry was appended. Whether
//! it is that entry which comes back committed is told by index *and* term: an
//! answer by order, or by index alone, would tell a caller of another leader's
//! entry that its own was done.

use std::collections::VecDeque;

use crate::log::Position;
use crate::planted::planted;

/// Callers in the order of the places they wait for. `T` is all the callers of
/// one entry.
#[derive(Debug)]
pub struct Callers<T> {
    waiting: VecDeque<(Position, T)>,
}

impl<T> Default for Callers<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }
}

impl<T> Callers<T> {
    /// These wait for the entry at `position`. Returns those who waited at or
    /// behind it: this peer led, lost its place in the log, and leads again;
    /// what they wait for was taken out of the log, so nothing was done.
    #[must_use]
    pub fn add(&mut self, position: Position, callers: T) -> Vec<T> {
        let mut superseded = Vec::new();
        while self
            .waiting
            .back()
            .is_some_and(|(at, _)| at.index >= position.index)
        {
            superseded.extend(self.waiting.pop_back().map(|(_, old)| old));
        }
        self.waiting.push_back((position, callers));
        superseded
    }

    /// The entry at `position` was applied. Returns those in whose place another
    /// leader's entry stands, so that nothing was done, and those whose entry it
    /// is.
    #[must_use]
    pub fn applied(&mut self, position: Position) -> (Vec<T>, Option<T>) {
        let mut superseded = Vec::new();
        while let Some((at, callers)) = self.first_through(position.index) {
            if at == position || planted!("reply-by-order") {
                return (superseded, Some(callers));
            }
            superseded.push(callers);
        }
        (superseded, None)
    }

    /// A snapshot jumped to `index`. Returns those whose entries may or may not
    /// be in what it jumps over: their outcome is unknown.
    #[must_use]
    pub fn jumped(&mut self, index: u64) -> Vec<T> {
        let mut unknown = Vec::new();
        while let Some((_, callers)) = self.first_through(index) {
            unknown.push(callers);
        }
        unknown
    }

    /// Everybody that still waits.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.waiting.drain(..).map(|(_, callers)| callers)
    }

    fn first_through(&mut self, index: u64) -> Option<(Position, T)> {
        let due = self
            .waiting
            .front()
            .is_some_and(|(at, _)| at.index <= index);
        due.then(|| self.waiting.pop_front()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64, term: u64) -> Position {
        Position { index, term }
    }

    #[test]
    fn an_entry_answers_its_own_callers_only() {
        let mut callers = Callers::default();
        assert!(callers.add(at(5, 2), "five").is_empty());
        assert!(callers.add(at(6, 2), "six").is_empty());
        assert_eq!(callers.applied(at(4, 2)), (vec![], None));
        assert_eq!(callers.applied(at(5, 2)), (vec![], Some("five")));
        // Another leader's entry took the place.
        assert_eq!(callers.applied(at(6, 3)), (vec!["six"], None));
        assert_eq!(callers.applied(at(7, 3)), (vec![], None));
    }

    #[test]
    fn who_leads_again_knows_what_it_lost() {
        let mut callers = Callers::default();
        for index in 5..8 {
            assert!(callers.add(at(index, 2), index).is_empty());
        }
        assert_eq!(callers.add(at(6, 4), 60), vec![7, 6]);
        assert_eq!(callers.applied(at(6, 4)), (vec![5], Some(60)));
    }

    #[test]
    fn a_snapshot_leaves_outcomes_unknown() {
        let mut callers = Callers::default();
        for index in 5..9 {
            assert!(callers.add(at(index, 2), index).is_empty());
        }
        assert_eq!(callers.jumped(7), vec![5, 6, 7]);
        assert_eq!(callers.drain().collect::<Vec<_>>(), vec![8]);
    }
}
