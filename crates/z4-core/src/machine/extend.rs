//! ExtendLeases, ResumeLeases: live leases go on. Holders that need longer, or shorter,
//! move their deadlines; a consumer that came back holds them under the name of its new
//! session. Tokens stay as they are.

use super::end::Held;
use super::{Entry, Event, Machine};
use crate::command::{Extend, ExtendLeases, LeaseLost, Outcome, ResumeLeases};
use crate::planted::planted;
use crate::state::{Row, RowKey, State, StateError};
use crate::task::{LeaseToken, Namespace, NamespaceId, Phase, TaskId};
use crate::time::MS_NS;

impl<S: State> Machine<S> {
    pub(super) fn extend(
        &mut self,
        entry: &Entry<'_>,
        extends: &ExtendLeases,
    ) -> Result<Outcome, StateError> {
        let now_ns = entry.now_ns;
        let row = self.namespaces.get(&extends.namespace);
        let default_ms = row.map_or(0, |row| row.config.lease_ms);
        self.go_on_each(
            entry,
            &extends.namespace,
            &extends.extends,
            |extend| (extend.id, extend.token),
            |held, extend: &Extend| {
                let lease_ms = match extend.lease_ms {
                    0 => default_ms,
                    asked => asked,
                };
                // A lease that was granted ahead of the due time lasts from there.
                let from_ns = now_ns.max(held.status.first_due_at_ns);
                held.deadline_ns = from_ns.saturating_add(lease_ms.saturating_mul(MS_NS));
                Ok(())
            },
        )
    }

    pub(super) fn resume(
        &mut self,
        entry: &mut Entry<'_>,
        resume: &ResumeLeases,
    ) -> Result<Outcome, StateError> {
        let ResumeLeases { held: of, by } = resume;
        let mut leases = Vec::new();
        let outcome = self.go_on_each(
            entry,
            &of.refs.namespace,
            &of.refs.leases,
            |lease| *lease,
            |held, lease| {
                if held.consumer == *by {
                    return Ok(());
                }
                if !held.is_of(&of.consumer) && !planted!("resumed-by-an-earlier-session") {
                    return Err(LeaseLost::Taken);
                }
                held.consumer.clone_from(by);
                leases.push(*lease);
                Ok(())
            },
        )?;
        if !leases.is_empty() {
            entry.events.push(Event::Resumed {
                namespace: of.refs.namespace.clone(),
                leases,
                by: by.clone(),
            });
        }
        Ok(outcome)
    }

    /// Changes each lease, if it is live and `change` finds nothing against it.
    fn go_on_each<T>(
        &mut self,
        entry: &Entry<'_>,
        name: &Namespace,
        all: &[T],
        lease_of: impl Fn(&T) -> (TaskId, LeaseToken),
        mut change: impl FnMut(&mut Held, &T) -> Result<(), LeaseLost>,
    ) -> Result<Outcome, StateError> {
        let stamp_ns = entry.now_ns;
        let Some(row) = self.namespaces.get(name) else {
            let results = vec![Err(LeaseLost::Gone); all.len()];
            return Ok(Outcome::Extended { stamp_ns, results });
        };
        let namespace = row.id;
        let mut results = Vec::with_capacity(all.len());
        for one in all {
            let (id, token) = lease_of(one);
            let held = self.held(entry, namespace, id, token)?;
            results.push(held.and_then(|mut held| {
                let before_ns = held.deadline_ns;
                change(&mut held, one)?;
                Ok(self.go_on(before_ns, namespace, (id, token), held))
            }));
        }
        Ok(Outcome::Extended { stamp_ns, results })
    }

    /// Writes the rows of a lease that had another deadline or holder. Gives its
    /// deadline, in machine nanoseconds.
    fn go_on(
        &mut self,
        before_ns: u64,
        namespace: NamespaceId,
        (id, token): (TaskId, LeaseToken),
        held: Held,
    ) -> u64 {
        let Held {
            consumer,
            deadline_ns,
            mut status,
        } = held;
        self.unlease(before_ns, namespace, id);
        self.put_lease(deadline_ns, namespace, id, consumer.clone(), token);
        status.phase = Phase::Leased {
            consumer,
            token,
            deadline_ns,
        };
        self.state
            .put(RowKey::Status(namespace, id), Row::Status(status));
        deadline_ns
    }
}
