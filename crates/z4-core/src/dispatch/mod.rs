//! Who gets due tasks and when to wake, as pure decisions.
//!
//! The leader's shell holds a [`Dispatcher`], tells it what happens, and proposes
//! the commands that [`Dispatcher::poll`] gives. The dispatcher decides nothing
//! about tasks: a lease is what the log says. It may be thrown away at any time
//! and begin anew at another peer.
//!
//! # Credit
//! A consumer says how many tasks it may have been given since it came
//! (`allowed_total`). What it has been given is counted from the applied lease
//! commands; what commands in flight may still give it is reserved. Room is the
//! rest, so that credit cannot be exceeded, and a command that fails or grants
//! less than it reserved gives all of it back.
//!
//! Up to [`DISPATCH_IN_FLIGHT_MAX`](limits::DISPATCH_IN_FLIGHT_MAX) commands of one
//! namespace are in flight at once: a task that falls due right after a proposal does
//! not wait for its commit. Each command takes half of the room, so that the next one
//! finds some; the last one takes the rest.
//!
//! # Ahead
//! A lease is proposed a little before its tasks are due, so that it is committed by then,
//! and takes along what is due soon after ([`LeaseTasks::ahead_ms`]). Where there is a rate
//! limit, or no room to spare, it is proposed at the due time.
//!
//! # Riders
//! [`Dispatcher::poll_offering`] also offers leases that go into the log behind a new
//! task, in one entry ([`Riders`]). What is offered counts as in flight from then on,
//! because it may be taken at any moment. When a task is due that brought no rider, or
//! when a consumer that a rider names has left or takes less, the riders of the namespace
//! are recalled first; those that do not come back are on their way.
//!
//! # What idle costs
//! An idle namespace costs nothing. It is looked at when a task is due, when a consumer
//! gets room, or when a command comes back; a namespace without consumers is not held.

mod pulse;
mod queue;
mod riders;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::pulse::Pulse;
use self::queue::{InFlight, NextDue, Queue, Reach, Shut};
pub use self::riders::{is_due_at_once, rides_with, Riders};
use crate::command::{Command, LeaseTasks, Taker};
use crate::limits;
use crate::machine::{gate, Event, Gate};
use crate::planted::planted;
use crate::state::{due_next_of, find_namespace, StateError, View};
use crate::task::Namespace;
use crate::time::MS_NS;

/// What a consumer says of itself. Replaces what it said before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerReport {
    /// Its name, unique in the cluster and never used again.
    pub consumer: String,
    /// Whose tasks it takes.
    pub namespace: Namespace,
    /// How many tasks it has been given since it came, as applied at its peer.
    pub received_total: u64,
    /// How many it may have been given by now: `received_total` plus its room.
    pub allowed_total: u64,
    /// How long its leases last, in milliseconds; 0 for the namespace's setting.
    pub lease_ms: u64,
}

/// The consumers of a namespace, as the leader knows of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConsumersView {
    /// How many.
    pub consumers: u64,
    /// How many tasks they would take now.
    pub room: u64,
}

/// What is to be done now, and when to ask again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Poll {
    /// To be proposed. Each lease command comes back as [`Event::Leased`] or
    /// through [`Dispatcher::on_lease_failed`].
    pub commands: Vec<Command>,
    /// To be given to [`Riders::offer`]. Each comes back as commands do. None from
    /// [`Dispatcher::poll`].
    pub riders: Vec<LeaseTasks>,
    /// Machine time at which to poll again, in nanoseconds, unless something
    /// happens before. `None`: only when something happens.
    pub wake_at_ns: Option<u64>,
}

#[derive(Debug)]
struct Consumer {
    namespace: Namespace,
    lease_ms: u64,
    allowed: u64,
    /// Granted by applied commands.
    given: u64,
    /// Granted, as its peer said last.
    received: u64,
    /// What commands in flight may still grant.
    reserved: u64,
    /// Whether it stands in its queue's line.
    in_line: bool,
}

impl Consumer {
    /// Counts what was granted and not counted here: by an older leader, while its peer
    /// lagged. Its peer may have applied ahead of this one, but never more than is
    /// reserved.
    fn correct(&mut self) {
        let proven = self.received.saturating_sub(self.reserved);
        self.given = self.given.max(proven);
    }

