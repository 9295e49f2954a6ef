//! What consumers do: they open sessions at whatever peer, work on what they get, and
//! say what became of it on their session or by a call. While faults are about they
//! vanish, crash, stand still, come back, at another peer too, and are at two at once;
//! they close and come back, drain, and change their minds about how much they take.

use rand::Rng;
use z4_check::history::Call;
use z4_core::command::{Extend, ExtendLeases, HeldLeases, LeaseRefs, Nack, NackTasks};
use z4_core::Command;
use z4_delivery::endings::{Ask, Item, Kind};
use z4_delivery::{Key, Method, Open, Said, Taking};
use z4_proto::command::encode_command;

use super::consumers::By;
use super::wires::Up;
use crate::peer::Token;
use crate::spaces::DELTA;
use crate::world::{Event, World, MS};

/// How long leases last.
const LEASE_MS: u64 = 1_500;
/// A peer notices at once that a connection is gone, or long after.
const NOTICED_MS: [(u64, u64); 3] = [(1, 20), (1, 20), (200, 6_000)];

impl World {
    /// A consumer works.
    pub(crate) fn consumer_think(&mut self, consumer: usize) {
        let lossy = !self.calm();
        let (now_ns, state) = (self.now_ns, &self.consumers[consumer]);
        if lossy && state.stalled_until_ns > now_ns {
            let delay_ns = state.stalled_until_ns - now_ns;
            return self.at(delay_ns, Event::Consumer(consumer));
        }
        self.leave_lost_peers(consumer);
        self.work_on(consumer, lossy);
        let rare = if lossy { 30 } else { 300 };
        if self.one_in(rare) {
            self.misbehave(consumer, lossy);
        }
        let state = &self.consumers[consumer];
        let rests = state.by == By::Calls && (!lossy && self.calls_rest || self.one_in(2));
        let state = &self.consumers[consumer];
        if state.wires.is_empty() && !rests {
            self.open_somewhere(consumer);
        }
        self.within(20, 250, Event::Consumer(consumer));
    }

    /// A peer that says nothing is given up.
    fn leave_lost_peers(&mut self, consumer: usize) {
        for number in self.consumers[consumer].wires.clone() {
            let Some(wire) = self.wires.get(&number) else {
                continue;
            };
            let (life, opened_ns, is_open) = (wire.peer, wire.dialled_ns, wire.is_open);
            let stands = self.peers.get(&life.0).map_or(0, |p| p.paused_until_ns);
            let is_silent = stands > self.now_ns || !is_open;
            let is_lost = self.is_away(life.0) || !self.lives(life);
            let waited_ns = self.now_ns - opened_ns;
            if is_lost && self.one_in(4) || is_silent && waited_ns > 2_000 * MS && self.one_in(6) {
                self.vanish(consumer, number);
            }
        }
    }

    /// A connection is gone, or given up; the peer learns of it sooner or later.
    pub(super) fn vanish(&mut self, consumer: usize, number: u64) {
        let noticed_ms = NOTICED_MS[self.rng.gen_range(0..NOTICED_MS.len())];
        if self.consumers[consumer]
            .acks
            .keys()
            .any(|(of, _)| *of == number)
        {
            self.saw("a connection broke in the middle of a proposal");
        }
        if noticed_ms.0 > 100 {
            self.saw("a peer noticed late that a consumer had left");
        }
        self.cut(number, noticed_ms);
        self.forget_wire(number);
        self.consumers[consumer].is_to_resume = true;
        if self.consumers[consumer].by == By::Nameless {
            // It has another name now; what it has in hand it may still end.
            self.consumers[consumer].id = self.new_consumer_id(By::Nameless);
        }
    }

    pub(super) fn open_somewhere(&mut self, consumer: usize) {
        let mut up = self.up();
        up.retain(|id| !self.is_away(*id));
        let Some(peer) = self.one_of(&up) else { return };
        let in_flight_max = self.rng.gen_range(3..12);
        let bytes_max = [12, 40, 1 << 20][self.rng.gen_range(0..3)];
        let state = &mut self.consumers[consumer];
        let method = match state.by {
            By::Named | By::Nameless => Method::Consume {
                in_flight_max,
                bytes_max,
                is_named: state.by == By::Named,
            },
            By::Stream => Method::Stream,
            By::Calls => {
                let wait_ms = [0, 0, 5, 300, 2_000][self.rng.gen_range(0..5)];
                let patience_ms = [400, 1_000, 3_000][self.rng.gen_range(0..3)];
                Method::Take(Taking {
                    tasks: self.rng.gen_range(1..6),
                    wait_ns: wait_ms * MS,
                    patience_ns: patience_ms * MS,
                    resume: std::mem::take(&mut state.is_to_resume),
                })
            }
        };
        let open = Open {
            namespace: self.namespaces[state.space].clone(),
            consumer_id: state.id.clone(),
            lease_ms: LEASE_MS,
            method,
        };
        if let Method::Take(Taking { resume: true, .. }) = method {
            self.saw("a call asked for what its consumer holds");
        }
        if let Some(number) = self.dial_session(consumer, peer, open) {
            let wires = &mut self.consumers[consumer].wires;
            wires.push(number);
            if wires.len() > 1 {
                self.saw("a consumer was at two peers at once");
            }
            if let Some(wire) = self.wires.get_mut(&number) {
                wire.in_flight_max = in_flight_max;
                wire.is_open = matches!(method, Method::Stream | Method::Take(_));
            }
        }
    }

