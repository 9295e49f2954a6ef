//! Promise 3: an end is final. What is done, cancelled, purged, or gone with its
//! namespace is not delivered again, nor changed.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::Rng;
use z4_core::{Namespace, TaskId};

use super::creates::Creates;

/// How a task ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Done,
    Cancelled,
    Purged,
    /// Its namespace was deleted.
    Deleted,
}

#[derive(Default)]
pub(crate) struct Ends {
    ended: BTreeMap<TaskId, (End, u64)>,
    counts: BTreeMap<(Namespace, u8), u64>,
    deleted: BTreeSet<Namespace>,
    /// Dead letters that were seen, to be tried again or purged.
    dead: Vec<(Namespace, TaskId)>,
}

impl Ends {
    /// A task ended at this index of the log.
    pub(crate) fn ended(&mut self, namespace: &Namespace, id: TaskId, how: End, index: u64) {
        self.ended.insert(id, (how, index));
        *self
            .counts
            .entry((namespace.clone(), how as u8))
            .or_default() += 1;
    }

    /// A namespace goes with all that was created in it. Whether there was
    /// anything left.
    pub(crate) fn deleted(&mut self, name: &Namespace, creates: &Creates, index: u64) -> bool {
        let open: Vec<_> = creates.of(name).filter(|id| !self.is_over(*id)).collect();
        for id in &open {
            self.ended(name, *id, End::Deleted, index);
        }
        self.deleted.insert(name.clone());
        !open.is_empty()
    }

    /// Whether a namespace was ever deleted.
    pub(crate) fn was_deleted(&self, name: &Namespace) -> bool {
        self.deleted.contains(name)
    }

    pub(crate) fn is_over(&self, id: TaskId) -> bool {
        self.ended.contains_key(&id)
    }

    /// How many tasks of a namespace ended so.
    pub(crate) fn count(&self, name: &Namespace, how: End) -> u64 {
        let count = self.counts.get(&(name.clone(), how as u8));
        count.copied().unwrap_or_default()
    }

    /// A task was leased.
    pub(crate) fn granted(&self, id: TaskId) -> Result<(), String> {
        match self.ended.get(&id) {
            None => Ok(()),
            Some((how, index)) => Err(format!(
                "promise 3: task {id} was leased, and was {how:?} at index {index}"
            )),
        }
    }

    /// A task was changed.
    pub(crate) fn changed(&self, id: TaskId) -> Result<(), String> {
        match self.ended.get(&id) {
            // It goes in steps, and may be changed until then.
            None | Some((End::Deleted, _)) => Ok(()),
            Some((how, index)) => Err(format!(
                "promise 3: task {id} was changed, and was {how:?} at index {index}"
            )),
        }
    }

    /// These are dead letters now.
    pub(crate) fn saw_dead(&mut self, dead: Vec<(Namespace, TaskId)>) {
        self.dead = dead;
    }

    /// One of the dead letters that were seen last.
    pub(crate) fn some_dead(&self, rng: &mut StdRng) -> Option<(Namespace, TaskId)> {
        let at = rng.gen_range(0..self.dead.len().max(1));
        self.dead.get(at).cloned()
    }
}
