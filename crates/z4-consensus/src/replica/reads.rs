//! Linearizable reads (Raft thesis, section 6.4): read index in its safe form.
//!
//! raft-rs drops a read silently when there is no leader, when the leader has
//! not committed in its term, or when a message is lost. So every try has a
//! fresh context, never used again: an answer to an earlier try must not be
//! taken for one to a later read.

use std::collections::VecDeque;

use super::{Answer, Replica};
use crate::error::ReadError;
use crate::limits;
use crate::log::LogStore;
use crate::planted::planted;

/// Reads that are tried together under one context.
struct Try<P> {
    context: u64,
    asked_at_ns: u64,
    reads: Vec<Read<P>>,
}

struct Read<P> {
    asked_at_ns: u64,
    deadline_ns: u64,
    token: P,
}

pub(super) struct Reads<P> {
    raft_id: u64,
    context_next: u64,
    waiting: Vec<Read<P>>,
    tries: VecDeque<Try<P>>,
    /// Confirmed; to be answered when the index is applied.
    confirmed: Vec<(u64, Vec<Read<P>>)>,
    failed: Vec<(Read<P>, ReadError)>,
    now_ns: u64,
    removed: bool,
}

impl<P> Reads<P> {
    pub(super) fn new(raft_id: u64) -> Self {
        Self {
            raft_id,
            context_next: 0,
            waiting: Vec::new(),
            tries: VecDeque::new(),
            confirmed: Vec::new(),
            failed: Vec::new(),
            now_ns: 0,
            removed: false,
        }
    }

    pub(super) fn ask(&mut self, deadline_ns: u64, token: P) {
        let read = Read {
            asked_at_ns: self.now_ns,
            deadline_ns,
            token,
        };
        if self.removed {
            self.failed.push((read, ReadError::Removed));
        } else if self.len() >= limits::READ_COUNT_MAX {
            self.failed.push((read, ReadError::Busy));
        } else {
            self.waiting.push(read);
        }
    }

    /// Tells whether no read waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the time of all that follows, in nanoseconds of the monotonic clock.
    pub(super) fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    fn len(&self) -> usize {
        self.waiting.len()
            + self.tries.iter().map(|t| t.reads.len()).sum::<usize>()
            + self
                .confirmed
                .iter()
                .map(|(_, reads)| reads.len())
                .sum::<usize>()
    }

    /// Gives up what is past its deadline and asks anew what got no answer.
    pub(super) fn tick(&mut self) {
        let now_ns = self.now_ns;
        let retry_ns = limits::READ_RETRY.as_nanos() as u64;
        while self
            .tries
            .front()
            .is_some_and(|t| now_ns >= t.asked_at_ns + retry_ns)
        {
            if let Some(lost) = self.tries.pop_front() {
                self.waiting.extend(lost.reads);
            }
        }
        let (failed, waiting) = (&mut self.failed, &mut self.waiting);
        for read in std::mem::take(waiting) {
            if now_ns >= read.deadline_ns {
                let waited_ms = now_ns.saturating_sub(read.asked_at_ns) / 1_000_000;
                failed.push((read, ReadError::NoLeader { waited_ms }));
            } else {
                waiting.push(read);
            }
        }
    }

    /// The context of a new try for all that waits, if one is due. It begins at
    /// the wall clock, so that no life of this peer repeats those of an earlier
    /// one: the leader may still hold, or the network deliver, an answer to that.
    fn next_try(&mut self, wall_ns: u64) -> Option<Vec<u8>> {
        if self.waiting.is_empty() || self.tries.len() >= limits::READ_TRIES_MAX {
            return None;
        }
        if !planted!("read-context-reused") || self.context_next == 0 {
            self.context_next = wall_ns.max(self.context_next + 1);
        }
        let reads = std::mem::take(&mut self.waiting);
        let context = self.context_next;
        self.tries.push_back(Try {
            context,
            asked_at_ns: self.now_ns,
            reads,
        });
        // Unique in the group: the leader confirms the reads of all members.
        let mut bytes = self.raft_id.to_be_bytes().to_vec();
        bytes.extend(context.to_be_bytes());
        Some(bytes)
    }

    pub(super) fn confirmed(&mut self, context: &[u8], index: u64) {
        let mine = |t: &Try<P>| {
            context.len() == 16
                && context[..8] == self.raft_id.to_be_bytes()
                && context[8..] == t.context.to_be_bytes()
        };
        if let Some(at) = self.tries.iter().position(mine) {
            if let Some(confirmed) = self.tries.remove(at) {
                self.confirmed.push((index, confirmed.reads));
            }
        }
    }

    /// Fails all reads: this peer was removed.
    pub(super) fn remove(&mut self) {
        self.removed = true;
        let all = std::mem::take(&mut self.waiting)
            .into_iter()
            .chain(self.tries.drain(..).flat_map(|t| t.reads))
            .chain(self.confirmed.drain(..).flat_map(|(_, reads)| reads));
        self.failed
            .extend(all.map(|read| (read, ReadError::Removed)));
    }

    fn take_answers(&mut self, applied_index: u64, answers: &mut Vec<Answer<P>>) {
        for (read, error) in self.failed.drain(..) {
            answers.push(Answer::Read(read.token, Err(error)));
        }
        let mut at = 0;
        while at < self.confirmed.len() {
            if self.confirmed[at].0 > applied_index {
                at += 1;
                continue;
            }
            let (_, reads) = self.confirmed.swap_remove(at);
            let done = reads
                .into_iter()
                .map(|r| Answer::Read(r.token, Ok(applied_index)));
            answers.extend(done);
        }
    }
}

impl<L: LogStore, P> Replica<L, P> {
    /// Asks for what can be answered, answers what can be.
    pub(super) fn drive_reads(&mut self) {
        let raft = &self.raw.raft;
        let leads = self.leads();
        // Otherwise raft-rs would drop it; a tick or a change of leader comes.
        let askable = !self.removed
            && if leads {
                raft.commit_to_current_term()
            } else {
                raft.leader_id != 0
            };
        if askable {
            self.reads.now_ns = self.now.monotonic_ns;
            while let Some(context) = self.reads.next_try(self.now.wall_ns) {
                if planted!("read-without-quorum") {
                    self.reads.confirmed(&context, self.applied_index);
                    continue;
                }
                self.raw.read_index(context);
            }
        }
        self.reads
            .take_answers(self.applied_index, &mut self.work.answers);
    }
}
