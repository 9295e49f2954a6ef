//! Rows, and where they are kept.
//!
//! The machine sees its store as one ordered map of [`RowKey`] to [`Row`].
//! [`View`] reads it, [`State`] changes it. Two implementations pass one
//! contract suite (`contract`): [`MemState`] here, RocksDB in `z4-storage`.

#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod mem;
mod rate_limit;
mod reads;
mod rows;

pub use crate::settings::NamespaceConfig;
pub use mem::MemState;
pub use rate_limit::RateLimit;
pub use reads::{
    due_next_after, due_next_of, find_body, find_namespace, find_principal, find_status, find_task,
    machine_ns, principals,
};
pub use rows::{
    rank, MetaRow, NamespaceCounts, NamespaceRow, QueueHead, RateMark, RateWindow, RequestRow, Row,
    RowKey,
};

/// The store failed or holds what cannot be. The process must end: what is on
/// disk is the truth, and what is in memory may have gone past it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateError(pub String);

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StateError {}

/// Reading rows.
pub trait View {
    /// The row of a key, or `None`.
    ///
    /// # Errors
    /// [`StateError`] when the store fails or the row does not decode.
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError>;

    /// Visits rows with `from <= key < to` in key order until `visit` returns
    /// `false`.
    ///
    /// # Errors
    /// [`StateError`] when the store fails or a row does not decode.
    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError>;
}

/// Changing rows. Reads see what was written before them at once; whether and
/// when it is durable is the implementation's matter.
pub trait State: View {
    /// Sets the row of a key.
    fn put(&mut self, key: RowKey, row: Row);
    /// Sets the row of a key that has none. A store that keeps changes in memory may
    /// then forget the row when it is deleted before it was written, without a trace.
    /// If there was a row after all, that later deletion brings the old row back.
    fn put_new(&mut self, key: RowKey, row: Row) {
        self.put(key, row);
    }
    /// Removes the row of a key; no matter if there is none.
    fn delete(&mut self, key: &RowKey);
}
