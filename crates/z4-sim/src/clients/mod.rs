//! Clients: create tasks, read them, change them, and change namespaces.
//!
//! A client knows that something was done, that surely nothing was done, or
//! neither; it never takes silence for an answer. What has a request id it
//! repeats, at whatever peer, until it knows; anything else it asks once. Each
//! try is an operation of the history. A client that crashes
//! (`Fault::ClientCrash`) forgets what it was at.

mod access;
mod think;

use std::collections::{BTreeSet, VecDeque};

use rand::Rng;
use z4_check::history::{Call, OpId, Reply as Told, Standing};
use z4_consensus::machine::StateMachine as _;
use z4_consensus::replica::Input;
use z4_core::command::{ChangePrincipal, CreateTasks, Unchanged};
use z4_core::machine::untouched;
use z4_core::state::find_task;
use z4_core::task::Phase;
use z4_core::{Command, Outcome, TaskId};
use z4_proto::command::encode_command;

use crate::peer::{Life, Peer, Token};
use crate::spaces::{BETA, DELTA};
use crate::world::{Event, World, MS};

/// What a client learns.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A command was applied.
    Outcome { outcome: Outcome, index: u64 },
    /// A read was answered: where the task stood.
    Read(Standing),
    /// No outcome; `certain`: surely nothing was done.
    Failed { certain: bool },
}

/// What a client is at.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(CreateTasks),
    /// A linearizable read.
    Get {
        space: usize,
        task: TaskId,
        /// The highest index that any client knew of when this was asked.
        floor: u64,
    },
    /// Cancel, reschedule, redrive or purge of one task.
    Change(Command, TaskId),
    /// Settings of a namespace: repeated until they are set.
    Settings(Command),
    /// A change of a principal: asked once.
    Access(ChangePrincipal),
    /// The deletion of a namespace: asked once.
    Delete(Command),
}

/// A client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) op: Option<Op>,
    /// To be done before anything it thinks of itself.
    pub(crate) todo: VecDeque<Op>,
    attempt: u64,
    /// The try in the history.
    record: Option<OpId>,
    began_ns: u64,
    /// Whom its read was asked of, and the leader that peer knew.
    asked: Option<(Life, u64)>,
    /// The leaders that its tries were sent to.
    leaders: BTreeSet<u64>,
}

impl World {
    /// The client's next request, or the next try of the one it is at.
    pub(crate) fn client_next(&mut self, client: usize) {
        // One that crashed while it was about to ask again is woken twice; two
        // tries at a time would make two tasks of a create without a request id.
        if self.clients[client].attempt != 0 {
            return;
        }
        if self.clients[client].op.is_none() {
            let todo = self.clients[client].todo.pop_front();
            let op = match todo {
                Some(op) => op,
                None if self.healed_at_ns.is_some() || !self.thinks(client) => return,
                None => self.think(),
            };
            let now_ns = self.now_ns;
            let state = &mut self.clients[client];
            state.op = Some(op);
            state.began_ns = now_ns;
            state.leaders.clear();
        }
        self.attempts += 1;
        self.report.operations += 1;
        let attempt = self.attempts;
        self.clients[client].attempt = attempt;
        self.within(300, 2_000, Event::Timeout { client, attempt });
        let mut up = self.up();
        up.retain(|id| !self.is_away(*id));
        let Some(op) = self.clients[client].op.clone() else {
            return;
        };
        self.record(client, &op);
        let Some(peer) = self.one_of(&up) else {
            return;
        };
        let token = Token::Client { client, attempt };
        match op {
            Op::Create(create) => {
                if let Some(leader) = self.leader_known_to(peer) {
                    self.clients[client].leaders.insert(leader);
                }
                self.send_command(peer, &Command::CreateTasks(create), token);
            }
            Op::Change(command, _) | Op::Settings(command) | Op::Delete(command) => {
                self.send_command(peer, &command, token);
            }
            Op::Access(change) => {
                self.send_command(peer, &Command::ChangePrincipal(change), token);
            }
            Op::Get { .. } => {
                let life = self.peers.get(&peer).map(Peer::life);
                self.clients[client].asked = life.zip(self.leader_known_to(peer));
                let deadline_ns = self.now_ns + 1_000 * MS;
                self.input(peer, Input::Read { deadline_ns, token });
            }
        }
    }

    /// A client thinks of requests itself.
    pub(crate) fn thinks(&self, client: usize) -> bool {
        (client as u64) < self.options.clients
    }

    fn send_command(&mut self, peer: u64, command: &Command, token: Token) {
        let units = command.units();
        self.forward(peer, encode_command(command), units, token);
    }

