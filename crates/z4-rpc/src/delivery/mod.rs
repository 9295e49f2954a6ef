//! The shell around the sessions of this peer: channels, sinks, threads. What is
//! decided is decided by [`z4_delivery`].
//!
//! Each consumer's call is a task on a gRPC thread. It reads what its client says,
//! writes what the client is to have, and speaks with the delivery thread, which
//! holds the sessions: `inbox` one way, `line` the other.
//!
//! | file | what |
//! |---|---|
//! | `inbox`, `thread` | the way into the delivery thread, and the thread |
//! | `line` | the way from the thread to a task, and the end of a session |
//! | `proposals`, `rider` | what the sessions propose, and what goes with a new task |
//! | `consume` | Consume |
//! | `stream` | GetTaskStream |
//! | `lease`, `caller`, `call_deadline` | LeaseTasks; whether its caller still waits, and how long |
//! | `bodies`, `deliver` | from a lease to what is written |
//! | `lease_asks`, `endings` | what clients ask for leases, checked; and the answers |
//! | `view` | the leader's view of consumers, at any peer |

mod bodies;
mod call_deadline;
mod caller;
pub(crate) mod consume;
mod deliver;
pub(crate) mod endings;
mod inbox;
pub(crate) mod lease;
pub(crate) mod lease_asks;
mod line;
mod proposals;
mod rider;
mod stream;
mod thread;
mod view;

use call_deadline::CallDeadline;
pub(crate) use caller::lease_service;
pub(crate) use consume::run as run_consume;
pub use inbox::Delivery;
pub(crate) use stream::run as run_stream;
pub(crate) use thread::start;
pub use z4_delivery::AppliedEvents;

use std::time::{SystemTime, UNIX_EPOCH};

/// The clock of this machine, in nanoseconds since the epoch. Never decides
/// about a task: the log's stamps do.
pub(crate) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
