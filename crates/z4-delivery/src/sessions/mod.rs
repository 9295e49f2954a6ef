//! All sessions of a peer, and what it does for the consumers of others while it
//! leads.

mod answers;
mod events;
mod searches;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use z4_core::command::{Command, LeaseTasks, Taker};
use z4_core::dispatch::ConsumersView;
use z4_core::planted;
use z4_core::state::{due_next_after, StateError};
use z4_core::{Namespace, View};

use crate::directory::Directory;
use crate::input::{Input, Key, Leadership, Method, Now, Open, SessionId, SessionInput};
use crate::leading::{Leading, Recall};
use crate::limits;
use crate::outbox::Outbox;
use crate::output::{End, Output, Told};
use crate::session::{Session, State};
use crate::take::Take;

/// What is to be done now, and when to come again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Turn<E> {
    /// In this order.
    pub outputs: Vec<Output<E>>,
    /// Come again after so many nanoseconds, unless something happens before.
    /// `None`: only when something happens.
    pub wake_after_ns: Option<u64>,
    /// A task is held here that is due by then, in machine nanoseconds, and this peer does
    /// not lead: for [`LeaderClock::after_turn`](crate::LeaderClock::after_turn).
    pub awaits_clock_ns: Option<u64>,
}

/// The sessions of a peer. See the [crate](crate).
#[derive(Debug)]
pub struct Sessions<E> {
    /// What tells this life of the process from those before.
    boot: String,
    pub(crate) leadership: Leadership,
    pub(crate) leading: Leading,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) directory: Directory,
    /// Whose each lease is.
    holders: HashMap<Key, SessionId>,
    /// Sessions to look at.
    pub(crate) dirty: BTreeSet<SessionId>,
    wakes: BTreeSet<(u64, SessionId)>,
    /// Sessions that hold tasks, by the time at which the first is due.
    held: BTreeSet<(u64, SessionId)>,
    /// The last reading of the leader's clock, while this peer follows.
    leader_clock_ns: u64,
    searches: searches::Searches,
    /// Sessions of which the leader may have to be told.
    pub(crate) news: BTreeSet<SessionId>,
    /// Consumers that have left and of which the leader could not be told, and when
    /// it is to be told again. It would lease tasks to them until then.
    pub(crate) untold: BTreeMap<String, u64>,
    /// Grants of sessions that are no more, by namespace and name, with deadlines, to be
    /// given back.
    unowned: BTreeMap<(Namespace, String), Vec<(Key, u64)>>,
    /// The greatest stamp applied.
    stamp_ns: u64,
    is_stopping: bool,
    pub(crate) out: Outbox<E>,
}

impl<E> Sessions<E> {
    /// A peer without sessions. `boot` tells this life of the process from all
    /// others, in the names that the log has for its consumers.
    #[must_use]
    pub fn new(boot: &str) -> Self {
        Self {
            boot: boot.to_owned(),
            leadership: Leadership::default(),
            leading: Leading::default(),
            sessions: BTreeMap::new(),
            directory: Directory::default(),
            holders: HashMap::new(),
            dirty: BTreeSet::new(),
            wakes: BTreeSet::new(),
            held: BTreeSet::new(),
            leader_clock_ns: 0,
            searches: searches::Searches::default(),
            news: BTreeSet::new(),
            untold: BTreeMap::new(),
            unowned: BTreeMap::new(),
            stamp_ns: 0,
            is_stopping: false,
            out: Outbox::default(),
        }
    }

    /// Takes in what happened. What follows from it comes with the next
    /// [`turn`](Self::turn).
    pub fn step(&mut self, input: Input<E>, now: Now) {
        match input {
            Input::Session(id, input) => self.session_input(id, input, now),
            Input::Leadership(leadership) => self.lead(leadership, now),
            Input::Applied(applied) => self.applied(applied, now),
            Input::MachineTime(stamp_ns) => self.stamp_ns = self.stamp_ns.max(stamp_ns),
            Input::LeaderClock(reading) => {
                let Leadership { leader, term, .. } = self.leadership;
                if (reading.leader, reading.term) == (leader, term) {
                    self.leader_clock_ns = self.leader_clock_ns.max(reading.at_ns);
                }
            }
            Input::Proposed(ticket, result) => self.proposed(ticket, result, now),
            Input::RiderFailed { term, lease } => {
                self.lease_failed(term, &lease.namespace, &lease.takers);
            }
            Input::Reported { consumer, is_told } => self.report_ended(consumer, is_told, now),
            Input::ReportsLost(leader) => {
                if leader == self.leadership.leader && !planted!("lost-reports-kept") {
                    self.forget_reports();
                }
            }
            Input::Remote { link, report } => self.leading.remote(link, report),
            Input::RemoteLost(link) => self.leading.remote_lost(link),
            Input::Stop => {
                self.is_stopping = true;
                for id in self.sessions.keys().copied().collect::<Vec<_>>() {
                    self.with(id, Session::stop);
                }
            }
        }
    }

