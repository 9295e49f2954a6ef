//! Dead letters: burial, and what removes them.

use super::{Entry, Machine};
use crate::limits;
use crate::planted::planted;
use crate::state::{Row, RowKey, State, StateError};
use crate::task::{DeathReason, NamespaceId, Phase, TaskId, TaskStatus};
use crate::time::MS_NS;

impl<S: State> Machine<S> {
    /// Makes a task that has no place a dead letter.
    pub(super) fn bury(
        &mut self,
        entry: &Entry<'_>,
        namespace: NamespaceId,
        id: TaskId,
        mut status: TaskStatus,
        reason: DeathReason,
    ) -> Result<(), StateError> {
        let at_ns = entry.now_ns;
        self.drop_age_timer(namespace, id, &status);
        let row = self.namespaces.edit(namespace)?;
        row.counts.dead += 1;
        // Others may have died at this very time, and the first of them be
        // above it.
        row.dead_from = row.dead_from.min((at_ns, id));
        let keep_count = match row.config.dead_keep_count {
            most if planted!("dead-letters-kept-too-few") => most / 3,
            most => most,
        };
        let surplus = match keep_count {
            0 => 0,
            most => row.counts.dead.saturating_sub(most),
        };
        let forget_at_ns = match row.config.dead_keep_ms {
            0 => 0,
            keep_ms => at_ns.saturating_add(keep_ms.saturating_mul(MS_NS)),
        };
        if forget_at_ns > 0 {
            self.set_timer(forget_at_ns, namespace, id);
        }
        status.phase = Phase::Dead {
            at_ns,
            reason,
            forget_at_ns,
        };
        self.state
            .put(RowKey::Status(namespace, id), Row::Status(status));
        self.state
            .put_new(RowKey::dead(namespace, at_ns, id), Row::Dead);
        self.trim_dead(namespace, surplus)
    }

    /// Takes a dead letter out of the index of the dead, with its timer, and
    /// counts it out.
    pub(super) fn exhume(
        &mut self,
        namespace: NamespaceId,
        id: TaskId,
        at_ns: u64,
        forget_at_ns: u64,
    ) -> Result<(), StateError> {
        self.state.delete(&RowKey::dead(namespace, at_ns, id));
        if forget_at_ns > 0 {
            self.state
                .delete(&RowKey::timer(forget_at_ns, namespace, id));
        }
        self.namespaces.edit(namespace)?.counts.dead -= 1;
        Ok(())
    }

    /// Removes a dead letter for good.
    pub(super) fn purge_one(
        &mut self,
        namespace: NamespaceId,
        id: TaskId,
        status: &TaskStatus,
    ) -> Result<(), StateError> {
        let Phase::Dead {
            at_ns,
            forget_at_ns,
            ..
        } = status.phase
        else {
            return Err(StateError(format!(
                "task {id} is to be purged but not dead"
            )));
        };
        self.exhume(namespace, id, at_ns, forget_at_ns)?;
        self.remove(namespace, id, status);
        let counts = &mut self.namespaces.edit(namespace)?.counts;
        counts.purged += 1;
        counts.bytes -= status.bytes;
        Ok(())
    }

    /// Removes the oldest dead letters of a namespace, as many as are too many
    /// and one burial may remove.
    fn trim_dead(&mut self, namespace: NamespaceId, surplus: u64) -> Result<(), StateError> {
        if surplus == 0 {
            return Ok(());
        }
        let most = (limits::DEAD_TRIM_MAX as u64).min(surplus) as usize;
        let from = self.namespaces.edit(namespace)?.dead_from;
        let mut oldest = Vec::with_capacity(most);
        let (from, to) = RowKey::dead_letters(namespace, from);
        self.state.scan(&from, &to, &mut |key, _| {
            if let RowKey::Dead { id, .. } = key {
                oldest.push(id);
            }
            oldest.len() < most
        })?;
        for id in oldest {
            let status = self
                .status(namespace, id)?
                .ok_or_else(|| StateError(format!("dead letter {id} has no status")))?;
            self.purge_one(namespace, id, &status)?;
        }
        self.raise_dead_from(namespace)
    }

    /// Moves the start of a namespace's dead letters up to the first that is
    /// left, so that no scan crosses those that went.
    pub(super) fn raise_dead_from(&mut self, namespace: NamespaceId) -> Result<(), StateError> {
        let row = self.namespaces.edit(namespace)?;
        let (from, none_left) = (row.dead_from, row.counts.dead == 0);
        if none_left {
            // The next one dies now or later.
            row.dead_from = (self.meta.stamp_ns, TaskId::default());
            return Ok(());
        }
        let mut first = None;
        let (from, to) = RowKey::dead_letters(namespace, from);
        self.state.scan(&from, &to, &mut |key, _| {
            if let RowKey::Dead { at_ns, id, .. } = key {
                first = Some((at_ns, id));
            }
            false
        })?;
        let first =
            first.ok_or_else(|| StateError("fewer dead letters than are counted".into()))?;
        self.namespaces.edit(namespace)?.dead_from = first;
        Ok(())
    }
}
