//! Deterministic simulator of a z4 cluster.
//!
//! A whole cluster in one thread, on virtual time: the replica of
//! `z4-consensus`, the task machine of `z4-storage` over memory, a disk that
//! knows what is synced, and a network that loses, doubles, delays and splits.
//! One seed draws everything, so a failure is seen again by its seed.
//!
//! | module | what lives there |
//! |---|---|
//! | [`disk`] | the raft log on a simulated disk |
//! | [`options`] | what is simulated, and mistakes put in on purpose |
//! | `world` | peers, virtual time, the queue of events |
//! | `round`, `apply` | the work of a peer's threads |
//! | `clients`, `consumers`, `admin` | who uses the cluster |
//! | `faults`, `settle` | what goes wrong, and what must be right after it |
//! | `check` | the promises, one a file |

pub mod disk;
pub mod options;

mod admin;
mod apply;
mod check;
mod clients;
mod consumers;
mod faults;
mod net;
mod peer;
mod round;
mod settle;
mod trace;
mod world;

pub use options::{Bug, Options};
pub use world::{run, Report};