    /// Notes the beginning of a try. Namespaces that are deleted are left out:
    /// what becomes of their tasks no answer says.
    fn record(&mut self, client: usize, op: &Op) {
        let call = match op {
            Op::Create(create) if self.space_of(&create.namespace) != DELTA => {
                let request = match create.request_id.as_str() {
                    "" => 0,
                    id => z4_check::history::request_number(create.namespace.as_str(), id),
                };
                Some(Call::Create { request })
            }
            Op::Get { space, task, .. } if *space != DELTA => Some(Call::Get(*task)),
            Op::Change(command, task) => match command {
                Command::CancelTasks(refs) if self.space_of(&refs.namespace) != DELTA => {
                    Some(Call::Cancel(*task))
                }
                Command::RescheduleTasks(change) if self.space_of(&change.namespace) != DELTA => {
                    Some(Call::Reschedule(*task))
                }
                Command::RedriveTasks(redrive) if self.space_of(&redrive.namespace) != DELTA => {
                    Some(Call::Redrive(*task))
                }
                Command::PurgeTasks(refs) if self.space_of(&refs.namespace) != DELTA => {
                    Some(Call::Purge(*task))
                }
                _ => None,
            },
            _ => None,
        };
        let at_ns = self.now_ns;
        self.clients[client].record =
            call.map(|call| self.history.invoke(client as u32, call, at_ns));
    }

    pub(crate) fn space_of(&self, namespace: &z4_core::Namespace) -> usize {
        let place = self.namespaces.iter().position(|n| n == namespace);
        place.unwrap_or(DELTA)
    }

    /// Sends a proposal from one peer to the leader it knows.
    pub(crate) fn forward(&mut self, from: u64, command: Vec<u8>, units: u32, token: Token) {
        let Some(leader) = self.leader_known_to(from) else {
            let error = z4_consensus::ProposeError::NotLeader;
            return self.proposal_refused(from, token, &error);
        };
        // Forwarding is a call: it comes once or not at all.
        if let Some(delay_ns) = self.call(from, leader) {
            let event = Event::Propose {
                to: leader,
                command,
                units,
                token,
            };
            self.at(delay_ns, event);
        }
    }

    /// Sends a reply back; it may be lost.
    pub(crate) fn reply(&mut self, client: usize, attempt: u64, reply: Reply) {
        if self.rng.gen_range(0..1000) >= self.net.loss.max(self.net.reply_loss) {
            let delay_ns = self.net.delay(&mut self.rng);
            let event = Event::Reply {
                client,
                attempt,
                reply,
            };
            self.at(delay_ns, event);
        }
    }

    /// No answer came in time.
    pub(crate) fn client_timeout(&mut self, client: usize, attempt: u64) {
        if self.clients[client].attempt != attempt {
            return;
        }
        match &self.clients[client].op {
            Some(Op::Get { .. }) => {
                if self.has_other_leader(client) {
                    self.saw("a read outlived the leader it was asked of");
                }
                self.clients[client].attempt = 0;
                self.client_next(client);
            }
            Some(_) if self.options.planted("unknown-told-as-certain") => {
                self.client_reply(client, attempt, Reply::Failed { certain: true });
            }
            Some(_) => self.open_end(client),
            None => {}
        }
    }

    /// Whether the peer that a client read from follows another leader now, or
    /// none.
    fn has_other_leader(&self, client: usize) -> bool {
        let Some((life, leader)) = self.clients[client].asked else {
            return false;
        };
        self.lives(life) && self.leader_known_to(life.0) != Some(leader)
    }

    /// Nobody knows what became of a try: again, if that makes it no more than
    /// one, else it stays open.
    fn open_end(&mut self, client: usize) {
        let age_ns = self.now_ns - self.clients[client].began_ns;
        let again = match &self.clients[client].op {
            Some(Op::Create(create)) if create.request_id.is_empty() => false,
            // Remembered for a minute of machine time, whose clock may run
            // ahead of ours.
            Some(Op::Create(create)) if self.space_of(&create.namespace) == BETA => {
                age_ns < 5_000 * MS
            }
            Some(Op::Create(_) | Op::Settings(_) | Op::Get { .. }) => true,
            _ => false,
        };
        if again {
            self.clients[client].attempt = 0;
            self.client_next(client);
        } else {
            self.done(client);
        }
    }

    pub(crate) fn client_reply(&mut self, client: usize, attempt: u64, reply: Reply) {
        if self.clients[client].attempt != attempt {
            return;
        }
        let Some(op) = self.clients[client].op.clone() else {
            return;
        };
        let (record, now_ns) = (self.clients[client].record, self.now_ns);
        if !matches!(reply, Reply::Failed { .. }) {
            let began_ns = self.clients[client].began_ns;
            self.core_answered(client, &op, began_ns);
        }
        match reply {
            Reply::Outcome { outcome, index } => {
                self.checks.reads.acked(index);
                if let Op::Access(change) = &op {
                    if let Err(broken) = self.checks.access.acked(index, change, &outcome) {
                        return self.fail(broken);
                    }
                }
                self.outcome(client, &op, outcome, record);
            }
            Reply::Read(standing) => {
                if let Some(record) = record {
                    self.history.acked(record, now_ns, Told::Stands(standing));
                }
                self.report.reads += 1;
                self.done(client);
            }
            Reply::Failed { certain } => {
                if certain {
                    if let Some(record) = record {
                        self.history.refused(record, now_ns);
                    }
                }
                // The same try is not answered twice.
                self.clients[client].attempt = 0;
                match op {
                    Op::Change(..) | Op::Delete(_) | Op::Access(_) => self.done(client),
                    Op::Create(create) if create.request_id.is_empty() && !certain => {
                        self.done(client);
                    }
                    _ => self.within(20, 300, Event::Client(client)),
                }
            }
        }
    }

