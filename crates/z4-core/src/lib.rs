//! The task state machine of z4: pure, deterministic, embeddable.
//!
//! A [`Machine`] holds tasks in a [`State`] and changes them by [`Command`]s.
//! What a command does is a pure function of (state, stamp, command): the crate
//! has no IO, no clock, no thread and no randomness; `now` is an argument
//! wherever time matters. A server replicates the commands with Raft and every
//! peer comes to the same state; a program that embeds the crate applies them
//! itself (see `examples/embedded.rs`).
//!
//! | module | what lives there |
//! |---|---|
//! | [`task`] | ids, names, the body of a task, where a task stands |
//! | [`command`] | what can be asked of the machine, and what it answers |
//! | [`settings`] | the settings of a namespace, one table |
//! | [`state`] | rows, the [`View`] and [`State`] traits, [`MemState`] |
//! | [`machine`] | apply: one command family per file |
//! | [`dispatch`] | who gets due tasks and when to wake, as pure decisions |
//! | [`inspect`] | what people ask of tasks and namespaces |
//! | [`invariants`] | what must hold at every index, as code |
//! | [`access`] | principals, roles and tokens: who may do what |
//! | [`address`] | the address of a peer, checked in one place for all |
//! | [`time`] | spans in the units of machine time |
//! | [`limits`] | every limit of a request, in one place |
//! | [`error`] | refusals, with stable codes |
//!
//! With the feature `testing`, for tests alone: `walk` (a random walk over all
//! commands), `state::contract` (what every state must do).

pub mod access;
pub mod address;
mod check;
pub mod command;
pub mod dispatch;
pub mod error;
pub mod inspect;
pub mod invariants;
pub mod limits;
pub mod machine;
#[doc(hidden)]
pub mod planted;
pub mod settings;
pub mod state;
pub mod task;
pub mod time;
#[cfg(any(test, feature = "testing"))]
pub mod walk;

pub use command::{Command, Outcome};
pub use error::{Code, Refusal};
pub use machine::{Event, Machine};
pub use state::{MemState, State, View};
pub use task::{Namespace, NamespaceId, TaskBody, TaskId};