    fn room(&self) -> u64 {
        self.allowed
            .saturating_sub(self.given)
            .saturating_sub(self.reserved)
    }
}

/// The leader's dispatcher. See the [module](self).
#[derive(Debug, Default)]
pub struct Dispatcher {
    leading: bool,
    /// Machine time of the last poll, in nanoseconds.
    now_ns: u64,
    consumers: BTreeMap<String, Consumer>,
    /// The namespaces that have consumers or commands in flight.
    queues: BTreeMap<Namespace, Queue>,
    /// When to look at which.
    wakes: BTreeSet<(u64, Namespace)>,
    pulse: Pulse,
    reach: Reach,
}

impl Dispatcher {
    /// A dispatcher of a peer that does not lead.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This peer leads, at machine time `now_ns`. To be called once the first
    /// entry of its term is applied, so that no lease of an older leader is on
    /// its way; all consumers of the cluster must report anew after it.
    pub fn become_leader(&mut self, now_ns: u64) {
        self.step_down();
        self.leading = true;
        self.now_ns = now_ns;
    }

    /// This peer leads no more: forgets consumers and what is in flight.
    pub fn step_down(&mut self) {
        self.leading = false;
        self.consumers.clear();
        self.queues.clear();
        self.wakes.clear();
        self.pulse.step_down();
    }

    /// Whether there are consumers, or commands of theirs in flight.
    #[must_use]
    pub fn has_consumers(&self) -> bool {
        !self.queues.is_empty()
    }

    /// A consumer came, or its credit changed. Nothing at a peer that does not
    /// lead.
    pub fn consumer_report(&mut self, report: ConsumerReport) {
        if !self.leading {
            return;
        }
        let moved = |known: &Consumer| known.namespace != report.namespace;
        if self.consumers.get(&report.consumer).is_some_and(moved) {
            self.consumer_gone(&report.consumer);
        }
        let queue = self.queues.entry(report.namespace.clone()).or_default();
        let consumer = match self.consumers.get_mut(&report.consumer) {
            Some(known) => known,
            None => {
                queue.members += 1;
                // The newcomer is to have its turn too.
                queue.must_recall = true;
                let fresh = Consumer {
                    namespace: report.namespace.clone(),
                    lease_ms: report.lease_ms,
                    allowed: 0,
                    given: report.received_total,
                    received: 0,
                    reserved: queue.reserved_for(&report.consumer),
                    in_line: false,
                };
                self.consumers
                    .entry(report.consumer.clone())
                    .or_insert(fresh)
            }
        };
        let takes_less =
            report.lease_ms != consumer.lease_ms || report.allowed_total < consumer.allowed;
        // While riders hold room, grants of an older leader could not be told from theirs.
        let is_behind = report.received_total > consumer.given;
        queue.must_recall |= (takes_less || is_behind) && queue.has_rider_for(&report.consumer);
        consumer.lease_ms = report.lease_ms;
        consumer.allowed = report.allowed_total;
        consumer.received = consumer.received.max(report.received_total);
        consumer.correct();
        queue.line_up(&report.consumer, consumer);
        self.rearm(&report.namespace);
    }

    /// A consumer left. What is in flight for it may still be granted; its peer
    /// releases that.
    pub fn consumer_gone(&mut self, consumer: &str) {
        let Some(gone) = self.consumers.remove(consumer) else {
            return;
        };
        if let Some(queue) = self.queues.get_mut(&gone.namespace) {
            queue.members -= 1;
            queue.ready.retain(|name| name != consumer);
            queue.must_recall |= queue.has_rider_for(consumer);
        }
        self.rearm(&gone.namespace);
    }

