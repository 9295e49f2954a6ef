//! The leases that ended, or went to another session, while sessions look for leases. The
//! log is newer than what a search finds. One record serves all sessions of a namespace,
//! however many look.

use std::collections::{BTreeSet, HashMap};

use z4_core::Namespace;

use crate::input::{Key, SessionId};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Searches {
    by_namespace: HashMap<Namespace, Searched>,
    /// Leases that have ended or were resumed so far.
    count: u64,
}

#[derive(Debug, Default)]
struct Searched {
    /// The sessions that look for leases there.
    sessions: BTreeSet<SessionId>,
    /// The leases that ended meanwhile, or that a session resumed, and the count then.
    lost: HashMap<Key, (u64, Option<String>)>,
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
        self.lost(namespace, leases, None);
    }

    /// The session with this name has resumed leases.
    pub(crate) fn resumed(&mut self, namespace: &Namespace, leases: &[Key], by: &str) {
        self.lost(namespace, leases, Some(by));
    }

    fn lost(&mut self, namespace: &Namespace, leases: &[Key], by: Option<&str>) {
        if let Some(searched) = self.by_namespace.get_mut(namespace) {
            for key in leases {
                self.count += 1;
                let lost = (self.count, by.map(str::to_owned));
                searched.lost.insert(*key, lost);
            }
        }
    }

    /// Tells whether a lease has ended since a search of this session began, or another session
    /// has it.
    pub(crate) fn is_lost(
        &self,
        namespace: &Namespace,
        key: &Key,
        session: &str,
        since: u64,
    ) -> bool {
        let searched = self.by_namespace.get(namespace);
        let lost = searched.and_then(|searched| searched.lost.get(key));
        lost.is_some_and(|(at, by)| *at > since && by.as_deref() != Some(session))
    }
}
