//! CancelTasks, RescheduleTasks, RedriveTasks, PurgeTasks: what waits or is dead
//! is changed. The log orders them with leases: either the change finds the task
//! waiting and wins, or it finds it leased and says by whom.

use super::create::due_at;
use super::{Entry, Machine};
use crate::command::{Due, Outcome, RedriveTasks, RescheduleTasks, TaskRefs, Unchanged};
use crate::state::{State, StateError};
use crate::task::{Namespace, NamespaceId, Phase, TaskId, TaskStatus};

/// What a change needs of a task, or why the task cannot be changed; the outer
/// error is the store's.
type Found<T> = Result<Result<T, Unchanged>, StateError>;

impl<S: State> Machine<S> {
    pub(super) fn cancel(&mut self, refs: &TaskRefs) -> Result<Outcome, StateError> {
        self.change_each(&refs.namespace, &refs.ids, |machine, namespace, id| {
            let (status, due_at_ns) = match machine.waiting(namespace, id)? {
                Ok(waiting) => waiting,
                Err(why) => return Ok(Err(why)),
            };
            machine.unwait(namespace, id, &status, due_at_ns)?;
            machine.remove(namespace, id, &status);
            let counts = &mut machine.namespaces.edit(namespace)?.counts;
            counts.cancelled += 1;
            counts.bytes -= status.bytes;
            Ok(Ok(()))
        })
    }

    pub(super) fn reschedule(
        &mut self,
        entry: &mut Entry<'_>,
        change: &RescheduleTasks,
    ) -> Result<Outcome, StateError> {
        self.change_each(&change.namespace, &change.ids, |machine, namespace, id| {
            let (status, due_at_ns) = match machine.waiting(namespace, id)? {
                Ok(waiting) => waiting,
                Err(why) => return Ok(Err(why)),
            };
            machine.unwait(namespace, id, &status, due_at_ns)?;
            machine.drop_age_timer(namespace, id, &status);
            let (due_at_ns, _) = due_at(change.due, entry.now_ns);
            machine.wait_anew(entry, namespace, id, status, due_at_ns)?;
            Ok(Ok(()))
        })
    }

    pub(super) fn redrive(
        &mut self,
        entry: &mut Entry<'_>,
        redrive: &RedriveTasks,
    ) -> Result<Outcome, StateError> {
        let outcome = self.change_each(
            &redrive.namespace,
            &redrive.ids,
            |machine, namespace, id| {
                let (mut status, at_ns, forget_at_ns) = match machine.dead(namespace, id)? {
                    Ok(dead) => dead,
                    Err(why) => return Ok(Err(why)),
                };
                let row = machine.namespaces.edit(namespace)?;
                let most = row.config.pending_max;
                if most > 0 && row.counts.pending >= most {
                    return Ok(Err(Unchanged::Full));
                }
                machine.exhume(namespace, id, at_ns, forget_at_ns)?;
                if !redrive.keep_attempts {
                    status.failures = 0;
                }
                let (due_at_ns, _) = due_at(Due::Now, entry.now_ns);
                machine.wait_anew(entry, namespace, id, status, due_at_ns)?;
                Ok(Ok(()))
            },
        )?;
        self.raise_dead_of(&redrive.namespace)?;
        Ok(outcome)
    }

    pub(super) fn purge(&mut self, refs: &TaskRefs) -> Result<Outcome, StateError> {
        let outcome =
            self.change_each(
                &refs.namespace,
                &refs.ids,
                |machine, namespace, id| match machine.dead(namespace, id)? {
                    Ok((status, ..)) => machine.purge_one(namespace, id, &status).map(Ok),
                    Err(why) => Ok(Err(why)),
                },
            )?;
        self.raise_dead_of(&refs.namespace)?;
        Ok(outcome)
    }

    fn change_each(
        &mut self,
        name: &Namespace,
        ids: &[TaskId],
        mut change: impl FnMut(&mut Self, NamespaceId, TaskId) -> Found<()>,
    ) -> Result<Outcome, StateError> {
        let Some(row) = self.namespaces.get(name) else {
            return Ok(Outcome::Changed(vec![Err(Unchanged::Gone); ids.len()]));
        };
        let namespace = row.id;
        let changed = ids.iter().map(|id| change(self, namespace, *id));
        Ok(Outcome::Changed(changed.collect::<Result<_, _>>()?))
    }

    /// Puts a task that has no place into the due index as if it fell due for
    /// the first time: its age counts from there.
    fn wait_anew(
        &mut self,
        entry: &mut Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        mut status: TaskStatus,
        due_at_ns: u64,
    ) -> Result<(), StateError> {
        status.first_due_at_ns = due_at_ns;
        status.returns = 0;
        if let Some(at_ns) = status.expires_at_ns() {
            self.set_timer(at_ns, namespace, id);
        }
        self.wait(entry, namespace, id, status, due_at_ns)
    }

    /// A task that waits, and its place; or why it cannot be changed.
    fn waiting(&self, namespace: NamespaceId, id: TaskId) -> Found<(TaskStatus, u64)> {
        let Some(status) = self.standing(namespace, id)? else {
            return Ok(Err(Unchanged::Gone));
        };
        Ok(match &status.phase {
            Phase::Waiting { due_at_ns } => {
                let due_at_ns = *due_at_ns;
                Ok((status, due_at_ns))
            }
            Phase::Leased {
                consumer,
                deadline_ns,
                ..
            } => Err(Unchanged::Leased {
                consumer: consumer.clone(),
                deadline_ns: *deadline_ns,
            }),
            Phase::Dead { .. } => Err(Unchanged::Dead),
        })
    }

    /// A dead letter, when it died and when it is forgotten; or why it cannot be
    /// changed.
    fn dead(&self, namespace: NamespaceId, id: TaskId) -> Found<(TaskStatus, u64, u64)> {
        let Some(status) = self.standing(namespace, id)? else {
            return Ok(Err(Unchanged::Gone));
        };
        Ok(match &status.phase {
            Phase::Dead {
                at_ns,
                forget_at_ns,
                ..
            } => {
                let (at_ns, forget_at_ns) = (*at_ns, *forget_at_ns);
                Ok((status, at_ns, forget_at_ns))
            }
            Phase::Leased {
                consumer,
                deadline_ns,
                ..
            } => Err(Unchanged::Leased {
                consumer: consumer.clone(),
                deadline_ns: *deadline_ns,
            }),
            Phase::Waiting { .. } => Err(Unchanged::Waiting),
        })
    }

    fn raise_dead_of(&mut self, name: &Namespace) -> Result<(), StateError> {
        match self.namespaces.get(name).map(|row| row.id) {
            Some(namespace) => self.raise_dead_from(namespace),
            None => Ok(()),
        }
    }
}
