//! Rows in memory: for embedding, tests and the simulator.

use std::collections::BTreeMap;

use super::{Row, RowKey, State, StateError, View};

/// A [`State`] in a `BTreeMap`. Never fails; nothing is durable.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct MemState {
    rows: BTreeMap<RowKey, Row>,
}

impl MemState {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rows it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Keeps the rows whose key is wanted, and drops all others.
    pub fn retain(&mut self, mut wanted: impl FnMut(&RowKey) -> bool) {
        self.rows.retain(|key, _| wanted(key));
    }

    /// Whether it holds no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl View for MemState {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        // An empty or reversed range visits nothing; `range` would panic on it.
        if from >= to {
            return Ok(());
        }
        for (key, row) in self.rows.range(from..to) {
            if !visit(key.clone(), row.clone()) {
                break;
            }
        }
        Ok(())
    }
}

impl State for MemState {
    fn put(&mut self, key: RowKey, row: Row) {
        self.rows.insert(key, row);
    }

    fn put_new(&mut self, key: RowKey, row: Row) {
        let before = self.rows.insert(key, row);
        // A planted mistake of the machine may leave a row where none may be.
        debug_assert!(
            before.is_none() || cfg!(feature = "planted"),
            "{before:?} was there"
        );
    }

    fn delete(&mut self, key: &RowKey) {
        self.rows.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        super::super::contract::run(MemState::new);
    }
}
