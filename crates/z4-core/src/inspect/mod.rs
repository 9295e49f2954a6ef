//! What people ask: which tasks are there, why does one not run, how does a
//! namespace do. Pure reads of a [`View`](crate::View), each of a bounded size.
//!
//! A view may move on between two reads of one question. So every question is
//! put in an order in which the answer was true at one moment of the call: where
//! a task stands is read before its body, for a body is written once and goes
//! last.

mod ahead;
mod dead;
mod explain;
mod list;
#[cfg(test)]
mod moving;
mod stats;

pub use self::ahead::{ahead, Ahead};
pub use self::dead::{dead_letters, DeadFilter, DeadPage};
pub use self::explain::{explain, Reason, Situation};
pub use self::list::{list, Bounds, Listed, Page, Place, TaskFilter, TaskKind};
pub use self::stats::{rates, stats, Rates, Stats};
