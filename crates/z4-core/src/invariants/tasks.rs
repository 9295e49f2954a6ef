//! Bodies, and what belongs to each: the status, one place, and the timer.

use super::tally::Tallies;
use super::{scan, Report};
use crate::limits;
use crate::machine::untouched;
use crate::state::{rank, MetaRow, Row, RowKey, StateError, View};
use crate::task::{NamespaceId, Phase, TaskBody, TaskId, TaskStatus};
use crate::time::MS_NS;

/// Visits every body and looks up the rows that it should have.
pub(super) fn visit(
    view: &(impl View + ?Sized),
    meta: &MetaRow,
    tallies: &mut Tallies,
    report: &mut Report,
) -> Result<(), StateError> {
    let from = RowKey::Body(NamespaceId(0), TaskId::default());
    let to = RowKey::Status(NamespaceId(0), TaskId::default());
    scan(view, (from, to), |key, row| {
        report.rows += 1;
        let (RowKey::Body(space, id), Row::Body(body)) = (&key, row) else {
            report.say(|| format!("{key:?} has a row of another kind"));
            return Ok(());
        };
        let Some(tally) = tallies.of(*space, report, &key) else {
            return Ok(());
        };
        if tally.row.deleting.is_some_and(|from| *id < from) {
            report.say(|| format!("task {id} is below where the deletion of its namespace is"));
        }
        tally.bytes += body.bytes();
        let task = Task {
            view,
            space: *space,
            id: *id,
            body: &body,
        };
        let Some(status) = task.status(report)? else {
            tally.wanted.due[usize::from(rank(body.priority))] += 1;
            task.has_place(&untouched(&body), false, report)?;
            tally.wanted.timers += u64::from(task.has_timer(&untouched(&body), meta, report)?);
            return Ok(());
        };
        task.looks_sane(&status, meta, report);
        tally.wanted.statuses += 1;
        match &status.phase {
            Phase::Waiting { .. } => {
                tally.wanted.due[usize::from(rank(body.priority))] += 1;
            }
            Phase::Leased { .. } => tally.wanted.leases += 1,
            Phase::Dead { .. } => tally.wanted.dead += 1,
        }
        task.has_place(&status, true, report)?;
        tally.wanted.timers += u64::from(task.has_timer(&status, meta, report)?);
        Ok(())
    })
}

struct Task<'a, V: ?Sized> {
    view: &'a V,
    space: NamespaceId,
    id: TaskId,
    body: &'a TaskBody,
}

impl<V: View + ?Sized> Task<'_, V> {
    fn status(&self, report: &mut Report) -> Result<Option<TaskStatus>, StateError> {
        match self.view.get(&RowKey::Status(self.space, self.id))? {
            Some(Row::Status(status)) => Ok(Some(status)),
            Some(_) => {
                report.say(|| format!("the status of task {} is of another kind", self.id));
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// What the status repeats of the body is the same, and its numbers fit
    /// each other.
    fn looks_sane(&self, status: &TaskStatus, meta: &MetaRow, report: &mut Report) {
        let body = self.body;
        let copies = (
            status.priority,
            status.bytes,
            status.max_attempts,
            status.ttl_ms,
        );
        if copies != (body.priority, body.bytes(), body.max_attempts, body.ttl_ms) {
            report.say(|| format!("the status of task {} differs from its body", self.id));
        }
        let in_order = match status.phase {
            Phase::Waiting { due_at_ns } => due_at_ns >= status.first_due_at_ns,
            Phase::Leased { deadline_ns, .. } => {
                let ahead_ns = limits::LEASE_AHEAD_MS_MAX * MS_NS;
                status.deliveries > 0
                    && status.first_due_at_ns <= meta.stamp_ns.saturating_add(ahead_ns)
                    && status.first_due_at_ns < deadline_ns
            }
            Phase::Dead { at_ns, .. } => at_ns <= meta.stamp_ns,
        };
        if !in_order
            || status.first_due_at_ns < body.created_at_ns
            || status.failures.saturating_add(status.returns) > status.deliveries
        {
            report.say(|| format!("the status of task {} cannot be: {status:?}", self.id));
        }
    }

    /// The one place that the status names has a row, and the row agrees.
    fn has_place(
        &self,
        status: &TaskStatus,
        touched: bool,
        report: &mut Report,
    ) -> Result<(), StateError> {
        let (key, row) = match &status.phase {
            Phase::Waiting { due_at_ns } => {
                let due = Row::Due {
                    touched,
                    bytes: self.body.bytes(),
                    max_attempts: self.body.max_attempts,
                    ttl_ms: self.body.ttl_ms,
                };
                let priority = self.body.priority;
                (RowKey::due(self.space, priority, *due_at_ns, self.id), due)
            }
            Phase::Leased {
                consumer,
                token,
                deadline_ns,
            } => {
                let key = RowKey::Lease {
                    deadline_ns: *deadline_ns,
                    namespace: self.space,
                    id: self.id,
                };
                let (consumer, token) = (consumer.clone(), *token);
                (key, Row::Lease { consumer, token })
            }
            Phase::Dead { at_ns, .. } => (RowKey::dead(self.space, *at_ns, self.id), Row::Dead),
        };
        let found = self.view.get(&key)?;
        if found.as_ref() != Some(&row) {
            report.say(|| {
                format!(
                    "task {} should have {row:?} at {key:?}, but there is {found:?}",
                    self.id
                )
            });
        }
        Ok(())
    }

    /// Whether the task has a timer: one that waits and has a time to live must,
    /// and so must a dead letter that is kept for so long. One that is leased
    /// keeps its timer until it fires, and then has none.
    fn has_timer(
        &self,
        status: &TaskStatus,
        meta: &MetaRow,
        report: &mut Report,
    ) -> Result<bool, StateError> {
        let at_ns = match status.phase {
            Phase::Dead { forget_at_ns, .. } => (forget_at_ns > 0).then_some(forget_at_ns),
            _ => status.expires_at_ns(),
        };
        let Some(at_ns) = at_ns else {
            return Ok(false);
        };
        let key = RowKey::timer(at_ns, self.space, self.id);
        let has = self.view.get(&key)?.is_some();
        let fired = matches!(status.phase, Phase::Leased { .. }) && at_ns <= meta.stamp_ns;
        if !has && !fired {
            report.say(|| format!("task {} should have a timer at {at_ns}", self.id));
        }
        // A row that is missing is told of once, not again as a difference.
        Ok(has || !fired)
    }
}