    /// A lease of the dispatcher did not come into the log. That of an earlier term is
    /// none of the present dispatcher, which may have an equal one on its way.
    pub(crate) fn lease_failed(&mut self, term: u64, namespace: &Namespace, takers: &[Taker]) {
        if term == self.leadership.term {
            let dispatcher = &mut self.leading.dispatcher;
            dispatcher.on_lease_failed(namespace, takers);
        }
    }

    fn session_input(&mut self, id: SessionId, input: SessionInput<E>, now: Now) {
        match input {
            SessionInput::Open(open) => self.open(id, open, now),
            SessionInput::Found(leases) => self.found(id, leases, now),
            SessionInput::Gone => self.gone(id, now),
            SessionInput::Said(said) => self.with(id, |session, out| session.said(said, out)),
            SessionInput::HalfClosed => self.with(id, |session, out| session.half_closed(now, out)),
            SessionInput::Flushed => self.with(id, |session, _| session.flushed(now)),
            SessionInput::Delivered(delivered) => {
                let mut went = Vec::new();
                self.with(id, |session, out| {
                    went = session.delivered(&delivered, now, out);
                });
                self.forget_holder(id, &went);
            }
        }
    }

    /// Decides what follows from all that happened. `view` is the applied state.
    ///
    /// # Errors
    /// [`StateError`] when the store fails: the process must end.
    pub fn turn(&mut self, now: Now, view: &impl View) -> Result<Turn<E>, StateError> {
        self.turn_with(now, view, None)
    }

    fn turn_with(
        &mut self,
        now: Now,
        view: &impl View,
        recall: Option<Recall<'_>>,
    ) -> Result<Turn<E>, StateError> {
        while let Some(due) = self.wakes.first().copied() {
            if due.0 > now.monotonic_ns {
                break;
            }
            self.wakes.remove(&due);
            self.dirty.insert(due.1);
        }
        let due_by_ns = self.due_by_ns(now);
        while let Some((_, id)) = self.held.first().filter(|(at_ns, _)| *at_ns <= due_by_ns) {
            let id = *id;
            self.dirty.insert(id);
            self.held.pop_first();
        }
        self.look_for_due(now, view)?;
        for id in std::mem::take(&mut self.dirty) {
            self.look(id, now);
        }
        for ((namespace, name), leases) in std::mem::take(&mut self.unowned) {
            let whose = (&namespace, &*name);
            self.out.give_back(Command::ReleaseTasks, whose, &leases);
        }
        self.tell_untold(now);
        self.tell_news(now);
        // Who waits for what the leader has heard by now.
        for id in std::mem::take(&mut self.dirty) {
            self.look(id, now);
        }
        let machine_ns = self.machine_ns(now);
        let mut wake_after_ns = self.next_report_ns();
        let first = self.wakes.first().map(|(at_ns, _)| *at_ns);
        wake_after_ns = first.into_iter().chain(wake_after_ns).min();
        wake_after_ns = wake_after_ns.map(|at_ns| at_ns.saturating_sub(now.monotonic_ns));
        if self.leads_by_clock() {
            let (term, out) = (self.leadership.term, &mut self.out);
            let wake_ns = self
                .leading
                .dispatch((machine_ns, term), view, recall, out)?;
            let told_ns = self.leading.tell_clock((now.wall_ns, term), out);
            let held_ns = self.held.first().map(|(at_ns, _)| *at_ns);
            let wake_ns = [wake_ns, told_ns, held_ns].into_iter().flatten().min();
            // Machine time stands while the clock is behind it, and nobody tells when
            // the clock is set: a long wait is cut into pieces.
            let after_ns = wake_ns.map(|at_ns| {
                let after_ns = at_ns.saturating_sub(now.wall_ns);
                after_ns.min(limits::CLOCK_LOOK_NS)
            });
            wake_after_ns = after_ns.into_iter().chain(wake_after_ns).min();
        }
        Ok(Turn {
            outputs: std::mem::take(&mut self.out.outputs),
            wake_after_ns,
            awaits_clock_ns: match self.leadership.is_ready_here {
                true => None,
                false => self.held.first().map(|(at_ns, _)| *at_ns),
            },
        })
    }

