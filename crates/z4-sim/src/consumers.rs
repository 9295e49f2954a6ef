//! Consumers at each peer, and the leader's dispatcher.

use rand::Rng;
use z4_consensus::proposals::Asked;
use z4_consensus::replica::Input;
use z4_core::command::{Extend, ExtendLeases, LeaseRefs, Nack, NackTasks};
use z4_core::dispatch::ConsumerReport;
use z4_core::machine::Event as Happened;
use z4_core::task::LeaseToken;
use z4_core::{Command, Namespace, TaskId};
use z4_proto::command::encode_command;

use crate::peer::{Life, Token};
use crate::world::{Event, World, MS};

/// How long leases last.
const LEASE_MS: u64 = 1_500;
/// Most tasks a consumer holds.
const ROOM: u64 = 12;

impl World {
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
            run.dispatcher
                .become_leader(wall_ns.max(machine.stamp_ns()));
            let deadline_ns = machine.pulse_next_ns();
            run.dispatcher.set_pulse(deadline_ns);
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
        let told = run.told.lock().map(|mut t| std::mem::take(&mut *t));
        for applied in told.unwrap_or_default() {
            for event in &applied.events {
                run.dispatcher.on_event(event);
                let Happened::Leased { grants, .. } = event else {
                    continue;
                };
                for grant in grants {
                    let mine = run.consumers.iter_mut().find(|c| c.name == grant.consumer);
                    if let Some(consumer) = mine {
                        consumer.received += 1;
                        let lease = (grant.id, grant.token, grant.deadline_ns);
                        consumer.held.push(lease);
                    }
                }
            }
            run.dispatcher.set_pulse(applied.pulse_next_ns);
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
        let asked: Vec<_> = poll
            .commands
            .into_iter()
            .map(|command| {
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
            })
            .collect();
        if let Some(delay_ns) = plan {
            self.at(delay_ns, Event::Dispatch(life));
        }
        if !asked.is_empty() {
            self.input(id, Input::Propose(asked));
        }
    }

    /// The consumers of a peer work: ack most of what they hold, lose some of
    /// it, and say what room they have.
    pub(crate) fn consume(&mut self, id: u64) {
        let lossy = self.healed_at_ns.is_none();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let life = peer.life();
        let Some(run) = peer.run.as_mut() else { return };
        let (mut ends, mut reports) = (Vec::new(), Vec::new());
        // Leases end by the machine's clock, which no wall clock need follow.
        let stamp_ns = run.machine.machine().stamp_ns();
        for consumer in &mut run.consumers {
            let rng = &mut self.rng;
            consumer.held.retain(|(_, _, deadline_ns)| {
                let forgotten = lossy && rng.gen_range(0..40) == 0;
                !forgotten && *deadline_ns > stamp_ns
            });
            let room = ROOM.saturating_sub(consumer.held.len() as u64);
            reports.push(ConsumerReport {
                consumer: consumer.name.clone(),
                namespace: consumer.namespace.clone(),
                received_total: consumer.received,
                allowed_total: consumer.received + room,
                lease_ms: LEASE_MS,
            });
            let tasks: Vec<_> = consumer.held.iter().map(|(t, k, _)| (*t, *k)).collect();
            if !tasks.is_empty() {
                ends.push((consumer.namespace.clone(), tasks));
            }
        }
        for (namespace, tasks) in ends {
            let (command, tasks) = self.verdict(lossy, namespace, tasks);
            let token = Token::Ack { life, tasks };
            self.forward(id, encode_command(&command), 0, token);
        }
        if let Some(leader) = self.leader_known_to(id) {
            for report in reports {
                let way = self.net.fate(&mut self.rng, id, leader);
                let delay_ns = if leader == id {
                    Some(1_000)
                } else {
                    way.first().copied()
                };
                if let Some(delay_ns) = delay_ns {
                    self.at(delay_ns, Event::Report { to: leader, report });
                }
            }
        }
        if self.leader_known_to(id).is_none() {
            self.dial(id);
        }
        self.within(20, 120, Event::Consume(life));
    }

    /// What a consumer says of the tasks it holds, and of which of them it says
    /// that it is rid of them: mostly that they are done, and while there are
    /// faults, now and then something else.
    fn verdict(
        &mut self,
        lossy: bool,
        namespace: Namespace,
        leases: Vec<(TaskId, LeaseToken)>,
    ) -> (Command, Vec<(TaskId, LeaseToken)>) {
        let refs = LeaseRefs {
            namespace: namespace.clone(),
            leases: leases.clone(),
        };
        match self.rng.gen_range(0..if lossy { 10 } else { 1 }) {
            7 => {
                let nack = |(id, token): &(TaskId, LeaseToken)| Nack {
                    id: *id,
                    token: *token,
                    delay_ms: [None, Some(0), Some(300)][self.rng.gen_range(0..3)],
                    error: "tried".into(),
                    permanent: false,
                };
                let nacks = leases.iter().map(nack).collect();
                (Command::NackTasks(NackTasks { namespace, nacks }), leases)
            }
            8 => {
                let extend = |(id, token): &(TaskId, LeaseToken)| Extend {
                    id: *id,
                    token: *token,
                    lease_ms: 2 * LEASE_MS,
                };
                let extends = leases.iter().map(extend).collect();
                let extends = ExtendLeases { namespace, extends };
                (Command::ExtendLeases(extends), Vec::new())
            }
            9 => (Command::ReleaseTasks(refs), leases),
            _ => (Command::AckTasks(refs), leases),
        }
    }

    pub(crate) fn consumer_reported(&mut self, to: u64, report: ConsumerReport) {
        if let Some(run) = self.peers.get_mut(&to).and_then(|p| p.run.as_mut()) {
            run.dispatcher.consumer_report(report);
            self.dispatch(to);
        }
    }

    /// Sends the outcome of an ack back to the consumer's peer; it may be lost.
    pub(crate) fn reply_acked(&mut self, from: u64, life: Life, reply: Option<Vec<TaskId>>) {
        let way = self.net.fate(&mut self.rng, from, life.0);
        if let Some(delay_ns) = way.first() {
            self.at(*delay_ns, Event::Acked { life, reply });
        }
    }

    pub(crate) fn acked(&mut self, life: Life, reply: Option<Vec<TaskId>>) {
        let peer = self.peers.get_mut(&life.0).filter(|p| p.life() == life);
        let (Some(run), Some(ended)) = (peer.and_then(|p| p.run.as_mut()), reply) else {
            return;
        };
        for consumer in &mut run.consumers {
            consumer.held.retain(|(task, _, _)| !ended.contains(task));
        }
    }
}
