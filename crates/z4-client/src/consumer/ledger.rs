//! What a consumer has in hand: which leases, how far their handlers are, when
//! each is to be extended. Pure: time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Ending, Failure};
use crate::lease::{LeaseRef, Nack};
use crate::outcome::{LeaseOutcome, LeaseResult};

/// How a run of a consumer went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Handlers that were started.
    pub started: u64,
    /// Acks that were confirmed.
    pub acked: u64,
    /// Nacks that were confirmed; the tasks come again.
    pub nacked: u64,
    /// Nacks that were confirmed and made a dead letter.
    pub died: u64,
    /// Releases that were confirmed.
    pub released: u64,
    /// Leases that ended before their handler, or before its answer was taken.
    pub lost: u64,
    /// Answers of which it cannot be told whether they were taken.
    pub uncertain: u64,
}

/// How the handler of a task ended, as it is told to the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Ack(LeaseRef),
    Nack(Nack),
    Release(LeaseRef),
}

/// What to do with a delivery.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// Start its handler.
    Start,
    /// Its handler runs, or has ended and waits for its confirmation.
    Known,
    /// Its handler has ended: say so under the new lease.
    Answer(Answer),
}

struct Held {
    token: u64,
    /// The handler's result; `None`: it runs.
    result: Option<Result<(), Failure>>,
    /// The result has been sent.
    was_sent: bool,
    /// It has been sent on an earlier stream, so that a refusal may be its own
    /// doing.
    was_sent_before: bool,
    is_lost: Arc<AtomicBool>,
    /// What said so, when its lease is lost.
    lost_by: Option<LeaseResult>,
    extend_at: Instant,
}

/// See the module.
pub(super) struct Ledger {
    held: HashMap<String, Held>,
    /// Running handlers by the time of their next extension.
    extends: BTreeSet<(Instant, String)>,
    extend_every: Duration,
    /// Handlers that run although their lease is lost.
    lost_running: u32,
    summary: Summary,
    /// Deliveries that have ended since they were last asked for.
    endings: Vec<Ending>,
}

impl Ledger {
    pub(super) fn new(extend_every: Duration) -> Self {
        Self {
            held: HashMap::new(),
            extends: BTreeSet::new(),
            extend_every,
            lost_running: 0,
            summary: Summary::default(),
            endings: Vec::new(),
        }
    }

    /// What became of deliveries since this was last asked.
    pub(super) fn take_endings(&mut self) -> Vec<Ending> {
        std::mem::take(&mut self.endings)
    }

    /// The consumer ends: what was said and not confirmed never will be.
    pub(super) fn abandon(&mut self) {
        let message = "the consumer ended before the answer came";
        for (task_id, held) in self.held.drain() {
            let Some(result) = held.result else {
                continue;
            };
            self.summary.uncertain += 1;
            let token = held.token;
            let answer = uncertain(LeaseRef { task_id, token }, message);
            self.endings.push(Ending { result, answer });
        }
        self.extends.clear();
    }

    pub(super) fn summary(&self) -> Summary {
        self.summary
    }

