//! Where a task stands in the store: the moves between waiting, leased and
//! gone. Each moves body, index, status, timer and counters together.

use super::{Entry, Machine};
use crate::planted::planted;
use crate::state::{find_body, find_status, rank, Row, RowKey, State, StateError};
use crate::task::{expires_at_ns, LeaseToken, NamespaceId, Phase, TaskBody, TaskId, TaskStatus};

impl<S: State> Machine<S> {
    pub(super) fn status(
        &self,
        namespace: NamespaceId,
        id: TaskId,
    ) -> Result<Option<TaskStatus>, StateError> {
        find_status(&self.state, namespace, id)
    }

    pub(super) fn body(
        &self,
        namespace: NamespaceId,
        id: TaskId,
    ) -> Result<Option<TaskBody>, StateError> {
        find_body(&self.state, namespace, id)
    }

    /// Where a task stands, whether or not it has a status row; reads the body
    /// when it has none. `None`: there is no such task.
    pub(super) fn standing(
        &self,
        namespace: NamespaceId,
        id: TaskId,
    ) -> Result<Option<TaskStatus>, StateError> {
        if let Some(status) = self.status(namespace, id)? {
            return Ok(Some(status));
        }
        Ok(self.body(namespace, id)?.map(|body| untouched(&body)))
    }

    /// Puts a task that has no place into the due index at this time, and counts
    /// it in. `status` says the rest; its phase is replaced.
    pub(super) fn wait(
        &mut self,
        entry: &mut Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        mut status: TaskStatus,
        due_at_ns: u64,
    ) -> Result<(), StateError> {
        let row = self.namespaces.edit(namespace)?;
        row.counts.pending += 1;
        row.queues[usize::from(rank(status.priority))].insert(due_at_ns, id);
        let key = RowKey::due(namespace, status.priority, due_at_ns, id);
        let due = Row::Due {
            touched: true,
            bytes: status.bytes,
            max_attempts: status.max_attempts,
            ttl_ms: status.ttl_ms,
        };
        self.state.put_new(key, due);
        status.phase = Phase::Waiting { due_at_ns };
        self.state
            .put(RowKey::Status(namespace, id), Row::Status(status));
        entry.note_due(namespace, due_at_ns);
        Ok(())
    }

    /// Takes a waiting task out of the due index, and counts it out. Its queue's
    /// cursor stays: still nothing is below it.
    pub(super) fn unwait(
        &mut self,
        namespace: NamespaceId,
        id: TaskId,
        status: &TaskStatus,
        due_at_ns: u64,
    ) -> Result<(), StateError> {
        self.state
            .delete(&RowKey::due(namespace, status.priority, due_at_ns, id));
        let row = self.namespaces.edit(namespace)?;
        let head = &mut row.queues[usize::from(rank(status.priority))];
        let short = || StateError("a due queue holds more rows than it counts".into());
        head.count = head.count.checked_sub(1).ok_or_else(short)?;
        row.counts.pending -= 1;
        Ok(())
    }

    /// Takes the lease row of a task away, from the store and from memory, and
    /// counts it out.
    pub(super) fn drop_lease(
        &mut self,
        deadline_ns: u64,
        namespace: NamespaceId,
        id: TaskId,
    ) -> Result<(), StateError> {
        self.unlease(deadline_ns, namespace, id);
        self.namespaces.edit(namespace)?.counts.leased -= 1;
        Ok(())
    }

    /// Writes the lease row of a task.
    pub(super) fn put_lease(
        &mut self,
        deadline_ns: u64,
        namespace: NamespaceId,
        id: TaskId,
        consumer: String,
        token: LeaseToken,
    ) {
        let key = RowKey::Lease {
            deadline_ns,
            namespace,
            id,
        };
        self.state.put_new(key, Row::Lease { consumer, token });
        self.deadlines.insert((deadline_ns, namespace, id));
    }

    /// Takes the lease row away; counters stay.
    pub(super) fn unlease(&mut self, deadline_ns: u64, namespace: NamespaceId, id: TaskId) {
        self.deadlines.remove(&(deadline_ns, namespace, id));
        self.state.delete(&RowKey::Lease {
            deadline_ns,
            namespace,
            id,
        });
    }

    /// Sets the timer of a task.
    pub(super) fn set_timer(&mut self, at_ns: u64, namespace: NamespaceId, id: TaskId) {
        self.timer_next_ns = self.timer_next_ns.min(at_ns);
        self.meta.timer_from_ns = self.meta.timer_from_ns.min(at_ns);
        self.state
            .put_new(RowKey::timer(at_ns, namespace, id), Row::Timer);
    }

    /// Removes the rows of a task that has no place any more, its timer for age
    /// included. The body goes unread: it may be large, and on disk.
    pub(super) fn remove(&mut self, namespace: NamespaceId, id: TaskId, status: &TaskStatus) {
        self.drop_age_timer(namespace, id, status);
        self.state.delete(&RowKey::Body(namespace, id));
        self.state.delete(&RowKey::Status(namespace, id));
    }

    pub(super) fn drop_age_timer(
        &mut self,
        namespace: NamespaceId,
        id: TaskId,
        status: &TaskStatus,
    ) {
        if let Some(at_ns) = status.expires_at_ns() {
            self.state.delete(&RowKey::timer(at_ns, namespace, id));
        }
    }
}

/// Where a task stands that was never leased nor moved.
#[must_use]
pub fn untouched(body: &TaskBody) -> TaskStatus {
    TaskStatus {
        phase: Phase::Waiting {
            due_at_ns: body.due_at_ns,
        },
        deliveries: 0,
        failures: 0,
        returns: 0,
        first_due_at_ns: body.due_at_ns,
        priority: body.priority,
        bytes: body.bytes(),
        max_attempts: body.max_attempts,
        ttl_ms: body.ttl_ms,
        last_error: String::new(),
    }
}

/// Whether a task that first fell due then is too old to be delivered.
pub(super) fn is_too_old(first_due_at_ns: u64, ttl_ms: u64, now_ns: u64) -> bool {
    let at_ns = expires_at_ns(first_due_at_ns, ttl_ms);
    at_ns.is_some_and(|at_ns| at_ns <= now_ns) && !planted!("age-unchecked")
}
