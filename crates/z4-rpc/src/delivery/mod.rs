//! From due to delivered: the shell around the pure dispatcher, and the streams
//! that consumers read.
//!
//! Every stream is a consumer with a name of its own, unique in the cluster.
//! Leases are granted by the log; the peer that has the stream sees the grant in
//! its own apply, reads the body from its own state, writes it, and then
//! acknowledges it through the leader. Only the leader's dispatcher proposes
//! leases; other peers report their consumers to it.
//!
//! | file | what |
//! |---|---|
//! | `inbox`, `thread`, `local`, `kept`, `leading` | the thread: who is here, what they were given, what is proposed |
//! | `seat` | a consumer's place at this peer |
//! | `stream` | GetTaskStream |
//! | `consume` | Consume |
//! | `lease`, `take`, `caller`, `call_deadline` | LeaseTasks; whether its caller still waits, and how long |
//! | `bodies`, `deliver` | from a grant to what is written |
//! | `asks` | what clients ask for leases, checked |
//! | `settle`, `endings` | leases that end: untold, and with an answer |
//! | `find` | live leases of a consumer |
//! | `consumer_id` | names of consumers |
//! | `view` | the leader's view of consumers, at any peer |

pub(crate) mod asks;
mod bodies;
mod call_deadline;
mod caller;
pub(crate) mod consume;
pub(crate) mod consumer_id;
mod deliver;
pub(crate) mod endings;
mod find;
mod inbox;
mod kept;
mod leading;
pub(crate) mod lease;
mod local;
mod seat;
mod settle;
mod stream;
mod take;
mod thread;
mod view;

use call_deadline::CallDeadline;
pub(crate) use caller::lease_service;
pub(crate) use consume::run as run_consume;
pub use inbox::{Applied, Delivery};
pub(crate) use stream::run as run_stream;
pub(crate) use thread::start;

use std::time::{SystemTime, UNIX_EPOCH};

/// The clock of this machine, in nanoseconds since the epoch. Never decides
/// about a task: the log's stamps do.
pub(crate) fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
