//! Which session the grants to a name go to, and which session a consumer has.

use std::collections::HashMap;

use z4_core::Namespace;

use crate::input::{Method, SessionId};
use crate::session::Session;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_name: HashMap<String, SessionId>,
    /// Sessions of Consume, by namespace and consumer id: one each.
    by_consumer: HashMap<(Namespace, String), SessionId>,
    /// Who has the late grants of a session that was taken over.
    successors: HashMap<String, SessionId>,
    /// The names of the sessions of Consume.
    names: HashMap<SessionId, String>,
}

impl Directory {
    /// Lets a session in. Gives the one that it takes over from.
    pub(crate) fn list(&mut self, session: &mut Session) -> Option<SessionId> {
        self.by_name.insert(session.name.clone(), session.id);
        if !matches!(session.method, Method::Consume { .. }) {
            return None;
        }
        let consumer = (session.namespace.clone(), session.consumer_id.clone());
        self.names.insert(session.id, session.name.clone());
        let former = self.by_consumer.insert(consumer, session.id)?;
        session.former = self.names.get(&former).cloned();
        if let Some(name) = &session.former {
            self.successors.insert(name.clone(), session.id);
        }
        Some(former)
    }

    /// Takes a session out: nobody listens to its names any more.
    pub(crate) fn unlist(&mut self, session: &Session) {
        self.by_name.remove(&session.name);
        self.names.remove(&session.id);
        let consumer = (session.namespace.clone(), session.consumer_id.clone());
        if self.by_consumer.get(&consumer) == Some(&session.id) {
            self.by_consumer.remove(&consumer);
        }
        if let Some(former) = &session.former {
            self.successors.remove(former);
        }
    }

    /// The session with a name.
    pub(crate) fn session_named(&self, name: &str) -> Option<SessionId> {
        self.by_name.get(name).copied()
    }

    /// The session that has the grants to a name.
    pub(crate) fn holder_of(&self, name: &str) -> Option<SessionId> {
        let successor = self.successors.get(name).copied();
        successor.or_else(|| self.session_named(name))
    }
}
