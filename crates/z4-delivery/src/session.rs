//! One session: what it is doing, and what it wants done next.

use std::collections::HashSet;

use z4_core::command::{Command, Grant, LeaseRefs};
use z4_core::planted;
use z4_core::Namespace;

use crate::endings::{Answer, Ending, Lanes};
use crate::flow::Flow;
use crate::input::{Delivered, Key, Method, Now, Open, Said, SessionId};
use crate::ledger::Place;
use crate::limits;
use crate::outbox::{Asked, Outbox};
use crate::output::{End, Output, Retry, Whose};
use crate::report::Report;
use crate::take::Take;

/// What a session is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It looks for leases that its consumer has from before.
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

/// Whether grants may still be on their way to a session whose client is done. Who
/// comes back under its name would find them, and lose them when they are given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fence {
    /// The leader has to hear first that the session takes no more.
    Needed,
    /// A command that says nothing was proposed after that: what the leader had
    /// proposed before is applied before.
    Proposed,
    /// It is applied, and this peer catches up with it.
    Awaited,
    /// Nothing comes any more.
    Stands,
}

/// Live leases are being looked for. What the log says meanwhile is newer than what
/// is found.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) ended: HashSet<Key>,
    pub(crate) granted: HashSet<Key>,
    /// The log jumped meanwhile: what is found may be older than that.
    is_stale: bool,
    whose: Whose,
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
    pub(crate) lanes: Lanes,
    pub(crate) take: Take,
    pub(crate) finding: Option<Finding>,
    /// A search failed: when it is repeated, by the monotonic clock, and whose leases
    /// it looks for.
    find_again: Option<(u64, Whose)>,
    pub(crate) opened: Now,
    pub(crate) report: Report,
    /// Whose late grants come to it: the session that it took over from.
    pub(crate) former: Option<String>,
    /// Its consumer may come back for its leases, here or at another peer: to give
    /// them back would end them under its hands.
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
    fence: Fence,
    /// When to look at it again, by the monotonic clock.
    pub(crate) wake_at_ns: Option<u64>,
}

impl Session {
    pub(crate) fn new(id: SessionId, name: String, open: Open, now: Now) -> Self {
        let (flow, may_come_back) = match open.method {
            Method::Consume {
                in_flight_max,
                bytes_max,
                is_named,
            } => (Flow::new(in_flight_max, bytes_max, is_named), is_named),
            Method::Stream => (Flow::of_stream(), false),
            Method::Take { tasks, .. } => (Flow::new(tasks.into(), u64::MAX, false), false),
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
            lanes: Lanes::default(),
            take: Take::new(open.method),
            opened: now,
            finding: None,
            find_again: None,
            report: Report::default(),
            former: None,
            may_come_back,
            is_listed: true,
            unspoken: HashSet::new(),
            last_word_ns: 0,
            ack_at_ns: None,
            written: Vec::new(),
            fence: match may_come_back {
                true => Fence::Needed,
                false => Fence::Stands,
            },
            wake_at_ns: None,
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
            Method::Take { .. } => {
                self.state = State::Open;
                self.begin_take(out);
            }
        }
    }

    fn open<E>(&mut self, resumed: u32, out: &mut Outbox<E>) {
        self.state = State::Open;
        out.push(Output::Hello {
            session: self.id,
            resumed,
        });
    }

