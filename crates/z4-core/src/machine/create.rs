//! CreateTasks: all tasks of a command or none, once for each request id.

use xxhash_rust::xxh3::Xxh3;

use super::{Entry, Machine};
use crate::command::{CreateTasks, CreatedTask, Due, NewTask, Outcome};
use crate::error::{Code, Refusal};
use crate::planted::planted;
use crate::state::{rank, RequestRow, Row, RowKey, State, StateError};
use crate::task::{expires_at_ns, NamespaceId, TaskBody, TaskId, WallTime};
use crate::time::{MS_NS, SECOND_NS};

impl<S: State> Machine<S> {
    pub(super) fn create(
        &mut self,
        entry: &mut Entry<'_>,
        create: CreateTasks,
    ) -> Result<Outcome, StateError> {
        let content_hash = if create.request_id.is_empty() {
            None
        } else {
            Some(content_hash(&create.tasks))
        };
        if let Some(hash) = content_hash {
            if let Some(outcome) = self.repeated(entry, &create, hash)? {
                return Ok(outcome);
            }
        }
        if let Err(refusal) = self.namespaces.admit(&create.namespace) {
            return Ok(Outcome::Refused(refusal));
        }
        if let Some(refusal) = self.full(&create) {
            return Ok(Outcome::Refused(refusal));
        }
        let namespace = self
            .namespaces
            .ensure(&create.namespace, &mut self.meta.namespace_next);
        let mut created = Vec::with_capacity(create.tasks.len());
        for (ordinal, task) in (entry.ordinal..).zip(create.tasks) {
            let id = TaskId::new(entry.entry_stamp_ns, entry.index, ordinal);
            created.push(self.create_one(entry, namespace, id, task)?);
        }
        if let Some(content_hash) = content_hash {
            self.remember(entry, namespace, create.request_id, content_hash, &created)?;
        }
        Ok(Outcome::Created(created))
    }

    fn create_one(
        &mut self,
        entry: &mut Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        task: NewTask,
    ) -> Result<CreatedTask, StateError> {
        let now_ns = entry.now_ns;
        let (due_at_ns, deliver_at) = due_at(task.due, now_ns);
        let body = TaskBody {
            metadata: task.metadata,
            payload: task.payload,
            deliver_at,
            due_at_ns,
            created_at_ns: now_ns,
            priority: task.priority,
            max_attempts: task.max_attempts,
            ttl_ms: task.ttl_ms,
        };
        let row = self.namespaces.edit(namespace)?;
        row.counts.created += 1;
        row.counts.pending += 1;
        let bytes = body.bytes();
        row.counts.bytes += bytes;
        row.queues[usize::from(rank(body.priority))].insert(due_at_ns, id);
        let due = RowKey::due(namespace, body.priority, due_at_ns, id);
        let due_row = Row::Due {
            touched: false,
            bytes,
            max_attempts: body.max_attempts,
            ttl_ms: body.ttl_ms,
        };
        self.state.put_new(due, due_row);
        if let Some(at_ns) = expires_at_ns(due_at_ns, body.ttl_ms) {
            self.set_timer(at_ns, namespace, id);
        }
        self.state
            .put_new(RowKey::Body(namespace, id), Row::Body(body));
        entry.note_due(namespace, due_at_ns);
        Ok(CreatedTask { id, deliver_at })
    }

    /// Why a namespace cannot take these tasks, if it cannot.
    fn full(&self, create: &CreateTasks) -> Option<Refusal> {
        let row = self.namespaces.get(&create.namespace)?;
        let (config, counts) = (&row.config, &row.counts);
        let no_room = |what: &str, setting: &str, most: u64| {
            let message = format!(
                "namespace {} has not room for so many more {what}, its limit is {most}; wait until consumers catch up, or raise {setting}",
                create.namespace
            );
            Some(Refusal::new(Code::Exhausted, message))
        };
        let pending = counts.pending.saturating_add(create.tasks.len() as u64);
        if config.pending_max > 0 && pending > config.pending_max {
            return no_room("pending tasks", "pending_max", config.pending_max);
        }
        let bytes: u64 = create.tasks.iter().map(NewTask::bytes).sum();
        if config.bytes_max > 0 && counts.bytes.saturating_add(bytes) > config.bytes_max {
            return no_room("bytes", "bytes_max", config.bytes_max);
        }
        None
    }

