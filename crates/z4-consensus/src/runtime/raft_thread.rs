//! The raft thread: drains its channels, steps the replica, does its work.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, TryRecvError};
use raft::eraftpb::MessageType;
use slog::{debug, info, warn, Logger};

use super::apply_thread::{self, ApplyJob, Callers, SharedApplier};
use super::handle::{Handle, News, Proposal, ReadAnswer, Request};
use super::log_thread::LogJob;
use super::outbox::{HungUp, Outbox};
use super::sink::{Accepted, Done, Sink};
use super::stop::stop_process;
use crate::clocks::ClockFault;
use crate::error::{ProposeError, ReadError};
use crate::fault::mark;
use crate::limits;
use crate::log::{LogStore, Position};
use crate::machine::{Applied, Committed, StateMachine};
use crate::metrics::Metrics;
use crate::proposals::Asked;
use crate::replica::{Answer, Input, Now, Replica, Work};
use crate::status::{Role, Status};
use crate::transport::Transport;

/// A message of another thread to the raft thread.
pub(super) enum Notice {
    Persisted(u64),
    Applied(u64),
    Checkpointed(Applied),
    Flushed(Position),
}

/// The one who asked.
pub(super) enum Token<R> {
    Propose(Option<Box<dyn FnOnce(Accepted) + Send>>, Sink<Done<R>>),
    Admin(Sink<()>),
    Read(ReadAnswer),
}

pub(super) struct RaftThread<L: LogStore, M: StateMachine, T> {
    pub(super) replica: Replica<L, Token<M::Reply>>,
    pub(super) transport: T,
    pub(super) requests: Receiver<Request<M::Reply>>,
    pub(super) news: Receiver<News>,
    pub(super) notices: Receiver<Notice>,
    pub(super) log: Outbox<LogJob>,
    pub(super) apply: Outbox<ApplyJob<M::Reply>>,
    /// Does the work of the apply thread here, while that has none.
    pub(super) applier: SharedApplier<M>,
    /// Callers of entries that are not committed yet, as far as the applier does not
    /// know them.
    pub(super) callers: Vec<Callers<M::Reply>>,
    pub(super) handle: Handle<M::Reply>,
    pub(super) clock: fn() -> u64,
    pub(super) on_removed: Option<Box<dyn FnOnce() + Send>>,
    pub(super) metrics: Metrics,
    pub(super) logger: Logger,
}

impl<L: LogStore, M: StateMachine, T: Transport> RaftThread<L, M, T> {
    /// Runs until it is asked to stop.
    pub(super) fn run(mut self) {
        let mut ticks = Ticks::from(Instant::now());
        let mut stop_by: Option<Instant> = None;
        let mut published = Status::default();
        let mut space_low = false;
        loop {
            ticks.planned = self.replica.ticks_to_next();
            self.wait(ticks.until());
            // In this order: a stall in between makes the wall clock look behind, and what is
            // stamped with it is then behind too.
            let wall_ns = (self.clock)();
            let monotonic_ns = self.handle.monotonic_ns();
            let now = Now {
                wall_ns,
                monotonic_ns,
            };
            let leads = self.replica.glance().role == Role::Leader;
            let passed = ticks.passed(Instant::now(), leads);
            // The earlier ticks do nothing, and what has come is newer than they are.
            (1..passed).for_each(|_| self.replica.step(Input::Tick, now));
            if self.take_in(now) && stop_by.is_none() {
                stop_by = Some(Instant::now() + limits::HAND_OVER_TIME);
                info!(self.logger, "stopping");
                self.hand_over(now);
            }
            let ticked = passed > 0;
            if ticked {
                self.replica.step(Input::Tick, now);
                self.mind_space(&mut space_low, now);
            }
            while let Some(work) = self.replica.work() {
                self.work(work, now);
            }
            self.handle.clock.set_limit(self.replica.clock_limit());
            self.publish(&mut published, ticked);
            if let Some(stop_by) = stop_by {
                let leads = matches!(published.role, Role::Leader) && published.leader != 0;
                let has_heir = published.membership.voter_count() > 1;
                if !(leads && has_heir) || Instant::now() >= stop_by {
                    break;
                }
            }
        }
        self.refuse_rest();
    }

