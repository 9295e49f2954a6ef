//! Client of z4, a replicated database of scheduled tasks.
//!
//! | part | what it does |
//! |---|---|
//! | [`Client`] | every call of the services, at several peers in turn |
//! | [`Producer`] | creates many tasks on one stream, with back-pressure |
//! | [`Consumer`] | runs a handler per task; extends, acks and nacks leases |
//! | [`TaskStream`] | tasks that count as done once they are received |
//! | [`Client::lease`], [`Client::ack`] … | leases one call at a time |
//! | [`Client::put_principal`], [`Client::create_token`] … | who may do what |
//! | [`Client::cluster_info`], [`Client::peer_status`] … | the cluster, its members and their machines |
//! | [`Client::backup`] | the whole state of a cluster as a file |
//! | [`Tls`] | encrypted, with peers that are who they say |
//! | [`Token`] | who the client is, for peers that ask |
//!
//! Futures of this crate need no runtime: they run on every executor, also on
//! `futures::executor::block_on`. A client has two threads of its own, one for
//! gRPC and one for time.
//!
//! # Examples
//! ```no_run
//! use std::time::Duration;
//! use z4_client::{Client, Consumer, Delivery, Failure, NewTask, Options};
//!
//! # fn main() -> Result<(), z4_client::Error> {
//! futures::executor::block_on(async {
//!     let peers = ["10.0.0.1:6355", "10.0.0.2:6355", "10.0.0.3:6355"];
//!     let client = Client::connect(peers, Options::default()).await?;
//!
//!     let task = NewTask::new("mails", "to Ada").after(Duration::from_secs(30));
//!     client.create(task).await?;
//!
//!     let consumer = Consumer::builder("mails").max_in_flight(16).build(&client);
//!     consumer
//!         .run(|delivery: Delivery| async move {
//!             println!("{:?}", delivery.task.payload);
//!             Ok::<(), Failure>(())
//!         })
//!         .await?;
//!     Ok(())
//! })
//! # }
//! ```

mod access;
mod backup;
mod client;
mod cluster;
mod consumer;
mod convert;
mod dial;
mod error;
mod lease;
pub mod limits;
mod listing;
mod namespaces;
mod outcome;
mod peer_status;
mod peers;
mod producer;
mod reasons;
mod retry;
mod status;
mod stream;
mod task;
mod tasks;
mod tls;
mod token;
mod tries;
mod waiting;

pub use access::{Grant, Identity, NewToken, Principal, Role, TokenInfo};
pub use backup::BackupProgress;
pub use client::{Client, Options};
pub use cluster::{
    ClusterInfo, HeldMember, Liveness, Member, MemberRole, Origin, PeerRole, Verdict, Verification,
};
pub use consumer::{Builder, Consumer, Ending, Failure, Shutdown, Summary};
pub use error::{Error, ErrorKind};
pub use lease::{Delivery, LeaseQuery, LeaseRef, Nack};
pub use listing::{DeadChange, DeadFilter, Explanation, ListQuery, Page, Reason, ReasonKind};
pub use namespaces::{Counts, Namespace, NamespaceStats, Rate, Settings, SettingsPatch};
pub use outcome::{LeaseOutcome, LeaseResult};
pub use peer_status::{
    ClientCertificates, ClockFacts, ClockOffset, Histogram, PeerCounters, PeerFacts, PeerStatus,
    ProcessFacts, SecurityFacts, SystemFacts, VolumeFacts,
};
pub use producer::{Producer, ProducerOptions, Sent};
pub use stream::TaskStream;
pub use task::{DeathReason, NewTask, Task, TaskState};
pub use tasks::Due;
pub use tls::Tls;
pub use token::Token;
pub use waiting::{OnWait, Wait};
pub use z4_backup::{Header as BackupHeader, Manifest as BackupManifest};
