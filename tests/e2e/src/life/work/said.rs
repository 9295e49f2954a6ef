//! What a consumer said of one lease, and which answer is to what. Answers to
//! acts of one kind come in the order they were said; those to an extend and to
//! an ack, say, in any order. What was done says of itself what it was; refusals
//! do not, and wait until it can be told.

use z4_check::told::Act;
use z4_proto::generated::collection::{LeaseOutcome, LeaseResult};

/// What was said and not answered yet, and answers that fit more than one.
#[derive(Debug, Default)]
pub struct Said {
    open: Vec<(Act, u64)>,
    refusals: Vec<LeaseResult>,
}

/// An act, when it was said, and its answer.
type Answered = (Act, u64, LeaseResult);

impl Said {
    /// Something was said.
    pub fn open(&mut self, act: Act, said_ns: u64) {
        self.open.push((act, said_ns));
    }

    /// An answer came. Gives what is known of answers by it; `None` when nobody
    /// said anything that it could be the answer to.
    pub fn answered(&mut self, result: &LeaseResult) -> Option<Vec<Answered>> {
        let mut known = Vec::new();
        let kinds = made_by(result.get_outcome());
        if kinds.is_empty() {
            self.refusals.push(result.clone());
        } else {
            let fits = |(act, _): &(Act, u64)| kinds.contains(act);
            let place = self.open.iter().position(fits)?;
            let (act, said_ns) = self.open.remove(place);
            known.push((act, said_ns, result.clone()));
        }
        if self.refusals.len() > self.open.len() {
            return None;
        }
        let alike = self.open.windows(2).all(|pair| pair[0].0 == pair[1].0);
        if alike || self.refusals.len() == self.open.len() {
            known.extend(self.settle());
        }
        Some(known)
    }

    /// Whether all that was said was answered.
    pub fn is_answered(&self) -> bool {
        self.open.is_empty()
    }

    /// No more answers come: those that did, and what was never answered.
    pub fn end(mut self) -> (Vec<Answered>, Vec<(Act, u64)>) {
        // Which of them was refused cannot be told: none of them for certain.
        let alike = self.open.windows(2).all(|pair| pair[0].0 == pair[1].0);
        let known = if alike { self.settle() } else { Vec::new() };
        (known, self.open)
    }

    fn settle(&mut self) -> Vec<Answered> {
        let refusals = std::mem::take(&mut self.refusals);
        let acts = self.open.drain(..refusals.len());
        let both = acts.zip(refusals);
        both.map(|((act, said_ns), result)| (act, said_ns, result))
            .collect()
    }
}

/// The acts that this can have been done by; none: it says that nothing was done,
/// or that it cannot be told.
fn made_by(outcome: LeaseOutcome) -> &'static [Act] {
    match outcome {
        LeaseOutcome::LEASE_OUTCOME_DONE => &[Act::Ack],
        LeaseOutcome::LEASE_OUTCOME_EXTENDED => &[Act::Extend],
        LeaseOutcome::LEASE_OUTCOME_WAITING => &[Act::Nack, Act::Release],
        LeaseOutcome::LEASE_OUTCOME_DEAD => &[Act::Nack, Act::NackForGood, Act::Release],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn result(outcome: LeaseOutcome) -> LeaseResult {
        let mut result = LeaseResult::new();
        result.set_outcome(outcome);
        result
    }

    fn acts(answered: &[Answered]) -> Vec<(Act, u64)> {
        answered.iter().map(|(act, ns, _)| (*act, *ns)).collect()
    }

    #[test]
    fn what_was_done_is_known_at_once_in_any_order() {
        let mut said = Said::default();
        said.open(Act::Extend, 1);
        said.open(Act::Ack, 2);
        let first = said.answered(&result(LeaseOutcome::LEASE_OUTCOME_DONE));
        assert_eq!(acts(&first.unwrap()), [(Act::Ack, 2)]);
        let second = said.answered(&result(LeaseOutcome::LEASE_OUTCOME_EXTENDED));
        assert_eq!(acts(&second.unwrap()), [(Act::Extend, 1)]);
        assert!(said
            .answered(&result(LeaseOutcome::LEASE_OUTCOME_DONE))
            .is_none());
    }

    #[test]
    fn a_refusal_waits_until_it_can_be_told_what_was_refused() {
        let mut said = Said::default();
        said.open(Act::Extend, 1);
        said.open(Act::Ack, 2);
        let first = said.answered(&result(LeaseOutcome::LEASE_OUTCOME_EXPIRED));
        assert_eq!(acts(&first.unwrap()), []);
        // The extend was done: it was the ack that was refused.
        let second = said.answered(&result(LeaseOutcome::LEASE_OUTCOME_EXTENDED));
        assert_eq!(acts(&second.unwrap()), [(Act::Extend, 1), (Act::Ack, 2)]);

        said.open(Act::Extend, 3);
        said.open(Act::Ack, 4);
        said.answered(&result(LeaseOutcome::LEASE_OUTCOME_GONE))
            .unwrap();
        let (known, open) = said.end();
        assert_eq!(acts(&known), []);
        assert_eq!(open, [(Act::Extend, 3), (Act::Ack, 4)]);
    }
}