    /// Waits until something is there, or the next tick.
    fn wait(&self, until: Instant) {
        if self.clogged() {
            // Requests wait in their channel; a notice says when there is room.
            let mut ready = crossbeam_channel::Select::new();
            ready.recv(&self.news);
            ready.recv(&self.notices);
            let _ = ready.ready_deadline(until);
            return;
        }
        if !self.is_quiet() {
            return;
        }
        let mut ready = crossbeam_channel::Select::new();
        ready.recv(&self.requests);
        ready.recv(&self.news);
        ready.recv(&self.notices);
        // Woken or timed out: what is there is found by looking.
        let _ = ready.ready_deadline(until);
    }

    /// Takes in what has come. Whether a stop was asked for.
    fn take_in(&mut self, now: Now) -> bool {
        for _ in 0..limits::ROUND_INPUT_COUNT_MAX {
            let Ok(notice) = self.notices.try_recv() else {
                break;
            };
            let input = match notice {
                Notice::Persisted(number) => Input::Persisted { number },
                Notice::Applied(index) => Input::Applied { index },
                Notice::Checkpointed(applied) => Input::Checkpointed(applied),
                Notice::Flushed(position) => Input::Flushed(position),
            };
            self.replica.step(input, now);
        }
        self.push();
        let clogged = self.clogged();
        for _ in 0..limits::ROUND_INPUT_COUNT_MAX {
            let Ok(news) = self.news.try_recv() else {
                break;
            };
            let input = match news {
                News::Message { from, message } => {
                    // Raft repeats them when this peer's disk has caught up.
                    if clogged && message.get_msg_type() == MessageType::MsgAppend {
                        continue;
                    }
                    Input::Message { from, message }
                }
                News::Snapshot { from, message } => Input::Snapshot { from, message },
                News::Unreachable(to) => Input::Unreachable(to),
                News::SnapshotSent { to, ok } => Input::SnapshotSent { to, ok },
                News::WasRemoved => Input::WasRemoved,
                News::MemberAt { raft_id, address } => {
                    let input = Input::MemberAt { raft_id, address };
                    self.replica.step(input, now);
                    // The connection is opened even when nothing has to be sent yet,
                    // because the other side learns this peer's address from it.
                    if self.replica.glance().role != Role::Removed {
                        self.transport.members(self.replica.membership());
                    }
                    continue;
                }
                News::ReachedAt { raft_id, address } => Input::ReachedAt { raft_id, address },
                News::Clock { raft_id, measured } => Input::Clock { raft_id, measured },
                News::SaidLevels { raft_id, said } => Input::SaidLevels { raft_id, said },
            };
            self.replica.step(input, now);
        }
        !clogged && self.take_requests(now)
    }

