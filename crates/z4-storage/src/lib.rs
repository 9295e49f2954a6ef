//! RocksDB storage of z4: raft log, task state, snapshots.

pub mod db;
pub mod keys;
pub mod machine;
pub mod mem_store;
pub mod metrics;
pub mod raft_log;
pub mod snapshot;
pub mod store;
pub mod task_state;

mod bound;
mod error;
mod files;
mod live;
mod peer_dir;
mod recover;
mod step;
#[cfg(test)]
mod tests;

pub use error::StorageError;
pub use machine::{AppliedEvents, EventSink, TaskMachine, TaskStore};
pub use mem_store::{MemDisk, MemSnapshots, MemStore};
pub use metrics::Metrics;
pub use raft_log::RaftLog;
pub use snapshot::{incoming_dir, snapshot_dir};
pub use store::{Registrar, Store, StoreOptions};
pub use task_state::{RocksState, RocksView};