    /// Looks for live leases, from now on.
    pub(crate) fn find<E>(&mut self, whose: Whose, out: &mut Outbox<E>) {
        self.finding = Some(Finding {
            ended: HashSet::new(),
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
        if let Some(finding) = &mut self.finding {
            finding.is_stale = true;
        } else if self.state != State::Ended {
            let whose = match self.may_come_back {
                true => Whose::Consumer(self.consumer_id.clone()),
                false => Whose::Session(self.name.clone()),
            };
            self.find(whose, out);
        }
    }

    /// The log granted it a lease. `false`: it is known already.
    pub(crate) fn granted(&mut self, grant: Grant, now: Now) -> bool {
        let key = (grant.id, grant.token);
        if let Some(finding) = &mut self.finding {
            finding.granted.insert(key);
        }
        let is_own = grant.consumer == self.name;
        self.flow.granted(grant, is_own, false, now.wall_ns)
    }

    /// The log ended a lease of its.
    pub(crate) fn ended(&mut self, key: &Key, now: Now) {
        let was_in_hand = self.flow.ended(key) == Some(Place::InHand);
        let has_words = matches!(self.method, Method::Consume { .. });
        if was_in_hand && has_words && !self.lanes.has(key) {
            if self.unspoken.len() >= limits::IN_FLIGHT_MAX as usize {
                // Its client never says anything: there is nothing to wait for.
                self.unspoken.clear();
            }
            self.last_word_ns = now.monotonic_ns + limits::LAST_WORD_NS;
            self.unspoken.insert(*key);
        }
    }

    pub(crate) fn said<E>(&mut self, said: Said, out: &mut Outbox<E>) {
        self.flow.heard();
        match said {
            // The client is told by the end of its session that this was not done.
            Said::Ask(..) if self.state == State::Ended => {}
            Said::Ask(kind, mut item) => {
                self.unspoken.remove(&item.key);
                let lease = self.flow.ledger.get(&item.key);
                item.deadline_ns = lease.map(|lease| lease.grant.deadline_ns);
                self.lanes.push(kind, item);
            }
            Said::Drain => {
                self.flow.drain();
                self.withdraw(out);
            }
            Said::Credit(tasks, bytes) => self.flow.set_credit(tasks, bytes),
            Said::Refused => {}
        }
    }

    pub(crate) fn half_closed<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        if matches!(self.state, State::Opening | State::Open) {
            let grace_ns = match planted!("half-close-taken-for-a-close") {
                true => 0,
                false => limits::HALF_CLOSE_GRACE_NS,
            };
            self.state = State::HalfClosed {
                until_ns: now.monotonic_ns + grace_ns,
            };
            self.withdraw(out);
        }
    }

    fn withdraw<E>(&mut self, out: &mut Outbox<E>) {
        if self.flow.ledger.at(Place::OnWay).count > 0 {
            out.push(Output::Withdraw { session: self.id });
        }
    }

    pub(crate) fn flushed(&mut self, now: Now) {
        if self.state == State::Flushing {
            self.may_come_back = false;
            self.state = State::Closing {
                until_ns: now.monotonic_ns + limits::CLOSE_PATIENCE_NS,
            };
        }
    }

    /// Some of what was on the way is with the consumer, or is not.
    pub(crate) fn delivered<E>(&mut self, delivered: &Delivered, now: Now, out: &mut Outbox<E>) {
        let ledger = &mut self.flow.ledger;
        for key in &delivered.sent {
            if ledger.move_to(key, Place::InHand) && self.method == Method::Stream {
                let deadline_ns = ledger.get(key).map_or(0, |l| l.grant.deadline_ns);
                self.written.push((*key, deadline_ns));
            }
        }
        for key in &delivered.over {
            ledger.move_to(key, Place::Over);
        }
        ledger.put_back(&delivered.left);
        if self.method == Method::Stream && !self.written.is_empty() {
            let at_ns = now.monotonic_ns + limits::ACK_DELAY_NS;
            self.ack_at_ns.get_or_insert(at_ns);
        }
        if matches!(self.method, Method::Take { .. }) {
            self.take_delivered(now, out);
        }
    }

    /// Leases were found. Gives the keys that came and those that went.
    pub(crate) fn found<E>(
        &mut self,
        leases: Vec<Grant>,
        now: Now,
        out: &mut Outbox<E>,
    ) -> (Vec<Key>, Vec<Key>) {
        let Some(finding) = self.finding.take() else {
            return Default::default();
        };
        if finding.is_stale {
            self.find(finding.whose, out);
            return Default::default();
        }
        if self.take == Take::Resuming {
            self.take_resumed(leases, out);
            return Default::default();
        }
        let is_opening = self.state == State::Opening;
        // More than may be found: what is not there may be live all the same.
        let is_cut = leases.len() >= limits::IN_FLIGHT_MAX as usize;
        let there: HashSet<Key> = leases.iter().map(|g| (g.id, g.token)).collect();
        let mut came = Vec::new();
        for grant in leases {
            let key = (grant.id, grant.token);
            let is_own = grant.consumer == self.name;
            let is_its = is_own || is_opening || self.former.as_ref() == Some(&grant.consumer);
            let has_ended = finding.ended.contains(&key) && !planted!("ended-while-found");
            if is_its && !has_ended && self.flow.granted(grant, is_own, !is_own, now.wall_ns) {
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
            (State::Opening, _) | (_, Take::Resuming) => self.close(End::Failed(error), out),
            // It was to be rebuilt after a jump, or is in doubt: until it knows, it
            // looks.
            _ => {
                self.find_again = Some((now.monotonic_ns + limits::REPORT_RETRY_NS, finding.whose));
            }
        }
    }

    /// What came of what the client asked.
    pub(crate) fn answer<E>(&mut self, answers: Vec<Answer>, out: &mut Outbox<E>) {
        for answer in answers {
            self.lanes.answered(&answer.key);
            if let Ending::Until(deadline_ns) = answer.ending {
                if let Some(lease) = self.flow.ledger.get_mut(&answer.key) {
                    lease.grant.deadline_ns = deadline_ns;
                }
            }
            out.push(Output::Answer {
                session: self.id,
                answer,
            });
        }
    }

    /// Does what can be done now.
    pub(crate) fn look<E>(&mut self, now: Now, has_leader: bool, out: &mut Outbox<E>) {
        self.wake_at_ns = None;
        if let Some((at_ns, whose)) = self.find_again.take() {
            if at_ns <= now.monotonic_ns {
                self.find(whose, out);
            } else {
                self.find_again = Some((at_ns, whose));
                self.wake(at_ns);
            }
        }
        if matches!(self.method, Method::Take { .. }) {
            return self.look_take(now, has_leader, out);
        }
        match self.state {
            State::Open => self.flow_on(now, out),
            State::HalfClosed { until_ns } => {
                if planted!("half-closed-looks") {
                    self.wake_by_wall(now);
                }
                if now.monotonic_ns < until_ns {
                    self.wake(until_ns);
                } else if self.lanes.is_empty() {
                    self.flush(out);
                }
            }
            State::Closing { .. } => self.close_on(now, out),
            State::Opening | State::Flushing | State::Ended => {}
        }
        if self.state != State::Ended {
            self.lanes.propose(self.id, &self.namespace, false, out);
        }
    }

    fn flush<E>(&mut self, out: &mut Outbox<E>) {
        self.state = State::Flushing;
        out.push(Output::Flush { session: self.id });
    }

    /// Gives and releases what may be given and must be released.
    fn flow_on<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        let surplus = self.flow.surplus(now.wall_ns);
        out.end(Command::ReleaseTasks, &self.namespace, &surplus);
        loop {
            let deliveries = self.flow.next(now.wall_ns);
            if deliveries.is_empty() {
                break;
            }
            out.push(Output::Deliver {
                session: self.id,
                deliveries,
            });
        }
        self.acknowledge(now, out);
        self.wake_by_wall(now);
        // Who comes back at once must find nothing that is on its way to others.
        let left = match planted!("closed-before-released") {
            true => self.flow.ledger.at(Place::InHand).count,
            false => self.flow.ledger.open(),
        };
        if !(self.flow.is_draining() && left == 0 && self.lanes.is_empty()) {
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
        out.end(Command::AckTasks, &self.namespace, &written);
    }

    /// Gives back what the client had, and waits until the log has it all.
    fn close_on<E>(&mut self, now: Now, out: &mut Outbox<E>) {
        let State::Closing { until_ns } = self.state else {
            return;
        };
        let ledger = &self.flow.ledger;
        let is_resumed = |(key, _): &(Key, u64)| ledger.get(key).is_some_and(|l| l.is_resumed);
        // One that comes again from an earlier session was in hand there.
        let (mut in_hand, untouched): (Vec<_>, Vec<_>) = ledger
            .all_at(&[Place::Waiting, Place::Over])
            .into_iter()
            .partition(is_resumed);
        in_hand.extend(ledger.all_at(&[Place::InHand]));
        for (key, _) in untouched.iter().chain(&in_hand) {
            self.flow.ledger.move_to(key, Place::Returning);
        }
        out.end(Command::ReleaseTasks, &self.namespace, &untouched);
        out.end(Command::ReturnTasks, &self.namespace, &in_hand);
        if planted!("closed-before-released") {
            return self.close(End::Done, out);
        }
        if self.flow.ledger.len() == 0 && self.lanes.is_empty() && self.is_fenced(out) {
            return self.close(End::Done, out);
        }
        if now.monotonic_ns >= until_ns {
            return self.close(End::NotGivenBack, out);
        }
        self.wake(until_ns);
    }

    /// Whether no grant can be on its way any more.
    fn is_fenced<E>(&mut self, out: &mut Outbox<E>) -> bool {
        if planted!("closed-without-a-fence") {
            return true;
        }
        let is_heard = self.report.is_heard(self.allowed());
        match self.fence {
            Fence::Needed if is_heard => {
                // A lease that nobody ever had.
                let nothing = LeaseRefs {
                    namespace: self.namespace.clone(),
                    leases: vec![Key::default()],
                };
                let patience_ns = limits::CLOSE_PATIENCE_NS;
                let retry = Retry::Repeat { patience_ns };
                out.propose(Asked::Fence(self.id), Command::ReleaseTasks(nothing), retry);
                self.fence = Fence::Proposed;
            }
            Fence::Awaited if self.finding.is_none() => self.fence = Fence::Stands,
            Fence::Needed | Fence::Proposed | Fence::Awaited | Fence::Stands => {}
        }
        self.fence == Fence::Stands
    }

    /// The fence is in the log, or may not be.
    pub(crate) fn fence_applied<E>(&mut self, is_applied: bool, out: &mut Outbox<E>) {
        if self.fence == Fence::Proposed && is_applied {
            self.fence = Fence::Awaited;
            self.find(Whose::Session(self.name.clone()), out);
        } else if self.fence == Fence::Proposed {
            self.fence = Fence::Needed;
        }
    }

    pub(crate) fn close<E>(&mut self, end: End<E>, out: &mut Outbox<E>) {
        if self.state != State::Ended {
            self.state = State::Ended;
            out.push(Output::Close {
                session: self.id,
                end,
            });
        }
    }

    /// The shell let go of it: gives back what nobody can come back for.
    pub(crate) fn gone<E>(&mut self, out: &mut Outbox<E>) {
        self.lanes.propose(self.id, &self.namespace, true, out);
        let ledger = &self.flow.ledger;
        let mut unseen = ledger.all_at(&[Place::Waiting, Place::OnWay]);
        match self.method {
            // What the client had before, it may come back for.
            Method::Consume { .. } if self.may_come_back && !planted!("broken-released") => {
                return;
            }
            Method::Consume { .. } | Method::Take { .. } => {}
            Method::Stream => {
                let written = std::mem::take(&mut self.written);
                out.end(Command::AckTasks, &self.namespace, &written);
                if planted!("unwritten-acked") {
                    out.end(Command::AckTasks, &self.namespace, &unseen);
                    unseen.clear();
                }
            }
        }
        out.end(Command::ReleaseTasks, &self.namespace, &unseen);
    }

    /// How many it may have been granted by now, since it opened.
    pub(crate) fn allowed(&self) -> u64 {
        let window = match (self.state, self.method) {
            (State::Open, Method::Take { .. }) => self.take_window(),
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
            self.wake(now.monotonic_ns + at_ns.saturating_sub(now.wall_ns));
        }
    }
}
