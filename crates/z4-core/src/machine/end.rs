//! AckTasks, NackTasks, ReleaseTasks, ReturnTasks: holders end their leases. Only a live
//! lease with the right token can be ended; anything else changes nothing and is
//! told why.

use super::backoff::backoff_ms;
use super::place::is_too_old;
use super::{Entry, Event, Machine};
use crate::command::{Ended, HeldLeases, LeaseLost, LeaseRefs, Nack, NackTasks, Outcome};
use crate::limits;
use crate::planted::planted;
use crate::state::{rank, State, StateError};
use crate::task::{DeathReason, LeaseToken, Namespace, NamespaceId, Phase, TaskId, TaskStatus};
use crate::time::MS_NS;

/// A way to give a lease back.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// The task was not touched and is due again.
    Release,
    /// The task was in hand and is due again, now or after a while.
    Return,
}

/// A live lease, taken away from its task.
pub(super) struct Held {
    pub(super) consumer: String,
    pub(super) deadline_ns: u64,
    pub(super) status: TaskStatus,
}

impl Held {
    /// Tells whether it is held under this name. Everybody has the empty one.
    pub(super) fn is_of(&self, consumer: &str) -> bool {
        consumer.is_empty() || self.consumer == consumer
    }
}

/// Tells that leases of a namespace ended, if any did.
pub(super) fn tell_ended(
    entry: &mut Entry<'_>,
    namespace: &Namespace,
    leases: Vec<(TaskId, LeaseToken)>,
) {
    if !leases.is_empty() {
        let namespace = namespace.clone();
        entry.events.push(Event::Ended { namespace, leases });
    }
}

impl<S: State> Machine<S> {
    pub(super) fn ack(
        &mut self,
        entry: &mut Entry<'_>,
        refs: &LeaseRefs,
    ) -> Result<Outcome, StateError> {
        self.end_each(
            entry,
            (&refs.namespace, ""),
            &refs.leases,
            |lease| *lease,
            |machine, entry, namespace, id, _, status| match planted!("ack-only-releases") {
                true => machine.give_back(entry, namespace, id, status),
                false => machine.finish(namespace, id, &status),
            },
        )
    }

    /// Gives leases back that a consumer holds. It may have come back on another session
    /// since this one gave them back, and work on them: it holds them under another name
    /// then.
    pub(super) fn give_back_held(
        &mut self,
        entry: &mut Entry<'_>,
        of: &HeldLeases,
        how: How,
    ) -> Result<Outcome, StateError> {
        self.end_each(
            entry,
            (&of.refs.namespace, &of.consumer),
            &of.refs.leases,
            |lease| *lease,
            |machine, entry, namespace, id, _, status| match how {
                How::Release if planted!("release-as-permanent-nack") => {
                    machine.bury(entry, namespace, id, status, DeathReason::Permanent)?;
                    Ok(Ended::Dead(DeathReason::Permanent))
                }
                How::Release => machine.give_back(entry, namespace, id, status),
                How::Return => machine.return_one(entry, namespace, id, status),
            },
        )
    }

    pub(super) fn nack(
        &mut self,
        entry: &mut Entry<'_>,
        nacks: &NackTasks,
    ) -> Result<Outcome, StateError> {
        self.end_each(
            entry,
            (&nacks.namespace, ""),
            &nacks.nacks,
            |nack| (nack.id, nack.token),
            |machine, entry, namespace, id, nack: &Nack, status| {
                let failure = Failure {
                    delay_ms: nack.delay_ms,
                    error: nack.error.clone(),
                    permanent: nack.permanent,
                };
                machine.fail(entry, namespace, id, status, failure)
            },
        )
    }

    /// Takes each lease away, if it is live and `holder` holds it (empty: whoever does),
    /// and does `then` to its task.
    fn end_each<T>(
        &mut self,
        entry: &mut Entry<'_>,
        (name, holder): (&Namespace, &str),
        all: &[T],
        lease_of: impl Fn(&T) -> (TaskId, LeaseToken),
        then: impl Fn(
            &mut Self,
            &mut Entry<'_>,
            NamespaceId,
            TaskId,
            &T,
            TaskStatus,
        ) -> Result<Ended, StateError>,
    ) -> Result<Outcome, StateError> {
        let stamp_ns = entry.now_ns;
        let Some(row) = self.namespaces.get(name) else {
            let results = vec![Err(LeaseLost::Gone); all.len()];
            return Ok(Outcome::Ended { stamp_ns, results });
        };
        let namespace = row.id;
        let mut results = Vec::with_capacity(all.len());
        let mut ended = Vec::new();
        for one in all {
            let (id, token) = lease_of(one);
            results.push(match self.held(entry, namespace, id, token)? {
                Ok(held) if !held.is_of(holder) && !planted!("given-back-by-anybody") => {
                    Err(LeaseLost::Taken)
                }
                Ok(held) => {
                    if !planted!("lease-row-stays") {
                        self.drop_lease(held.deadline_ns, namespace, id)?;
                    }
                    ended.push((id, token));
                    Ok(then(self, entry, namespace, id, one, held.status)?)
                }
                Err(lost) => Err(lost),
            });
        }
        tell_ended(entry, name, ended);
        Ok(Outcome::Ended { stamp_ns, results })
    }