    /// Something was applied. To be called with every event, in order, also by
    /// a peer that does not lead.
    pub fn on_event(&mut self, event: &Event) {
        match event {
            Event::Due { .. } if planted!("due-not-told") => {}
            Event::Due {
                namespace,
                due_at_ns,
            } => {
                if let Some(queue) = self.queues.get_mut(namespace) {
                    queue.next_due.lower(*due_at_ns);
                }
                self.rearm(namespace);
            }
            Event::Leased {
                namespace,
                stamp_ns,
                takers,
                grants,
                more,
            } => {
                for grant in grants {
                    if let Some(consumer) = self.consumers.get_mut(&grant.consumer) {
                        consumer.given += 1;
                    }
                }
                let back = self.take_back(namespace, takers, false);
                if let Some(queue) = self.queues.get_mut(namespace) {
                    match more {
                        true => queue.next_due.lower(*stamp_ns),
                        false => queue.next_due.leased_through(*stamp_ns),
                    }
                    // A rider was taken before it was counted as proposed, or the clock
                    // was set back between the decision and the stamp: what fell due
                    // between the two was not looked at. How much of what lies ahead was
                    // taken is not known either.
                    let is_behind = |f: &InFlight| f.at_ns.is_some_and(|at_ns| at_ns > *stamp_ns);
                    if back.is_some_and(|flying| flying.is_ahead || is_behind(&flying)) {
                        queue.next_due = NextDue::Unknown;
                    }
                }
                self.rearm(namespace);
            }
            // A place under the limit on live leases may be free.
            Event::Ended { namespace, .. } => self.reopen(namespace, Shut::UntilEvent),
            Event::Namespace { namespace } => self.reopen(namespace, Shut::default()),
            Event::Resumed { .. } | Event::Access => {}
        }
    }

    /// A lease command that [`poll`](Self::poll) gave, or a rider, was refused or lost.
    pub fn on_lease_failed(&mut self, namespace: &Namespace, takers: &[Taker]) {
        let Some(failed) = self.take_back(namespace, takers, false) else {
            return;
        };
        if let Some(queue) = self.queues.get_mut(namespace) {
            if !planted!("failed-lease-forgotten") {
                queue.not_leased(&failed);
            }
            queue.rest_until(self.now_ns.saturating_add(limits::DISPATCH_RETRY_NS));
        }
        self.rearm(namespace);
    }

    /// The earliest deadline of a live lease
    /// ([`Machine::pulse_next_ns`](crate::Machine::pulse_next_ns)),
    /// after each run of entries; to be called before
    /// [`on_pulse_done`](Self::on_pulse_done).
    pub fn set_pulse(&mut self, deadline_ns: Option<u64>) {
        self.pulse.deadline_ns = deadline_ns;
    }

    /// The pulse that [`poll`](Self::poll) gave was applied. A pulse that was
    /// refused or lost is proposed again after a second.
    pub fn on_pulse_done(&mut self) {
        self.pulse.forget_in_flight();
    }

    /// The consumers of a namespace, and the tasks that they would take now: for
    /// people who ask why a task does not run.
    #[must_use]
    pub fn consumers(&self, namespace: &Namespace) -> ConsumersView {
        let its = self
            .consumers
            .values()
            .filter(|c| c.namespace == *namespace);
        let mut view = ConsumersView::default();
        for consumer in its {
            view.consumers += 1;
            view.room += consumer.allowed.saturating_sub(consumer.given);
        }
        view
    }

    /// Decides what to propose at machine time `now_ns`: the greater of the
    /// clock and the greatest stamp known. `view` is the applied state.
    ///
    /// # Errors
    /// [`StateError`] when the store fails: the process must end.
    pub fn poll(&mut self, now_ns: u64, view: &impl View) -> Result<Poll, StateError> {
        self.poll_with(now_ns, view, Reach::default(), |_| Vec::new())
    }

