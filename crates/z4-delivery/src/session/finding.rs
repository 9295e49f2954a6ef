//! Looking for the leases of a session: those that its consumer has from before, and
//! those whose events were jumped over.
//!
//! A lease that a consumer has from before is resumed in the log before it is handed out: the
//! session before may have given it back in its own name a moment ago, by a command that
//! is on its way. Whichever comes first into the log decides.

use std::collections::{BTreeMap, HashSet};

use z4_core::command::{Command, Grant, HeldLeases, LeaseLost, LeaseRefs, Outcome, ResumeLeases};
use z4_core::limits::ACK_COUNT_MAX;
use z4_core::planted;

use super::{Session, State};
use crate::consumer_id;
use crate::input::{Failure, Key, Method, Now, Settled, Ticket};
use crate::ledger::Place;
use crate::limits;
use crate::outbox::{Asked, Outbox};
use crate::output::{End, Output, Retry, Whose};
use crate::take::Take;

/// Live leases are being looked for. What the log says meanwhile is newer than what
/// is found.
#[derive(Debug)]
pub(crate) struct Finding {
    /// What ended from this moment on, in the count of the peer's sessions, is not
    /// live, whatever is found. `None`: nothing was told since it began.
    pub(crate) since: Option<u64>,
    pub(crate) granted: HashSet<Key>,
    /// The search is to be made once more: the log jumped meanwhile, or something else was
    /// to be looked for.
    is_stale: bool,
    /// Another session had resumed a lease meanwhile.
    is_taken: bool,
    whose: Whose,
    /// These proposals resume what was found.
    resuming: HashSet<Ticket>,
    /// These leases are resumed by now.
    resumed: Vec<Grant>,
    /// There may be more than was found or is resumed.
    is_cut: bool,
}

/// The knowledge of the peer when it takes in what a session has found.
pub(crate) struct Known<'a> {
    /// Tells whether a lease has ended, or another session has it, since a count of the searches
    /// of this peer.
    pub(crate) is_lost: &'a dyn Fn(&Key, Option<u64>) -> bool,
    pub(crate) now: Now,
    /// Tasks that are due by this machine time, in nanoseconds, may be delivered.
    pub(crate) due_by_ns: u64,
}

