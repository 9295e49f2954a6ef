//! AckTasks and ReleaseTasks: holders end their leases. Only a live lease with
//! the right token can be ended; anything else changes nothing.

use std::collections::BTreeMap;

use super::{Entry, Event, Machine};
use crate::command::{LeaseRefs, Outcome};
use crate::state::{RowKey, State, StateError};
use crate::task::{LeaseToken, NamespaceId, Phase, TaskId};

/// How a lease is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The task is done and goes.
    Ack,
    /// The task was not touched and is due again.
    Release,
}

impl<S: State> Machine<S> {
    pub(super) fn end(
        &mut self,
        entry: &mut Entry<'_>,
        refs: LeaseRefs,
        how: How,
    ) -> Result<Outcome, StateError> {
        let Some(row) = self.namespaces.get(&refs.namespace) else {
            return Ok(Outcome::Ended(vec![false; refs.leases.len()]));
        };
        let namespace = row.id;
        let mut ended = Vec::with_capacity(refs.leases.len());
        let mut consumers: BTreeMap<String, u32> = BTreeMap::new();
        for (id, token) in refs.leases {
            let holder = self.end_one(entry, namespace, id, token, how)?;
            ended.push(holder.is_some());
            if let Some(holder) = holder {
                *consumers.entry(holder).or_default() += 1;
            }
        }
        if !consumers.is_empty() {
            entry.events.push(Event::Ended {
                namespace: refs.namespace,
                consumers: consumers.into_iter().collect(),
            });
        }
        Ok(Outcome::Ended(ended))
    }

    /// Ends one lease if it is live. Returns who held it.
    fn end_one(
        &mut self,
        entry: &mut Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        token: LeaseToken,
        how: How,
    ) -> Result<Option<String>, StateError> {
        let Some(mut status) = self.status(namespace, id)? else {
            return Ok(None);
        };
        let due_then = Phase::Waiting { due_at_ns: 0 };
        let Phase::Leased {
            consumer,
            token: held,
            deadline_ns,
        } = std::mem::replace(&mut status.phase, due_then)
        else {
            return Ok(None);
        };
        // At its deadline a lease is over, whether or not a pulse came yet.
        if held != token || deadline_ns <= entry.now_ns {
            return Ok(None);
        }
        self.drop_lease(deadline_ns, namespace, id);
        match how {
            How::Ack => self.finish(namespace, id, status.bytes)?,
            How::Release => self.put_back(entry, namespace, id, status)?,
        }
        Ok(Some(consumer))
    }

    /// The body goes unread: it may be large, and on disk.
    fn finish(&mut self, namespace: NamespaceId, id: TaskId, bytes: u64) -> Result<(), StateError> {
        let counts = &mut self.namespaces.edit(namespace)?.counts;
        counts.leased -= 1;
        counts.done += 1;
        counts.bytes -= bytes;
        self.state.delete(&RowKey::Body(namespace, id));
        self.state.delete(&RowKey::Status(namespace, id));
        Ok(())
    }
}
