//! The rows of the namespaces, all in memory: every command touches counters
//! and cursors of one, and they are few. What an entry changed is written back
//! at its end, once.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Code, Refusal};
use crate::limits;
use crate::planted::planted;
use crate::state::{NamespaceRow, QueueHead, RateMark, Row, RowKey, State, StateError, View};
use crate::task::{Namespace, NamespaceId, TaskId};
use crate::time::MS_NS;

/// All namespaces, and which of them differ from the store.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    rows: BTreeMap<Namespace, NamespaceRow>,
    names: BTreeMap<NamespaceId, Namespace>,
    dirty: BTreeSet<NamespaceId>,
    deleting: BTreeSet<NamespaceId>,
}

impl Namespaces {
    /// Reads them from a store.
    pub(super) fn load(view: &impl View) -> Result<Self, StateError> {
        let mut all = Self::default();
        let (from, to) = RowKey::namespaces();
        view.scan(&from, &to, &mut |key, row| {
            if let (RowKey::Namespace(name), Row::Namespace(row)) = (key, row) {
                all.names.insert(row.id, name.clone());
                if row.deleting.is_some() {
                    all.deleting.insert(row.id);
                }
                all.rows.insert(name, *row);
            }
            true
        })?;
        Ok(all)
    }

    /// In the order of names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Namespace, &NamespaceRow)> {
        self.rows.iter()
    }

    pub(super) fn get(&self, name: &Namespace) -> Option<&NamespaceRow> {
        self.rows.get(name)
    }

    pub(super) fn name(&self, id: NamespaceId) -> Option<&Namespace> {
        self.names.get(&id)
    }

    /// The row for changing it.
    ///
    /// # Errors
    /// [`StateError`] when there is none: a row of the store names a namespace
    /// that does not exist.
    pub(super) fn edit(&mut self, id: NamespaceId) -> Result<&mut NamespaceRow, StateError> {
        let missing = || StateError(format!("namespace {} has rows but does not exist", id.0));
        let name = self.names.get(&id).ok_or_else(missing)?;
        let row = self.rows.get_mut(name).ok_or_else(missing)?;
        self.dirty.insert(id);
        Ok(row)
    }

    /// Whether a namespace can be had: it exists and is not being deleted, or
    /// there is room for it.
    pub(super) fn admit(&self, name: &Namespace) -> Result<(), Refusal> {
        match self.rows.get(name) {
            Some(row) if row.deleting.is_none() => return Ok(()),
            Some(row) => {
                let left = row.counts.pending + row.counts.leased + row.counts.dead;
                return Err(Refusal::new(
                    Code::Precondition,
                    format!(
                        "namespace {name} is being deleted, {left} tasks are left; try again when it is gone"
                    ),
                ));
            }
            None if self.rows.len() < limits::NAMESPACE_COUNT_MAX => return Ok(()),
            None => {}
        }
        Err(Refusal::new(
            Code::Exhausted,
            format!(
                "namespace {name} would be one above the {} that a cluster holds; use one that exists",
                limits::NAMESPACE_COUNT_MAX
            ),
        ))
    }

    /// The id of a namespace, which appears if it is new.
    pub(super) fn ensure(&mut self, name: &Namespace, next: &mut u32) -> NamespaceId {
        if let Some(row) = self.rows.get(name) {
            return row.id;
        }
        let id = NamespaceId(*next);
        *next += 1;
        self.rows.insert(name.clone(), NamespaceRow::new(id));
        self.names.insert(id, name.clone());
        self.dirty.insert(id);
        id
    }

    /// This one is being deleted from now on.
    pub(super) fn note_deleting(&mut self, id: NamespaceId) {
        self.deleting.insert(id);
    }

    /// The first that is being deleted.
    pub(super) fn first_deleting(&self) -> Option<NamespaceId> {
        self.deleting.first().copied()
    }

    /// Forgets a namespace. Returns its name.
    pub(super) fn remove(&mut self, id: NamespaceId) -> Option<Namespace> {
        self.deleting.remove(&id);
        self.dirty.remove(&id);
        let name = self.names.remove(&id)?;
        self.rows.remove(&name);
        Some(name)
    }

    /// Writes back what changed by machine time `now_ns`.
    pub(super) fn flush(&mut self, state: &mut impl State, now_ns: u64) {
        for id in std::mem::take(&mut self.dirty) {
            if let Some(name) = self.names.get(&id) {
                if let Some(row) = self.rows.get_mut(name) {
                    roll_window(row, now_ns);
                    state.put(
                        RowKey::Namespace(name.clone()),
                        Row::Namespace(Box::new(row.clone())),
                    );
                }
            }
        }
    }
}

/// Sets a new mark of the namespace's counters when the last one is old enough.
fn roll_window(row: &mut NamespaceRow, now_ns: u64) {
    let age_ns = now_ns.saturating_sub(row.window.last.at_ns);
    if age_ns >= limits::RATE_MARK_MS * MS_NS {
        row.window.before = row.window.last;
        row.window.last = RateMark {
            at_ns: now_ns,
            created: row.counts.created,
            deliveries: row.counts.deliveries,
            done: row.counts.done,
        };
    }
}

impl QueueHead {
    /// Counts a row in that was put at this place, and lowers the cursor to it
    /// when it stands below. In an empty queue the cursor moves up to it.
    pub(super) fn insert(&mut self, due_at_ns: u64, id: TaskId) {
        if planted!("cursor-not-lowered") && self.count > 0 {
            self.count += 1;
            return;
        }
        let place = (due_at_ns, id);
        if self.count == 0 || place < self.cursor {
            self.cursor = place;
        }
        self.count += 1;
    }
}
