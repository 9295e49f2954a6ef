//! What a peer has instead of the delivery thread and the tasks of calls: it gives the
//! sessions what happens, and does what they want done, each a little later.

use std::collections::{BTreeMap, VecDeque};

use rand::Rng;
use z4_consensus::replica::Input as ToReplica;
use z4_core::dispatch::Riders;
use z4_core::machine::Event as Happened;
use z4_core::state::find_status;
use z4_core::task::Phase;
use z4_core::Namespace;
use z4_delivery::{
    AppliedEvents, Delivered, Delivery, End, Input, LeaderClock, Leadership, Now, Output, Quiet,
    Report, SessionId, SessionInput, Sessions, Ticket, Told, Whose,
};

use super::links::Link;
use super::proposals::Tried;
use super::wires::{Down, Up};
use crate::peer::{Life, Token};
use crate::world::{Event, World, MS};

/// So many turns in a row in which nothing happens, and nothing is waited for, are
/// a thread that never rests.
const IDLE_TURNS_MAX: u32 = 20;

/// The delivery of a peer that runs.
pub(crate) struct Shell {
    pub(crate) sessions: Sessions<String>,
    pub(super) tasks: BTreeMap<SessionId, Task>,
    pub(super) proposals: BTreeMap<Ticket, Tried>,
    /// By leader.
    pub(super) links: BTreeMap<u64, Link>,
    pub(super) session_last: u64,
    is_turn_planned: bool,
    /// True time of the next look.
    wake_ns: Option<u64>,
    /// Something happened since the last turn.
    has_news: bool,
    quiet: Quiet,
    pub(super) clock: LeaderClock,
    pub(super) riders: Riders,
    /// Reports of other peers that are to be answered once the turn has gone by them.
    pub(super) heard: Vec<(Life, Report)>,
    idle_turns: u32,
}

/// The task of a session's call.
#[derive(Debug)]
pub(super) struct Task {
    /// The connection of its consumer.
    pub(super) wire: u64,
    /// To be written.
    pending: VecDeque<Delivery>,
    is_write_planned: bool,
    /// It is a call of LeaseTasks: it has one answer.
    answers_once: bool,
    /// Its consumer does not read until then.
    pub(super) stuck_until_ns: u64,
}

impl Shell {
    pub(crate) fn new(life: Life) -> Self {
        Self {
            sessions: Sessions::new(&life.1.to_string()),
            tasks: BTreeMap::new(),
            proposals: BTreeMap::new(),
            links: BTreeMap::new(),
            session_last: 0,
            is_turn_planned: false,
            wake_ns: None,
            has_news: false,
            quiet: Quiet::default(),
            clock: LeaderClock::default(),
            riders: Riders::default(),
            heard: Vec::new(),
            idle_turns: 0,
        }
    }
}

impl World {
    fn now_of(&self, id: u64) -> Now {
        let now = self.clocks(id);
        Now {
            wall_ns: now.wall_ns,
            monotonic_ns: now.monotonic_ns,
        }
    }

    pub(super) fn shell(&mut self, id: u64) -> Option<&mut Shell> {
        let run = self.peers.get_mut(&id)?.run.as_mut()?;
        Some(&mut run.shell)
    }

    /// Something happened to the sessions of a peer.
    pub(crate) fn session_input(&mut self, id: u64, input: Input<String>) {
        let now = self.now_of(id);
        self.lead_now(id);
        // The sessions of a leader go by this reading.
        let _ = self.read_clock(id);
        if !matches!(input, Input::Applied(_)) {
            self.trace
                .note(self.now_ns, format_args!("{id} sessions: {input:?}"));
        }
        if let Some(shell) = self.shell(id) {
            shell.sessions.step(input, now);
            shell.has_news = true;
            self.plan_turn(id);
        }
    }

