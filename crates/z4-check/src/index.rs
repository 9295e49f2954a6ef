//! Replies that carry a log index are ordered as their times are: if A returned
//! before B began, then index(A) <= index(B).
//!
//! Source: linearizability as order by real time (M. Herlihy and J. Wing, 1990),
//! which the index of the log decides; etcd checks revisions so. O(n log n), so
//! it takes millions of operations, where a search would take thousands.

use crate::violation::{Rule, Violation};

/// A reply with an index: of the entry that did it, or, of a read, what the
/// answering peer had applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Indexed {
    /// When the call began.
    pub invoked_ns: u64,
    /// When the reply came.
    pub returned_ns: u64,
    /// The log index of the reply.
    pub index: u64,
}

/// Checks that no operation that began after another had returned has a lower
/// index. Ends at the first that has.
///
/// # Errors
///
/// [`Rule::IndexFell`], with both operations.
pub fn check(operations: &[Indexed]) -> Result<(), Violation> {
    let mut begun: Vec<&Indexed> = operations.iter().collect();
    begun.sort_unstable_by_key(|op| op.invoked_ns);
    let mut returned = begun.clone();
    returned.sort_unstable_by_key(|op| op.returned_ns);
    let mut returned = returned.into_iter().peekable();
    // The highest index among those that had returned.
    let mut highest: Option<&Indexed> = None;
    for op in begun {
        while let Some(before) = returned.next_if(|before| before.returned_ns < op.invoked_ns) {
            if highest.is_none_or(|highest| before.index > highest.index) {
                highest = Some(before);
            }
        }
        if let Some(before) = highest.filter(|before| before.index > op.index) {
            return Err(Violation::new(
                Rule::IndexFell,
                format!("{before:?} had returned before {op:?} began"),
            ));
        }
    }
    Ok(())
}