    /// What to ask for so that no more than `most` handlers run: the peer does not
    /// count those whose lease is lost. One at least, as nothing less can be said.
    pub(super) fn credit(&self, most: u32) -> u32 {
        most.saturating_sub(self.lost_running).max(1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A delivery came. `is_lost` is the flag its handler looks at. One that is
    /// resumed has used up a part of its lease: it is extended at once.
    pub(super) fn delivered(
        &mut self,
        lease: &LeaseRef,
        resumed: bool,
        is_lost: &Arc<AtomicBool>,
        now: Instant,
    ) -> Arrival {
        let extend_at = match resumed {
            true => now,
            false => now + self.extend_every,
        };
        let Some(held) = self.held.get_mut(&lease.task_id) else {
            let held = Held {
                token: lease.token,
                result: None,
                was_sent: false,
                was_sent_before: false,
                is_lost: Arc::clone(is_lost),
                lost_by: None,
                extend_at,
            };
            self.held.insert(lease.task_id.clone(), held);
            self.extends.insert((extend_at, lease.task_id.clone()));
            self.summary.started += 1;
            return Arrival::Start;
        };
        // A lease of ours expired and the task came to us again: its handler is
        // at work or done, and a second one beside it would help nobody. It
        // answers for the new lease.
        let is_new = held.token != lease.token;
        held.token = lease.token;
        match &held.result {
            None => {
                if held.is_lost.swap(false, Ordering::Relaxed) {
                    self.lost_running -= 1;
                }
                self.schedule(&lease.task_id, extend_at);
                Arrival::Known
            }
            Some(result) if is_new => {
                held.was_sent = false;
                held.was_sent_before = false;
                Arrival::Answer(answer(lease.clone(), result))
            }
            Some(_) => Arrival::Known,
        }
    }

    /// A handler ended: what to tell the cluster. `None`: its lease is lost, and
    /// nobody would hear it.
    pub(super) fn finished(
        &mut self,
        task_id: &str,
        result: Result<(), Failure>,
    ) -> Option<Answer> {
        let held = self.held.get_mut(task_id)?;
        self.extends.remove(&(held.extend_at, task_id.to_owned()));
        if held.is_lost.load(Ordering::Relaxed) {
            let lost_by = self.held.remove(task_id).and_then(|held| held.lost_by);
            self.lost_running -= 1;
            if let Some(answer) = lost_by {
                self.endings.push(Ending { result, answer });
            }
            return None;
        }
        let lease = LeaseRef {
            task_id: task_id.to_owned(),
            token: held.token,
        };
        let answer = answer(lease, &result);
        held.result = Some(result);
        Some(answer)
    }

    /// An answer goes out on the stream that is open.
    pub(super) fn sends(&mut self, answer: &Answer) {
        let lease = match answer {
            Answer::Ack(lease) | Answer::Release(lease) => lease,
            Answer::Nack(nack) => &nack.lease,
        };
        if let Some(held) = self.held.get_mut(&lease.task_id) {
            held.was_sent = true;
        }
    }

    /// A delivery whose handler is not to be started after all.
    pub(super) fn turned_away(&mut self, task_id: &str) -> Option<Answer> {
        self.summary.started -= 1;
        self.finished(task_id, Err(Failure::release()))
    }

    /// The cluster's answer to an ack, nack, release or extend.
    pub(super) fn told(&mut self, result: &LeaseResult, now: Instant) {
        let task_id = &result.lease.task_id;
        let Some(held) = self.held.get_mut(task_id) else {
            return;
        };
        if held.token != result.lease.token {
            return;
        }
        let is_running = held.result.is_none();
        match result.outcome {
            LeaseOutcome::Extended => {
                if is_running {
                    let at = now + self.extend_every;
                    self.schedule(task_id, at);
                }
            }
            LeaseOutcome::Done | LeaseOutcome::Waiting | LeaseOutcome::Dead if is_running => {
                // Of an earlier life of this lease; not ours to count.
            }
            LeaseOutcome::Done => self.over(result, |s| s.acked += 1),
            LeaseOutcome::Dead => self.over(result, |s| s.died += 1),
            LeaseOutcome::Waiting => {
                let is_release = matches!(&held.result, Some(Err(f)) if f.is_release());
                self.over(result, |s| match is_release {
                    true => s.released += 1,
                    false => s.nacked += 1,
                });
            }
            LeaseOutcome::Uncertain | LeaseOutcome::Invalid if is_running => {
                // An extension may not have been: sooner again.
                let at = now + self.extend_every / 4;
                self.schedule(task_id, at);
            }
            LeaseOutcome::Uncertain => self.over(result, |s| s.uncertain += 1),
            _ if is_running => {
                self.extends.remove(&(held.extend_at, task_id.clone()));
                held.lost_by = Some(result.clone());
                if !held.is_lost.swap(true, Ordering::Relaxed) {
                    self.lost_running += 1;
                    self.summary.lost += 1;
                }
            }
            _ if held.was_sent_before => {
                let message = "it was said twice, and the first answer was lost";
                let answer = uncertain(result.lease.clone(), message);
                self.over(&answer, |s| s.uncertain += 1);
            }
            _ => self.over(result, |s| s.lost += 1),
        }
    }

    /// The peer has ended the stream in good order: of what was said on it and is
    /// not confirmed it has taken nothing.
    pub(super) fn nothing_else_was_taken(&mut self) {
        for held in self.held.values_mut() {
            held.was_sent = false;
        }
    }

    /// A new stream is open. What was not confirmed is said again; leases of
    /// running handlers are extended at once, which also tells whether they live.
    pub(super) fn reopened(&mut self, now: Instant) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut running = Vec::new();
        for (task_id, held) in &mut self.held {
            match &held.result {
                Some(result) => {
                    held.was_sent_before = held.was_sent;
                    let lease = LeaseRef {
                        task_id: task_id.clone(),
                        token: held.token,
                    };
                    answers.push(answer(lease, result));
                }
                None if held.is_lost.load(Ordering::Relaxed) => {}
                None => running.push(task_id.clone()),
            }
        }
        for task_id in running {
            self.schedule(&task_id, now);
        }
        answers
    }

    /// When the next lease is to be extended.
    pub(super) fn next_extend(&self) -> Option<Instant> {
        self.extends.first().map(|(at, _)| *at)
    }

    /// The leases that are to be extended now. Each is asked for again should the
    /// answer not come.
    pub(super) fn due_extends(&mut self, now: Instant) -> Vec<LeaseRef> {
        let mut due = Vec::new();
        while let Some((at, _)) = self.extends.first() {
            if *at > now {
                break;
            }
            let Some((_, task_id)) = self.extends.pop_first() else {
                break;
            };
            let Some(held) = self.held.get_mut(&task_id) else {
                continue;
            };
            held.extend_at = now + self.extend_every;
            self.extends.insert((held.extend_at, task_id.clone()));
            due.push(LeaseRef {
                token: held.token,
                task_id,
            });
        }
        due
    }

    fn schedule(&mut self, task_id: &str, at: Instant) {
        if let Some(held) = self.held.get_mut(task_id) {
            self.extends.remove(&(held.extend_at, task_id.to_owned()));
            held.extend_at = at;
            self.extends.insert((at, task_id.to_owned()));
        }
    }

    fn over(&mut self, answer: &LeaseResult, count: impl FnOnce(&mut Summary)) {
        let held = self.held.remove(&answer.lease.task_id);
        count(&mut self.summary);
        if let Some(result) = held.and_then(|held| held.result) {
            let answer = answer.clone();
            self.endings.push(Ending { result, answer });
        }
    }
}

fn uncertain(lease: LeaseRef, message: &str) -> LeaseResult {
    LeaseResult {
        lease,
        outcome: LeaseOutcome::Uncertain,
        message: message.to_owned(),
        due_at: None,
        lease_deadline: None,
        death_reason: None,
    }
}

fn answer(lease: LeaseRef, result: &Result<(), Failure>) -> Answer {
    match result {
        Ok(()) => Answer::Ack(lease),
        Err(failure) if failure.is_release() => Answer::Release(lease),
        Err(failure) => Answer::Nack(failure.nack(lease)),
    }
}

#[cfg(test)]
mod tests;
