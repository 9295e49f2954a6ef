//! One session: what it is doing, and what it wants done next.

mod close;
pub(crate) mod finding;

use std::collections::HashSet;

use z4_core::command::{Command, Grant};
use z4_core::planted;
use z4_core::Namespace;

use crate::endings::{Answer, Ending, Kind, Queues};
use crate::flow::Flow;
use crate::input::{Delivered, Key, Method, Now, Open, Said, SessionId};
use crate::ledger::{Lease, Place};
use crate::limits;
use crate::outbox::Outbox;
use crate::output::{End, Told, Whose};
use crate::reports::LeaderView;
use crate::take::Take;

/// What a session is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The session looks for leases that its consumer has from before, and resumes them.
    Opening,
    Open,
    /// Its client sends no more. Until it is known whether that is an end or a
    /// broken connection it is given nothing, and nothing is given back.
    HalfClosed {
        until_ns: u64,
    },
    /// Its client is done; the last answers are being written.
    Flushing,
    /// Its client is done; what it had is being given back.
    Closing {
        until_ns: u64,
    },
    /// It was told to end; the shell lets go of it soon.
    Ended,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// As the log knows it.
    pub(crate) name: String,
    pub(crate) consumer_id: String,
    pub(crate) namespace: Namespace,
    pub(crate) lease_ms: u64,
    pub(crate) method: Method,
    pub(crate) state: State,
    pub(crate) flow: Flow,
    pub(crate) queues: Queues,
    /// LeaseTasks: what it is doing.
    pub(crate) take: Option<Take>,
    pub(crate) finding: Option<finding::Finding>,
    /// A search failed: when it is repeated, by the monotonic clock, and whose leases
    /// it looks for.
    find_again: Option<(u64, Whose)>,
    pub(crate) opened: Now,
    pub(crate) leader_view: LeaderView,
    /// Whose late grants come to it: the session that it took over from.
    pub(crate) former: Option<String>,
    /// Its consumer may come back for what it has in hand, here or at another peer: to give
    /// that back would end it under its hands.
    pub(crate) may_come_back: bool,
    /// Grants to its name come to it.
    pub(crate) is_listed: bool,
    /// Leases that ended in the hands of the client, of which it has said nothing. It
    /// may work on them still, and is to be told once it says that it is done.
    unspoken: HashSet<Key>,
    /// A session that is drained waits so long for that.
    last_word_ns: u64,
    /// GetTaskStream: when what is written is acknowledged.
    ack_at_ns: Option<u64>,
    /// GetTaskStream: written, and not acknowledged yet.
    written: Vec<(Key, u64)>,
    fence: close::Fence,
    /// Its client closed it, and gives back all it has. One that drained has ended what
    /// it had in hand, or its leases ran out.
    is_closed: bool,
    /// When to look at it again, by the monotonic clock.
    pub(crate) wake_at_ns: Option<u64>,
    /// When a task that it holds is due, in machine nanoseconds.
    pub(crate) held_until_ns: Option<u64>,
}

impl Session {
    pub(crate) fn new(id: SessionId, name: String, open: Open, now: Now) -> Self {
        let (flow, may_come_back) = match open.method {
            Method::Consume {
                in_flight_max,
                bytes_max,
                is_named,
            } => (Flow::new(in_flight_max, bytes_max), is_named),
            Method::Stream => (Flow::of_stream(), false),
            Method::Take(taking) => (Flow::new(taking.tasks.into(), u64::MAX), false),
        };
        Self {
            id,
            name,
            consumer_id: open.consumer_id,
            namespace: open.namespace,
            lease_ms: open.lease_ms,
            method: open.method,
            state: State::Opening,
            flow,
            queues: Queues::default(),
            take: None,
            opened: now,
            finding: None,
            find_again: None,
            leader_view: LeaderView::default(),
            former: None,
            may_come_back,
            is_listed: true,
            unspoken: HashSet::new(),
            last_word_ns: 0,
            ack_at_ns: None,
            written: Vec::new(),
            is_closed: false,
            fence: match may_come_back {
                true => close::Fence::Needed,
                false => close::Fence::Stands,
            },
            wake_at_ns: None,
            held_until_ns: None,
        }
    }

    /// The first thing that it does.
    pub(crate) fn begin<E>(&mut self, out: &mut Outbox<E>) {
        match self.method {
            Method::Consume { is_named: true, .. } => {
                let whose = Whose::Consumer(self.consumer_id.clone());
                self.find(whose, out);
            }
            // Nobody can have leases under a name that was made up now.
            Method::Consume { .. } => self.open(0, out),
            Method::Stream => self.state = State::Open,
            Method::Take(_) => {
                self.state = State::Open;
                self.begin_take(out);
            }
        }
    }

