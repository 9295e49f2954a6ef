//! Consumer sessions: the real ones of `z4-delivery` at each peer, and consumers that
//! speak with them over connections that break.
//!
//! | file | what |
//! |---|---|
//! | `shell` | what a peer has instead of the delivery thread and the tasks of calls |
//! | `proposals` | what sessions propose, tried again by their rules |
//! | `links` | the connections by which peers report consumers to their leader |
//! | `clocks` | how peers hear of the clock of their leader |
//! | `wires` | the connections between consumers and their sessions |
//! | `consumers` | who consumes, by which method, and what comes to it |
//! | `behaviour` | what consumers do |
//! | `judge` | what a consumer may rely on |

mod behaviour;
mod clocks;
mod consumers;
mod judge;
mod links;
mod proposals;
mod riders;
mod shell;
mod wires;

pub(crate) use self::consumers::{Consumer, EndReply};
pub(crate) use self::judge::Judge;
pub(crate) use self::shell::Shell;
pub(crate) use self::wires::{Down, Up, Wire};
