//! Clients: create tasks, retry what has an unknown outcome with the same
//! request id, read what was acknowledged.

use rand::Rng;
use z4_consensus::machine::StateMachine as _;
use z4_consensus::replica::Input;
use z4_core::command::{CreateTasks, Due, NewTask};
use z4_core::state::find_task;
use z4_core::task::{Priority, WallTime};
use z4_core::{Command, Namespace, TaskId};
use z4_proto::command::encode_command;

use crate::options::Bug;
use crate::peer::Token;
use crate::world::{Event, World, MS};

/// What a client learns.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Created {
        ids: Vec<TaskId>,
        index: u64,
    },
    Read {
        peer: u64,
        index: u64,
    },
    /// Not done, or nobody knows: try again.
    Failed,
}

/// What a client is at.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(CreateTasks),
    Read {
        namespace: Namespace,
        task: TaskId,
        /// The index at which it was acknowledged to some client.
        floor: u64,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Client {
    pub(crate) op: Option<Op>,
    attempt: u64,
}

impl World {
    /// The client's next request, or the next try of the one it is at.
    pub(crate) fn client_next(&mut self, client: usize) {
        if self.clients[client].op.is_none() {
            if self.healed_at_ns.is_some() {
                return;
            }
            self.clients[client].op = Some(self.new_op());
        }
        self.attempts += 1;
        let attempt = self.attempts;
        self.clients[client].attempt = attempt;
        self.within(300, 2_000, Event::Timeout { client, attempt });
        let up = self.up();
        if up.is_empty() {
            return;
        }
        let peer = up[self.rng.gen_range(0..up.len())];
        match self.clients[client].op.clone() {
            Some(Op::Create(create)) => {
                let command = Command::CreateTasks(create);
                let units = command.units();
                let token = Token::Create { client, attempt };
                self.forward(peer, encode_command(&command), units, token);
            }
            Some(Op::Read { .. }) => {
                let token = Token::Read { client, attempt };
                if self.bug(Bug::ReadsWithoutQuorum) {
                    self.client_read(client, attempt, &Reply::Read { peer, index: 0 });
                    return;
                }
                let deadline_ns = self.now_ns + 1_000 * MS;
                self.input(peer, Input::Read { deadline_ns, token });
            }
            None => {}
        }
    }

    fn new_op(&mut self) -> Op {
        if self.rng.gen_range(0..4) == 0 {
            let known = self.checks.creates.some_acked(&mut self.rng);
            if let Some((namespace, task)) = known {
                let floor = self.checks.reads.floor();
                return Op::Read {
                    namespace,
                    task,
                    floor,
                };
            }
        }
        self.requests += 1;
        let ahead_ns = self.rng.gen_range(0..3_000) * MS;
        let due = match self.rng.gen_range(0..4) {
            0 => Due::Now,
            1 => Due::AfterSeconds(self.rng.gen_range(1..3)),
            _ => Due::At(WallTime::from_ns(self.wall_ns() + ahead_ns)),
        };
        let task = NewTask {
            metadata: Vec::new(),
            payload: vec![b'x'; self.rng.gen_range(0..64)],
            due,
            priority: Priority::default(),
            max_attempts: 0,
            ttl_ms: 0,
        };
        let namespace = self.namespaces[self.rng.gen_range(0..2usize)].clone();
        Op::Create(CreateTasks {
            namespace,
            request_id: format!("r{}", self.requests),
            tasks: vec![task; self.rng.gen_range(1..3)],
        })
    }

    /// Sends a proposal from one peer to the leader it knows.
    pub(crate) fn forward(&mut self, from: u64, command: Vec<u8>, units: u32, token: Token) {
        let Some(leader) = self.leader_known_to(from) else {
            return self.proposal_failed(from, token);
        };
        // Forwarding is a call: it comes once or not at all.
        let delay_ns = if leader == from {
            Some(1_000)
        } else {
            self.net.fate(&mut self.rng, from, leader).first().copied()
        };
        if let Some(delay_ns) = delay_ns {
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
    pub(crate) fn reply(&mut self, _from: u64, client: usize, attempt: u64, reply: Reply) {
        if self.rng.gen_range(0..1000) >= self.net.loss {
            let delay_ns = self.net.delay(&mut self.rng);
            let event = Event::Reply {
                client,
                attempt,
                reply,
            };
            self.at(delay_ns, event);
        }
    }

    pub(crate) fn client_timeout(&mut self, client: usize, attempt: u64) {
        if self.clients[client].attempt == attempt && self.clients[client].op.is_some() {
            self.client_next(client);
        }
    }

    pub(crate) fn client_reply(&mut self, client: usize, attempt: u64, reply: Reply) {
        // A late answer to an earlier try is an answer too.
        let current = self.clients[client].attempt == attempt;
        match (reply, self.clients[client].op.clone()) {
            (Reply::Created { ids, index }, Some(Op::Create(create))) if current => {
                self.report.acked += 1;
                self.checks.reads.acked(index);
                let acked = self.checks.creates.acked(&create, &ids);
                if let Err(broken) = acked {
                    return self.fail(broken);
                }
                self.done(client);
            }
            (Reply::Failed, Some(_)) if current => {
                self.within(20, 200, Event::Client(client));
            }
            _ => {}
        }
    }

    /// A read was confirmed at a peer: looks into the peer's state.
    pub(crate) fn client_read(&mut self, client: usize, attempt: u64, reply: &Reply) {
        let current = self.clients[client].attempt == attempt;
        let Some(Op::Read {
            namespace,
            task,
            floor,
        }) = self.clients[client].op.clone().filter(|_| current)
        else {
            return;
        };
        let Reply::Read { peer, index } = reply else {
            return self.within(20, 200, Event::Client(client));
        };
        let Some(run) = self.peers.get(peer).and_then(|p| p.run.as_ref()) else {
            return;
        };
        let applied = run.machine.applied().position.index;
        let found = find_task(run.machine.machine().state(), &namespace, task);
        let found = match found {
            Ok(found) => found.is_some(),
            Err(error) => return self.fail(error.0),
        };
        let answer = crate::check::reads::Answer {
            peer: *peer,
            confirmed: *index,
            applied,
            floor,
            task,
            found,
        };
        let ended = self.checks.leases.ended_at(task);
        if let Err(broken) = self.checks.reads.check(&answer, ended) {
            return self.fail(broken);
        }
        self.report.reads += 1;
        self.done(client);
    }

    fn done(&mut self, client: usize) {
        self.clients[client].op = None;
        self.within(1, 60, Event::Client(client));
    }
}