    fn open<E>(&mut self, resumed: u32, out: &mut Outbox<E>) {
        self.state = State::Open;
        out.tell(self.id, Told::Hello { resumed });
    }

    /// The log granted it a lease. `false`: it is known already.
    pub(crate) fn granted(&mut self, grant: Grant, now: Now, due_by_ns: u64) -> bool {
        if let Some(finding) = &mut self.finding {
            finding.granted.insert(grant.key());
        }
        let is_own = grant.consumer == self.name;
        let at = (now.wall_ns, due_by_ns);
        self.flow.granted(grant, is_own, false, at)
    }

    /// The log ended a lease of its.
    pub(crate) fn ended(&mut self, key: &Key, now: Now) {
        let is_unspoken = |lease: Lease| lease.place == Place::InHand && !lease.is_spoken;
        let has_words = matches!(self.method, Method::Consume { .. });
        if self.flow.ended(key).is_some_and(is_unspoken) && has_words {
            if self.unspoken.len() >= limits::IN_FLIGHT_MAX as usize {
                // Its client never says anything: there is nothing to wait for.
                self.unspoken.clear();
            }
            self.last_word_ns = now.monotonic_ns + limits::LAST_WORD_NS;
            self.unspoken.insert(*key);
        }
    }

    /// Another session of its consumer has resumed a lease of its. `false`: it counts it
    /// no more.
    pub(crate) fn resumed_elsewhere(&mut self, key: &Key, now: Now) -> bool {
        let is_ended = self.state == State::Ended;
        if let Some(lease) = self.flow.ledger.get_mut(key) {
            // Its client may work on it.
            if matches!(lease.place, Place::InHand | Place::OnWay) && !is_ended {
                lease.is_elsewhere = true;
                return true;
            }
        }
        self.ended(key, now);
        false
    }

    pub(crate) fn said<E>(&mut self, said: Said, out: &mut Outbox<E>) {
        match said {
            // The client is told by the end of its session that this was not done.
            Said::Ask(_) if self.state == State::Ended => {}
            Said::Ask(mut item) => {
                let key = item.key();
                self.unspoken.remove(&key);
                if let Some(lease) = self.flow.ledger.get_mut(&key) {
                    // An earlier session may have asked something of a lease of before,
                    // and that may still be on its way.
                    let is_known = lease.is_own && !lease.is_spoken && !lease.is_elsewhere;
                    item.deadline_ns = is_known.then_some(lease.grant.deadline_ns);
                    lease.is_spoken |= item.kind() != Kind::Extend;
                }
                return self.queues.push(item);
            }
            Said::Drain => {
                self.flow.drain();
                out.tell(self.id, Told::Withdraw);
            }
            Said::Credit(tasks, bytes) => self.flow.set_credit(tasks, bytes),
            Said::Refused => {}
        }
        out.tell(self.id, Told::Taken);
    }