    /// Something that consumers do now and then.
    fn misbehave(&mut self, consumer: usize, lossy: bool) {
        let wires = self.consumers[consumer].wires.clone();
        let Some(number) = self.one_of(&wires) else {
            return;
        };
        let by = self.consumers[consumer].by;
        match self.rng.gen_range(0..if lossy { 12 } else { 4 }) {
            0 if by != By::Calls => self.close_session(consumer, number),
            1 => self.vanish(consumer, number),
            2 if matches!(by, By::Named | By::Nameless) => {
                let tasks = self.rng.gen_range(3..12);
                if let Some(wire) = self.wires.get_mut(&number) {
                    wire.in_flight_max = wire.in_flight_max.max(tasks);
                }
                self.say_up(number, Up::Said(Said::Credit(Some(tasks), None)));
            }
            // One that is at two peers would give back at one what it has at the other.
            3 if matches!(by, By::Named | By::Nameless) && wires.len() == 1 => {
                if let Some(wire) = self.wires.get_mut(&number) {
                    wire.is_drained = true;
                }
                self.say_up(number, Up::Said(Said::Drain));
            }
            4 | 5 if by == By::Named && wires.len() == 1 && !self.is_leaving(number) => {
                self.open_somewhere(consumer);
            }
            6..=8 => self.vanish(consumer, number),
            9 => self.stick(number),
            10 => self.say_up(number, Up::Said(Said::Refused)),
            _ => {}
        }
    }

    /// Whether a consumer has said by this connection that it takes no more.
    fn is_leaving(&self, number: u64) -> bool {
        let wire = self.wires.get(&number);
        wire.is_some_and(|wire| wire.is_closing || wire.is_drained)
    }

    /// Closes a session: all that its consumer has goes back. It comes back at once,
    /// as soon as it is told that this is done.
    fn close_session(&mut self, consumer: usize, number: u64) {
        if self.consumers[consumer].by == By::Stream {
            return self.vanish(consumer, number);
        }
        if let Some(wire) = self.wires.get_mut(&number) {
            if !wire.is_open || wire.is_closing || self.consumers[consumer].wires.len() > 1 {
                return;
            }
            wire.is_closing = true;
            self.put_all_down(consumer);
            self.saw("a consumer closed its session");
            self.say_up(number, Up::HalfClosed);
        }
    }

    /// A consumer does not read what comes.
    fn stick(&mut self, number: u64) {
        let until_ns = self.now_ns + self.rng.gen_range(200..3_000) * MS;
        let Some(wire) = self.wires.get(&number) else {
            return;
        };
        let (id, session) = (wire.peer.0, wire.session);
        if let Some(task) = session.and_then(|session| self.task(id, session)) {
            task.stuck_until_ns = until_ns;
        }
    }

    /// A consumer says what became of some of what it has in hand: mostly that it is
    /// done, and while there are faults, now and then something else.
    fn work_on(&mut self, consumer: usize, lossy: bool) {
        let keys: Vec<Key> = self.consumers[consumer].hand.keys().copied().collect();
        let mut keys: Vec<Key> = keys
            .into_iter()
            .filter(|_| !lossy || self.rng.gen_range(0..4) > 0)
            .collect();
        if lossy && self.one_in(40) {
            // It forgets one.
            if let Some(key) = keys.pop() {
                self.put_down(consumer, &key);
            }
        }
        if keys.is_empty() {
            return;
        }
        // Of what it has said to be done, and has again, it says so again.
        let (again, keys): (Vec<Key>, Vec<Key>) = keys
            .into_iter()
            .partition(|key| self.judge.acked.contains(key));
        self.tell(consumer, Kind::Ack, again);
        let kind = match self.rng.gen_range(0..if lossy { 12 } else { 1 }) {
            8 | 9 => Kind::Nack,
            10 => Kind::Extend,
            11 => Kind::Release,
            _ => Kind::Ack,
        };
        if kind == Kind::Release {
            self.judge.asked_back.extend(&keys);
        }
        self.tell(consumer, kind, keys);
    }

