//! Consumers at each peer, and the leader's dispatcher.
//!
//! Every peer serves one consumer of each namespace. A consumer acknowledges
//! most of what it holds; while faults are about it nacks, extends, releases and
//! forgets. It may crash (`Fault::ConsumerCrash`): its successor has another name
//! and knows nothing; leases that come for the old name its peer gives back. Or
//! it stalls (`Fault::ConsumerStall`): it holds its tasks past their leases and
//! then acknowledges with tokens that are no good any more.

use rand::Rng;
use z4_check::history::{Call, OpId, Reply as Told, Standing};
use z4_consensus::proposals::Asked;
use z4_consensus::replica::Input;
use z4_core::command::{Extend, ExtendLeases, LeaseLost, LeaseRefs, Nack, NackTasks};
use z4_core::dispatch::ConsumerReport;
use z4_core::machine::Event as Happened;
use z4_core::task::LeaseToken;
use z4_core::{Command, TaskId};
use z4_proto::command::encode_command;

use crate::peer::{Life, Token};
use crate::spaces::DELTA;
use crate::world::{Event, World, MS};

/// How long leases last.
const LEASE_MS: u64 = 1_500;
/// Most tasks a consumer holds.
const ROOM: u64 = 12;
/// How often a consumer says again what it said before.
const REPORT_NS: u64 = 700 * MS;

/// After so long a stream that is cut off is given up, in milliseconds.
const SILENT_MS: (u64, u64) = (3_000, 10_000);

/// A consumer that a peer serves.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) space: usize,
    received: u64,
    /// Held and not yet known to be ended, with the deadline.
    held: Vec<(TaskId, LeaseToken, u64)>,
    /// It does nothing until then.
    stalled_until_ns: u64,
    /// What it said last, to whom, and when.
    said: Option<(u64, ConsumerReport, u64)>,
}

/// What became of the ends of some leases.
#[derive(Clone, Debug)]
pub(crate) enum EndReply {
    Applied {
        tasks: Vec<(TaskId, LeaseToken)>,
        acks: Vec<OpId>,
        results: Vec<Result<(), LeaseLost>>,
    },
    Failed {
        acks: Vec<OpId>,
        certain: bool,
    },
}