    pub(crate) fn half_closed<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        self.is_closed = true;
        if matches!(self.state, State::Opening | State::Open) {
            let grace_ns = match planted!("half-close-taken-for-a-close") {
                true => 0,
                false => limits::HALF_CLOSE_GRACE_NS,
            };
            self.state = State::HalfClosed {
                until_ns: now.monotonic_ns + grace_ns,
            };
            out.tell(self.id, Told::Withdraw);
        }
    }

    /// Some of what was on the way is with the consumer, or is not.
    /// Gives the keys of those that it counts no more.
    pub(crate) fn delivered<E>(
        &mut self,
        delivered: &Delivered,
        now: Now,
        out: &mut Outbox<E>,
    ) -> Vec<Key> {
        let ledger = &mut self.flow.ledger;
        for key in &delivered.sent {
            let sent = ledger.move_to(key, Place::InHand).map(Lease::key_until);
            self.written
                .extend(sent.filter(|_| self.method == Method::Stream));
        }
        for key in &delivered.over {
            ledger.move_to(key, Place::Over);
        }
        ledger.put_back(&delivered.left);
        let mut elsewhere = Vec::new();
        for key in &delivered.left {
            // The session that has resumed it delivers it.
            if ledger.get(key).is_some_and(|lease| lease.is_elsewhere) {
                elsewhere.push(*key);
            }
        }
        for key in &elsewhere {
            self.flow.ended(key);
        }
        match self.method {
            Method::Stream if !self.written.is_empty() => {
                let at_ns = now.monotonic_ns + limits::ACK_DELAY_NS;
                self.ack_at_ns.get_or_insert(at_ns);
            }
            Method::Take(_) => self.take_delivered(now, out),
            Method::Stream | Method::Consume { .. } => {}
        }
        elsewhere
    }

    /// What came of what the client asked.
    pub(crate) fn answer<E>(&mut self, answers: Vec<Answer>, out: &mut Outbox<E>) {
        for answer in answers {
            if let Ending::Until(deadline_ns) = answer.ending {
                if let Some(lease) = self.flow.ledger.get_mut(&answer.key) {
                    lease.grant.deadline_ns = deadline_ns;
                }
            }
            out.tell(self.id, Told::Answer(answer));
        }
    }

    /// Does what can be done now. What is due by a machine time, in nanoseconds, may be
    /// delivered.
    pub(crate) fn look<E>(
        &mut self,
        now: Now,
        due_by_ns: u64,
        has_leader: bool,
        out: &mut Outbox<E>,
    ) {
        self.wake_at_ns = None;
        self.flow.ledger.ripen(due_by_ns);
        let expected = self.flow.ledger.take_expected();
        if let Some((at_ns, whose)) = self.find_again.take() {
            if at_ns <= now.monotonic_ns {
                self.find(whose, out);
            } else {
                self.find_again = Some((at_ns, whose));
                self.wake(at_ns);
            }
        }
        if matches!(self.method, Method::Take(_)) {
            return self.look_take(now, has_leader, out);
        }
        match self.state {
            State::Open => {
                if !expected.is_empty() {
                    out.tell(self.id, Told::Expect(expected));
                }
                self.flow_on(now, out);
            }
            State::HalfClosed { until_ns } => {
                if planted!("half-closed-looks") {
                    self.wake_by_wall(now);
                }
                if now.monotonic_ns < until_ns {
                    self.wake(until_ns);
                } else if self.queues.is_empty() {
                    self.flush(out);
                }
            }
            State::Closing { .. } => self.close_on(now, out),
            State::Opening | State::Flushing | State::Ended => {}
        }
        if self.state != State::Ended {
            self.queues.propose(self.id, &self.namespace, false, out);
        }
    }

    fn flush<E>(&mut self, out: &mut Outbox<E>) {
        self.state = State::Flushing;
        out.tell(self.id, Told::Flush);
    }

    /// Gives and releases what may be given and must be released.
    fn flow_on<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        let surplus = self.flow.surplus(now.wall_ns);
        self.give_back(Command::ReleaseTasks, &surplus, out);
        loop {
            let deliveries = self.flow.next(now.wall_ns);
            if deliveries.is_empty() {
                break;
            }
            out.tell(self.id, Told::Deliver(deliveries));
        }
        self.acknowledge(now, out);
        self.wake_by_wall(now);
        // Its client is told that it is done when it has nothing any more.
        let left = match planted!("closed-before-released") {
            true => self.flow.ledger.at(Place::InHand).count,
            false => self.flow.ledger.open(),
        };
        if !(self.flow.is_draining() && left == 0 && self.queues.is_empty()) {
            return;
        }
        if self.unspoken.is_empty() || now.monotonic_ns >= self.last_word_ns {
            self.flush(out);
        } else {
            self.wake(self.last_word_ns);
        }
    }

    /// GetTaskStream: acknowledges what is written, many at once or after a while.
    fn acknowledge<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        let Some(at_ns) = self.ack_at_ns else { return };
        if at_ns > now.monotonic_ns && self.written.len() < limits::ACK_BATCH_MAX {
            return self.wake(at_ns);
        }
        self.ack_at_ns = None;
        let written = std::mem::take(&mut self.written);
        out.ack(&self.namespace, &written);
    }

    pub(crate) fn close<E>(&mut self, end: End<E>, out: &mut Outbox<E>) {
        if self.state != State::Ended {
            self.state = State::Ended;
            out.tell(self.id, Told::Close(end));
        }
    }

    /// How many it may have been granted by now, since it opened.
    pub(crate) fn allowed(&self) -> u64 {
        let window = match (self.state, self.method) {
            (State::Open, Method::Take(_)) => self.take_window(),
            (State::Open, _) => self.flow.window(),
            _ => 0,
        };
        let ledger = &self.flow.ledger;
        ledger.received() + window.saturating_sub(ledger.own())
    }

    pub(crate) fn wake(&mut self, at_ns: u64) {
        let at_ns = self.wake_at_ns.map_or(at_ns, |known| known.min(at_ns));
        self.wake_at_ns = Some(at_ns);
    }

    /// Wakes when something is to be done about what waits.
    fn wake_by_wall(&mut self, now: Now) {
        if let Some(at_ns) = self.flow.look_at_ns() {
            let after_ns = at_ns.saturating_sub(now.wall_ns);
            self.wake(now.monotonic_ns + after_ns.min(limits::CLOCK_LOOK_NS));
        }
    }
}
