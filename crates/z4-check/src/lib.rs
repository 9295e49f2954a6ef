//! Checkers of z4's promises. Pure: no IO, no clock, no thread; the same code
//! judges a simulated cluster on virtual time and real binaries under faults.
//!
//! | promise | checker | what it is fed with |
//! |---|---|---|
//! | 1 acked creates are kept | [`delivery`], [`conserve`] | what consumers got by the end, counts |
//! | 2 never early, at least once | [`delivery`] | creates, deliveries |
//! | 3 one lease, an ack is final | [`lease`] (log order), [`delivery`] (consumers) | grants and ends |
//! | 4 one request, one task; a refused one, none | [`request`] | replies to creates, what was seen |
//! | 5 reads see what was acked | [`task`] by [`linear`]; [`index`] | a [`history`]; replies with an index |
//! | 6 conservation | [`conserve`] | counts of a namespace |
//! | 7 equal states | [`hash`] | hashes by peer and index |
//! | all but 7, of real clients | [`told`], by those above | calls, deliveries, dead letters |
//!
//! Each says `Result<(), Violation>` or gives a report with violations; a
//! [`Violation`] names its [`Rule`]. What cannot be known is not held against
//! anybody: an operation without an answer may have been done, or may be done
//! later, or never.
//!
//! # Example
//!
//! Two clients and a task. The second read is wrong: the cancel had been
//! answered before it began.
//!
//! ```
//! use z4_check::history::{Call, History, Reply, Standing};
//! use z4_check::{index, task, Rule};
//! use z4_core::TaskId;
//!
//! const STEPS_MAX: u64 = 1_000_000;
//! let id = TaskId::new(1, 1, 0);
//! let mut history = History::new();
//!
//! let create = history.invoke(1, Call::Create { request: 0 }, 10);
//! let early = history.invoke(2, Call::Get(id), 15);
//! history.created(create, 20, &[id]);
//! // It began before the create returned: either answer is right.
//! history.acked(early, 25, Reply::Stands(Standing::Missing));
//! let cancel = history.invoke(1, Call::Cancel(id), 30);
//! history.acked(cancel, 40, Reply::Done);
//! assert!(task::check(&history, STEPS_MAX).violations.is_empty());
//!
//! let stale = history.invoke(2, Call::Get(id), 50);
//! history.acked(stale, 60, Reply::Stands(Standing::Waiting));
//! let report = task::check(&history, STEPS_MAX);
//! let (which, violation) = &report.violations[0];
//! assert_eq!((*which, violation.rule), (id, Rule::NotLinearizable));
//! assert!(violation.text.contains("[50, 60] client 2: get"));
//!
//! // The same, seen by the log indexes of the replies.
//! let cancel = index::Indexed { invoked_ns: 30, returned_ns: 40, index: 9 };
//! let stale = index::Indexed { invoked_ns: 50, returned_ns: 60, index: 8 };
//! assert_eq!(index::check(&[cancel, stale]).unwrap_err().rule, Rule::IndexFell);
//! ```

pub mod conserve;
pub mod delivery;
pub mod hash;
pub mod history;
pub mod index;
pub mod lease;
pub mod linear;
pub mod request;
pub mod task;
pub mod told;
mod violation;

pub use violation::{Rule, Violation};
