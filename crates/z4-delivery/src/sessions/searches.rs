//! Which leases ended while sessions look for leases. The log is newer than what a
//! search finds. One record serves all sessions of a namespace, however many look.

use std::collections::{BTreeSet, HashMap};

use z4_core::Namespace;

use crate::input::{Key, SessionId};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    by_namespace: HashMap<Namespace, Searched>,
    /// Leases that have ended so far.
    count: u64,
}

#[derive(Debug, Default)]
struct Searched {
    /// The sessions that look for leases there.
    sessions: BTreeSet<SessionId>,
    /// Which leases ended meanwhile, and the count then.
    ended: HashMap<Key, u64>,
}

impl Searches {
    /// A session looks for leases. Gives the count from which on what ends counts.
    pub(crate) fn begin(&mut self, namespace: &Namespace, session: SessionId) -> u64 {
        let searched = self.by_namespace.entry(namespace.clone()).or_default();
        searched.sessions.insert(session);
        self.count
    }

    /// It does no longer.
    pub(crate) fn end(&mut self, namespace: &Namespace, session: SessionId) {
        if let Some(searched) = self.by_namespace.get_mut(namespace) {
            searched.sessions.remove(&session);
            if searched.sessions.is_empty() {
                self.by_namespace.remove(namespace);
            }
        }
    }

    /// Leases ended.
    pub(crate) fn ended(&mut self, namespace: &Namespace, leases: &[Key]) {
        if let Some(searched) = self.by_namespace.get_mut(namespace) {
            for key in leases {
                self.count += 1;
                searched.ended.insert(*key, self.count);
            }
        }
    }

    /// Whether a lease has ended since a search began.
    pub(crate) fn has_ended(&self, namespace: &Namespace, key: &Key, since: u64) -> bool {
        let searched = self.by_namespace.get(namespace);
        let at = searched.and_then(|searched| searched.ended.get(key));
        at.is_some_and(|at| *at > since)
    }
}
