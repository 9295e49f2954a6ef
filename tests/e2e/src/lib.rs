//! Harness of the black-box tests: starts real `z4-server` processes on
//! loopback, does to them what happens to servers, and audits what they
//! promised against what they deliver.
//!
//! The harness panics, with the reason and the end of the peers' logs, when
//! something takes longer than its bound: a test that waits for ever says
//! nothing. The load tool in `benches/` uses it to start and break clusters.

#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod asked;
pub mod audit;
pub mod binaries;
pub mod client;
pub mod cluster;
pub mod command;
pub mod crowd;
pub mod http;
pub mod life;
pub mod load;
pub mod peer;
pub mod ports;
pub mod reader;
pub mod request;
pub mod small_disk;
pub mod tls;
pub mod tool;
pub mod wait;

pub use client::{Client, Created};
pub use cluster::Cluster;
pub use peer::{Peer, PeerSpec};
pub use reader::{Delivered, Reader};
pub use request::{create, Edit};
pub use small_disk::SmallDisk;
pub use tool::Tool;
