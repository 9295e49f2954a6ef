//! The wire of z4: services, and the transport between peers. The crate parses,
//! forwards and answers, and decides nothing.
//!
//! | module | what lives there |
//! |---|---|
//! | [`node`] | a peer, as its services share it |
//! | [`collection`] | tasks in, tasks out |
//! | [`admin`] | who is in the cluster, who leads |
//! | [`backup`] | the whole state at one index, for a backup |
//! | [`delivery`] | from due to delivered: the shell of the dispatcher |
//! | [`transport`] | raft messages and snapshots to other peers |
//! | [`peer`] | the peer port: what other peers may ask |
//! | [`network`] | connections to other peers |
//! | [`lane`] | raft messages beside gRPC |
//! | [`facts`] | what the server tells of its process, its machine and its settings |
//! | [`health`], [`reflection`] | the standard services |
//! | [`access`] | who may do what |
//! | [`accept`] | connections accepted, counted and bounded |
//! | [`server`] | the two ports of gRPC, and their end |
//! | [`tls`] | what ports and connections to peers show, and who is let in |
//! | [`errors`] | the one table to gRPC status |
//! | [`validate`] | from request to command |
//! | [`limits`] | every bound of streams, queues and waits |
//! | [`verdicts`] | what this peer found when it checked its state |
//! | [`disk_admission`] | which peers have room on their disks, and what is refused without |
//! | [`metrics`] | counters |
//! | `reading` | linearizable reads |
//! | `propose` | the one path of a proposal, with its retries |

pub mod accept;
pub mod access;
pub mod admin;
mod answer;
pub mod backup;
pub mod clock_sample;
pub mod collection;
mod convert;
mod deadline;
pub mod delivery;
pub mod disk_admission;
pub mod errors;
pub mod facts;
mod forward;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod lane;
mod leader;
pub mod levels;
pub mod limits;
pub mod metrics;
pub mod network;
pub mod node;
mod outbox;
pub mod peer;
mod propose;
mod readers;
mod reading;
pub mod reflection;
pub mod server;
mod status_details;
pub mod tls;
pub mod transport;
pub mod validate;
pub mod verdicts;

pub use access::Access;
pub use backup::StateHooks;
pub use delivery::{AppliedEvents, Delivery};
pub use disk_admission::{DiskAdmission, DiskSpace};
pub use errors::Error;
pub use facts::{Facts, FactsHook};
pub use lane::LanePort;
pub use levels::OwnLevels;
pub use metrics::Metrics;
pub use network::{Network, NetworkParts};
pub use node::Node;
pub use peer::PeerHooks;
pub use tls::{PeerTls, PortTls};
pub use transport::GrpcTransport;
pub use verdicts::{Verdict, Verdicts};
use z4_timer as timer;
pub use z4_timer::Timer;
