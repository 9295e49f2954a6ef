//! DeleteNamespace: a namespace goes with all it holds, a bounded part with each
//! pulse, so that the cluster stays responsive whatever its size.

use super::end::tell_ended;
use super::place::untouched;
use super::{Entry, Event, Machine};
use crate::command::Outcome;
use crate::error::{Code, Refusal};
use crate::limits;
use crate::state::{Row, RowKey, State, StateError};
use crate::task::{LeaseToken, Namespace, NamespaceId, Phase, TaskBody, TaskId};

/// Some tasks, in the order of ids.
type Tasks = Vec<(TaskId, TaskBody)>;

impl<S: State> Machine<S> {
    pub(super) fn delete_namespace(&mut self, name: &Namespace) -> Result<Outcome, StateError> {
        let Some(row) = self.namespaces.get(name) else {
            return Ok(Outcome::Refused(Refusal::new(
                Code::NotFound,
                format!("there is no namespace {name}"),
            )));
        };
        let id = row.id;
        if row.deleting.is_none() {
            self.namespaces.edit(id)?.deleting = Some(TaskId::default());
            self.namespaces.note_deleting(id);
        }
        Ok(Outcome::NamespaceDeleting)
    }

    /// Removes a part of the first namespace that is being deleted. Returns how
    /// many tasks and request ids went.
    pub(super) fn delete_step(&mut self, entry: &mut Entry<'_>) -> Result<usize, StateError> {
        let Some(namespace) = self.namespaces.first_deleting() else {
            return Ok(0);
        };
        let from = self.namespaces.edit(namespace)?.deleting;
        let from = from.ok_or_else(|| StateError("a deletion that never began".into()))?;
        let (tasks, next) = self.some_tasks(namespace, from)?;
        let mut ended = Vec::new();
        for (id, body) in &tasks {
            self.delete_task(namespace, *id, body, &mut ended)?;
        }
        if let Some(name) = self.namespaces.name(namespace) {
            tell_ended(entry, name, ended);
        }
        let mut count = tasks.len();
        let row = self.namespaces.edit(namespace)?;
        row.deleting = Some(next.unwrap_or(from));
        if next.is_some() {
            return Ok(count);
        }
        let (requests, more) = self.some_requests(namespace, limits::PULSE_COUNT_MAX - count)?;
        for (request_id, expires_at_ns) in requests {
            count += 1;
            self.state.delete(&RowKey::RequestExpiry {
                expires_at_ns,
                namespace,
                request_id: request_id.clone(),
            });
            self.state.delete(&RowKey::Request {
                namespace,
                request_id,
            });
        }
        if !more {
            if let Some(name) = self.namespaces.remove(namespace) {
                self.state.delete(&RowKey::Namespace(name.clone()));
                entry.events.push(Event::Namespace { namespace: name });
            }
        }
        Ok(count)
    }

    /// The next tasks of a namespace from an id on, and the id to go on at when
    /// there are more.
    fn some_tasks(
        &self,
        namespace: NamespaceId,
        from: TaskId,
    ) -> Result<(Tasks, Option<TaskId>), StateError> {
        let (mut tasks, mut bytes, mut next) = (Vec::new(), 0, None);
        let (from, to) = RowKey::bodies(namespace, from);
        self.state.scan(&from, &to, &mut |key, row| {
            let (RowKey::Body(_, id), Row::Body(body)) = (key, row) else {
                return true;
            };
            if tasks.len() == limits::PULSE_COUNT_MAX || bytes >= limits::DELETE_BYTES_MAX {
                next = Some(id);
                return false;
            }
            bytes += body.bytes();
            tasks.push((id, body));
            true
        })?;
        Ok((tasks, next))
    }

    fn delete_task(
        &mut self,
        namespace: NamespaceId,
        id: TaskId,
        body: &TaskBody,
        ended: &mut Vec<(TaskId, LeaseToken)>,
    ) -> Result<(), StateError> {
        let status = self.status(namespace, id)?;
        let status = status.unwrap_or_else(|| untouched(body));
        match &status.phase {
            Phase::Waiting { due_at_ns } => self.unwait(namespace, id, &status, *due_at_ns)?,
            Phase::Leased {
                token, deadline_ns, ..
            } => {
                self.drop_lease(*deadline_ns, namespace, id)?;
                ended.push((id, *token));
            }
            Phase::Dead {
                at_ns,
                forget_at_ns,
                ..
            } => self.exhume(namespace, id, *at_ns, *forget_at_ns)?,
        }
        self.remove(namespace, id, &status);
        let counts = &mut self.namespaces.edit(namespace)?.counts;
        counts.purged += 1;
        counts.bytes -= status.bytes;
        Ok(())
    }

    /// Some request ids of a namespace with the time at which they would be
    /// forgotten, and whether there are more.
    fn some_requests(
        &self,
        namespace: NamespaceId,
        most: usize,
    ) -> Result<(Vec<(String, u64)>, bool), StateError> {
        let (mut requests, mut more) = (Vec::new(), false);
        let (from, to) = RowKey::requests(namespace);
        self.state.scan(&from, &to, &mut |key, row| {
            let (RowKey::Request { request_id, .. }, Row::Request(row)) = (key, row) else {
                return true;
            };
            more = requests.len() == most;
            if !more {
                requests.push((request_id, row.expires_at_ns));
            }
            !more
        })?;
        Ok((requests, more))
    }
}
