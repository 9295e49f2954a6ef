//! Disk space: what stays free, what happens when it does not, and the wait of a
//! start that finds none.
//!
//! A write that fails for want of space ends the peer, so it must not come to
//! that: below a reserve nothing is created (see `z4_rpc::room`), and what was
//! applied is flushed and the log cut, so that their space comes back. Acks,
//! cancels and purges go on; they make room in the end.
//!
//! | module | what lives there |
//! |---|---|
//! | `volume` | what the system says of a volume, and the reserve on it |
//! | `judge` | whether there is too little; pure |
//! | `guard` | the thread that looks, and does something about it |
//! | `start` | the wait for room before the databases are opened |

mod guard;
mod judge;
mod start;
mod volume;

pub(crate) use guard::{Guard, Watched};
pub(crate) use start::wait_for_room;
pub(crate) use volume::Volume;
