//! The peer port: what other peers may ask of this one.

pub(crate) mod opening;
mod raft_stream;
mod service;
mod snapshot_files;
mod snapshot_receiver;

pub use service::{PeerHooks, PeerService};
