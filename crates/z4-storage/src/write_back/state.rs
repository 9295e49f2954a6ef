//! The state as its machine changes it: reads see what was written since the last
//! commit; nobody else does before it.

use std::sync::Arc;

use z4_consensus::log::Position;
use z4_consensus::machine::MachineError;
use z4_consensus::Membership;
use z4_core::state::{Row, RowKey, State, StateError, View};

use super::known::Known;
use super::layer::Layer;
use super::{lock, merge, Base, WriteBack};

/// The one writer of a [`WriteBack`].
#[derive(Debug)]
pub(crate) struct LayeredState<B> {
    shared: Arc<WriteBack<B>>,
    /// The batch in the making.
    pending: Layer,
    known: Known,
}

impl<B: Base> LayeredState<B> {
    pub fn new(shared: Arc<WriteBack<B>>) -> Self {
        Self {
            shared,
            pending: Layer::default(),
            known: Known::default(),
        }
    }

    /// What others read and flush.
    pub fn shared(&self) -> &Arc<WriteBack<B>> {
        &self.shared
    }

    /// Makes all changes since the last commit visible to others.
    ///
    /// # Errors
    /// [`MachineError`]: end the process.
    pub fn commit(
        &mut self,
        position: Position,
        membership: Option<&Membership>,
    ) -> Result<(), MachineError> {
        let batch = std::mem::take(&mut self.pending);
        self.shared.commit(batch, position, membership)
    }
}

impl<B: Base> View for LayeredState<B> {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        match self.pending.get(key) {
            Some(change) => Ok(change.row.as_deref().cloned()),
            None => self.shared.get(key),
        }
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        // No snapshot of the base is needed: what may be written to it meanwhile stands
        // in these layers too, for nobody else commits.
        let (above, base) = {
            let current = lock(&self.shared.current);
            (current.layers(), Arc::clone(&current.base))
        };
        let layers = [&self.pending, &above.active, &above.cut];
        if above.is_quiet {
            let base = self.known.over(&*base, above.generation);
            merge::scan(&layers, &base, from, to, visit)
        } else {
            merge::scan(&layers, &*base, from, to, visit)
        }
    }
}

impl<B: Base> State for LayeredState<B> {
    fn put(&mut self, key: RowKey, row: Row) {
        self.pending.put(key, row, false);
    }

    fn put_new(&mut self, key: RowKey, row: Row) {
        // A planted mistake of the machine may leave a row where none may be.
        let may_be_wrong = cfg!(feature = "planted");
        debug_assert!(
            may_be_wrong || matches!(self.get(&key), Ok(None) | Err(_)),
            "{key:?} is not new"
        );
        self.pending.put(key, row, true);
    }

    fn delete(&mut self, key: &RowKey) {
        self.pending.delete(key.clone());
    }
}