    /// The outcome of a command whose request id is remembered.
    fn repeated(
        &self,
        entry: &Entry<'_>,
        create: &CreateTasks,
        content_hash: u128,
    ) -> Result<Option<Outcome>, StateError> {
        let Some(row) = self.namespaces.get(&create.namespace) else {
            return Ok(None);
        };
        let Some(request) = self.request(row.id, &create.request_id)? else {
            return Ok(None);
        };
        if request.expires_at_ns <= entry.now_ns || planted!("request-forgotten") {
            return Ok(None);
        }
        if request.content_hash == content_hash {
            return Ok(Some(Outcome::Created(request.tasks)));
        }
        Ok(Some(Outcome::Refused(Refusal::new(
            Code::AlreadyExists,
            format!(
                "request_id {} was used with other content in namespace {}; use a new one",
                create.request_id, create.namespace
            ),
        ))))
    }

    fn remember(
        &mut self,
        entry: &Entry<'_>,
        namespace: NamespaceId,
        request_id: String,
        content_hash: u128,
        created: &[CreatedTask],
    ) -> Result<(), StateError> {
        // An outdated row may wait to be forgotten; its place in the order of
        // forgetting must not outlive it, or it would take the new row along.
        let old = self.request(namespace, &request_id)?;
        let is_new = old.is_none();
        if let Some(old) = old {
            self.state.delete(&RowKey::RequestExpiry {
                expires_at_ns: old.expires_at_ns,
                namespace,
                request_id: request_id.clone(),
            });
        }
        let dedupe_ms = self.namespaces.edit(namespace)?.config.dedupe_ms;
        let expires_at_ns = entry.now_ns.saturating_add(dedupe_ms.saturating_mul(MS_NS));
        self.forget_next_ns = self.forget_next_ns.min(expires_at_ns);
        let request = RequestRow {
            content_hash,
            tasks: created.to_vec(),
            expires_at_ns,
        };
        let expiry = RowKey::RequestExpiry {
            expires_at_ns,
            namespace,
            request_id: request_id.clone(),
        };
        self.state.put_new(expiry, Row::RequestExpiry);
        let key = RowKey::Request {
            namespace,
            request_id,
        };
        match is_new {
            true => self.state.put_new(key, Row::Request(request)),
            false => self.state.put(key, Row::Request(request)),
        }
        Ok(())
    }

    fn request(
        &self,
        namespace: NamespaceId,
        request_id: &str,
    ) -> Result<Option<RequestRow>, StateError> {
        let key = RowKey::Request {
            namespace,
            request_id: request_id.to_owned(),
        };
        match self.state.get(&key)? {
            Some(Row::Request(request)) => Ok(Some(request)),
            Some(_) => Err(StateError("a request row is of another kind".into())),
            None => Ok(None),
        }
    }
}

/// When a task is due in machine nanoseconds, and what `deliver_at` reads back
/// as.
pub(super) fn due_at(due: Due, now_ns: u64) -> (u64, WallTime) {
    match due {
        Due::Now => (now_ns, WallTime::from_ns(now_ns)),
        // What is past is due now. It does not go in front of what waits
        // already: a place below the cursor would make the next scan cross
        // everything consumed since.
        Due::At(at) => (at.as_ns().max(now_ns), at),
        Due::AfterSeconds(seconds) => {
            let at_ns = now_ns.saturating_add(seconds.saturating_mul(SECOND_NS));
            (at_ns, WallTime::from_ns(at_ns))
        }
    }
}

/// Fingerprint of what a create asks for. Every part is preceded by its length
/// or a tag, so that no two contents have one encoding. Rows keep it: the
/// encoding must never change.
fn content_hash(tasks: &[NewTask]) -> u128 {
    let mut hash = Hash(Xxh3::new());
    hash.number(tasks.len() as u64);
    for task in tasks {
        hash.number(task.metadata.len() as u64);
        for (key, value) in &task.metadata {
            hash.bytes(key.as_bytes());
            hash.bytes(value.as_bytes());
        }
        hash.bytes(&task.payload);
        match task.due {
            Due::Now => hash.number(0),
            Due::At(at) => {
                hash.number(1);
                hash.number(at.seconds as u64);
                hash.number(u64::from(at.nanos as u32));
            }
            Due::AfterSeconds(seconds) => {
                hash.number(2);
                hash.number(seconds);
            }
        }
        hash.number(u64::from(task.priority.get()));
        hash.number(u64::from(task.max_attempts));
        hash.number(task.ttl_ms);
    }
    hash.0.digest128()
}

struct Hash(Xxh3);

impl Hash {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }
}
