//! The apply thread: applies runs of committed entries in one batch and answers
//! their callers by (index, term).

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use slog::Logger;

use super::flush_thread::Pace;
use super::raft_thread::Notice;
use super::sink::{Done, Sink};
use super::stop::stop_process;
use crate::callers;
use crate::error::ProposeError;
use crate::fault::{mark, point};
use crate::limits;
use crate::log::Position;
use crate::machine::{Applied, Committed, MachineError, StateMachine};
use crate::metrics::Metrics;

/// Callers whose commands stand in one entry.
pub(super) struct Callers<R> {
    pub(super) position: Position,
    pub(super) stamp_ns: u64,
    pub(super) sinks: Vec<Sink<Done<R>>>,
}

/// What the raft thread asks of the apply thread; done in order.
pub(super) enum ApplyJob<R> {
    Callers(Vec<Callers<R>>),
    Apply(Vec<Committed>),
    /// What is applied is to be flushed now, if anything is new.
    Flush,
    Checkpoint,
    DropSnapshots(Vec<Position>),
    /// Answered on the channel when it is durable.
    Install(Position, Sender<Applied>),
}

pub(super) struct ApplyThread<M: StateMachine> {
    machine: M,
    jobs: Receiver<ApplyJob<M::Reply>>,
    notices: Sender<Notice>,
    flush: Sender<()>,
    pace: Pace,
    callers: callers::Callers<Callers<M::Reply>>,
    metrics: Metrics,
    logger: Logger,
}

impl<M: StateMachine> ApplyThread<M> {
    pub(super) fn new(
        machine: M,
        jobs: Receiver<ApplyJob<M::Reply>>,
        notices: Sender<Notice>,
        flush: Sender<()>,
        pace: Pace,
        metrics: Metrics,
        logger: Logger,
    ) -> Self {
        Self {
            machine,
            jobs,
            notices,
            flush,
            pace,
            callers: callers::Callers::default(),
            metrics,
            logger,
        }
    }

    /// Runs until the raft thread hangs up.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.jobs.recv() {
            let mut run = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    ApplyJob::Callers(callers) => self.add_callers(callers),
                    ApplyJob::Apply(entries) => {
                        bytes += entries.iter().map(size_of).sum::<u64>();
                        run.extend(entries);
                    }
                    other => {
                        // Entries before it first.
                        self.apply(std::mem::take(&mut run), std::mem::take(&mut bytes));
                        self.other(other);
                    }
                }
                if run.len() < limits::APPLY_RUN_ENTRIES_MAX && bytes < limits::APPLY_RUN_BYTES_MAX
                {
                    next = self.jobs.try_recv().ok();
                }
            }
            self.apply(run, bytes);
        }
    }

    fn add_callers(&mut self, callers: Vec<Callers<M::Reply>>) {
        for new in callers {
            for old in self.callers.add(new.position, new) {
                refuse(old, &ProposeError::Superseded);
            }
        }
    }

    fn apply(&mut self, run: Vec<Committed>, bytes: u64) {
        let Some(last) = run.last().map(|e| e.position) else {
            return;
        };
        let started = Instant::now();
        let count = run.len();
        let positions: Vec<_> = run.iter().map(|e| e.position).collect();
        let applied = point("raft.apply")
            .map_err(MachineError::from)
            .and_then(|()| self.machine.apply(run));
        let replies = match applied {
            Ok(replies) => replies,
            Err(error) => stop_process(&self.logger, "apply", &error.0),
        };
        self.metrics.applied(started.elapsed(), count);
        mark("raft.applied");
        self.pace.add(count as u64, bytes);
        // The raft thread first: reads may wait for it. Fails only when the
        // peer is stopping.
        let _ = self.notices.send(Notice::Applied(last.index));
        for (position, replies) in positions.into_iter().zip(replies) {
            self.answer(position, replies);
        }
        if self.pace.due() || self.machine.wants_flush() {
            self.flush();
        }
    }

    fn flush(&self) {
        // One that waits already will cover this too.
        let _ = self.flush.try_send(());
    }

    fn answer(&mut self, position: Position, replies: Vec<M::Reply>) {
        let (superseded, callers) = self.callers.applied(position);
        for callers in superseded {
            refuse(callers, &ProposeError::Superseded);
        }
        let Some(callers) = callers else { return };
        let stamp_ns = callers.stamp_ns;
        for (sink, reply) in callers.sinks.into_iter().zip(replies) {
            sink.answer(Ok(Done {
                position,
                stamp_ns,
                reply,
            }));
        }
    }

    fn other(&mut self, job: ApplyJob<M::Reply>) {
        match job {
            ApplyJob::Flush if self.pace.due_early() => self.flush(),
            ApplyJob::Checkpoint => match self.machine.checkpoint() {
                Ok(applied) => {
                    let _ = self.notices.send(Notice::Checkpointed(applied));
                }
                Err(error) => stop_process(&self.logger, "checkpoint", &error.0),
            },
            ApplyJob::DropSnapshots(positions) => {
                for position in positions {
                    self.machine.drop_snapshot(position);
                }
            }
            ApplyJob::Install(position, done) => {
                for callers in self.callers.jumped(position.index) {
                    refuse(callers, &ProposeError::Unknown);
                }
                if let Err(error) = self.machine.install(position) {
                    stop_process(&self.logger, "snapshot install", &error.0);
                }
                let _ = done.send(self.machine.applied().clone());
            }
            ApplyJob::Callers(_) | ApplyJob::Apply(_) | ApplyJob::Flush => {}
        }
    }
}

fn refuse<R>(callers: Callers<R>, error: &ProposeError) {
    for sink in callers.sinks {
        sink.answer(Err(error.clone()));
    }
}

fn size_of(entry: &Committed) -> u64 {
    entry.commands.iter().map(|c| c.len() as u64).sum::<u64>() + 64
}
