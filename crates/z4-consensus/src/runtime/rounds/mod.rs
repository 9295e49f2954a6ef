//! The rounds of a peer: what has come is taken in, the replica is stepped, and its work
//! is done.
//!
//! The raft thread runs them. Another thread that brings something while nothing else
//! waits runs one itself ([`run_here`]): the log thread when a write is durable, and the
//! thread of a lane when messages have come. To wake the raft thread would take longer
//! than the round does. Who finds a round under way, or something that waits, puts what it
//! brings behind it, and the raft thread takes all of it in at once.

mod intake;
mod work;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crossbeam_channel::Sender;
use slog::{info, warn, Logger};

use super::apply_thread::{ApplyJob, Callers, SharedApplier};
use super::handle::{Handle, ReadAnswer, Request};
use super::inbox::Inbox;
use super::log_thread::LogJob;
use super::outbox::Outbox;
use super::sink::{Accepted, Done, Sink};
use super::ticks::Ticks;
use crate::error::{ProposeError, ReadError};
use crate::limits;
use crate::log::{LogStore, Position};
use crate::machine::{Applied, StateMachine};
use crate::metrics::Metrics;
use crate::replica::{Input, Now, Replica};
use crate::status::{Role, Status};
use crate::transport::Transport;

/// A notice of the log, apply or flush thread.
pub(super) enum Notice {
    Persisted(u64),
    Applied(u64),
    Checkpointed(Applied),
    Flushed(Position),
}

/// Who asked.
pub(super) enum Token<R> {
    Propose(Option<Box<dyn FnOnce(Accepted) + Send>>, Sink<Done<R>>),
    Admin(Sink<()>),
    Read(ReadAnswer),
}

/// The rounds of a peer, for each thread that may run one; `None` once it has stopped.
pub(super) type SharedRounds<L, M, T> = Arc<Mutex<Option<Rounds<L, M, T>>>>;

/// All that a round works with.
pub(super) struct Rounds<L: LogStore, M: StateMachine, T> {
    pub(super) replica: Replica<L, Token<M::Reply>>,
    pub(super) transport: T,
    pub(super) inbox: Inbox<M::Reply>,
    /// Wakes the raft thread when it sleeps for too long.
    pub(super) nudge: Sender<()>,
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
    pub(super) moments: Moments,
    /// The status that was published last.
    pub(super) published: Status,
    pub(super) space_low: bool,
}

/// The moments that a peer goes by.
pub(super) struct Moments {
    started: Instant,
    ticks: Ticks,
    /// Until when the raft thread sleeps unless something comes for it.
    sleep_until: Instant,
    /// Set once a stop was asked for: when leadership need not be handed over any more.
    stop_by: Option<Instant>,
}

impl From<Instant> for Moments {
    fn from(started: Instant) -> Self {
        Self {
            started,
            ticks: Ticks::from(started),
            sleep_until: started,
            stop_by: None,
        }
    }
}

/// For how long the raft thread may sleep.
pub(super) struct Sleep {
    pub(super) until: Instant,
    /// Requests are not taken in before there is room for what comes of them.
    pub(super) clogged: bool,
}

/// Takes the rounds.
///
/// # Panics
/// If a thread has panicked in the middle of a round: what is left is not whole.
pub(super) fn lock<L: LogStore, M: StateMachine, T>(
    rounds: &SharedRounds<L, M, T>,
) -> MutexGuard<'_, Option<Rounds<L, M, T>>> {
    match rounds.lock() {
        Ok(rounds) => rounds,
        Err(_) => panic!("a round has panicked"),
    }
}

/// Runs a round in the thread of the caller with what it brings, which `take` takes in.
/// `Err` gives it back when a round is under way, when something waits that came before
/// it, or when the peer stops: it has to go the long way.
pub(super) fn run_here<L, M, T, B>(
    rounds: &SharedRounds<L, M, T>,
    brought: B,
    take: impl FnOnce(&mut Rounds<L, M, T>, B, Now),
) -> Result<(), B>
where
    L: LogStore,
    M: StateMachine,
    T: Transport,
{
    let Ok(mut locked) = rounds.try_lock() else {
        return Err(brought);
    };
    let Some(rounds) = locked.as_mut().filter(|rounds| rounds.is_free()) else {
        return Err(brought);
    };
    // A thread that had no room for all of its jobs may have some now.
    rounds.push();
    let (now, ticked) = rounds.begin();
    take(rounds, brought, now);
    rounds.end(now, ticked);
    let nudge = rounds.oversleeps().then(|| rounds.nudge.clone());
    // The raft thread would wait for the lock.
    drop(locked);
    if let Some(nudge) = nudge {
        // One that waits already does it.
        let _ = nudge.try_send(());
    }
    Ok(())
}

