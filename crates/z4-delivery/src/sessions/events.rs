//! What the log says of the leases of a peer's sessions.

use z4_core::command::Grant;
use z4_core::{planted, Event, Namespace};

use super::Sessions;
use crate::consumer_id::holder;
use crate::input::{AppliedEvents, Failure, Key, Now, SessionId, Settled, Ticket};
use crate::limits;
use crate::outbox::Outbox;
use crate::session::finding::{Known, Moved};
use crate::session::Session;

impl<E> Sessions<E> {
    pub(super) fn applied(&mut self, applied: AppliedEvents, now: Now) {
        self.stamp_ns = self.stamp_ns.max(applied.stamp_ns);
        if applied.is_jump && !planted!("jump-not-rebuilt") {
            for session in self.sessions.values_mut() {
                session.rebuild(&mut self.out);
                self.dirty.insert(session.id);
            }
        }
        let prefix = self.prefix();
        for event in applied.events {
            self.leading.dispatcher.on_event(&event);
            match event {
                Event::Leased {
                    namespace,
                    grants,
                    stamp_ns,
                    ..
                } => {
                    let is_here =
                        |g: &Grant| crate::consumer_id::session(&g.consumer).starts_with(&prefix);
                    let (here, elsewhere): (Vec<_>, Vec<_>) = grants.into_iter().partition(is_here);
                    if self.leadership.is_ready_here {
                        // The other peer may know of no later time than the stamp.
                        let raft_id = self.leadership.raft_id;
                        self.leading.held_elsewhere(&elsewhere, stamp_ns, raft_id);
                    }
                    for grant in here {
                        self.granted(&namespace, grant, now);
                    }
                }
                Event::Ended { namespace, leases } => self.ended(&namespace, &leases, now),
                Event::Resumed {
                    namespace,
                    leases,
                    by,
                } => self.resumed_by(&namespace, &leases, &by, now),
                Event::Due { .. } | Event::Namespace { .. } | Event::Access => {}
            }
        }
        self.leading.dispatcher.set_pulse(applied.pulse_next_ns);
    }

    fn granted(&mut self, namespace: &Namespace, grant: Grant, now: Now) {
        let (key, due_by_ns) = (grant.key(), self.due_by_ns(now));
        let id = self.directory.holder_of(&grant.consumer);
        let session = id.and_then(|id| self.sessions.get_mut(&id));
        let full = limits::LEDGER_LEN_MAX;
        let Some(session) = session.filter(|session| session.flow.ledger.len() < full) else {
            if !planted!("late-grant-kept") {
                let whose = (namespace.clone(), grant.consumer);
                let unowned = self.unowned.entry(whose).or_default();
                unowned.push((key, grant.deadline_ns));
            }
            return;
        };
        self.holders.insert(key, session.id);
        self.dirty.insert(session.id);
        session.granted(grant, now, due_by_ns);
    }

    fn ended(&mut self, namespace: &Namespace, leases: &[Key], now: Now) {
        self.searches.ended(namespace, leases);
        for key in leases {
            if let Some(id) = self.holders.remove(key) {
                if !planted!("end-not-counted") {
                    self.with(id, |session, _| session.ended(key, now));
                }
            }
        }
    }

    /// The session that holds leases under this name has them from now on, and no other.
    fn resumed_by(&mut self, namespace: &Namespace, leases: &[Key], by: &str, now: Now) {
        self.searches.resumed(namespace, leases, holder(by));
        for key in leases {
            let Some(id) = self.holders.get(key).copied() else {
                continue;
            };
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            if session.name != holder(by) {
                if !session.resumed_elsewhere(key, now) {
                    self.holders.remove(key);
                }
                self.dirty.insert(id);
            }
        }
    }

    pub(super) fn found(&mut self, id: SessionId, leases: Result<Vec<Grant>, E>, now: Now) {
        self.search_goes_on(id, now, |session, known, out| match leases {
            Ok(leases) => session.found(leases, known, out),
            Err(error) => {
                session.not_found(error, now, out);
                Moved::default()
            }
        });
    }

    /// The log answered a session that wants to resume leases.
    pub(super) fn resumed(
        &mut self,
        id: SessionId,
        asked: (Ticket, Vec<Grant>),
        result: Result<Settled, Failure<E>>,
        now: Now,
    ) {
        self.search_goes_on(id, now, |session, known, out| {
            session.resumed(asked, result, known, out)
        });
    }

    fn search_goes_on(
        &mut self,
        id: SessionId,
        now: Now,
        go_on: impl FnOnce(&mut Session, &Known<'_>, &mut Outbox<E>) -> Moved,
    ) {
        let due_by_ns = self.due_by_ns(now);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        self.dirty.insert(id);
        let (searches, namespace) = (&self.searches, session.namespace.clone());
        let name = session.name.clone();
        let is_lost = |key: &Key, since: Option<u64>| {
            since.is_some_and(|since| searches.is_lost(&namespace, key, &name, since))
        };
        let known = Known {
            is_lost: &is_lost,
            now,
            due_by_ns,
        };
        let (came, went) = go_on(session, &known, &mut self.out);
        for key in came {
            self.holders.insert(key, id);
        }
        if session.finding.is_none() {
            self.searches.end(&session.namespace, id);
        }
        self.forget_holder(id, &went);
    }
}