    /// The delivery thread wakes a little later, so that inputs come in batches.
    fn plan_turn(&mut self, id: u64) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        if let Some(run) = peer.run.as_mut().filter(|run| !run.shell.is_turn_planned) {
            run.shell.is_turn_planned = true;
            // Now and then it gets no processor.
            let is_late = self.rng.gen_ratio(1, 20);
            let longest_ns = if is_late { 30 * MS } else { MS / 5 };
            let delay_ns = self.rng.gen_range(1_000..longest_ns);
            self.at(delay_ns, Event::Turn { life, at_ns: None });
        }
    }

    /// Leadership of a peer, as of its last step.
    pub(crate) fn lead(&mut self, id: u64, leads: bool) {
        let wall_ns = self.clocks(id).wall_ns;
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let behind = leads && !run.leading && wall_ns < run.machine.machine().stamp_ns();
        run.leading = leads;
        if behind {
            self.saw("machine time stood while a leader's clock was behind");
        }
        if self.has_new_leadership(id).is_some() {
            self.lead_now(id);
            self.plan_turn(id);
        }
    }

    /// The leadership of a peer, if its sessions have another one.
    fn has_new_leadership(&mut self, id: u64) -> Option<Leadership> {
        let goes_by_clock = self.leads_by_clock(id);
        let run = self.peers.get(&id)?.run.as_ref()?;
        let (glance, is_ready_here) = (run.replica.glance(), run.leading);
        let leadership = Leadership {
            raft_id: id,
            leader: glance.leader,
            term: glance.term,
            is_ready_here,
            goes_by_clock,
        };
        let shell = self.shell(id)?;
        (shell.sessions.leadership() != leadership).then_some(leadership)
    }

    /// Tells the sessions of a peer who leads, before anything else that they are told.
    fn lead_now(&mut self, id: u64) {
        let Some(leadership) = self.has_new_leadership(id) else {
            return;
        };
        let now = self.now_of(id);
        self.trace
            .note(self.now_ns, format_args!("{id} sessions: {leadership:?}"));
        if let Some(shell) = self.shell(id) {
            shell.sessions.step(Input::Leadership(leadership), now);
            shell.has_news = true;
        }
    }

    /// Hands what was applied to the sessions.
    pub(crate) fn take_events(&mut self, id: u64) {
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let told = run.told.lock().map(|mut told| std::mem::take(&mut *told));
        for told in told.unwrap_or_default() {
            if told.is_jump && self.has_sessions(id) {
                self.saw("a snapshot jumped over the events of sessions");
            }
            for event in &told.events {
                if let Happened::Leased {
                    grants, stamp_ns, ..
                } = event
                {
                    if grants.iter().any(|grant| grant.due_at_ns > *stamp_ns) {
                        self.saw("a task was leased ahead of its time");
                    }
                    self.judge_granted(id, grants);
                }
            }
            let applied = AppliedEvents {
                events: told.events,
                stamp_ns: told.stamp_ns,
                pulse_next_ns: told.pulse_next_ns,
                is_jump: told.is_jump,
            };
            let must_tell = |shell: &mut Shell| shell.quiet.must_tell(&applied);
            match self.shell(id).is_none_or(must_tell) {
                true => self.session_input(id, Input::Applied(applied)),
                false if applied.events.is_empty() => {}
                false => self.saw("new tasks woke nobody"),
            }
        }
    }

    fn has_sessions(&mut self, id: u64) -> bool {
        self.shell(id)
            .is_some_and(|shell| !shell.sessions.is_empty())
    }

    /// A turn of the delivery thread; `at_ns`: it was waited for until then.
    pub(crate) fn turn(&mut self, life: Life, at_ns: Option<u64>) {
        let (id, now) = (life.0, self.now_of(life.0));
        self.lead_now(id);
        // The sessions of a leader go by this reading.
        let _ = self.read_clock(id);
        let true_ns = self.now_ns;
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        match at_ns {
            // Something was to be done earlier, and planned anew then.
            Some(at_ns) if run.shell.wake_ns != Some(at_ns) => return,
            Some(_) => run.shell.wake_ns = None,
            None => run.shell.is_turn_planned = false,
        }
        if let Some(reading) = run.shell.clock.before_turn() {
            run.shell.sessions.step(Input::LeaderClock(reading), now);
        }
        let awaits_due = run.shell.sessions.awaits_due();
        let (shell, state) = (&mut run.shell, run.machine.machine().state());
        let say = |awaits_due| shell.quiet.before_turn(awaits_due);
        let recall = |namespace: &Namespace| shell.riders.recall(namespace);
        let turned = shell.sessions.turn_shared(now, state, say, recall);
        if !awaits_due && run.shell.sessions.awaits_due() {
            return self.fail(format!(
                "a turn of peer {id} made somebody who awaits tasks"
            ));
        }
        let turn = match turned {
            Ok(turn) => turn,
            Err(error) => return self.fail(error.0),
        };
        let shell = &mut run.shell;
        let is_idle = !std::mem::take(&mut shell.has_news) && turn.outputs.is_empty();
        let is_hot = turn.wake_after_ns == Some(0);
        shell.idle_turns = if is_idle && is_hot {
            shell.idle_turns + 1
        } else {
            0
        };
        if shell.idle_turns > IDLE_TURNS_MAX {
            return self.fail(format!("the delivery thread of peer {id} never rests"));
        }
        let heard = std::mem::take(&mut shell.heard);
        let waits_for_clock = turn.awaits_clock_ns.is_some();
        if shell.clock.after_turn(turn.awaits_clock_ns) {
            self.plan_turn(id);
        }
        if waits_for_clock {
            self.saw("a held task waited for the clock of the leader");
        }
        let Some(shell) = self.shell(id) else {
            return;
        };
        if let Some(after_ns) = turn.wake_after_ns {
            // At least a little later: a clock that stands would not move on.
            let at_ns = true_ns + after_ns.max(MS / 10);
            if shell.wake_ns.is_none_or(|planned| at_ns < planned) {
                shell.wake_ns = Some(at_ns);
                let at_ns = Some(at_ns);
                self.at(after_ns.max(MS / 10), Event::Turn { life, at_ns });
            }
        }
        for output in turn.outputs {
            self.session_output(life, output);
        }
        for (from, report) in heard {
            self.answer_remote(life.0, from, &report, true);
        }
    }

    fn session_output(&mut self, life: Life, output: Output<String>) {
        self.trace
            .note(self.now_ns, format_args!("{life:?} wants {output:?}"));
        match output {
            Output::Session(session, told) => self.session_told(life, session, told),
            Output::Propose {
                ticket,
                command,
                retry,
            } => {
                self.session_propose(life, ticket, &command, retry);
            }
            Output::Offer { term, lease } => {
                if let Some(shell) = self.shell(life.0) {
                    shell.riders.offer(term, lease);
                }
            }
            Output::TellClock { to, term, at_ns } => self.tell_clock(life.0, to, term, at_ns),
            Output::ForgetRiders => {
                if let Some(shell) = self.shell(life.0) {
                    shell.riders.clear();
                }
            }
            Output::Find {
                session,
                namespace,
                whose,
            } => self.find(life, session, namespace, whose),
            Output::Report { to, report } => self.report_to(life, to, report),
        }
    }

    fn session_told(&mut self, life: Life, session: SessionId, told: Told<String>) {
        let id = life.0;
        match told {
            Told::Hello { resumed } => self.down(id, session, Down::Hello { resumed }),
            Told::Deliver(deliveries) => {
                if let Some(task) = self.task(id, session) {
                    task.pending.extend(deliveries);
                    self.plan_write(life, session);
                }
            }
            Told::Withdraw => {
                let event = Event::Withdraw { life, session };
                self.task_event(life, session, (10_000, MS), event);
            }
            Told::Answer(answer) => self.down(id, session, Down::Answer(answer)),
            Told::Flush => {
                let event = Event::Flushed { life, session };
                self.task_event(life, session, (10_000, 3 * MS), event);
            }
            Told::Close(end) => {
                match end {
                    End::Done => self.judge_done(life.0, session),
                    End::NotGivenBack => self.judge_not_given_back(life.0, session),
                    _ => {}
                }
                let end = Some(end);
                let event = Event::LetGo { life, session, end };
                self.task_event(life, session, (10_000, MS), event);
            }
            // Bodies are read when they are written; the simulated consumers have no bound
            // of messages without an answer.
            Told::Expect(_) | Told::Taken => {}
        }
    }

    /// Something happened to a session of a peer.
    pub(super) fn happened(&mut self, id: u64, session: SessionId, input: SessionInput<String>) {
        self.session_input(id, Input::Session(session, input));
    }

    pub(super) fn task(&mut self, id: u64, session: SessionId) -> Option<&mut Task> {
        self.shell(id)?.tasks.get_mut(&session)
    }

    fn task_event(&mut self, life: Life, session: SessionId, span: (u64, u64), event: Event) {
        if self.task(life.0, session).is_some() {
            let delay_ns = self.rng.gen_range(span.0..span.1);
            self.at(delay_ns, event);
        }
    }

    /// Something that the shell knows a little later.
    pub(super) fn later(&mut self, life: Life, input: Input<String>) {
        let delay_ns = self.rng.gen_range(10_000..MS);
        self.at(
            delay_ns,
            Event::ToSessions {
                life,
                input: Box::new(input),
            },
        );
    }

    /// A consumer comes to a peer.
    pub(crate) fn open_session(&mut self, life: Life, wire: u64, open: z4_delivery::Open) {
        if self.wires.get(&wire).is_none_or(|wire| wire.is_known_gone) {
            return;
        }
        let Some(shell) = self.shell(life.0) else {
            return;
        };
        shell.session_last += 1;
        let session = SessionId(shell.session_last);
        let task = Task {
            wire,
            pending: VecDeque::new(),
            is_write_planned: false,
            answers_once: matches!(open.method, z4_delivery::Method::Take(_)),
            stuck_until_ns: 0,
        };
        shell.tasks.insert(session, task);
        if let Some(wire) = self.wires.get_mut(&wire) {
            wire.session = Some(session);
        }
        self.happened(life.0, session, SessionInput::Open(open));
    }

    /// What a consumer said reached its peer.
    pub(crate) fn up_arrived(&mut self, life: Life, wire: u64, up: Up) {
        let Some(session) = self.wires.get(&wire).and_then(|wire| wire.session) else {
            return;
        };
        if self.task(life.0, session).is_none() {
            return;
        }
        match up {
            Up::Said(said) => self.happened(life.0, session, SessionInput::Said(said)),
            Up::HalfClosed => self.happened(life.0, session, SessionInput::HalfClosed),
            // gRPC says of a broken connection first that nothing more comes.
            Up::Broke if self.one_in(2) => {
                self.happened(life.0, session, SessionInput::HalfClosed);
                let end = None;
                self.within(1, 30, Event::LetGo { life, session, end });
            }
            Up::Broke => self.let_go(life, session, None),
        }
    }

    fn plan_write(&mut self, life: Life, session: SessionId) {
        let Some(task) = self.task(life.0, session) else {
            return;
        };
        if !task.is_write_planned {
            task.is_write_planned = true;
            let delay_ns = self.rng.gen_range(50_000..3 * MS);
            self.at(delay_ns, Event::Write { life, session });
        }
    }

    /// Some of what waits is written, if its consumer reads.
    pub(crate) fn write(&mut self, life: Life, session: SessionId) {
        let (id, now_ns, wall_ns) = (life.0, self.now_ns, self.clocks(life.0).wall_ns);
        let Some(task) = self.task(id, session) else {
            return;
        };
        task.is_write_planned = false;
        if task.pending.is_empty() && !task.answers_once {
            return;
        }
        if task.stuck_until_ns > now_ns {
            task.is_write_planned = true;
            let delay_ns = task.stuck_until_ns - now_ns;
            return self.at(delay_ns, Event::Write { life, session });
        }
        let (wire, len, is_whole) = (task.wire, task.pending.len(), task.answers_once);
        let count = if is_whole {
            len
        } else {
            self.rng.gen_range(1..=len)
        };
        let Some(task) = self.task(id, session) else {
            return;
        };
        let batch: Vec<Delivery> = task.pending.drain(..count).collect();
        let mut delivered = Delivered::default();
        let mut sent = Vec::new();
        for delivery in batch {
            let key = delivery.key();
            let is_live = delivery.grant.deadline_ns > wall_ns && self.is_leased(id, &delivery);
            match is_live || delivery.is_resumed && self.is_leased(id, &delivery) {
                true => {
                    self.judge.sent.insert(key);
                    delivered.sent.push(key);
                    sent.push(delivery);
                }
                false => delivered.over.push(key),
            }
        }
        for delivery in &sent {
            self.judge_due(id, delivery);
        }
        if is_whole {
            // Whoever waits for this has left, as far as is known here, or has it.
            self.answer_once(life, session, wire, sent, delivered);
            return;
        }
        for delivery in sent {
            self.down_wire(id, wire, Down::Delivery(delivery));
        }
        self.happened(id, session, SessionInput::Delivered(delivered));
        self.plan_write(life, session);
    }

    /// Whether a peer's state has a lease.
    fn is_leased(&self, id: u64, delivery: &Delivery) -> bool {
        let Some(run) = self.peers.get(&id).and_then(|p| p.run.as_ref()) else {
            return false;
        };
        let state = run.machine.machine().state();
        run.machine.machine().namespaces().any(|(_, row)| {
            let status = find_status(state, row.id, delivery.grant.id).ok().flatten();
            status.is_some_and(|status| {
                matches!(status.phase, Phase::Leased { token, .. } if token == delivery.grant.token)
            })
        })
    }

    pub(crate) fn withdraw(&mut self, life: Life, session: SessionId) {
        let delivered = self.take_pending(life.0, session);
        if delivered != Delivered::default() {
            self.happened(life.0, session, SessionInput::Delivered(delivered));
        }
    }

    fn take_pending(&mut self, id: u64, session: SessionId) -> Delivered {
        let pending = self
            .task(id, session)
            .map(|task| std::mem::take(&mut task.pending));
        let left = pending.into_iter().flatten();
        Delivered {
            left: left.map(|d| d.key()).collect(),
            ..Delivered::default()
        }
    }

    pub(crate) fn flushed(&mut self, life: Life, session: SessionId) {
        if self.task(life.0, session).is_some() {
            self.happened(life.0, session, SessionInput::Flushed);
        }
    }

    /// The task of a session ends; `end` as the session said, if it did.
    pub(crate) fn let_go(&mut self, life: Life, session: SessionId, end: Option<End<String>>) {
        let Some(wire) = self.task(life.0, session).map(|task| task.wire) else {
            return;
        };
        self.withdraw(life, session);
        if let Some(shell) = self.shell(life.0) {
            shell.tasks.remove(&session);
        }
        if let Some(end) = end {
            self.down_wire(life.0, wire, Down::Ended(end));
        }
        self.happened(life.0, session, SessionInput::Gone);
    }

    /// Looks for live leases once a read is confirmed.
    fn find(
        &mut self,
        life: Life,
        session: SessionId,
        namespace: z4_core::Namespace,
        whose: Whose,
    ) {
        let deadline_ns = self.now_ns + 3_000 * MS;
        let token = Token::Find {
            life,
            session,
            namespace,
            whose,
        };
        self.input(life.0, ToReplica::Read { deadline_ns, token });
    }

    /// A read for a search was confirmed, or not.
    pub(crate) fn find_read(&mut self, id: u64, token: Token, is_confirmed: bool) {
        let Token::Find {
            life,
            session,
            namespace,
            whose,
        } = token
        else {
            return;
        };
        let Some(run) = self.peers.get(&id).and_then(|p| p.run.as_ref()) else {
            return;
        };
        let leases = match is_confirmed {
            true => match z4_delivery::find(run.machine.machine().state(), &namespace, &whose) {
                Ok(leases) => Ok(leases),
                Err(error) => return self.fail(error.0),
            },
            false => Err("the read was not confirmed".to_owned()),
        };
        let found = SessionInput::Found(leases);
        self.later(life, Input::Session(session, found));
    }
}