impl<L: LogStore, M: StateMachine, T: Transport> Rounds<L, M, T> {
    /// Runs a round with all that waits. `None` when it was the last one.
    pub(super) fn run(&mut self) -> Option<Sleep> {
        let is_busy = !self.inbox.is_empty();
        let (now, ticked) = self.begin();
        if self.take_in(now) && self.moments.stop_by.is_none() {
            self.moments.stop_by = Some(Instant::now() + limits::HAND_OVER_TIME);
            info!(self.logger, "stopping");
            self.hand_over(now);
        }
        self.end(now, ticked);
        if self.moments.stop_by.is_some_and(|by| self.may_stop(by)) {
            return None;
        }
        // A tick does something soon when something has come: it is cheaper to be awake for
        // nothing once in a tick than to be nudged each time.
        self.moments.sleep_until = self.moments.ticks.until();
        if is_busy {
            self.moments.sleep_until = self.moments.ticks.next();
        }
        Some(Sleep {
            until: self.moments.sleep_until,
            clogged: self.clogged(),
        })
    }

    /// Tells whether a round may begin with something that has not waited.
    fn is_free(&self) -> bool {
        self.inbox.is_empty() && self.moments.stop_by.is_none() && !self.clogged()
    }

    /// Makes up for the ticks that have passed, except for the last one: what has come is
    /// newer than they are, and they do nothing. Gives whether there was a last one.
    fn begin(&mut self) -> (Now, bool) {
        let now = Now {
            wall_ns: (self.clock)(),
            monotonic_ns: self.moments.started.elapsed().as_nanos() as u64,
        };
        let leads = self.replica.glance().role == Role::Leader;
        let passed = self.moments.ticks.passed(Instant::now(), leads);
        (1..passed).for_each(|_| self.replica.step(Input::Tick, now));
        (now, passed > 0)
    }

    /// Does what comes of the inputs of a round, and of the tick behind them.
    fn end(&mut self, now: Now, ticked: bool) {
        if ticked {
            self.replica.step(Input::Tick, now);
            self.mind_space(now);
        }
        while let Some(work) = self.replica.work() {
            self.work(work, now);
        }
        self.publish(ticked);
        self.moments.ticks.planned = self.replica.ticks_to_next();
    }

    /// Tells whether the raft thread is to be awake earlier than it knows. The caller has to
    /// tell it then, because the next call says that it knows.
    fn oversleeps(&mut self) -> bool {
        let until = self.moments.ticks.until();
        let oversleeps = until < self.moments.sleep_until;
        self.moments.sleep_until = self.moments.sleep_until.min(until);
        oversleeps
    }

    fn may_stop(&self, by: Instant) -> bool {
        let leads = matches!(self.published.role, Role::Leader) && self.published.leader != 0;
        let has_heir = self.published.membership.voter_count() > 1;
        !(leads && has_heir) || Instant::now() >= by
    }

    /// Passes on what was said of disk space.
    fn mind_space(&mut self, now: Now) {
        let low = self.handle.space.is_low.load(Ordering::Relaxed);
        if low != self.space_low {
            self.space_low = low;
            self.replica.step(Input::SpaceLow(low), now);
        }
        if self.handle.space.flush_asked.swap(false, Ordering::Relaxed) {
            self.send_to_apply(ApplyJob::Flush);
        }
    }

    /// Publishes the status: at once when what routing depends on has changed,
    /// else with the tick.
    fn publish(&mut self, ticked: bool) {
        let glance = self.replica.glance();
        if !ticked && glance == self.published.glance() {
            return;
        }
        for (from, reason) in self.replica.take_refused() {
            self.metrics.refused();
            warn!(self.logger, "message refused"; "from" => from, "reason" => %reason);
        }
        let status = self.replica.status();
        if status.role != self.published.role || status.leader != self.published.leader {
            info!(self.logger, "role changed";
                "role" => ?status.role, "term" => status.term, "leader" => status.leader);
        }
        if status.role == Role::Removed {
            if let Some(on_removed) = self.on_removed.take() {
                on_removed();
            }
        }
        if status.address_conflicts != self.published.address_conflicts {
            for why in status.address_conflicts.values() {
                warn!(self.logger, "the address of a member cannot be changed"; "reason" => why);
            }
        }
        self.metrics.status(&status);
        self.published = status.clone();
        self.handle.published.publish(status);
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

    /// Answers whoever still waits in the channels, behind the last round.
    pub(super) fn refuse_rest(mut self) {
        let (log, apply) = (self.log.push_all(), self.apply.push_all());
        self.must(log);
        self.must(apply);
        let stopped = Status {
            leader: 0,
            leader_ready: false,
            ..self.replica.status()
        };
        self.handle.published.publish(stopped);
        while let Ok(request) = self.inbox.requests.try_recv() {
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

#[cfg(test)]
mod tests;
