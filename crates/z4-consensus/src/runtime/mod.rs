//! Raft, log and apply threads on bounded channels.

mod handle;
mod sink;

use std::sync::Arc;

pub use handle::{Handle, Proposal};
pub use sink::{Accepted, Done, Sink};

use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::membership::Identity;
use crate::metrics::Metrics;
use crate::transport::Transport;

/// What a runtime is made of.
pub struct Parts<L, M, T> {
    /// Who this peer is.
    pub identity: Identity,
    /// Its log.
    pub log: Arc<L>,
    /// Its state machine.
    pub machine: M,
    /// Its way to other peers.
    pub transport: T,
    /// Reads the wall clock: nanoseconds since the Unix epoch.
    pub clock: fn() -> u64,
    /// Seeds the election time-outs.
    pub seed: u64,
    /// Counters of this crate.
    pub metrics: Metrics,
    /// Parent of this peer's log lines.
    pub logger: slog::Logger,
}

/// The threads of a peer.
#[derive(Debug)]
pub struct Runtime {
    _threads: Vec<std::thread::JoinHandle<()>>,
}

/// The receiving ends of a handle, until its runtime starts.
pub struct Pending<R> {
    _p: std::marker::PhantomData<R>,
}

/// Makes the handle of a peer that has not started: it answers `NotJoined`
/// until [`Runtime::start`] is given its other half.
#[must_use]
pub fn prepare<R: Send + 'static>() -> (Handle<R>, Pending<R>) {
    unimplemented!("prepare")
}

impl Runtime {
    /// Starts the threads of a peer.
    ///
    /// # Errors
    /// The reason, for a person, when log and state do not fit each other.
    pub fn start<L, M, T>(
        _parts: Parts<L, M, T>,
        _pending: Pending<M::Reply>,
        _handle: &Handle<M::Reply>,
    ) -> Result<Self, String>
    where
        L: LogStore,
        M: StateMachine,
        T: Transport,
    {
        unimplemented!("start")
    }

    /// Waits until all threads have ended after [`Handle::stop`]; state is
    /// flushed then.
    pub fn join(self) {}
}
