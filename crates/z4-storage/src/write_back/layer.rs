//! A layer: rows that were changed, in the order of keys, above others.

use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use imbl::ordmap::OrdMap;
use z4_core::access::Principal;
use z4_core::command::CreatedTask;
use z4_core::planted;
use z4_core::state::{NamespaceRow, Row, RowKey};
use z4_core::task::Phase;

use crate::limits::LAYER_CHANGE_BYTES;

/// What became of one row.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The row as it is now; `None`: it was deleted.
    pub row: Option<Arc<Row>>,
    /// Nothing below this layer has a row of this key. So a deletion can remove the change
    /// itself: there is no row below to hide.
    is_new: bool,
}

/// Changed rows. A clone shares all of them and costs next to nothing; a change
/// after it copies only what lies on its way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    rows: OrdMap<RowKey, Change>,
    bytes: usize,
}

impl Layer {
    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What became of the row of a key; `None` when this layer knows nothing of it.
    pub fn get(&self, key: &RowKey) -> Option<&Change> {
        self.rows.get(key)
    }

    /// The changes with `from <= key < to`, in key order.
    pub fn range<'a>(
        &'a self,
        from: &RowKey,
        to: &RowKey,
    ) -> impl Iterator<Item = (&'a RowKey, &'a Change)> {
        self.rows.range::<_, RowKey>(from..to)
    }

    /// All changes, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&RowKey, &Change)> {
        self.rows.iter()
    }

    /// Sets a row. `is_new`: there is certainly no row of this key yet.
    pub fn put(&mut self, key: RowKey, row: Row, is_new: bool) {
        let row = Some(Arc::new(row));
        self.change(key, Change { row, is_new });
    }

    /// Deletes a row, whether or not there is one.
    pub fn delete(&mut self, key: RowKey) {
        let gone = Change {
            row: None,
            is_new: false,
        };
        self.change(key, gone);
    }

    /// Takes in the changes of a layer that lay above this one.
    pub fn take_in(&mut self, newer: Self) {
        if self.rows.is_empty() {
            *self = newer;
            return;
        }
        for (key, change) in newer.rows {
            self.change(key, change);
        }
    }

    fn change(&mut self, key: RowKey, mut change: Change) {
        let text_bytes = text_bytes(&key);
        let Some(old) = self.rows.get_mut(&key) else {
            self.bytes += text_bytes + change.bytes();
            self.rows.insert(key, change);
            return;
        };
        self.bytes -= old.bytes();
        // What lies below is as it was: what this layer knew of it still holds.
        change.is_new = old.is_new;
        if change.row.is_none() && (old.is_new || planted!("deletion-lost")) {
            self.bytes -= text_bytes;
            self.rows.remove(&key);
        } else {
            self.bytes += change.bytes();
            *old = change;
        }
    }
}

/// What a key holds beside its fixed size, in bytes.
fn text_bytes(key: &RowKey) -> usize {
    match key {
        RowKey::Namespace(name) => name.as_str().len(),
        RowKey::Principal(name) => name.as_str().len(),
        RowKey::Request { request_id, .. } | RowKey::RequestExpiry { request_id, .. } => {
            request_id.len()
        }
        RowKey::Meta
        | RowKey::Body(..)
        | RowKey::Status(..)
        | RowKey::Due { .. }
        | RowKey::Lease { .. }
        | RowKey::Dead { .. }
        | RowKey::Timer { .. }
        | RowKey::End => 0,
    }
}

/// About what a principal takes in memory, in bytes.
fn principal_bytes(principal: &Principal) -> usize {
    let Principal {
        grants,
        names,
        tokens,
    } = principal;
    let scopes = grants.iter().map(|grant| grant.scope.as_str().len());
    let names_bytes = names.iter().map(|name| size_of::<String>() + name.len());
    size_of::<Principal>()
        + size_of_val(grants.as_slice())
        + scopes.sum::<usize>()
        + names_bytes.sum::<usize>()
        + size_of_val(tokens.as_slice())
}

impl Change {
    /// About what it takes in memory with the fixed part of its key, in bytes.
    fn bytes(&self) -> usize {
        let Some(row) = &self.row else {
            return LAYER_CHANGE_BYTES;
        };
        let held = match &**row {
            Row::Namespace(_) => size_of::<NamespaceRow>(),
            Row::Body(body) => {
                let strings = 2 * size_of::<String>() * body.metadata.len();
                usize::try_from(body.bytes()).unwrap_or(usize::MAX) + strings
            }
            Row::Status(status) => {
                let consumer = match &status.phase {
                    Phase::Leased { consumer, .. } => consumer.len(),
                    Phase::Waiting { .. } | Phase::Dead { .. } => 0,
                };
                status.last_error.len() + consumer
            }
            Row::Lease { consumer, .. } => consumer.len(),
            Row::Request(request) => request.tasks.len() * size_of::<CreatedTask>(),
            Row::Principal(principal) => principal_bytes(principal),
            Row::Meta(_) | Row::Due { .. } | Row::Dead | Row::Timer | Row::RequestExpiry => 0,
        };
        LAYER_CHANGE_BYTES + size_of::<Row>() + held
    }
}
