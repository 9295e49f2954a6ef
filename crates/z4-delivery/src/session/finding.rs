//! Looking for the leases of a session: those that its consumer has from before, and
//! those whose events were jumped over.

use std::collections::HashSet;

use z4_core::command::Grant;
use z4_core::planted;

use super::{Session, State};
use crate::input::{Key, Now};
use crate::limits;
use crate::outbox::Outbox;
use crate::output::{End, Output, Whose};
use crate::take::Take;

/// Live leases are being looked for. What the log says meanwhile is newer than what
/// is found.
#[derive(Debug)]
pub(crate) struct Finding {
    /// What ended from this moment on, in the count of the peer's sessions, is not
    /// live, whatever is found. `None`: nothing was told since it began.
    pub(crate) since: Option<u64>,
    pub(crate) granted: HashSet<Key>,
    /// The log jumped meanwhile: what is found may be older than that.
    is_stale: bool,
    whose: Whose,
}

impl Session {
    /// Looks for live leases, from now on.
    pub(crate) fn find<E>(&mut self, whose: Whose, out: &mut Outbox<E>) {
        self.find_again = None;
        if let Some(finding) = &mut self.finding {
            // One at a time: its answer may be older than what this one is for.
            finding.is_stale = true;
            finding.whose = whose;
            return;
        }
        self.finding = Some(Finding {
            since: None,
            granted: HashSet::new(),
            is_stale: false,
            whose: whose.clone(),
        });
        out.push(Output::Find {
            session: self.id,
            namespace: self.namespace.clone(),
            whose,
        });
    }

    /// The log jumped: its own leases have to be looked for.
    pub(crate) fn rebuild<E>(&mut self, out: &mut Outbox<E>) {
        if self.state != State::Ended {
            let under_way = self.finding.as_ref().map(|finding| finding.whose.clone());
            let whose = under_way.unwrap_or_else(|| match self.may_come_back {
                true => Whose::Consumer(self.consumer_id.clone()),
                false => Whose::Session(self.name.clone()),
            });
            self.find(whose, out);
        }
    }

    /// Leases were found. Gives the keys that came and those that went.
    pub(crate) fn found<E>(
        &mut self,
        mut leases: Vec<Grant>,
        has_ended: impl Fn(&Key, Option<u64>) -> bool,
        (now, due_by_ns): (Now, u64),
        out: &mut Outbox<E>,
    ) -> (Vec<Key>, Vec<Key>) {
        let Some(finding) = self.finding.take() else {
            return Default::default();
        };
        if finding.is_stale {
            self.find(finding.whose, out);
            return Default::default();
        }
        if self.take == Some(Take::Resuming) {
            // One that was granted ahead never came to the caller, as far as this peer
            // knows. If there is no other, it is looked at again.
            let is_any = !leases.is_empty();
            leases.retain(|grant| grant.due_at_ns <= due_by_ns);
            if is_any && leases.is_empty() {
                let again_ns = now.monotonic_ns + limits::REPORT_RETRY_NS;
                self.find_again = Some((again_ns, finding.whose));
                return Default::default();
            }
            self.take_resumed(leases, out);
            return Default::default();
        }
        let is_opening = self.state == State::Opening;
        // More than may be found: what is not there may be live all the same.
        let is_cut = leases.len() >= limits::IN_FLIGHT_MAX as usize;
        let there: HashSet<Key> = leases.iter().map(Grant::key).collect();
        let mut came = Vec::new();
        for grant in leases {
            let key = grant.key();
            let is_own = grant.consumer == self.name;
            let is_its = is_own || is_opening || self.former.as_ref() == Some(&grant.consumer);
            let has_ended = has_ended(&key, finding.since) && !planted!("ended-while-found");
            let at = (now.wall_ns, due_by_ns);
            if is_its && !has_ended && self.flow.granted(grant, is_own, !is_own, at) {
                came.push(key);
            }
        }
        let mut went = self.flow.ledger.keys();
        let ledger = &self.flow.ledger;
        went.retain(|key| {
            let is_known = there.contains(key) || finding.granted.contains(key);
            let is_foreign = ledger.get(key).is_some_and(|lease| !lease.is_own);
            !(is_known || is_cut || is_foreign && !self.may_come_back)
        });
        for key in &went {
            self.flow.ended(key);
        }
        if is_opening {
            self.open(u32::try_from(came.len()).unwrap_or(u32::MAX), out);
        }
        (came, went)
    }

    /// Leases could not be looked for.
    pub(crate) fn not_found<E>(&mut self, error: E, now: Now, out: &mut Outbox<E>) {
        let Some(finding) = self.finding.take() else {
            return;
        };
        match (self.state, self.take) {
            (State::Closing { .. }, _) => self.close(End::NotGivenBack, out),
            (State::Opening, _) | (_, Some(Take::Resuming)) => self.close(End::Failed(error), out),
            // It was to be rebuilt after a jump, or is in doubt: until it knows, it
            // looks.
            _ => {
                self.find_again = Some((now.monotonic_ns + limits::REPORT_RETRY_NS, finding.whose));
            }
        }
    }
}
