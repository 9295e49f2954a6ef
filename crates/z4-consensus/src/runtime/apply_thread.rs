//! The apply thread: applies runs of committed entries in one batch and answers
//! their callers by (index, term). What is small, while the thread has nothing to do,
//! is applied by the raft thread itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use slog::Logger;

use super::flush_thread::Pace;
use super::outbox::Unfinished;
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
    pub(super) applier: SharedApplier<M>,
    pub(super) jobs: Receiver<ApplyJob<M::Reply>>,
    pub(super) unfinished: Unfinished,
    pub(super) notices: Sender<Notice>,
}

/// The machine and who waits for it, for the two threads that may apply. Neither waits
/// for the lock: the raft thread takes it only when the apply thread has nothing to do.
pub(super) type SharedApplier<M> = Arc<Mutex<Applier<M>>>;

/// Applies entries and answers their callers, in whichever thread has it.
pub(super) struct Applier<M: StateMachine> {
    machine: M,
    flush: Sender<()>,
    pace: Pace,
    callers: callers::Callers<Callers<M::Reply>>,
    metrics: Metrics,
    logger: Logger,
}

impl<M: StateMachine> ApplyThread<M> {
    /// Runs until the raft thread hangs up.
    pub(super) fn run(self) {
        while let Ok(first) = self.jobs.recv() {
            let mut applier = lock(&self.applier);
            let mut run = Vec::new();
            let (mut bytes, mut count) = (0, 0);
            let mut next = Some(first);
            while let Some(job) = next.take() {
                count += 1;
                match job {
                    ApplyJob::Callers(callers) => applier.add_callers(callers),
                    ApplyJob::Apply(entries) => {
                        bytes += bytes_of(&entries);
                        run.extend(entries);
                    }
                    other => {
                        // Entries before it first.
                        self.apply(&mut applier, std::mem::take(&mut run), bytes);
                        bytes = 0;
                        if let Some(notice) = applier.other(other) {
                            let _ = self.notices.send(notice);
                        }
                    }
                }
                if run.len() < limits::APPLY_RUN_ENTRIES_MAX && bytes < limits::APPLY_RUN_BYTES_MAX
                {
                    next = self.jobs.try_recv().ok();
                }
            }
            self.apply(&mut applier, run, bytes);
            drop(applier);
            self.unfinished.finished(count);
        }
    }

    fn apply(&self, applier: &mut Applier<M>, run: Vec<Committed>, bytes: u64) {
        // The raft thread first: reads may wait for it. Fails only when the peer is
        // stopping.
        applier.apply(run, bytes, |index| {
            let _ = self.notices.send(Notice::Applied(index));
        });
    }
}

/// Takes the machine; a thread that panicked with it has ended the process.
pub(super) fn lock<M: StateMachine>(applier: &SharedApplier<M>) -> MutexGuard<'_, Applier<M>> {
    applier.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<M: StateMachine> Applier<M> {
    pub(super) fn new(
        machine: M,
        flush: Sender<()>,
        pace: Pace,
        metrics: Metrics,
        logger: Logger,
    ) -> SharedApplier<M> {
        Arc::new(Mutex::new(Self {
            machine,
            flush,
            pace,
            callers: callers::Callers::default(),
            metrics,
            logger,
        }))
    }

    /// Whether these entries are little work and need not wait for the disk.
    pub(super) fn is_light(&self, entries: &[Committed]) -> bool {
        self.machine.is_light(entries) && !self.machine.wants_flush()
    }

    pub(super) fn add_callers(&mut self, callers: Vec<Callers<M::Reply>>) {
        for new in callers {
            for old in self.callers.add(new.position, new) {
                refuse(old, &ProposeError::Superseded);
            }
        }
    }

    /// Applies a run of entries of so many bytes and answers who waits for them. `told`
    /// is called between the two, with the index of the last.
    pub(super) fn apply(&mut self, run: Vec<Committed>, bytes: u64, told: impl FnOnce(u64)) {
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
        told(last.index);
        for (position, replies) in positions.into_iter().zip(replies) {
            self.answer(position, replies);
        }
        if self.machine.wants_flush() {
            self.pace.restart();
            self.flush();
        } else if self.pace.due() {
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

    /// Does what is no run of entries; gives what the raft thread is to be told.
    fn other(&mut self, job: ApplyJob<M::Reply>) -> Option<Notice> {
        match job {
            ApplyJob::Flush if self.pace.due_early() => self.flush(),
            ApplyJob::Checkpoint => match self.machine.checkpoint() {
                Ok(applied) => return Some(Notice::Checkpointed(applied)),
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
        None
    }
}

fn refuse<R>(callers: Callers<R>, error: &ProposeError) {
    for sink in callers.sinks {
        sink.answer(Err(error.clone()));
    }
}

/// About how many bytes of log these entries are.
pub(super) fn bytes_of(entries: &[Committed]) -> u64 {
    let of_one =
        |entry: &Committed| entry.commands.iter().map(|c| c.len() as u64).sum::<u64>() + 64;
    entries.iter().map(of_one).sum()
}
