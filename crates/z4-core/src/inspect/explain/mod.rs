//! Why a task does not run.

mod text;

use super::Ahead;
use crate::dispatch::ConsumersView;
use crate::machine::{gate, Gate};
use crate::state::{NamespaceRow, RateLimit};
use crate::task::{DeathReason, Phase, TaskStatus};

/// What is known when somebody asks.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The namespace of the task.
    pub row: &'a NamespaceRow,
    /// Where the task stands.
    pub status: &'a TaskStatus,
    /// Who takes tasks of the namespace.
    pub consumers: ConsumersView,
    /// What is due before it.
    pub ahead: Ahead,
    /// Machine time in nanoseconds: the greater of the clock and the greatest
    /// stamp applied.
    pub now_ns: u64,
}

/// Something that keeps a task from running. Times are machine times in
/// nanoseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Its namespace is being deleted, and the task with it.
    Deleting {
        /// Tasks that are left.
        left: u64,
    },
    /// It is a dead letter.
    Dead {
        /// Since when.
        at_ns: u64,
        /// Why.
        reason: DeathReason,
        /// How often it failed.
        failures: u32,
        /// What the last failure said.
        last_error: String,
        /// When it is forgotten, if it is by itself.
        forget_at_ns: Option<u64>,
    },
    /// A consumer holds it.
    Leased {
        /// Who.
        consumer: String,
        /// Which try this is.
        attempt: u32,
        /// When the lease ends.
        deadline_ns: u64,
    },
    /// Deliveries of its namespace are stopped.
    Paused {
        /// Since when.
        since_ns: u64,
    },
    /// Nobody takes tasks of its namespace.
    NoConsumer {
        /// When somebody last took one; `None`: never.
        last_ns: Option<u64>,
    },
    /// As many leases are live as the namespace allows.
    LeasedMax {
        /// So many are.
        leased: u64,
        /// So many may be.
        most: u64,
    },
    /// Every consumer has all that it takes at once.
    NoCredit {
        /// How many consumers.
        consumers: u64,
    },
    /// Its time has not come.
    NotDue {
        /// It comes then.
        due_at_ns: u64,
    },
    /// It failed and waits to be tried again.
    Backoff {
        /// Until then.
        due_at_ns: u64,
        /// How often it failed.
        failures: u32,
        /// What the last failure said.
        last_error: String,
    },
    /// Consumers gave it back too often in a row, and it waits before the next.
    Returned {
        /// Until then.
        due_at_ns: u64,
        /// How often they did.
        returns: u32,
    },
    /// The namespace's rate of deliveries is used up.
    RateLimit {
        /// When the next delivery may be.
        next_at_ns: u64,
        /// The limit.
        rate: RateLimit,
    },
    /// Others are due before it.
    Behind(Ahead),
}

impl Reason {
    /// When it ends, in machine nanoseconds, as far as is known.
    #[must_use]
    pub fn until_ns(&self) -> Option<u64> {
        match self {
            Self::Leased { deadline_ns, .. } => Some(*deadline_ns),
            Self::NotDue { due_at_ns }
            | Self::Backoff { due_at_ns, .. }
            | Self::Returned { due_at_ns, .. } => Some(*due_at_ns),
            Self::RateLimit { next_at_ns, .. } => Some(*next_at_ns),
            Self::Dead { forget_at_ns, .. } => *forget_at_ns,
            _ => None,
        }
    }

    /// Since when, in machine nanoseconds, as far as is known.
    #[must_use]
    pub fn since_ns(&self) -> Option<u64> {
        match self {
            Self::Dead { at_ns, .. } => Some(*at_ns),
            Self::Paused { since_ns } => Some(*since_ns),
            Self::NoConsumer { last_ns } => *last_ns,
            _ => None,
        }
    }

