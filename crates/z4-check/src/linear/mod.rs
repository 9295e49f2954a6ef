//! Linearizability of a history of one object, for any sequential model.
//!
//! Source: J. Wing and C. Gong, "Testing and verifying concurrent objects"
//! (1993), with the improvements of G. Lowe, "Testing for linearizability"
//! (2017): operations in a linked list from which what has been ordered is
//! lifted, and a memory of (set of ordered operations, state) so that no
//! configuration is explored twice. Objects are checked one by one, which is as
//! good as all at once (locality: M. Herlihy and J. Wing, "Linearizability",
//! 1990).
//!
//! Operations without an end may be ordered anywhere after their beginning, or
//! left out. Two operations of which one ends at the very time the other begins
//! overlap: give times that tell if you know better.

mod explain;
mod list;
mod ordered;

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::hash::Hash;

pub use explain::Explanation;
use list::{List, NONE};
use ordered::Ordered;

/// The sequential behaviour of an object.
///
/// A model that is not deterministic takes as its state the set of states the
/// object may be in.
pub trait Model {
    /// The state of the object.
    type State: Clone + Eq + Hash + Debug;
    /// What can be called.
    type Call: Display;
    /// What can be answered.
    type Reply: Debug;

    /// The state before the first operation.
    fn first(&self) -> Self::State;

    /// The state after the call was done in `state` and answered with `reply`,
    /// `None` when that answer cannot be. A `reply` of `None` is an answer that
    /// nobody saw: the call is done, whatever it answers; it is then never
    /// impossible.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        reply: Option<&Self::Reply>,
    ) -> Option<Self::State>;
}

/// An operation on the object.
#[derive(Clone, Debug)]
pub struct Timed<C, R> {
    /// Who called.
    pub client: u32,
    /// What.
    pub call: C,
    /// When.
    pub invoked_ns: u64,
    /// When it ended, and the answer; `None`: it may be done at any later time,
    /// or never.
    pub end: Option<(u64, R)>,
}

/// What the search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none.
    Violation(Explanation),
    /// None was found in so many steps, and there may be one.
    GaveUp,
}

/// A verdict, and what it took.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// Steps of the model that were tried.
    pub steps: u64,
}

/// An operation in the order that is being built, and the state before it.
struct Placed<S> {
    op: u32,
    before: S,
}

/// Looks for an order of the operations that explains their answers, in at most
/// `steps_max` steps of the model.
pub fn check<M: Model>(
    model: &M,
    operations: &[Timed<M::Call, M::Reply>],
    steps_max: u64,
) -> Outcome {
    let mut list = List::new(operations);
    let mut ordered = Ordered::new(operations.len());
    let mut memory = HashSet::new();
    let mut order: Vec<Placed<M::State>> = Vec::new();
    let mut state = model.first();
    let mut left = operations.iter().filter(|op| op.end.is_some()).count();
    let open = operations.len() - left;
    let mut furthest = explain::Furthest::default();
    let mut steps = 0;
    // Operations with an end are tried first: those without may stay out.
    let mut tries_open = false;
    let mut entry = list.first();
    while left > 0 {
        if let Some(op) = list.call(entry) {
            let operation = &operations[op as usize];
            let is_open = operation.end.is_none();
            if is_open == tries_open {
                if steps == steps_max {
                    let verdict = Verdict::GaveUp;
                    return Outcome { verdict, steps };
                }
                steps += 1;
                let reply = operation.end.as_ref().map(|(_, reply)| reply);
                let next = model.step(&state, &operation.call, reply);
                // An operation that may stay out and changes nothing stays out.
                let next = next.filter(|next| !(is_open && *next == state));
                if let Some(next) = next {
                    ordered.add(op);
                    if memory.insert((ordered.key(), next.clone())) {
                        let before = std::mem::replace(&mut state, next);
                        order.push(Placed { op, before });
                        list.lift(op);
                        left -= usize::from(!is_open);
                        tries_open = false;
                        entry = list.first();
                        continue;
                    }
                    ordered.remove(op);
                }
            }
            entry = list.after(entry);
            if entry != NONE {
                continue;
            }
        }
        // The end of an operation that is not in the order yet: it should be.
        if open > 0 && !tries_open {
            tries_open = true;
            entry = list.first();
            continue;
        }
        let recent = order.iter().map(|placed| placed.op);
        furthest.blocked(entry, recent, || format!("{state:?}"));
        let Some(Placed { op, before }) = order.pop() else {
            let explanation = furthest.explain(&list, operations);
            let verdict = Verdict::Violation(explanation);
            return Outcome { verdict, steps };
        };
        state = before;
        ordered.remove(op);
        list.unlift(op);
        tries_open = operations[op as usize].end.is_none();
        left += usize::from(!tries_open);
        entry = list.after_call(op);
    }
    let verdict = Verdict::Linearizable;
    Outcome { verdict, steps }
}
