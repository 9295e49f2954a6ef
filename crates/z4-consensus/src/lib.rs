//! Raft for z4: a pure replica and the threads that run it.
//!
//! The crate knows bytes and indexes, not tasks. [`Replica`] wraps raft-rs as a
//! step function with no IO, clock, thread or randomness of its own; the
//! [`runtime`] gives it a log, a state machine and a transport, each on its own
//! thread; a simulator drives the same replica in one thread under a seed.
//!
//! | module | what lives there |
//! |---|---|
//! | [`replica`] | step(input, now) -> work |
//! | [`entry`] | what a committed entry says |
//! | [`proposals`] | the entry envelope: stamp and commands |
//! | [`addresses`] | which address a member is dialled at |
//! | [`assembly`] | how empty peers become one cluster |
//! | [`callers`] | who waits for which place in the log |
//! | [`membership`] | members, raft ids, removed ids; what a change does to them |
//! | [`gate`] | which peer messages are let in |
//! | [`level`] | what may stand in the log and between members, and who knows it |
//! | [`log`] | the trait of the raft log |
//! | [`machine`] | the trait of the replicated state machine |
//! | [`transport`] | the trait of the way to other peers |
//! | [`runtime`] | raft, log and apply threads on bounded channels |
//! | [`fault`] | fail points, of all crates |
//! | [`limits`] | every bound of channels, batches and time-outs |
//!
//! With the feature `testing`, for tests alone: `log_contract` (what every log must
//! do), `mem_log` (a log in memory), `counter` (the second state machine).

pub mod addresses;
pub mod assembly;
pub mod callers;
pub mod clocks;
#[cfg(any(test, feature = "testing"))]
pub mod counter;
pub mod entry;
pub mod error;
pub mod fault;
pub mod gate;
pub mod level;
pub mod limits;
pub mod log;
#[cfg(any(test, feature = "testing"))]
pub mod log_contract;
pub mod machine;
#[cfg(any(test, feature = "testing"))]
pub mod mem_log;
pub mod membership;
pub mod metrics;
#[doc(hidden)]
#[path = "../../z4-core/src/planted.rs"]
pub mod planted;
pub mod proposals;
pub mod replica;
pub mod runtime;
pub mod status;
pub mod transport;

pub use addresses::AddressBook;
pub use clocks::{ClockFault, ClockLimit, ClockOffset};
pub use error::{ProposeError, ReadError, StartError, StopReason};
pub use level::{Levels, SaidLevels};
pub use machine::{Committed, StateMachine};
pub use membership::{Change, Identity, Member, Membership};
pub use replica::Replica;
pub use runtime::Handle;
pub use status::{Role, Status};
pub use transport::Transport;
