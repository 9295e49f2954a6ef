//! The log thread: writes all that waits in one batch, with one sync.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use raft::eraftpb::HardState;
use slog::Logger;

use super::raft_thread::Notice;
use super::stop::stop_process;
use crate::fault::{mark, point};
use crate::limits;
use crate::log::{LogError, LogStore, LogWrite, Position};
use crate::metrics::Metrics;
use crate::replica::Persist;

/// What the raft thread asks of the log thread; done in order.
pub(super) enum LogJob {
    Persist(Persist),
    Cut(Position),
    /// Answered on the channel when it is durable.
    Reset(Position, HardState, Sender<()>),
}

pub(super) struct LogThread<L> {
    pub(super) log: Arc<L>,
    pub(super) jobs: Receiver<LogJob>,
    pub(super) notices: Sender<Notice>,
    pub(super) metrics: Metrics,
    pub(super) logger: Logger,
}

impl<L: LogStore> LogThread<L> {
    /// Runs until the raft thread hangs up.
    pub(super) fn run(self) {
        while let Ok(first) = self.jobs.recv() {
            let mut group = Group::default();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    LogJob::Persist(persist) => group.add(persist),
                    other => {
                        // Writes before it first.
                        self.write(std::mem::take(&mut group));
                        self.other(other);
                    }
                }
                if group.bytes < limits::LOG_GROUP_BYTES_MAX {
                    next = self.jobs.try_recv().ok();
                }
            }
            self.write(group);
        }
    }

    fn write(&self, group: Group) {
        let Some(number) = group.number else { return };
        let started = Instant::now();
        let entries = group.write.entries.len();
        let written = point("raft.persist")
            .map_err(LogError::from)
            .and_then(|()| self.log.write(&group.write));
        if let Err(error) = written {
            stop_process(&self.logger, "log write", &error.to_string());
        }
        self.metrics
            .log_written(started.elapsed(), entries, group.bytes, group.write.sync);
        mark("raft.persisted");
        // Fails only when the peer is stopping.
        let _ = self.notices.send(Notice::Persisted(number));
    }

    fn other(&self, job: LogJob) {
        let result = match job {
            LogJob::Cut(through) => self.log.cut_through(through),
            LogJob::Reset(to, hard_state, done) => {
                let result = self.log.reset(to, &hard_state);
                if result.is_ok() {
                    let _ = done.send(());
                }
                result
            }
            LogJob::Persist(_) => Ok(()),
        };
        if let Err(error) = result {
            stop_process(&self.logger, "log cut", &error.to_string());
        }
    }
}

/// Several writes made one.
#[derive(Default)]
struct Group {
    number: Option<u64>,
    bytes: usize,
    write: LogWrite,
}

impl Group {
    fn add(&mut self, Persist { number, write }: Persist) {
        self.number = Some(self.number.map_or(number, |n| n.max(number)));
        self.write.sync |= write.sync;
        if write.hard_state.is_some() {
            self.write.hard_state = write.hard_state;
        }
        // A later write may replace the tail of an earlier one.
        if let Some(first) = write.entries.first() {
            while self
                .write
                .entries
                .last()
                .is_some_and(|e| e.index >= first.index)
            {
                self.write.entries.pop();
            }
        }
        self.bytes += write
            .entries
            .iter()
            .map(|e| e.data.len() + 32)
            .sum::<usize>();
        self.write.entries.extend(write.entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::Entry;

    fn persist(number: u64, entries: &[(u64, u64)]) -> Persist {
        let entry = |(index, term): &(u64, u64)| {
            let mut entry = Entry::default();
            (entry.index, entry.term) = (*index, *term);
            entry
        };
        let entries = entries.iter().map(entry).collect();
        Persist {
            number,
            write: LogWrite {
                entries,
                hard_state: None,
                sync: true,
            },
        }
    }

    #[test]
    fn a_later_write_replaces_the_tail_of_an_earlier_one() {
        let mut group = Group::default();
        group.add(persist(1, &[(5, 1), (6, 1), (7, 1)]));
        group.add(persist(2, &[(6, 2)]));
        let places: Vec<_> = group
            .write
            .entries
            .iter()
            .map(|e| (e.index, e.term))
            .collect();
        assert_eq!(places, [(5, 1), (6, 2)]);
        assert_eq!(group.number, Some(2));
    }
}