    /// As [`turn`](Self::turn), for a shell that wakes this peer and proposes for it with as
    /// little work as there can be.
    ///
    /// Before the turn it says whether anybody awaits tasks that fall due. `say` is
    /// [`Quiet::before_turn`](crate::Quiet::before_turn), under its lock: what is applied
    /// after it is told, and what was applied before it, the turn finds in `view`.
    ///
    /// The turn also offers leases that ride with new tasks ([`Output::Offer`]). `recall`
    /// is [`Riders::recall`](z4_core::dispatch::Riders::recall), under its lock.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn turn_shared(
        &mut self,
        now: Now,
        view: &impl View,
        say: impl FnOnce(bool) -> Option<u64>,
        mut recall: impl FnMut(&Namespace) -> Vec<LeaseTasks>,
    ) -> Result<Turn<E>, StateError> {
        if let Some(stamp_ns) = say(self.awaits_due()) {
            self.step(Input::MachineTime(stamp_ns), now);
        }
        self.turn_with(now, view, Some(&mut recall))
    }

    /// Looks whether calls that wait can have something at once.
    fn look_for_due(&mut self, now: Now, view: &impl View) -> Result<(), StateError> {
        let machine_ns = self.machine_ns(now);
        for id in &self.dirty {
            let session = self.sessions.get_mut(id);
            if let Some(session) = session.filter(|s| s.take == Some(Take::Looking)) {
                let due = due_next_after(view, &session.namespace, None)?;
                let is_due = due.is_some_and(|at_ns| at_ns <= machine_ns);
                session.looked(is_due, &mut self.out);
            }
        }
        Ok(())
    }

    /// The consumers of a namespace in the whole cluster; `None` when this peer does
    /// not lead.
    #[must_use]
    pub fn consumers(&self, namespace: &Namespace) -> Option<ConsumersView> {
        let dispatcher = &self.leading.dispatcher;
        self.leadership
            .is_ready_here
            .then(|| dispatcher.consumers(namespace))
    }

    /// Who leads, as it was told last.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership
    }

    /// How many sessions of a namespace the present leader was told of and has to
    /// keep in mind.
    #[must_use]
    pub fn reported(&self, namespace: &Namespace) -> usize {
        let its = self.sessions.values().filter(|s| s.namespace == *namespace);
        its.filter(|s| s.is_listed && s.leader_view.is_known())
            .count()
    }

    /// Whether anybody has to learn of tasks that fall due: a session here, or a consumer
    /// of the cluster while this peer leads. A turn adds no
    /// such session or consumer.
    #[must_use]
    pub fn awaits_due(&self) -> bool {
        !self.sessions.is_empty() || self.leading.dispatcher.has_consumers()
    }

    /// How many leases all sessions count.
    #[must_use]
    pub fn lease_count(&self) -> usize {
        self.sessions.values().map(|s| s.flow.ledger.len()).sum()
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn machine_ns(&self, now: Now) -> u64 {
        now.wall_ns.max(self.stamp_ns)
    }

    /// Tasks that are due by this machine time, in nanoseconds, may be delivered: the log says so,
    /// or the clock of the leader.
    pub(crate) fn due_by_ns(&self, now: Now) -> u64 {
        if planted!("held-lease-delivered") {
            return u64::MAX;
        }
        let is_leader = self.leads_by_clock() || planted!("own-clock-for-the-leaders");
        let leader_clock_ns = match is_leader {
            true => now.wall_ns,
            false => self.leader_clock_ns,
        };
        leader_clock_ns.max(self.stamp_ns)
    }

    /// Does something to a session that is there, and looks at it in the next turn.
    fn with(&mut self, id: SessionId, change: impl FnOnce(&mut Session, &mut Outbox<E>)) {
        if let Some(session) = self.sessions.get_mut(&id) {
            change(session, &mut self.out);
            self.dirty.insert(id);
        }
    }

    fn leads_by_clock(&self) -> bool {
        self.leadership.is_ready_here && self.leadership.goes_by_clock
    }

    fn lead(&mut self, leadership: Leadership, now: Now) {
        if leadership == self.leadership {
            return;
        }
        let clock_alone = Leadership {
            goes_by_clock: self.leadership.goes_by_clock,
            ..leadership
        };
        if clock_alone == self.leadership {
            if !leadership.goes_by_clock {
                self.out.push(Output::ForgetRiders);
            }
            self.leadership = leadership;
            return;
        }
        if self.leadership.is_ready_here {
            self.leading.step_down();
            self.out.push(Output::ForgetRiders);
        }
        if leadership.is_ready_here {
            let machine_ns = self.machine_ns(now);
            self.leading.become_leader(machine_ns);
        }
        self.leadership = leadership;
        self.leader_clock_ns = 0;
        self.forget_reports();
    }

    /// The leader knows of nobody.
    fn forget_reports(&mut self) {
        for session in self.sessions.values_mut() {
            session.leader_view.forget();
            self.news.insert(session.id);
        }
    }

    fn open(&mut self, id: SessionId, open: Open, now: Now) {
        // A call that does not wait takes no place for long.
        let is_short = matches!(open.method, Method::Take(taking) if taking.wait_ns == 0);
        let most = limits::SESSION_COUNT_MAX * if is_short { 2 } else { 1 };
        if self.is_stopping {
            return self.out.tell(id, Told::Close(End::Stopping));
        }
        if self.sessions.len() >= most {
            return self.out.tell(id, Told::Close(End::Full));
        }
        let name = format!("{}{}{:x}", open.consumer_id, self.prefix(), id.0);
        let mut session = Session::new(id, name, open, now);
        if let Some(former) = self.directory.list(&mut session) {
            self.with(former, |former, out| former.close(End::TakenOver, out));
            self.look(former, now);
        }
        session.begin(&mut self.out);
        self.sessions.insert(id, session);
        self.dirty.insert(id);
    }

    /// How the sessions of this process stand in the log.
    fn prefix(&self) -> String {
        format!("~{}.{}.", self.leadership.raft_id, self.boot)
    }

    fn look(&mut self, id: SessionId, now: Now) {
        let due_by_ns = self.due_by_ns(now);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if let Some(at_ns) = session.wake_at_ns {
            self.wakes.remove(&(at_ns, id));
        }
        let has_leader = self.leadership.leader != 0;
        session.look(now, due_by_ns, has_leader, &mut self.out);
        if let Some(at_ns) = session.wake_at_ns {
            self.wakes.insert((at_ns, id));
        }
        let held_until_ns = session.flow.ledger.held_until_ns();
        if let Some(at_ns) = std::mem::replace(&mut session.held_until_ns, held_until_ns) {
            self.held.remove(&(at_ns, id));
        }
        self.held.extend(held_until_ns.map(|at_ns| (at_ns, id)));
        match &mut session.finding {
            Some(finding) if finding.since.is_none() => {
                finding.since = Some(self.searches.begin(&session.namespace, id));
            }
            _ => {}
        }
        if session.is_listed {
            self.news.insert(id);
        }
        if session.is_listed && session.is_over() {
            self.leave(id, now);
        }
    }

    /// A session takes no more: grants to its name go to nobody.
    fn leave(&mut self, id: SessionId, now: Now) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.is_listed = false;
        self.news.remove(&id);
        self.directory.unlist(session);
        if session.leader_view.was_told {
            let name = session.name.clone();
            self.tell_gone(name, now);
        }
    }

    fn gone(&mut self, id: SessionId, now: Now) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.gone(&mut self.out);
        if session.is_listed {
            self.leave(id, now);
        }
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        if let Some(at_ns) = session.wake_at_ns {
            self.wakes.remove(&(at_ns, id));
        }
        if let Some(at_ns) = session.held_until_ns {
            self.held.remove(&(at_ns, id));
        }
        self.dirty.remove(&id);
        self.searches.end(&session.namespace, id);
        self.news.remove(&id);
        self.forget_holder(id, &session.flow.ledger.keys());
    }

    /// A session counts these leases no more.
    pub(crate) fn forget_holder(&mut self, id: SessionId, leases: &[Key]) {
        for key in leases {
            if self.holders.get(key) == Some(&id) {
                self.holders.remove(key);
            }
        }
    }
}

impl Session {
    /// Whether it takes no more grants.
    fn is_over(&self) -> bool {
        self.state == State::Ended || self.take == Some(Take::Answering)
    }
}