    fn outcome(&mut self, client: usize, op: &Op, outcome: Outcome, record: Option<OpId>) {
        let now_ns = self.now_ns;
        match (op, outcome) {
            (Op::Create(create), Outcome::Created(tasks)) => {
                self.report.acked += 1;
                let ids: Vec<_> = tasks.iter().map(|t| t.id).collect();
                if let Some(record) = record {
                    self.history.created(record, now_ns, &ids);
                }
                if let Some(core) = &mut self.core {
                    core.created(self.clients[client].began_ns, &ids);
                }
                if self.clients[client].leaders.len() > 1 {
                    self.saw("a create was repeated across two leaders");
                }
                if let Err(broken) = self.checks.creates.acked(create, &ids) {
                    return self.fail(broken);
                }
            }
            (_, Outcome::Refused(_)) => {
                if let Some(record) = record {
                    self.history.refused(record, now_ns);
                }
            }
            (Op::Change(_, task), Outcome::Changed(results)) => {
                let told = match results.first() {
                    Some(Ok(())) => Told::Done,
                    Some(Err(Unchanged::Gone)) => Told::Stands(Standing::Missing),
                    Some(Err(Unchanged::Leased { .. })) => Told::Stands(Standing::Leased),
                    Some(Err(Unchanged::Dead)) => Told::Stands(Standing::Dead),
                    Some(Err(Unchanged::Waiting)) => Told::Stands(Standing::Waiting),
                    Some(Err(Unchanged::Full)) => Told::Stands(Standing::Dead),
                    None => return self.fail(format!("a change of {task} was not answered")),
                };
                if let Some(record) = record {
                    self.history.acked(record, now_ns, told);
                }
            }
            (Op::Settings(_), Outcome::NamespaceSet { .. })
            | (Op::Access(_), Outcome::PrincipalChanged(_))
            | (Op::Delete(_), Outcome::NamespaceDeleting) => {}
            (op, outcome) => {
                return self.fail(format!("promise 1: {op:?} was answered by {outcome:?}"));
            }
        }
        self.done(client);
    }

    /// A read was confirmed at a peer: looks into the peer's state.
    pub(crate) fn client_read(&mut self, id: u64, client: usize, attempt: u64, confirmed: u64) {
        let current = self.clients[client].attempt == attempt;
        let Some(Op::Get { space, task, floor }) = self.clients[client].op.clone() else {
            return;
        };
        let Some(run) = self.peers.get(&id).and_then(|p| p.run.as_ref()) else {
            return;
        };
        if !current {
            return;
        }
        let follows = !run.leading;
        let applied = run.machine.applied().position.index;
        let answers = self.peers.get(&self.answers_read(id));
        let Some(answers) = answers.and_then(|p| p.run.as_ref()) else {
            return;
        };
        let state = answers.machine.machine().state();
        let found = find_task(state, &self.namespaces[space], task);
        let standing = match found {
            Ok(None) => Standing::Missing,
            Ok(Some((body, status))) => match status.unwrap_or_else(|| untouched(&body)).phase {
                Phase::Waiting { .. } => Standing::Waiting,
                Phase::Leased { .. } => Standing::Leased,
                Phase::Dead { .. } => Standing::Dead,
            },
            Err(error) => return self.fail(error.0),
        };
        if let Err(broken) = self.checks.reads.check(id, confirmed, applied, floor) {
            return self.fail(broken);
        }
        if follows {
            self.saw("a read was confirmed by a follower");
        }
        self.reply(client, attempt, Reply::Read(standing));
    }

    /// A client forgets what it was at; what became of it nobody will know.
    pub(crate) fn client_crash(&mut self) {
        let client = self.rng.gen_range(0..self.clients.len());
        if !matches!(self.clients[client].op, None | Some(Op::Settings(_))) {
            self.done(client);
        }
    }

    fn done(&mut self, client: usize) {
        let state = &mut self.clients[client];
        state.op = None;
        state.record = None;
        state.attempt = 0;
        let longest_ms = self.epoch.think_ms.max(20);
        self.within(1, longest_ms, Event::Client(client));
    }

    /// The faults are over: every namespace is to let its tasks go.
    pub(crate) fn last_wishes(&mut self) {
        for space in 0..self.namespaces.len() {
            let settings = self.settings_of(space, true);
            self.clients[space].todo.push_back(settings);
            if self.clients[space].op.is_none() {
                self.at(MS, Event::Client(space));
            }
        }
    }
}

impl World {
    /// How many tasks a client is about to create.
    pub(crate) fn creates_of(&self, client: usize) -> Option<u32> {
        match &self.clients[client].op {
            Some(Op::Create(create)) => Some(create.tasks.len() as u32),
            _ => None,
        }
    }
}
