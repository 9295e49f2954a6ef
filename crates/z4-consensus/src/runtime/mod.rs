//! Raft, log and apply threads on bounded channels.
//!
//! ```text
//!   Handle ──requests──▶ raft ──▶ log    (writes and syncs, group commit)
//!   transport ──news──▶  thread ──▶ apply (runs of entries, answers callers)
//!                          ▲────notices────┘──▶ flush (state to disk)
//! ```
//!
//! The raft thread owns the [`Replica`] and the transport; it never waits for a
//! write to a disk except while a snapshot is switched in. The log thread takes all
//! writes that wait and makes them one, with one sync. The apply thread takes all
//! entries that wait and applies them in one batch; one small command that comes alone,
//! and that the machine calls light, is applied by the raft thread, because two threads
//! that wake each other for it take longer. The flush thread makes applied state durable, so that the log can be cut.
//! When a write fails, the process ends: what is on disk is the truth, and only a
//! restart can tell it.

mod apply_thread;
mod flush_thread;
mod handle;
mod log_thread;
mod outbox;
mod published;
mod raft_thread;
mod sink;
mod stop;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver};

pub use handle::{Handle, Proposal};
pub use sink::{Accepted, Done, Sink};

use crate::error::StartError;
use crate::level::SaidLevels;
use crate::limits;
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::membership::Identity;
use crate::metrics::Metrics;
use crate::replica::{self, Replica};
use crate::transport::Transport;
use handle::{News, Request};
use sink::Budget;

/// What a runtime is made of.
pub struct Parts<L, M, T> {
    /// Who this peer is.
    pub identity: Identity,
    /// `host:port` at which others reach this peer; see
    /// [`replica::Config::address`].
    pub address: String,
    /// The levels that its binary knows, and whether it holds that of the cluster.
    pub own: SaidLevels,
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
    /// Entries that stay in the log for followers that lag;
    /// [`LOG_KEEP_ENTRIES`](limits::LOG_KEEP_ENTRIES) unless set otherwise.
    pub log_keep_entries: u64,
    /// The clock of a leader may be so far ahead of a majority's;
    /// [`CLOCK_OFFSET_MAX`](limits::CLOCK_OFFSET_MAX) unless set otherwise.
    pub max_clock_offset: Duration,
    /// Counters of this crate.
    pub metrics: Metrics,
    /// Parent of this peer's log lines.
    pub logger: slog::Logger,
    /// Called once, from the raft thread, when this peer learns that it was
    /// removed from its cluster: to remember it durably.
    pub on_removed: Box<dyn FnOnce() + Send>,
}

/// The threads of a peer.
#[derive(Debug)]
pub struct Runtime {
    threads: Vec<JoinHandle<()>>,
}

/// The receiving ends of a handle, until its runtime starts.
pub struct Pending<R> {
    requests: Receiver<Request<R>>,
    news: Receiver<News>,
}

/// Makes the handle of a peer that has not started: it answers `NotJoined`
/// until [`Runtime::start`] is given its other half.
#[must_use]
pub fn prepare<R: Send + 'static>() -> (Handle<R>, Pending<R>) {
    let (request_tx, requests) = bounded(limits::INBOX_LEN_MAX);
    let (news_tx, news) = bounded(limits::INBOX_LEN_MAX);
    let handle = Handle {
        requests: request_tx,
        news: news_tx,
        published: Arc::default(),
        budget: Arc::new(Budget::default()),
        space: Arc::default(),
        riders: Arc::default(),
        clock: Arc::new(handle::SharedClock::start()),
    };
    (handle, Pending { requests, news })
}

impl Runtime {
    /// Starts the threads of a peer.
    ///
    /// # Errors
    /// [`StartError`] when log and state do not fit each other, or when a thread
    /// cannot be started.
    pub fn start<L, M, T>(
        parts: Parts<L, M, T>,
        pending: Pending<M::Reply>,
        handle: &Handle<M::Reply>,
    ) -> Result<Self, StartError>
    where
        L: LogStore,
        M: StateMachine,
        T: Transport,
    {
        let Parts {
            identity,
            log,
            machine,
            mut transport,
            clock,
            seed,
            ..
        } = parts;
        let logger = parts.logger.new(slog::o!("raft_id" => identity.raft_id));
        let applied = machine.applied().clone();
        let config = replica::Config {
            raft_id: identity.raft_id,
            address: parts.address,
            own: parts.own,
            seed,
            log_keep_entries: parts.log_keep_entries,
            max_clock_offset_ns: u64::try_from(parts.max_clock_offset.as_nanos())
                .unwrap_or(u64::MAX),
        };
        let replica = Replica::new(config, Arc::clone(&log), &applied, &parts.logger)?;
        transport.members(&applied.membership);
        handle.published.publish(replica.status());

        let (log_tx, log_jobs) = bounded(limits::LOG_QUEUE_LEN_MAX);
        let (apply_tx, apply_jobs) = bounded(limits::APPLY_QUEUE_LEN_MAX);
        // More notices cannot be under way than jobs that cause them.
        let notices_max = limits::LOG_QUEUE_LEN_MAX + limits::APPLY_QUEUE_LEN_MAX + 16;
        let (notice_tx, notices) = bounded(notices_max);
        let (flush_tx, flush_jobs) = bounded(1);

        let flush = flush_thread::FlushThread {
            flusher: machine.flusher(),
            jobs: flush_jobs,
            notices: notice_tx.clone(),
            metrics: parts.metrics.clone(),
            logger: logger.clone(),
        };
        let to_apply = outbox::Outbox::new(apply_tx);
        let applier = apply_thread::Applier::new(
            machine,
            flush_tx,
            flush_thread::Pace::new(parts.log_keep_entries),
            parts.metrics.clone(),
            logger.clone(),
        );
        let apply = apply_thread::ApplyThread {
            applier: Arc::clone(&applier),
            jobs: apply_jobs,
            unfinished: to_apply.unfinished(),
            notices: notice_tx.clone(),
        };
        let log_thread = log_thread::LogThread {
            log,
            jobs: log_jobs,
            notices: notice_tx,
            metrics: parts.metrics.clone(),
            logger: logger.clone(),
        };
        let raft = raft_thread::RaftThread {
            replica,
            transport,
            requests: pending.requests,
            news: pending.news,
            notices,
            log: outbox::Outbox::new(log_tx),
            apply: to_apply,
            applier,
            callers: Vec::new(),
            handle: handle.clone(),
            clock,
            on_removed: Some(parts.on_removed),
            metrics: parts.metrics,
            logger,
        };
        let mut threads = Vec::new();
        let mut spawn = |name: &'static str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            thread
                .map(|t| threads.push(t))
                .map_err(|source| StartError::Thread { name, source })
        };
        spawn("raft", Box::new(move || raft.run()))?;
        spawn("log", Box::new(move || log_thread.run()))?;
        spawn("apply", Box::new(move || apply.run()))?;
        spawn("flush", Box::new(move || flush.run()))?;
        Ok(Self { threads })
    }

    /// Waits until all threads have ended after [`Handle::stop`]; state is
    /// flushed then.
    pub fn join(self) {
        for thread in self.threads {
            // A thread that panicked has logged; there is nothing to add.
            let _ = thread.join();
        }
    }
}
