//! The rows of the namespaces, all in memory: every command touches counters
//! and cursors of one, and they are few. What an entry changed is written back
//! at its end, once.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Code, Refusal};
use crate::limits;
use crate::state::{
    NamespaceConfig, NamespaceCounts, NamespaceRow, QueueHead, Row, RowKey, State, StateError, View,
};
use crate::task::{Namespace, NamespaceId, TaskId};

/// All namespaces, and which of them differ from the store.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    rows: BTreeMap<Namespace, NamespaceRow>,
    names: BTreeMap<NamespaceId, Namespace>,
    dirty: BTreeSet<NamespaceId>,
}

impl Namespaces {
    /// Reads them from a store.
    pub(super) fn load(view: &impl View) -> Result<Self, StateError> {
        let mut all = Self::default();
        let (from, to) = RowKey::namespaces();
        view.scan(&from, &to, &mut |key, row| {
            if let (RowKey::Namespace(name), Row::Namespace(row)) = (key, row) {
                all.names.insert(row.id, name.clone());
                all.rows.insert(name, row);
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

    /// Whether a namespace can be had: it exists, or there is room for it.
    pub(super) fn admit(&self, name: &Namespace) -> Result<(), Refusal> {
        if self.rows.contains_key(name) || self.rows.len() < limits::NAMESPACE_COUNT_MAX {
            return Ok(());
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
        let row = NamespaceRow {
            id,
            config: NamespaceConfig::default(),
            counts: NamespaceCounts::default(),
            queues: Default::default(),
        };
        self.rows.insert(name.clone(), row);
        self.names.insert(id, name.clone());
        self.dirty.insert(id);
        id
    }

    /// Writes back what changed.
    pub(super) fn flush(&mut self, state: &mut impl State) {
        for id in std::mem::take(&mut self.dirty) {
            if let Some(name) = self.names.get(&id) {
                if let Some(row) = self.rows.get(name) {
                    state.put(RowKey::Namespace(name.clone()), Row::Namespace(row.clone()));
                }
            }
        }
    }
}

impl QueueHead {
    /// Counts a row in that was put at this place, and lowers the cursor to it
    /// when it stands below. In an empty queue the cursor moves up to it.
    pub(super) fn insert(&mut self, due_at_ns: u64, id: TaskId) {
        let place = (due_at_ns, id);
        if self.count == 0 || place < self.cursor {
            self.cursor = place;
        }
        self.count += 1;
    }
}
