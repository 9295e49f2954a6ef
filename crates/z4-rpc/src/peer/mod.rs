//! The peer port: what other peers may ask of this one.

pub(crate) mod address;
pub(crate) mod assemble;
mod dial;
pub(crate) mod opening;
pub(crate) mod raft_stream;
mod seek;
mod service;
pub(crate) mod snapshot_files;
pub(crate) mod snapshot_receiver;

pub use assemble::Assembling;
pub use service::{PeerHooks, PeerService};
