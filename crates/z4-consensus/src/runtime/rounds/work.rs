//! The work of a step: messages, answers, writes to the log, entries to apply.

use std::sync::Arc;

use slog::{debug, info};

use super::{Rounds, Token};
use crate::fault::mark;
use crate::limits;
use crate::log::{LogStore, Position};
use crate::machine::{Applied, Committed, StateMachine};
use crate::replica::{Answer, Input, Now, Work};
use crate::runtime::apply_thread::{self, ApplyJob, Callers};
use crate::runtime::log_thread::LogJob;
use crate::runtime::outbox::HungUp;
use crate::runtime::sink::{Accepted, Done, Sink};
use crate::runtime::stop::stop_process;
use crate::transport::Transport;

impl<L: LogStore, M: StateMachine, T: Transport> Rounds<L, M, T> {
    /// Does the work of a step, in the order of its fields.
    pub(super) fn work(&mut self, work: Work<Token<M::Reply>>, now: Now) {
        if let Some(reason) = work.stop {
            stop_process(&self.logger, "replica", &reason.to_string());
        }
        self.metrics.sent(work.send.len());
        if !work.send.is_empty() {
            mark("raft.send");
            self.transport.send(work.send);
        }
        for answer in work.answers {
            deliver(answer);
        }
        if let Some(members) = work.members {
            info!(self.logger, "members changed"; "members" => members.members.len());
            self.transport.members(&members);
        }
        if let Some((position, hard_state)) = work.install {
            let applied = self.install(position, hard_state);
            self.replica.step(Input::Installed(applied), now);
        }
        if let Some(persist) = work.persist {
            self.send_to_log(LogJob::Persist(persist));
        }
        if let Some(through) = work.cut {
            debug!(self.logger, "log cut"; "through" => through.index);
            self.send_to_log(LogJob::Cut(through));
        }
        if !work.waiting.is_empty() {
            let callers = work.waiting.into_iter().map(|waiting| {
                let (position, stamp_ns) = (waiting.position, waiting.stamp_ns);
                let sinks = waiting
                    .tokens
                    .into_iter()
                    .filter_map(|(token, unit_first)| {
                        accept(
                            token,
                            Accepted {
                                position,
                                stamp_ns,
                                unit_first,
                            },
                        )
                    });
                Callers {
                    position,
                    stamp_ns,
                    sinks: sinks.collect(),
                }
            });
            self.callers.extend(callers);
        }
        if !work.apply.is_empty() {
            self.apply(work.apply, now);
        }
        if work.checkpoint {
            self.send_to_apply(ApplyJob::Checkpoint);
        }
        if !work.drop_snapshots.is_empty() {
            self.send_to_apply(ApplyJob::DropSnapshots(work.drop_snapshots));
        }
    }

    /// Applies entries: here when they are few and light and nothing else waits for this
    /// thread, because to wake another and to be woken by it would take longer.
    fn apply(&mut self, entries: Vec<Committed>, now: Now) {
        let bytes = apply_thread::bytes_of(&entries);
        let is_small = bytes <= limits::INLINE_BYTES_MAX;
        if is_small && self.apply.is_idle() && self.inbox.is_empty() {
            let applier = Arc::clone(&self.applier);
            let mut applier = apply_thread::lock(&applier);
            if applier.is_light(&entries) {
                applier.add_callers(std::mem::take(&mut self.callers));
                return applier.apply(entries, bytes, |index| {
                    self.replica.step(Input::Applied { index }, now);
                });
            }
        }
        self.send_callers();
        self.send_to_apply(ApplyJob::Apply(entries));
    }

    /// Switches a snapshot in: the machine first, then the log, so that a crash
    /// between the two leaves a state ahead of its log, which a start mends.
    fn install(&mut self, position: Position, hard_state: raft::eraftpb::HardState) -> Applied {
        info!(self.logger, "installing snapshot"; "index" => position.index);
        let (applied_tx, applied) = crossbeam_channel::bounded(1);
        self.send_callers();
        self.send_to_apply(ApplyJob::Install(position, applied_tx));
        let pushed = self.apply.push_all();
        self.must(pushed);
        let Ok(applied) = applied.recv() else {
            stop_process(
                &self.logger,
                "snapshot install",
                "the apply thread has ended",
            )
        };
        mark("raft.installed");
        let (reset_tx, reset) = crossbeam_channel::bounded(1);
        self.send_to_log(LogJob::Reset(position, hard_state, reset_tx));
        let pushed = self.log.push_all();
        self.must(pushed);
        if reset.recv().is_err() {
            stop_process(&self.logger, "log reset", "the log thread has ended");
        }
        self.metrics.snapshot_installed();
        applied
    }

    pub(super) fn clogged(&self) -> bool {
        self.log.clogged() || self.apply.clogged()
    }

    pub(super) fn push(&mut self) {
        let (log, apply) = (self.log.push(), self.apply.push());
        self.must(log);
        self.must(apply);
    }

    fn send_to_log(&mut self, job: LogJob) {
        let sent = self.log.send(job);
        self.must(sent);
    }

    pub(super) fn send_to_apply(&mut self, job: ApplyJob<M::Reply>) {
        let sent = self.apply.send(job);
        self.must(sent);
    }

    /// Callers go to the apply thread with the entries that are applied next: it is not
    /// woken for them alone.
    fn send_callers(&mut self) {
        if !self.callers.is_empty() {
            let callers = std::mem::take(&mut self.callers);
            self.send_to_apply(ApplyJob::Callers(callers));
        }
    }

    pub(super) fn must(&self, sent: Result<(), HungUp>) {
        if sent.is_err() {
            stop_process(&self.logger, "runtime", "the log or apply thread has ended");
        }
    }
}

fn deliver<R>(answer: Answer<Token<R>>) {
    match answer {
        Answer::Propose(Token::Propose(_, sink), error) => sink.answer(Err(error)),
        Answer::Admin(Token::Admin(sink), result) => sink.answer(result),
        Answer::Read(Token::Read(answer), result) => answer(result),
        // Tokens come back with the kind of answer they were asked with.
        Answer::Propose(..) | Answer::Admin(..) | Answer::Read(..) => {}
    }
}

/// Tells a proposer that its command is appended; gives back where its answer
/// goes.
fn accept<R>(token: Token<R>, at: Accepted) -> Option<Sink<Done<R>>> {
    match token {
        Token::Propose(accepted, sink) => {
            if let Some(accepted) = accepted {
                accepted(at);
            }
            Some(sink)
        }
        Token::Admin(_) | Token::Read(_) => None,
    }
}