    fn take_requests(&mut self, now: Now) -> bool {
        let (mut asked, mut topics) = (Vec::new(), BTreeSet::new());
        let term = self.replica.glance().term;
        let mut stop = false;
        for _ in 0..limits::ROUND_INPUT_COUNT_MAX {
            let request = match self.requests.try_recv() {
                Ok(request) => request,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            };
            let input = match request {
                Request::Propose(Proposal {
                    command,
                    units,
                    topic,
                    term: only_in,
                    accepted,
                    sink,
                }) => {
                    if only_in.is_some_and(|only_in| only_in != term) {
                        sink.answer(Err(ProposeError::NotLeader));
                        continue;
                    }
                    topics.extend(topic);
                    asked.push(Asked {
                        command,
                        units,
                        token: Token::Propose(accepted, sink),
                    });
                    continue;
                }
                Request::Change(change, sink) => Input::Change(change, Token::Admin(sink)),
                Request::Transfer(to, sink) => Input::Transfer(to, Token::Admin(sink)),
                Request::Read { deadline, answer } => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let deadline_ns = now.monotonic_ns + left.as_nanos() as u64;
                    Input::Read {
                        deadline_ns,
                        token: Token::Read(answer),
                    }
                }
                Request::Stop => {
                    stop = true;
                    continue;
                }
            };
            self.replica.step(input, now);
        }
        for rider in self.riders(topics) {
            asked.push(Asked {
                command: rider.command,
                units: rider.units,
                token: Token::Propose(rider.accepted, rider.sink),
            });
        }
        if !asked.is_empty() {
            self.metrics.proposed(asked.len());
            self.replica.step(Input::Propose(asked), now);
        }
        stop
    }

    /// The commands that ride with those of these topics.
    fn riders(&self, topics: BTreeSet<String>) -> Vec<Proposal<M::Reply>> {
        let glance = self.replica.glance();
        let take = self.handle.riders.get();
        let Some(take) = take.filter(|_| glance.role == Role::Leader) else {
            return Vec::new();
        };
        let of_topic = |topic: String| take(&topic, glance.term);
        topics.into_iter().filter_map(of_topic).collect()
    }

    /// Passes on what was said of disk space.
    fn mind_space(&mut self, told: &mut bool, now: Now) {
        let low = self.handle.space.is_low.load(Ordering::Relaxed);
        if low != *told {
            *told = low;
            self.replica.step(Input::SpaceLow(low), now);
        }
        if self.handle.space.flush_asked.swap(false, Ordering::Relaxed) {
            self.send_to_apply(ApplyJob::Flush);
        }
    }

    /// Does the work of a step, in the order of its fields.
    fn work(&mut self, work: Work<Token<M::Reply>>, now: Now) {
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
        if is_small && self.apply.is_idle() && self.is_quiet() {
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

    /// Tells whether nothing waits to be taken in.
    fn is_quiet(&self) -> bool {
        self.requests.is_empty() && self.news.is_empty() && self.notices.is_empty()
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

    fn clogged(&self) -> bool {
        self.log.clogged() || self.apply.clogged()
    }

    fn push(&mut self) {
        let (log, apply) = (self.log.push(), self.apply.push());
        self.must(log);
        self.must(apply);
    }

    fn send_to_log(&mut self, job: LogJob) {
        let sent = self.log.send(job);
        self.must(sent);
    }

    fn send_to_apply(&mut self, job: ApplyJob<M::Reply>) {
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

    fn must(&self, sent: Result<(), HungUp>) {
        if sent.is_err() {
            stop_process(&self.logger, "runtime", "the log or apply thread has ended");
        }
    }

    /// Publishes the status: at once when what routing depends on has changed,
    /// else with the tick.
    fn publish(&mut self, published: &mut Status, ticked: bool) {
        let glance = self.replica.glance();
        if !ticked && glance == published.glance() {
            return;
        }
        for (from, reason) in self.replica.take_refused() {
            self.metrics.refused();
            warn!(self.logger, "message refused"; "from" => from, "reason" => %reason);
        }
        let status = self.replica.status();
        if status.role != published.role || status.leader != published.leader {
            info!(self.logger, "role changed";
                "role" => ?status.role, "term" => status.term, "leader" => status.leader);
        }
        if status.role == Role::Removed {
            if let Some(on_removed) = self.on_removed.take() {
                on_removed();
            }
        }
        if status.address_conflicts != published.address_conflicts {
            for why in status.address_conflicts.values() {
                warn!(self.logger, "the address of a member cannot be changed"; "reason" => why);
            }
        }
        self.tell_of_clock(published.clock_fault, status.clock_fault);
        self.metrics.status(&status);
        *published = status.clone();
        self.handle.published.publish(status);
    }

    /// Says once that the clock of this leader is wrong, and that it is right again or that
    /// another peer leads.
    fn tell_of_clock(&self, before: Option<ClockFault>, now: Option<ClockFault>) {
        let is_ahead = |fault| matches!(fault, Some(ClockFault::Ahead { .. }));
        if let Some(fault) = now.filter(|_| is_ahead(now) && !is_ahead(before)) {
            warn!(self.logger, "the clock of this leader is wrong, it hands over";
                "reason" => %fault, "remedy" => "set the clock, and keep it by NTP");
        }
        if is_ahead(before) && !is_ahead(now) {
            info!(self.logger, "no leader with a wrong clock here any more");
        }
    }

    /// A leader asks the most caught-up voter to take over.
    fn hand_over(&mut self, now: Now) {
        let status = self.replica.status();
        let voters = status.membership.voter_count();
        if status.role == Role::Leader && voters > 1 {
            let sink = Sink::new(|_| {});
            self.replica
                .step(Input::Transfer(0, Token::Admin(sink)), now);
        }
    }

    /// Answers whoever still waits in the channels.
    fn refuse_rest(&mut self) {
        let (log, apply) = (self.log.push_all(), self.apply.push_all());
        self.must(log);
        self.must(apply);
        let stopped = Status {
            leader: 0,
            leader_ready: false,
            ..self.replica.status()
        };
        self.handle.published.publish(stopped);
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Propose(p) => p.sink.answer(Err(ProposeError::Stopping)),
                Request::Change(_, sink) | Request::Transfer(_, sink) => {
                    sink.answer(Err(ProposeError::Stopping));
                }
                Request::Read { answer, .. } => answer(Err(ReadError::Stopping)),
                Request::Stop => {}
            }
        }
    }
}

/// The moments at which ticks are due.
struct Ticks {
    last: Instant,
    /// How many of them may pass until the thread has to be awake.
    planned: u64,
}

impl From<Instant> for Ticks {
    fn from(last: Instant) -> Self {
        Self { last, planned: 1 }
    }
}

impl Ticks {
    fn until(&self) -> Instant {
        self.last + limits::TICK * u32::try_from(self.planned).unwrap_or(1)
    }

    /// Gives how many have passed. Of a sleep that was longer than planned, a leader makes up for
    /// what was planned, because its heartbeat is due. Others make up for one tick only: they
    /// must listen before they campaign.
    fn passed(&mut self, now: Instant, leads: bool) -> u64 {
        let since = now.saturating_duration_since(self.last);
        let passed = (since.as_nanos() / limits::TICK.as_nanos()) as u64;
        if passed > self.planned {
            self.last = now;
            return if leads { self.planned } else { 1 };
        }
        self.last += limits::TICK * u32::try_from(passed).unwrap_or(1);
        passed
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_that_was_planned_is_made_up_for_and_a_stall_is_not() {
        let started = Instant::now();
        let mut ticks = Ticks::from(started);
        let passed = |ticks: &mut Ticks, planned, at: u32| {
            ticks.planned = planned;
            ticks.passed(started + limits::TICK * at / 10, false)
        };
        assert_eq!(passed(&mut ticks, 4, 9), 0);
        assert_eq!(passed(&mut ticks, 4, 11), 1);
        assert_eq!(passed(&mut ticks, 4, 55), 4, "late within a tick");
        assert_eq!(passed(&mut ticks, 4, 72), 2, "woken by a message");
        assert_eq!(ticks.until(), started + limits::TICK * 11);
        assert_eq!(passed(&mut ticks, 2, 1_000), 1, "it stood still");
        assert_eq!(passed(&mut ticks, 2, 1_009), 0);
        assert_eq!(passed(&mut ticks, 2, 1_020), 2);
        ticks.planned = 3;
        let late = ticks.passed(started + limits::TICK * 200, true);
        assert_eq!(
            late, 3,
            "the heartbeat of a leader that woke late goes at once"
        );
    }
}