    /// The live lease of a task with this token, or why there is none. The
    /// status comes back without its phase.
    pub(super) fn held(
        &self,
        entry: &Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        token: LeaseToken,
    ) -> Result<Result<Held, LeaseLost>, StateError> {
        let Some(mut status) = self.standing(namespace, id)? else {
            return Ok(Err(LeaseLost::Gone));
        };
        let none = Phase::Waiting { due_at_ns: 0 };
        let over_by_ns = if planted!("live-lease-refused") {
            entry.now_ns.saturating_add(1_000 * MS_NS)
        } else {
            entry.now_ns
        };
        Ok(match std::mem::replace(&mut status.phase, none) {
            // At its deadline a lease is over, whether or not a pulse came yet.
            Phase::Leased { deadline_ns, .. } if deadline_ns <= over_by_ns => {
                Err(LeaseLost::Expired)
            }
            Phase::Leased { token: live, .. } if live != token && !planted!("token-unchecked") => {
                Err(LeaseLost::Taken)
            }
            Phase::Leased {
                consumer,
                deadline_ns,
                ..
            } => Ok(Held {
                consumer,
                deadline_ns,
                status,
            }),
            Phase::Waiting { .. } => Err(LeaseLost::Expired),
            Phase::Dead { .. } => Err(LeaseLost::Dead),
        })
    }

    fn finish(
        &mut self,
        namespace: NamespaceId,
        id: TaskId,
        status: &TaskStatus,
    ) -> Result<Ended, StateError> {
        let counts = &mut self.namespaces.edit(namespace)?.counts;
        counts.done += 1;
        counts.bytes -= status.bytes;
        self.remove(namespace, id, status);
        Ok(Ended::Done)
    }

    /// Puts a task that was leased back into the due index, without a failure:
    /// at the head of its queue, but above what was consumed there (see
    /// [`QueueHead::consumed_ns`]). That is not in the future. A task that was leased ahead
    /// waits for its due time again.
    ///
    /// [`QueueHead::consumed_ns`]: crate::state::QueueHead::consumed_ns
    fn give_back(
        &mut self,
        entry: &mut Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        status: TaskStatus,
    ) -> Result<Ended, StateError> {
        if is_too_old(status.first_due_at_ns, status.ttl_ms, entry.now_ns) {
            self.bury(entry, namespace, id, status, DeathReason::Ttl)?;
            return Ok(Ended::Dead(DeathReason::Ttl));
        }
        let row = self.namespaces.edit(namespace)?;
        let consumed_ns = row.queues[usize::from(rank(status.priority))].consumed_ns;
        let due_at_ns = match planted!("released-before-its-time") {
            true => consumed_ns,
            false => consumed_ns.max(status.first_due_at_ns),
        };
        self.wait(entry, namespace, id, status, due_at_ns)?;
        Ok(Ended::Waiting { due_at_ns })
    }

    /// Puts a task that was in hand back without a failure: at once, or after a
    /// while when that happened too often in a row.
    fn return_one(
        &mut self,
        entry: &mut Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        mut status: TaskStatus,
    ) -> Result<Ended, StateError> {
        status.returns = status.returns.saturating_add(1);
        let delay_ms = match status.returns.saturating_sub(limits::RETURNS_AT_ONCE_MAX) {
            0 => 0,
            beyond => backoff_ms(&self.namespaces.edit(namespace)?.config, id, beyond),
        };
        if delay_ms == 0 || is_too_old(status.first_due_at_ns, status.ttl_ms, entry.now_ns) {
            return self.give_back(entry, namespace, id, status);
        }
        self.come_back(entry, namespace, id, status, delay_ms)
    }

    /// Puts a task that was leased back into the due index, so long from now.
    fn come_back(
        &mut self,
        entry: &mut Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        status: TaskStatus,
        delay_ms: u64,
    ) -> Result<Ended, StateError> {
        let from_ns = entry.now_ns.max(status.first_due_at_ns);
        let due_at_ns = from_ns.saturating_add(delay_ms.saturating_mul(MS_NS));
        self.wait(entry, namespace, id, status, due_at_ns)?;
        Ok(Ended::Waiting { due_at_ns })
    }

    /// Counts a failure of a task that was leased: it comes again after a while,
    /// or is a dead letter.
    pub(super) fn fail(
        &mut self,
        entry: &mut Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        mut status: TaskStatus,
        failure: Failure,
    ) -> Result<Ended, StateError> {
        status.failures = status.failures.saturating_add(1);
        status.returns = 0;
        status.last_error = failure.error;
        let row = self.namespaces.edit(namespace)?;
        row.counts.failures += 1;
        let max_attempts = match status.max_attempts {
            0 => row.config.max_attempts,
            own => own,
        };
        let max_attempts =
            max_attempts - u32::from(planted!("dies-one-attempt-early") && max_attempts > 1);
        let reason = if failure.permanent {
            Some(DeathReason::Permanent)
        } else if max_attempts > 0
            && status.failures >= max_attempts
            && !planted!("attempts-without-end")
        {
            Some(DeathReason::Attempts)
        } else if is_too_old(status.first_due_at_ns, status.ttl_ms, entry.now_ns) {
            Some(DeathReason::Ttl)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.bury(entry, namespace, id, status, reason)?;
            return Ok(Ended::Dead(reason));
        }
        let delay_ms = match failure.delay_ms {
            Some(asked_ms) => asked_ms,
            None => backoff_ms(&row.config, id, status.failures),
        };
        if delay_ms == 0 {
            return self.give_back(entry, namespace, id, status);
        }
        self.come_back(entry, namespace, id, status, delay_ms)
    }
}

/// What went wrong with a task.
pub(super) struct Failure {
    /// When it comes again; `None`: after the namespace's backoff.
    pub(super) delay_ms: Option<u64>,
    pub(super) error: String,
    pub(super) permanent: bool,
}
