//! Apply: the one place where something happens to a task.
//!
//! One command family per file. To be filled by its author; the signatures
//! below are what the other crates call.

use crate::command::{Command, Grant, Outcome};
use crate::state::{NamespaceRow, State, StateError};
use crate::task::Namespace;

/// What the shell around the machine should know after an entry: hints for
/// dispatch and the grants for the consumers' streams. Never decides anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A task was put into the due index of this namespace; this is the
    /// earliest due time of those that the entry put there.
    Due {
        /// Which namespace.
        namespace: Namespace,
        /// Machine time in nanoseconds.
        due_at_ns: u64,
    },
    /// A lease command was applied: each taker learns its grants, none included
    /// when nothing was due.
    Leased {
        /// Which namespace.
        namespace: Namespace,
        /// Stamp of the entry.
        stamp_ns: u64,
        /// What was granted.
        grants: Vec<Grant>,
        /// Due tasks were left.
        more: bool,
    },
    /// Leases were ended by an ack or a release (not by expiry).
    Ended {
        /// Which namespace.
        namespace: Namespace,
        /// Whose leases, and how many of each.
        consumers: Vec<(String, u32)>,
    },
}

/// The task state machine over a store.
#[derive(Debug)]
pub struct Machine<S> {
    state: S,
}

impl<S: State> Machine<S> {
    /// Opens a machine over a store, which may be empty: reads namespaces and
    /// live leases into memory.
    ///
    /// # Errors
    /// [`StateError`] when the store fails.
    pub fn open(state: S) -> Result<Self, StateError> {
        Ok(Self { state })
    }

    /// Applies the commands of one entry.
    ///
    /// # Errors
    /// [`StateError`] when the store fails: the process must end.
    pub fn apply_entry(
        &mut self,
        _index: u64,
        _stamp_ns: u64,
        _commands: Vec<Command>,
        _events: &mut Vec<Event>,
    ) -> Result<Vec<Outcome>, StateError> {
        Ok(Vec::new())
    }

    /// Machine time in nanoseconds: the greatest stamp applied.
    #[must_use]
    pub fn stamp_ns(&self) -> u64 {
        0
    }

    /// The earliest deadline of a live lease, in machine nanoseconds: when the
    /// machine needs a pulse.
    #[must_use]
    pub fn lease_deadline_next_ns(&self) -> Option<u64> {
        None
    }

    /// The namespaces, in the order of their names.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Namespace, &NamespaceRow)> {
        std::iter::empty()
    }

    /// The store.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The store, for its owner to commit batches. Rows must not be changed
    /// through it.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Gives the store back.
    pub fn into_state(self) -> S {
        self.state
    }
}