/// The keys of leases that came to a session, and of those that went.
pub(crate) type Moved = (Vec<Key>, Vec<Key>);

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
            is_taken: false,
            whose: whose.clone(),
            resuming: HashSet::new(),
            resumed: Vec::new(),
            is_cut: false,
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
            let to_come = self.find_again.as_ref().map(|(_, whose)| whose.clone());
            let under_way = under_way.or(to_come);
            let whose = under_way.unwrap_or_else(|| match self.may_come_back {
                true => Whose::Consumer(self.consumer_id.clone()),
                false => Whose::Session(self.name.clone()),
            });
            self.find(whose, out);
        }
    }

    /// Leases were found.
    pub(crate) fn found<E>(
        &mut self,
        mut leases: Vec<Grant>,
        known: &Known<'_>,
        out: &mut Outbox<E>,
    ) -> Moved {
        let Some(mut finding) = self.finding.take() else {
            return Moved::default();
        };
        if self.state == State::Ended {
            return Moved::default();
        }
        if finding.is_stale {
            self.find(finding.whose, out);
            return Moved::default();
        }
        finding.is_cut = leases.len() >= limits::IN_FLIGHT_MAX as usize;
        if self.take == Some(Take::Resuming) {
            // One that was granted ahead never came to the caller, as far as this peer
            // knows. If there is no other, it is looked at again.
            let is_any = !leases.is_empty();
            leases.retain(|grant| grant.due_at_ns <= known.due_by_ns);
            if is_any && leases.is_empty() {
                let again_ns = known.now.monotonic_ns + limits::REPORT_RETRY_NS;
                self.find_again = Some((again_ns, finding.whose));
                return Moved::default();
            }
            let most = self.taking().tasks as usize;
            finding.is_cut = leases.len() > most;
            leases.truncate(most);
        } else if self.state != State::Opening {
            return self.settle(finding, leases, known, out);
        }
        if leases.is_empty() || planted!("found-not-resumed") {
            return self.settle(finding, leases, known, out);
        }
        self.finding = Some(finding);
        self.resume(leases, known.now, out);
        Moved::default()
    }

    /// The time for which it goes on to resume, in nanoseconds of the monotonic clock.
    fn resume_patience_ns(&self, now: Now) -> u64 {
        let patience_ns = match self.method {
            Method::Take(taking) => taking.patience_ns,
            Method::Consume { .. } | Method::Stream => limits::RESUME_PATIENCE_NS,
        };
        let until_ns = self.opened.monotonic_ns.saturating_add(patience_ns);
        until_ns.saturating_sub(now.monotonic_ns)
    }

    /// Asks the log for leases that its consumer has from before.
    fn resume<E>(&mut self, leases: Vec<Grant>, now: Now, out: &mut Outbox<E>) {
        let patience_ns = self.resume_patience_ns(now);
        let Some(finding) = &mut self.finding else {
            return;
        };
        let mut by_holder: BTreeMap<String, Vec<Grant>> = BTreeMap::new();
        for grant in leases {
            let its = by_holder.entry(grant.consumer.clone()).or_default();
            its.push(grant);
        }
        for (holder, leases) in &by_holder {
            for batch in leases.chunks(ACK_COUNT_MAX) {
                let resume = ResumeLeases {
                    held: HeldLeases {
                        refs: LeaseRefs {
                            namespace: self.namespace.clone(),
                            leases: batch.iter().map(Grant::key).collect(),
                        },
                        consumer: holder.clone(),
                    },
                    by: consumer_id::resumed(&self.name),
                };
                let asked = Asked::Resume {
                    session: self.id,
                    leases: batch.to_vec(),
                };
                let retry = Retry::Repeat { patience_ns };
                let ticket = out.propose(asked, Command::ResumeLeases(resume), retry);
                finding.resuming.insert(ticket);
            }
        }
    }

    /// The log said which of these leases it has.
    pub(crate) fn resumed<E>(
        &mut self,
        (ticket, leases): (Ticket, Vec<Grant>),
        result: Result<Settled, Failure<E>>,
        known: &Known<'_>,
        out: &mut Outbox<E>,
    ) -> Moved {
        let Some(finding) = self.finding.as_mut() else {
            return Moved::default();
        };
        if !finding.resuming.remove(&ticket) {
            // The ticket is of an earlier search.
            return Moved::default();
        }
        let outcome = match result {
            Ok(settled) => settled.outcome,
            Err(Failure::NotDone(error) | Failure::Unknown(error)) => {
                self.not_found(error, known.now, out);
                return Moved::default();
            }
        };
        // An outcome of another kind of command says that there is no such lease.
        let results = match outcome {
            Outcome::Extended { results, .. } => results,
            _ => Vec::new(),
        };
        for (mut grant, result) in leases.into_iter().zip(results) {
            match result {
                Ok(deadline_ns) => {
                    grant.deadline_ns = deadline_ns;
                    grant.consumer = consumer_id::resumed(&self.name);
                    finding.resumed.push(grant);
                }
                // Another session of the consumer may have it, and may be gone.
                Err(LeaseLost::Taken) => finding.is_taken = true,
                Err(LeaseLost::Expired | LeaseLost::Gone | LeaseLost::Dead) => {}
            }
        }
        if !finding.resuming.is_empty() {
            return Moved::default();
        }
        let Some(mut finding) = self.finding.take() else {
            return Moved::default();
        };
        if self.state == State::Ended {
            return Moved::default();
        }
        // A call has new tasks only when its consumer has none.
        let is_more =
            self.take == Some(Take::Resuming) && finding.is_cut && finding.resumed.is_empty();
        let is_taken = finding.is_taken && self.resume_patience_ns(known.now) > 0;
        if finding.is_stale || is_more || is_taken {
            self.find(finding.whose, out);
            return Moved::default();
        }
        let mut resumed = std::mem::take(&mut finding.resumed);
        resumed.sort_unstable_by_key(|grant| (grant.deadline_ns, grant.id));
        self.settle(finding, resumed, known, out)
    }

    /// Takes in what was found, and resumed if that is needed.
    fn settle<E>(
        &mut self,
        finding: Finding,
        mut leases: Vec<Grant>,
        known: &Known<'_>,
        out: &mut Outbox<E>,
    ) -> Moved {
        let is_lost = |key: &Key| (known.is_lost)(key, finding.since);
        if self.take == Some(Take::Resuming) {
            leases.retain(|grant| !is_lost(&grant.key()));
            self.take_resumed(leases, out);
            return Moved::default();
        }
        let is_opening = self.state == State::Opening;
        let mut there: HashSet<Key> = HashSet::new();
        let (mut came, mut gone) = (Vec::new(), Vec::new());
        for grant in leases {
            let key = grant.key();
            let is_own = grant.consumer == self.name;
            let is_resumed = grant.consumer == consumer_id::resumed(&self.name)
                && matches!(self.method, Method::Consume { .. });
            let is_its = is_own
                || is_resumed
                || is_opening && planted!("found-not-resumed")
                || self.former.as_ref() == Some(&grant.consumer);
            if !is_its {
                // Another session has resumed it, by an event that was jumped over.
                match self.resumed_elsewhere(&key, known.now) {
                    true => drop(there.insert(key)),
                    false => gone.push(key),
                }
                continue;
            }
            there.insert(key);
            if is_lost(&key) {
                continue;
            }
            let at = (known.now.wall_ns, known.due_by_ns);
            // The lease may have come by an event, under the name that it had before.
            let before = self.flow.ledger.get(&key).filter(|lease| {
                let is_sent = matches!(lease.place, Place::OnWay | Place::InHand);
                !is_sent && lease.grant.consumer != grant.consumer
            });
            if before.is_some() {
                self.flow.ledger.end(&key);
            }
            if self.flow.granted(grant, is_own, !is_own, at) {
                came.push(key);
            }
        }
        let mut went = self.flow.ledger.keys();
        let ledger = &self.flow.ledger;
        went.retain(|key| {
            let is_known = there.contains(key) || finding.granted.contains(key);
            let is_foreign = ledger
                .get(key)
                .is_some_and(|lease| consumer_id::holder(&lease.grant.consumer) != self.name);
            !(is_known || finding.is_cut || is_foreign && !self.may_come_back)
        });
        for key in &went {
            self.flow.ended(key);
        }
        went.extend(gone);
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