    /// Says this of some leases, on its session or by a call.
    fn tell(&mut self, consumer: usize, kind: Kind, keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        let wires = self.consumers[consumer].wires.clone();
        let by = self.consumers[consumer].by;
        let wire = wires.last().copied().filter(|number| {
            let wire = self.wires.get(number);
            wire.is_some_and(|wire| wire.is_open && wire.is_up && !wire.is_closing)
        });
        match wire.filter(|_| by != By::Calls) {
            Some(wire) if !self.one_in(10) => self.say(consumer, wire, kind, &keys),
            _ => self.call_end(consumer, kind, keys),
        }
    }

    fn say(&mut self, consumer: usize, wire: u64, kind: Kind, keys: &[Key]) {
        for key in keys {
            let (id, token) = *key;
            let ask = match kind {
                Kind::Ack => Ask::Ack(*key),
                Kind::Release => Ask::Release(*key),
                Kind::Nack => Ask::Nack(Nack {
                    id,
                    token,
                    delay_ms: [None, Some(0), Some(300)][self.rng.gen_range(0..3)],
                    error: "tried".into(),
                    permanent: self.one_in(20),
                }),
                Kind::Extend => Ask::Extend(Extend {
                    id,
                    token,
                    lease_ms: 2 * LEASE_MS,
                }),
            };
            if kind == Kind::Ack {
                if let Some(ack) = self.invoke_ack(consumer, key) {
                    self.consumers[consumer].acks.insert((wire, *key), ack);
                }
            }
            if kind != Kind::Extend {
                self.put_down(consumer, key);
            }
            let item = Item {
                task_id: String::new(),
                deadline_ns: None,
                ask,
            };
            self.say_up(wire, Up::Said(Said::Ask(item)));
        }
    }

    fn invoke_ack(&mut self, consumer: usize, key: &Key) -> Option<z4_check::history::OpId> {
        let at_ns = self.now_ns;
        let is_first = self.judge.acked.insert(*key);
        if self.consumers[consumer].space == DELTA {
            return None;
        }
        let call = Call::Ack(key.0, key.1 .0);
        let ack = self.history.invoke(1_000 + consumer as u32, call, at_ns);
        is_first.then_some(ack)
    }

    /// Ends leases by a call, at whatever peer.
    fn call_end(&mut self, consumer: usize, kind: Kind, leases: Vec<Key>) {
        let mut up = self.up();
        up.retain(|id| !self.is_away(*id));
        let Some(peer) = self.one_of(&up) else { return };
        let namespace = self.namespaces[self.consumers[consumer].space].clone();
        let mut acks = Vec::new();
        for key in &leases {
            if kind == Kind::Ack {
                acks.push(self.invoke_ack(consumer, key));
            }
            if kind != Kind::Extend {
                self.put_down(consumer, key);
            }
        }
        let command = match kind {
            Kind::Ack => Command::AckTasks(LeaseRefs { namespace, leases }),
            Kind::Release => {
                let refs = LeaseRefs { namespace, leases };
                Command::ReturnTasks(HeldLeases::of_anybody(refs))
            }
            Kind::Nack => {
                let permanent = self.one_in(20);
                let nack = |(id, token)| Nack {
                    id,
                    token,
                    delay_ms: None,
                    error: "tried".into(),
                    permanent,
                };
                let nacks = leases.into_iter().map(nack).collect();
                Command::NackTasks(NackTasks { namespace, nacks })
            }
            Kind::Extend => {
                let extend = |(id, token)| Extend {
                    id,
                    token,
                    lease_ms: 2 * LEASE_MS,
                };
                let extends = leases.into_iter().map(extend).collect();
                Command::ExtendLeases(ExtendLeases { namespace, extends })
            }
        };
        let token = Token::End { acks };
        self.forward(peer, encode_command(&command), 0, token);
    }

    /// A consumer forgets all it holds, and another takes its place.
    pub(crate) fn consumer_crash(&mut self) {
        let consumer = self.rng.gen_range(0..self.consumers.len());
        for number in self.consumers[consumer].wires.clone() {
            self.vanish(consumer, number);
        }
        self.put_all_down(consumer);
        let id = self.new_consumer_id(self.consumers[consumer].by);
        let state = &mut self.consumers[consumer];
        state.id = id;
        state.is_to_resume = false;
        state.was_at = None;
    }

    /// Some consumers hold what they have past their leases.
    pub(crate) fn consumer_stall(&mut self) {
        let until_ns = self.now_ns + self.rng.gen_range(500..4_000) * MS;
        for consumer in 0..self.consumers.len() {
            if self.one_in(3) {
                self.consumers[consumer].stalled_until_ns = until_ns;
            }
        }
    }
}
