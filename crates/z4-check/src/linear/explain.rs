//! Why there is no order, as short as can be said.
//!
//! The longest beginning of the history that can be explained ends before one
//! answer: that one is named, with the operations that were open at the time and
//! the last ones of the best order found.

use std::fmt::{self, Debug, Display, Write};

use super::list::{List, NONE};
use super::Timed;

/// How many operations of the order are shown.
const SHOWN: usize = 8;

/// The answer that cannot be explained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// Its operation, by its place in what was checked.
    pub operation: usize,
    /// The last operations of the order that goes furthest, before it.
    pub before: Vec<usize>,
    /// Others that were open when it ended and are not in that order.
    pub open: Vec<usize>,
    /// All of it, for a person.
    pub text: String,
}

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The furthest end of an operation at which the search was stuck.
#[derive(Default)]
pub(super) struct Furthest {
    entry: u32,
    before: Vec<u32>,
    ordered: usize,
    state: String,
}

impl Furthest {
    /// The search is stuck at this entry, with this order in hand.
    pub(super) fn blocked(
        &mut self,
        entry: u32,
        order: impl DoubleEndedIterator<Item = u32> + ExactSizeIterator,
        state: impl FnOnce() -> String,
    ) {
        if entry == NONE || entry <= self.entry {
            return;
        }
        self.entry = entry;
        self.ordered = order.len();
        self.before = order.rev().take(SHOWN).collect();
        self.before.reverse();
        self.state = state();
    }

    pub(super) fn explain<C: Display, R: Debug>(
        self,
        list: &List,
        operations: &[Timed<C, R>],
    ) -> Explanation {
        let culprit = list.operation(self.entry).unwrap_or(0) as usize;
        let ended_ns = operations.get(culprit).and_then(|op| op.end.as_ref());
        let ended_ns = ended_ns.map_or(u64::MAX, |(at_ns, _)| *at_ns);
        let before: Vec<usize> = self.before.iter().map(|op| *op as usize).collect();
        let mut open: Vec<usize> = (0..operations.len())
            .filter(|op| {
                let operation = &operations[*op];
                let begun = list.begins(*op as u32) < self.entry;
                let open = operation.end.as_ref().is_none_or(|e| e.0 >= ended_ns);
                *op != culprit && begun && open && !before.contains(op)
            })
            .collect();
        open.sort_by_key(|op| std::cmp::Reverse(operations[*op].invoked_ns));
        open.truncate(SHOWN);
        let mut text = String::from("no order explains ");
        let line = |op: usize| describe(&operations[op]);
        // Writing to a string does not fail.
        let _ = write!(text, "{}", line(culprit));
        let _ = write!(
            text,
            "\n  after an order of {} operations, the last:",
            self.ordered
        );
        for op in &before {
            let _ = write!(text, "\n    {}", line(*op));
        }
        let _ = write!(text, "\n  the state is {}", self.state);
        if !open.is_empty() {
            let _ = write!(text, "\n  open meanwhile:");
            for op in &open {
                let _ = write!(text, "\n    {}", line(*op));
            }
        }
        Explanation {
            operation: culprit,
            before,
            open,
            text,
        }
    }
}

fn describe<C: Display, R: Debug>(operation: &Timed<C, R>) -> String {
    let Timed {
        client,
        call,
        invoked_ns,
        end,
    } = operation;
    match end {
        Some((at_ns, reply)) => {
            format!("[{invoked_ns}, {at_ns}] client {client}: {call} -> {reply:?}")
        }
        None => format!("[{invoked_ns}, ...] client {client}: {call} -> no answer"),
    }
}
