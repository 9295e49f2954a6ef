//! RocksDB storage of z4: raft log, task state, snapshots.
//!
//! [`Store`] opens both directories of a peer, checks that they are whole and
//! belong together, and mends what a crash left half done. From it come the
//! [`RaftLog`], the [`RocksState`] for the [`TaskMachine`], and a [`RocksView`]
//! for other threads. Keep the store as long as any of them: it holds the locks
//! on the directories.
//!
//! | module | what lives there |
//! |---|---|
//! | [`db`] | how databases are opened: recovery, checks |
//! | [`limits`] | every bound, with its unit and why |
//! | [`raft_log`] | the raft log; its lower bound stands beside it in a file |
//! | [`task_state`] | rows and position in one batch, without a WAL |
//! | `write_back` | changed rows in memory, until a flush writes them as one cut |
//! | [`machine`] | the task machine behind consensus |
//! | [`snapshot`] | checkpoints, installation, the live directory |
//! | [`store`] | start, joining |
//! | `restore` | a state that comes from a backup |
//! | [`survivor`] | what a peer has whose cluster has lost its quorum for good, and its new cluster |
//! | `founding` | the founding of a cluster, on an empty state or on an earlier one |
//! | [`space`] | disk space: what will be needed, and how it comes back |
//! | [`verify`] | a check of the whole state, beside the work |
//! | [`metrics`] | counters |
//!
//! With the feature `testing`, for tests and the simulator: `mem_store`, the same
//! store in memory, with a disk that survives crashes.

pub mod db;
pub mod limits;
pub mod machine;
#[cfg(any(test, feature = "testing"))]
pub mod mem_store;
pub mod metrics;
pub mod raft_log;
pub mod snapshot;
pub mod space;
pub mod store;
pub mod survivor;
pub mod task_state;
pub mod verify;

mod bound;
mod error;
mod files;
mod founding;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod list;
mod live;
mod peer_dir;
mod recover;
mod restore;
mod sentinel;
mod settle;
mod step;
#[cfg(test)]
mod tests;
mod write_back;

pub use error::StorageError;
pub use founding::Founding;
pub use machine::{AppliedEvents, EventSink, TaskMachine, TaskStore};
#[cfg(any(test, feature = "testing"))]
pub use mem_store::{MemDisk, MemSnapshots, MemStore};
pub use metrics::Metrics;
pub use peer_dir::LastBackup;
pub use raft_log::RaftLog;
pub use restore::{Origin, Restoration, RestorePlan};
pub use settle::{settle, SettleError, Settled};
pub use snapshot::{incoming_dir, snapshot_dir};
pub use space::{DbSpace, SpaceKeeper};
pub use store::{Registrar, Store, StoreOptions};
pub use task_state::{RocksState, RocksView};
pub use verify::{Verdict, VerdictSink};
pub use write_back::Moment;