impl World {
    /// A peer that starts has consumers anew.
    pub(crate) fn seat_consumers(&mut self, id: u64) {
        for space in 0..self.namespaces.len() {
            let consumer = self.new_consumer(id, space);
            if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
                run.consumers.push(consumer);
            }
        }
    }

    fn new_consumer(&mut self, id: u64, space: usize) -> Consumer {
        self.attempts += 1;
        Consumer {
            name: format!("~{id}.{}", self.attempts),
            space,
            received: 0,
            held: Vec::new(),
            stalled_until_ns: 0,
            said: None,
        }
    }

    /// Leadership of a peer, as of its last step.
    pub(crate) fn lead(&mut self, id: u64, leads: bool) {
        let wall_ns = self.clocks(id).wall_ns;
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        if run.leading == leads {
            return;
        }
        run.leading = leads;
        if leads {
            let machine = run.machine.machine();
            let behind = wall_ns < machine.stamp_ns();
            run.dispatcher
                .become_leader(wall_ns.max(machine.stamp_ns()));
            let deadline_ns = machine.pulse_next_ns();
            run.dispatcher.set_pulse(deadline_ns);
            if behind {
                self.saw("machine time stood while a leader's clock was behind");
            }
            self.dispatch(id);
        } else {
            run.dispatcher.step_down();
        }
    }

    /// Hands what was applied to dispatcher and consumers.
    pub(crate) fn take_events(&mut self, id: u64) {
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let mine = format!("~{id}.");
        let told = run.told.lock().map(|mut t| std::mem::take(&mut *t));
        let mut strays = Vec::new();
        for applied in told.unwrap_or_default() {
            for event in &applied.events {
                run.dispatcher.on_event(event);
                let Happened::Leased {
                    grants, namespace, ..
                } = event
                else {
                    continue;
                };
                for grant in grants {
                    let consumer = run.consumers.iter_mut().find(|c| c.name == grant.consumer);
                    if let Some(consumer) = consumer {
                        consumer.received += 1;
                        if let Some(core) = &mut self.core {
                            core.delivered(id, grant.id);
                        }
                        let lease = (grant.id, grant.token, grant.deadline_ns);
                        consumer.held.push(lease);
                    } else if grant.consumer.starts_with(&mine) {
                        strays.push((namespace.clone(), (grant.id, grant.token)));
                    }
                }
            }
            run.dispatcher.set_pulse(applied.pulse_next_ns);
        }
        for (namespace, lease) in strays {
            let leases = vec![lease];
            let command = Command::ReleaseTasks(LeaseRefs { namespace, leases });
            self.forward(id, encode_command(&command), 0, Token::Nobody);
        }
    }

    /// Asks the dispatcher what to propose.
    pub(crate) fn dispatch(&mut self, id: u64) {
        let (wall_ns, true_ns) = (self.clocks(id).wall_ns, self.now_ns);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        let Some(run) = peer.run.as_mut().filter(|run| run.leading) else {
            return;
        };
        let now_ns = wall_ns.max(run.machine.machine().stamp_ns());
        let poll = match run.dispatcher.poll(now_ns, run.machine.machine().state()) {
            Ok(poll) => poll,
            Err(error) => return self.fail(error.0),
        };
        if run.wake_ns.is_some_and(|wake_ns| wake_ns <= true_ns) {
            run.wake_ns = None;
        }
        let mut plan = None;
        if let Some(at_ns) = poll.wake_at_ns {
            // At least a little later: a clock that stands would not move on.
            let delay_ns = at_ns.saturating_sub(now_ns).max(MS / 10);
            let wake_ns = true_ns + delay_ns;
            if run.wake_ns.is_none_or(|planned| wake_ns < planned) {
                run.wake_ns = Some(wake_ns);
                plan = Some(delay_ns);
            }
        }
        let asked: Vec<_> = poll.commands.into_iter().map(asked).collect();
        if let Some(delay_ns) = plan {
            self.at(delay_ns, Event::Dispatch(life));
        }
        if !asked.is_empty() {
            self.input(id, Input::Propose(asked));
        }
    }

    /// The consumers of a peer work, and say what room they have.
    pub(crate) fn consume(&mut self, id: u64) {
        let lossy = !self.calm();
        let now_ns = self.now_ns;
        let leader = self.leader_known_to(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        let Some(run) = peer.run.as_mut() else { return };
        let (mut ends, mut reports) = (Vec::new(), Vec::new());
        // Leases end by the machine's clock, which no wall clock need follow.
        let stamp_ns = run.machine.machine().stamp_ns();
        for consumer in &mut run.consumers {
            if lossy && consumer.stalled_until_ns > now_ns {
                continue;
            }
            // One that wakes from a stall tries its luck with what is over.
            let late = std::mem::take(&mut consumer.stalled_until_ns) > 0;
            let rng = &mut self.rng;
            consumer.held.retain(|(_, _, deadline_ns)| {
                let forgotten = lossy && rng.gen_range(0..40) == 0;
                !forgotten && (late || *deadline_ns > stamp_ns)
            });
            let room = ROOM.saturating_sub(consumer.held.len() as u64);
            let report = ConsumerReport {
                consumer: consumer.name.clone(),
                namespace: self.namespaces[consumer.space].clone(),
                received_total: consumer.received,
                allowed_total: consumer.received + room,
                lease_ms: LEASE_MS,
            };
            if let Some(leader) = leader {
                let known = consumer.said.as_ref().is_some_and(|(to, said, at_ns)| {
                    *to == leader && *said == report && now_ns < at_ns + REPORT_NS
                });
                if !known {
                    consumer.said = Some((leader, report.clone(), now_ns));
                    reports.push(report);
                }
            }
            let tasks: Vec<_> = consumer.held.iter().map(|(t, k, _)| (*t, *k)).collect();
            if !tasks.is_empty() {
                ends.push((consumer.space, tasks));
            }
        }
        for (space, tasks) in ends {
            self.end_some(id, life, space, tasks, lossy);
        }
        match leader {
            Some(to) => {
                for report in reports {
                    if let Some(delay_ns) = self.call(id, to) {
                        self.at(delay_ns, Event::Report { to, report });
                    }
                }
            }
            None => self.dial(id),
        }
        self.within(40, 300, Event::Consume(life));
    }

    /// A consumer says what became of what it holds: mostly that it is done, and
    /// while there are faults, now and then something else.
    fn end_some(
        &mut self,
        id: u64,
        life: Life,
        space: usize,
        leases: Vec<(TaskId, LeaseToken)>,
        lossy: bool,
    ) {
        let namespace = self.namespaces[space].clone();
        let mut acks = Vec::new();
        let mut tasks = leases.clone();
        let command = match self.rng.gen_range(0..if lossy { 12 } else { 1 }) {
            8 | 9 => {
                let nack = |(id, token): &(TaskId, LeaseToken)| Nack {
                    id: *id,
                    token: *token,
                    delay_ms: [None, Some(0), Some(300)][self.rng.gen_range(0..3)],
                    error: "tried".into(),
                    permanent: self.rng.gen_range(0..20) == 0,
                };
                let nacks = leases.iter().map(nack).collect();
                Command::NackTasks(NackTasks { namespace, nacks })
            }
            10 => {
                let extend = |(id, token): &(TaskId, LeaseToken)| Extend {
                    id: *id,
                    token: *token,
                    lease_ms: 2 * LEASE_MS,
                };
                let extends = leases.iter().map(extend).collect();
                // They are held on: nothing to take off the list.
                tasks = Vec::new();
                Command::ExtendLeases(ExtendLeases { namespace, extends })
            }
            11 => Command::ReturnTasks(LeaseRefs { namespace, leases }),
            _ => {
                if space != DELTA {
                    let at_ns = self.now_ns;
                    acks = leases
                        .iter()
                        .map(|(task, token)| {
                            let call = Call::Ack(*task, token.0);
                            self.history.invoke(1_000 + id as u32, call, at_ns)
                        })
                        .collect();
                }
                Command::AckTasks(LeaseRefs { namespace, leases })
            }
        };
        let token = Token::End { life, tasks, acks };
        self.forward(id, encode_command(&command), 0, token);
    }

    pub(crate) fn consumer_reported(&mut self, to: u64, report: ConsumerReport) {
        if let Some(run) = self.peers.get_mut(&to).and_then(|p| p.run.as_mut()) {
            run.dispatcher.consumer_report(report);
            self.dispatch(to);
        }
    }

    pub(crate) fn consumer_left(&mut self, to: u64, consumer: &str) {
        if let Some(run) = self.peers.get_mut(&to).and_then(|p| p.run.as_mut()) {
            run.dispatcher.consumer_gone(consumer);
            self.dispatch(to);
        }
    }

    /// Sends the outcome of an end back to the consumer's peer; it may be lost.
    pub(crate) fn reply_ended(&mut self, from: u64, life: Life, reply: EndReply) {
        if let Some(delay_ns) = self.net.call(&mut self.rng, from, life.0) {
            self.at(delay_ns, Event::Ended { life, reply });
        }
    }

    pub(crate) fn ended(&mut self, life: Life, reply: EndReply) {
        if !self.lives(life) {
            return;
        }
        let now_ns = self.now_ns;
        let (tasks, acks, results) = match reply {
            EndReply::Applied {
                tasks,
                acks,
                results,
            } => (tasks, acks, results),
            EndReply::Failed { acks, certain } => {
                if certain {
                    for ack in acks {
                        self.history.refused(ack, now_ns);
                    }
                }
                return;
            }
        };
        for (ack, result) in acks.into_iter().zip(&results) {
            let told = match result {
                Ok(()) => Told::Done,
                Err(LeaseLost::Expired) => Told::Stands(Standing::Held),
                Err(LeaseLost::Taken) => Told::Stands(Standing::Leased),
                Err(LeaseLost::Gone) => Told::Stands(Standing::Missing),
                Err(LeaseLost::Dead) => Told::Stands(Standing::Dead),
            };
            self.history.acked(ack, now_ns, told);
        }
        let peer = self.peers.get_mut(&life.0);
        if let Some(run) = peer.and_then(|p| p.run.as_mut()) {
            for consumer in &mut run.consumers {
                consumer
                    .held
                    .retain(|(task, token, _)| !tasks.contains(&(*task, *token)));
            }
        }
    }

    /// A peer ends, and with it the stream on which it reported its consumers:
    /// their leader learns of it, at the latest when nothing comes any more.
    pub(crate) fn consumers_end(&mut self, id: u64) {
        let Some(run) = self.peers.get(&id).and_then(|p| p.run.as_ref()) else {
            return;
        };
        let said = run.consumers.iter().filter_map(|consumer| {
            let (to, ..) = consumer.said.as_ref()?;
            Some((*to, consumer.name.clone()))
        });
        for (to, consumer) in said.collect::<Vec<_>>() {
            let event = Event::Gone { to, consumer };
            match self.net.call(&mut self.rng, id, to) {
                Some(delay_ns) => self.at(delay_ns, event),
                None => self.within(SILENT_MS.0, SILENT_MS.1, event),
            }
        }
    }

    /// A consumer of a peer forgets all it holds, and another takes its place.
    pub(crate) fn consumer_crash(&mut self, id: u64) {
        let space = self.rng.gen_range(0..self.namespaces.len());
        let fresh = self.new_consumer(id, space);
        let leader = self.leader_known_to(id);
        let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) else {
            return;
        };
        let Some(seat) = run.consumers.iter_mut().find(|c| c.space == space) else {
            return;
        };
        let consumer = std::mem::replace(seat, fresh).name;
        if let Some(to) = leader {
            if let Some(delay_ns) = self.call(id, to) {
                self.at(delay_ns, Event::Gone { to, consumer });
            }
        }
    }

    /// The consumers of a peer hold what they have past their leases.
    pub(crate) fn consumer_stall(&mut self, id: u64) {
        let until_ns = self.now_ns + self.rng.gen_range(500..4_000) * MS;
        if let Some(run) = self.peers.get_mut(&id).and_then(|p| p.run.as_mut()) {
            for consumer in &mut run.consumers {
                consumer.stalled_until_ns = until_ns;
            }
        }
    }
}

fn asked(command: Command) -> Asked<Token> {
    let token = match &command {
        Command::LeaseTasks(lease) => Token::Lease {
            namespace: lease.namespace.clone(),
            takers: lease.takers.clone(),
        },
        _ => Token::Pulse,
    };
    Asked {
        units: command.units(),
        command: encode_command(&command),
        token,
    }
}