    /// Tasks, leases, consumers or failures, as the reason is.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Deleting { left } => *left,
            Self::Dead { failures, .. } | Self::Backoff { failures, .. } => u64::from(*failures),
            Self::Returned { returns, .. } => u64::from(*returns),
            Self::LeasedMax { leased, .. } => *leased,
            Self::NoCredit { consumers } => *consumers,
            Self::RateLimit { rate, .. } => u64::from(rate.count),
            Self::Behind(ahead) => ahead.at_most,
            Self::Leased { .. }
            | Self::Paused { .. }
            | Self::NoConsumer { .. }
            | Self::NotDue { .. } => 0,
        }
    }
}

/// What keeps a task from running: what lasts until somebody acts in front, then
/// what ends by itself, the first to end last. None: it is due, and its turn
/// comes.
#[must_use]
pub fn explain(at: &Situation<'_>) -> Vec<Reason> {
    if at.row.deleting.is_some() {
        let counts = &at.row.counts;
        let left = counts.pending + counts.leased + counts.dead;
        return vec![Reason::Deleting { left }];
    }
    match &at.status.phase {
        Phase::Dead {
            at_ns,
            reason,
            forget_at_ns,
        } => vec![Reason::Dead {
            at_ns: *at_ns,
            reason: *reason,
            failures: at.status.failures,
            last_error: at.status.last_error.clone(),
            forget_at_ns: (*forget_at_ns > 0).then_some(*forget_at_ns),
        }],
        Phase::Leased {
            consumer,
            deadline_ns,
            ..
        } => vec![Reason::Leased {
            consumer: consumer.clone(),
            attempt: at.status.attempt(),
            deadline_ns: *deadline_ns,
        }],
        Phase::Waiting { due_at_ns } => waiting(at, *due_at_ns),
    }
}

fn waiting(at: &Situation<'_>, due_at_ns: u64) -> Vec<Reason> {
    let (row, status) = (at.row, at.status);
    let mut reasons = Vec::new();
    if let Some(since_ns) = row.paused_at_ns {
        reasons.push(Reason::Paused { since_ns });
    }
    if at.consumers.consumers == 0 {
        let last_ns = (row.leased_at_ns > 0).then_some(row.leased_at_ns);
        reasons.push(Reason::NoConsumer { last_ns });
    }
    if due_at_ns > at.now_ns {
        // A task that was moved since it failed waits for its new time.
        let moved = due_at_ns == status.first_due_at_ns;
        reasons.push(if status.returns > 0 && !moved {
            let returns = status.returns;
            Reason::Returned { due_at_ns, returns }
        } else if status.failures > 0 && !moved {
            Reason::Backoff {
                due_at_ns,
                failures: status.failures,
                last_error: status.last_error.clone(),
            }
        } else {
            Reason::NotDue { due_at_ns }
        });
        // How full the namespace is now says nothing of then.
        return reasons;
    }
    let most = row.config.leased_max;
    if most > 0 && row.counts.leased >= most {
        let leased = row.counts.leased;
        reasons.push(Reason::LeasedMax { leased, most });
    }
    if at.consumers.consumers > 0 && at.consumers.room == 0 {
        let consumers = at.consumers.consumers;
        reasons.push(Reason::NoCredit { consumers });
    }
    if at.ahead.at_most > 0 {
        reasons.push(Reason::Behind(at.ahead));
    }
    if let Some(next_at_ns) = rate_until(row, at.now_ns) {
        let rate = row.config.rate;
        reasons.push(Reason::RateLimit { next_at_ns, rate });
    }
    reasons
}

/// When the rate limit lets the next delivery through, if it is used up now;
/// whatever else the gate says.
fn rate_until(row: &NamespaceRow, now_ns: u64) -> Option<u64> {
    let mut alone = row.clone();
    alone.paused_at_ns = None;
    alone.config.leased_max = 0;
    match gate(&alone, now_ns) {
        Gate::RateUntil(next_at_ns) => Some(next_at_ns),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
