//! What is to be done, and what was proposed and is not answered yet.

use std::collections::HashMap;

use z4_core::command::{Command, Grant, HeldLeases, LeaseRefs, Taker};
use z4_core::Namespace;

use crate::endings::Item;
use crate::input::{Key, SessionId, Ticket};
use crate::limits;
use crate::output::{Output, Retry, Told};

/// Whom the answer to a proposal is for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A client, for these leases.
    Queue {
        session: SessionId,
        items: Vec<Item>,
    },
    /// LeaseTasks.
    Take(SessionId),
    /// A session whose client is done.
    Fence(SessionId),
    /// A session whose consumer has these leases from before.
    Resume {
        session: SessionId,
        leases: Vec<Grant>,
    },
    /// The dispatcher: a lease.
    Lease {
        term: u64,
        namespace: Namespace,
        takers: Vec<Taker>,
    },
    /// The dispatcher: a pulse.
    Pulse,
    /// Nobody: the log says what became of the leases.
    Nobody,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox<E> {
    pub(crate) outputs: Vec<Output<E>>,
    asked: HashMap<Ticket, Asked>,
    last: u64,
}

impl<E> Default for Outbox<E> {
    fn default() -> Self {
        Self {
            outputs: Vec::new(),
            asked: HashMap::new(),
            last: 0,
        }
    }
}

impl<E> Outbox<E> {
    pub(crate) fn push(&mut self, output: Output<E>) {
        self.outputs.push(output);
    }

    /// Tells the task of a session.
    pub(crate) fn tell(&mut self, session: SessionId, told: Told<E>) {
        self.push(Output::Session(session, told));
    }

    pub(crate) fn propose(&mut self, asked: Asked, command: Command, retry: Retry) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.asked.insert(ticket, asked);
        self.push(Output::Propose {
            ticket,
            command,
            retry,
        });
        ticket
    }

    /// Whom the answer to a proposal is for; once.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> Option<Asked> {
        self.asked.remove(&ticket)
    }

    /// Gives back leases that a consumer holds: what it never had is released, what it had
    /// in hand is returned. `leases` are with their deadlines, in machine nanoseconds.
    pub(crate) fn give_back(
        &mut self,
        how: fn(HeldLeases) -> Command,
        (of, holder): (&Namespace, &str),
        leases: &[(Key, u64)],
    ) {
        let held = |refs| {
            how(HeldLeases {
                refs,
                consumer: holder.to_owned(),
            })
        };
        self.end(held, of, leases);
    }

    /// Acknowledges what was written. `leases` are with their deadlines, in machine
    /// nanoseconds.
    pub(crate) fn ack(&mut self, of: &Namespace, leases: &[(Key, u64)]) {
        self.end(Command::AckTasks, of, leases);
    }

    fn end(&mut self, how: impl Fn(LeaseRefs) -> Command, of: &Namespace, leases: &[(Key, u64)]) {
        for batch in leases.chunks(limits::ACK_BATCH_MAX) {
            let command = how(LeaseRefs {
                namespace: of.clone(),
                leases: batch.iter().map(|(key, _)| *key).collect(),
            });
            let last_ns = batch.iter().map(|(_, deadline_ns)| *deadline_ns).max();
            let wall_ns = last_ns.unwrap_or(0);
            self.propose(Asked::Nobody, command, Retry::RepeatUntil { wall_ns });
        }
    }
}
