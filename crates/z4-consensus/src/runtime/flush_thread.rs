//! The flush thread: makes applied state durable, so that the log can be cut.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use slog::{debug, Logger};

use super::raft_thread::Notice;
use super::stop::stop_process;
use crate::limits;
use crate::machine::Flusher;
use crate::metrics::Metrics;

pub(super) struct FlushThread {
    pub(super) flusher: Flusher,
    pub(super) jobs: Receiver<()>,
    pub(super) notices: Sender<Notice>,
    pub(super) metrics: Metrics,
    pub(super) logger: Logger,
}

impl FlushThread {
    /// Runs until the apply thread hangs up, then flushes a last time.
    pub(super) fn run(mut self) {
        while self.jobs.recv().is_ok() {
            self.flush();
        }
        self.flush();
    }

    fn flush(&mut self) {
        let started = Instant::now();
        match (self.flusher)() {
            Ok(position) => {
                self.metrics.flushed(started.elapsed());
                debug!(self.logger, "state flushed"; "index" => position.index);
                // A hint; the next flush repeats it.
                let _ = self.notices.try_send(Notice::Flushed(position));
            }
            Err(error) => stop_process(&self.logger, "state flush", &error.0),
        }
    }
}

/// When to flush: by bytes and entries of log applied, and by time.
pub(super) struct Pace {
    entries_max: u64,
    entries: u64,
    bytes: u64,
    since: Instant,
}

impl Pace {
    pub(super) fn new(log_keep_entries: u64) -> Self {
        let entries_max = log_keep_entries.saturating_mul(4).max(64);
        Self {
            entries_max,
            entries: 0,
            bytes: 0,
            since: Instant::now(),
        }
    }

    /// Counts what was applied.
    pub(super) fn add(&mut self, entries: u64, bytes: u64) {
        self.entries += entries;
        self.bytes += bytes;
    }

    /// Whether a flush is due; starts anew if so.
    pub(super) fn due(&mut self) -> bool {
        let due = self.entries >= self.entries_max
            || self.bytes >= limits::FLUSH_LOG_BYTES
            || (self.entries > 0 && self.since.elapsed() >= limits::FLUSH_INTERVAL);
        if due {
            self.restart();
        }
        due
    }

    /// Whether a flush would make anything durable; starts anew if so.
    pub(super) fn due_early(&mut self) -> bool {
        let due = self.entries > 0;
        if due {
            self.restart();
        }
        due
    }

    /// A flush has been asked for.
    pub(super) fn restart(&mut self) {
        *self = Self {
            entries: 0,
            bytes: 0,
            since: Instant::now(),
            ..*self
        };
    }
}