    /// As [`poll`](Self::poll), for who can do more. It leases ahead: who delivers tasks
    /// waits for their due times ([`Grant::due_at_ns`](crate::command::Grant::due_at_ns)).
    /// Leases are also offered to ride with new tasks: `recall` is [`Riders::recall`] on the table
    /// to which [`Poll::riders`] go. Whoever uses this once uses it always.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_offering(
        &mut self,
        now_ns: u64,
        view: &impl View,
        recall: impl FnMut(&Namespace) -> Vec<LeaseTasks>,
    ) -> Result<Poll, StateError> {
        let reach = Reach {
            riders_max: limits::DISPATCH_RIDERS_MAX,
            ahead_ms: limits::DISPATCH_AHEAD_MS,
        };
        self.poll_with(now_ns, view, reach, recall)
    }

    fn poll_with(
        &mut self,
        now_ns: u64,
        view: &impl View,
        reach: Reach,
        mut recall: impl FnMut(&Namespace) -> Vec<LeaseTasks>,
    ) -> Result<Poll, StateError> {
        self.now_ns = self.now_ns.max(now_ns);
        self.reach = reach;
        let now_ns = self.now_ns;
        let (mut commands, mut riders) = (Vec::new(), Vec::new());
        if !self.leading {
            return Ok(Poll::default());
        }
        if self.pulse.beats(now_ns) {
            commands.push(Command::Pulse);
        }
        let mut due = Vec::new();
        while self.wakes.first().is_some_and(|(at, _)| *at <= now_ns) {
            due.extend(self.wakes.pop_first());
        }
        for (_, namespace) in due {
            if let Some(queue) = self.queues.get_mut(&namespace) {
                queue.armed = None;
            }
            self.drop_lost(&namespace);
            if let Some(lease) = self.propose(&namespace, view, &mut recall)? {
                commands.push(Command::LeaseTasks(lease));
            }
            self.offer(&namespace, &mut recall, &mut riders);
            self.rearm(&namespace);
        }
        let wake = self.wakes.first().map(|(at, _)| *at);
        let wake_at_ns = wake.into_iter().chain(self.pulse.wake_at_ns()).min();
        Ok(Poll {
            commands,
            riders,
            wake_at_ns,
        })
    }

    /// What held a namespace back may be over: whatever it was, or only this.
    fn reopen(&mut self, namespace: &Namespace, only: Shut) {
        if let Some(queue) = self.queues.get_mut(namespace) {
            if only == Shut::No || queue.shut == only {
                queue.shut = Shut::No;
                self.rearm(namespace);
            }
        }
    }

    fn propose(
        &mut self,
        namespace: &Namespace,
        view: &impl View,
        recall: &mut impl FnMut(&Namespace) -> Vec<LeaseTasks>,
    ) -> Result<Option<LeaseTasks>, StateError> {
        let now_ns = self.now_ns;
        let Some(queue) = self.queues.get_mut(namespace) else {
            return Ok(None);
        };
        if queue.next_due != NextDue::Unknown && !queue.may_propose(now_ns, self.reach) {
            return Ok(None);
        }
        let Some(row) = find_namespace(view, namespace)? else {
            // An event says when it has its first task.
            queue.next_due = NextDue::Never;
            return Ok(None);
        };
        if queue.next_due == NextDue::Unknown {
            queue.next_due = NextDue::of(due_next_of(view, &row, None)?);
            if !queue.may_propose(now_ns, self.reach) {
                return Ok(None);
            }
        }
        let open = match gate(&row, now_ns) {
            Gate::Open { room } => room,
            Gate::RateUntil(at_ns) => {
                queue.shut = Shut::Until(at_ns);
                return Ok(None);
            }
            Gate::LeasedFull | Gate::Paused | Gate::Deleting => {
                queue.shut = Shut::UntilEvent;
                return Ok(None);
            }
        };
        let early_for_ns = match queue.next_due {
            NextDue::At(at_ns) if at_ns > now_ns => Some(at_ns),
            NextDue::At(_) | NextDue::Unknown | NextDue::Never => None,
        };
        if early_for_ns.is_none() {
            self.recall(namespace, recall);
        }
        let Some(queue) = self.queues.get_mut(namespace) else {
            return Ok(None);
        };
        let ahead_ms = match row.config.rate.count == 0 && queue.ahead_from_ns <= now_ns {
            true => self.reach.ahead_ms,
            false => 0,
        };
        let room_min = match early_for_ns {
            // Only half of the room is for what is not due yet.
            Some(_) if ahead_ms > 0 && open > 1 => 2,
            Some(_) => u64::MAX,
            None => 1,
        };
        let has_place = queue.in_flight.len() < limits::DISPATCH_IN_FLIGHT_MAX;
        let lease = match has_place {
            true => queue.deal(namespace, &mut self.consumers, room_min),
            false => None,
        };
        let Some(mut lease) = lease else {
            if let Some(due_at_ns) = early_for_ns {
                queue.ahead_from_ns = due_at_ns;
            }
            return Ok(None);
        };
        lease.ahead_ms = ahead_ms;
        let through_ns = now_ns.saturating_add(ahead_ms * MS_NS);
        if ahead_ms > 0 {
            let start_ns = limits::DISPATCH_AHEAD_START_NS;
            queue.ahead_from_ns = through_ns.saturating_sub(start_ns);
        }
        queue.in_flight.push_back(InFlight {
            at_ns: Some(now_ns),
            takers: lease.takers.clone(),
            is_ahead: ahead_ms > 0,
        });
        queue.rest_until(now_ns.saturating_add(limits::DISPATCH_COALESCE_NS));
        // The command takes what is due by then.
        queue.next_due = NextDue::of(due_next_of(view, &row, Some(through_ns))?);
        Ok(Some(lease))
    }

    /// Offers as many leases to ride as the namespace may have.
    fn offer(
        &mut self,
        namespace: &Namespace,
        recall: &mut impl FnMut(&Namespace) -> Vec<LeaseTasks>,
        riders: &mut Vec<LeaseTasks>,
    ) {
        if self.queues.get(namespace).is_some_and(|q| q.must_recall) {
            self.recall(namespace, recall);
        }
        let Some(queue) = self.queues.get_mut(namespace) else {
            return;
        };
        let now_ns = self.now_ns;
        let is_open = |at_ns: u64| at_ns <= now_ns;
        while queue.offer_at_ns(self.reach).is_some_and(is_open) {
            let Some(lease) = queue.deal(namespace, &mut self.consumers, 1) else {
                return;
            };
            queue.in_flight.push_back(InFlight {
                at_ns: None,
                takers: lease.takers.clone(),
                is_ahead: false,
            });
            riders.push(lease);
        }
    }

    /// Takes back the riders of a namespace that nobody has taken. The others count as
    /// proposed now.
    fn recall(
        &mut self,
        namespace: &Namespace,
        recall: &mut impl FnMut(&Namespace) -> Vec<LeaseTasks>,
    ) {
        let Some(queue) = self.queues.get_mut(namespace) else {
            return;
        };
        queue.must_recall = false;
        for back in recall(namespace) {
            self.take_back(namespace, &back.takers, true);
        }
        if let Some(queue) = self.queues.get_mut(namespace) {
            for rider in queue.in_flight.iter_mut().filter(|f| f.at_ns.is_none()) {
                rider.at_ns = Some(self.now_ns);
            }
        }
    }

    /// Takes a command out of flight and gives its reservations back. `None` when it is
    /// not one of this leader's. Two in flight may name the same takers: a rider is taken
    /// for the one that was recalled, and for one that came back only when there is no
    /// other. Else it would be offered and nobody would know of it.
    fn take_back(
        &mut self,
        namespace: &Namespace,
        takers: &[Taker],
        is_recalled: bool,
    ) -> Option<InFlight> {
        let queue = self.queues.get_mut(namespace)?;
        let its = queue.in_flight.iter().enumerate();
        let its = its.filter(|(_, flying)| flying.takers == takers);
        let (place, _) = its.min_by_key(|(_, f)| f.at_ns.is_none() != is_recalled)?;
        let flying = queue.in_flight.remove(place)?;
        for taker in &flying.takers {
            let Some(consumer) = self.consumers.get_mut(&taker.consumer) else {
                continue;
            };
            if !planted!("credit-leaks") {
                consumer.reserved = consumer.reserved.saturating_sub(u64::from(taker.room));
                consumer.correct();
            }
            if consumer.namespace == *namespace {
                queue.line_up(&taker.consumer, consumer);
            }
        }
        Some(flying)
    }

    /// Gives up on commands that nobody answered for.
    fn drop_lost(&mut self, namespace: &Namespace) {
        let now_ns = self.now_ns;
        let lost = |queue: &Queue| queue.lost(now_ns).map(<[Taker]>::to_vec);
        while let Some(takers) = self.queues.get(namespace).and_then(lost) {
            let lost = self.take_back(namespace, &takers, false);
            if let Some((lost, queue)) = lost.zip(self.queues.get_mut(namespace)) {
                queue.not_leased(&lost);
            }
        }
    }

    /// Sets the wake of a namespace to what it is now; forgets a namespace that
    /// nobody waits for.
    fn rearm(&mut self, namespace: &Namespace) {
        let Some(queue) = self.queues.get_mut(namespace) else {
            return;
        };
        let wake = queue.wake_at_ns(self.reach);
        if queue.armed != wake {
            if let Some(old) = queue.armed {
                self.wakes.remove(&(old, namespace.clone()));
            }
            if let Some(new) = wake {
                self.wakes.insert((new, namespace.clone()));
            }
            queue.armed = wake;
        }
        if queue.members == 0 && queue.in_flight.is_empty() {
            self.queues.remove(namespace);
        }
    }
}
