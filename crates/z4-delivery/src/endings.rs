//! Acks, nacks, extends and releases that a client asks for: the command, and what
//! its outcome says of each lease.

use std::collections::VecDeque;

use z4_core::command::{
    Command, Ended, Extend, ExtendLeases, HeldLeases, LeaseLost, LeaseRefs, Nack, NackTasks,
    Outcome,
};
use z4_core::limits::ACK_COUNT_MAX;
use z4_core::planted;
use z4_core::Namespace;

use crate::input::{Key, SessionId, Settled, Ticket};
use crate::limits;
use crate::outbox::{Asked, Outbox};
use crate::output::Retry;

/// What is asked for leases; those of one kind travel together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The task is done.
    Ack,
    /// The task failed.
    Nack,
    /// The lease is to last longer.
    Extend,
    /// The task goes back without a failure.
    Release,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Ack, Self::Nack, Self::Extend, Self::Release];
}

/// What is asked for one lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The id of the task, as the client wrote it.
    pub task_id: String,
    /// Its deadline, in machine nanoseconds, if this peer knows it and nothing was asked
    /// of the lease before that would end it.
    pub deadline_ns: Option<u64>,
    /// The request, with the lease that it is for.
    pub ask: Ask,
}

/// A request, with the lease that it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// See [`Kind::Ack`].
    Ack(Key),
    /// See [`Kind::Nack`].
    Nack(Nack),
    /// See [`Kind::Extend`].
    Extend(Extend),
    /// See [`Kind::Release`].
    Release(Key),
}

impl Item {
    /// The lease.
    #[must_use]
    pub fn key(&self) -> Key {
        match &self.ask {
            Ask::Ack(key) | Ask::Release(key) => *key,
            Ask::Nack(nack) => (nack.id, nack.token),
            Ask::Extend(extend) => (extend.id, extend.token),
        }
    }

    /// The kind of the request.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.ask {
            Ask::Ack(_) => Kind::Ack,
            Ask::Nack(_) => Kind::Nack,
            Ask::Extend(_) => Kind::Extend,
            Ask::Release(_) => Kind::Release,
        }
    }
}

/// What is known of one lease after what was asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The id of the task, as the client wrote it.
    pub task_id: String,
    /// The lease.
    pub key: Key,
    /// What was asked.
    pub kind: Kind,
    /// What came of it.
    pub ending: Ending,
}

/// What came of what was asked for one lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It is over, and this became of its task.
    Over(Ended),
    /// It lasts until then, in machine nanoseconds.
    Until(u64),
    /// It was over before.
    Lost(LeaseLost),
    /// It may have been done, or not.
    Uncertain,
}

/// The command that asks for these leases, all of one kind: at most [`ACK_COUNT_MAX`].
#[must_use]
pub fn command(namespace: Namespace, kind: Kind, items: &[Item]) -> Command {
    let leases = || items.iter().map(Item::key).collect();
    match kind {
        Kind::Ack => Command::AckTasks(LeaseRefs {
            leases: leases(),
            namespace,
        }),
        // The client had the task in hand, and shows the token.
        Kind::Release => Command::ReturnTasks(HeldLeases::of_anybody(LeaseRefs {
            leases: leases(),
            namespace,
        })),
        Kind::Nack => {
            let nack = |item: &Item| match &item.ask {
                Ask::Nack(nack) => Some(nack.clone()),
                Ask::Ack(_) | Ask::Extend(_) | Ask::Release(_) => None,
            };
            let nacks = items.iter().filter_map(nack).collect();
            Command::NackTasks(NackTasks { namespace, nacks })
        }
        Kind::Extend => {
            let extend = |item: &Item| match &item.ask {
                Ask::Extend(extend) => Some(extend.clone()),
                Ask::Ack(_) | Ask::Nack(_) | Ask::Release(_) => None,
            };
            let extends = items.iter().filter_map(extend).collect();
            Command::ExtendLeases(ExtendLeases { namespace, extends })
        }
    }
}

/// The answers to what was asked, in order. An outcome of another kind of command says
/// nothing: they are uncertain then.
#[must_use]
pub fn read(settled: Settled, items: Vec<Item>) -> Vec<Answer> {
    let repeated = settled.maybe_before;
    let endings: Vec<Ending> = match settled.outcome {
        Outcome::Ended { stamp_ns, results } => {
            let read = |(item, result): (&Item, Result<Ended, LeaseLost>)| match result {
                Ok(ended) => Ending::Over(ended),
                Err(lost) if repeated => after_repeat(item, lost, stamp_ns),
                Err(lost) => Ending::Lost(lost),
            };
            items.iter().zip(results).map(read).collect()
        }
        Outcome::Extended { results, .. } => {
            let read = |result| match result {
                Ok(deadline_ns) => Ending::Until(deadline_ns),
                Err(_) if repeated => Ending::Uncertain,
                Err(lost) => Ending::Lost(lost),
            };
            results.into_iter().map(read).collect()
        }
        _ => Vec::new(),
    };
    let mut endings = endings.into_iter();
    let next = |item| answer(item, endings.next().unwrap_or(Ending::Uncertain));
    items.into_iter().map(next).collect()
}

/// The answers to what may have been done, or not.
#[must_use]
pub fn uncertain(items: Vec<Item>) -> Vec<Answer> {
    let uncertain = |item| answer(item, Ending::Uncertain);
    items.into_iter().map(uncertain).collect()
}

fn answer(item: Item, ending: Ending) -> Answer {
    let (key, kind) = (item.key(), item.kind());
    Answer {
        task_id: item.task_id,
        key,
        kind,
        ending,
    }
}

/// A lease that is not there when the try is repeated: the first try may have
/// ended it.
fn after_repeat(item: &Item, lost: LeaseLost, stamp_ns: u64) -> Ending {
    // Nobody else can have ended a lease that would still be live, if its consumer
    // said nothing else of it, and of what ends one only an ack takes the task away.
    let was_live = item.deadline_ns.is_some_and(|at_ns| at_ns > stamp_ns);
    let is_gone = lost == LeaseLost::Gone || planted!("repeated-ack-taken-for-done");
    if item.kind() == Kind::Ack && is_gone && (was_live || planted!("repeated-ack-taken-for-done"))
    {
        return Ending::Over(Ended::Done);
    }
    Ending::Uncertain
}

/// What a session was asked and has not answered: one proposal of each kind at a
/// time, and all that comes meanwhile goes with the next.
#[derive(Debug)]
pub(crate) struct Queues([Queue; 4]);

#[derive(Debug)]
struct Queue {
    kind: Kind,
    waiting: VecDeque<Item>,
    under_way: Option<Ticket>,
}

impl Default for Queues {
    fn default() -> Self {
        Self(Kind::ALL.map(|kind| Queue {
            kind,
            waiting: VecDeque::new(),
            under_way: None,
        }))
    }
}

impl Queues {
    pub(crate) fn push(&mut self, item: Item) {
        self.0[item.kind() as usize].waiting.push_back(item);
    }

    /// Nothing was asked that is not answered.
    pub(crate) fn is_empty(&self) -> bool {
        let is_empty = |queue: &Queue| queue.waiting.is_empty() && queue.under_way.is_none();
        self.0.iter().all(is_empty)
    }

    /// The proposal under way has come back.
    pub(crate) fn came_back(&mut self, ticket: Ticket) {
        for queue in &mut self.0 {
            queue.under_way.take_if(|under_way| *under_way == ticket);
        }
    }

    /// Proposes what waits and may go. `all`: the client is gone, and what it asked
    /// is done all the same.
    pub(crate) fn propose<E>(
        &mut self,
        session: SessionId,
        namespace: &Namespace,
        all: bool,
        out: &mut Outbox<E>,
    ) {
        for queue in &mut self.0 {
            while !queue.waiting.is_empty() && (all || queue.under_way.is_none()) {
                let count = queue.waiting.len().min(ACK_COUNT_MAX);
                let items: Vec<Item> = queue.waiting.drain(..count).collect();
                let command = command(namespace.clone(), queue.kind, &items);
                let retry = Retry::Repeat {
                    patience_ns: limits::ASK_PATIENCE_NS,
                };
                let asked = Asked::Queue { session, items };
                queue.under_way = Some(out.propose(asked, command, retry));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use z4_core::task::LeaseToken;
    use z4_core::TaskId;

    fn ending(kind: Kind, deadline_ns: Option<u64>, lost: LeaseLost, maybe_before: bool) -> Ending {
        let key = (TaskId::default(), LeaseToken(3));
        let (id, token) = key;
        let ask = match kind {
            Kind::Ack => Ask::Ack(key),
            Kind::Release => Ask::Release(key),
            Kind::Nack => Ask::Nack(Nack {
                id,
                token,
                delay_ms: None,
                error: String::new(),
                permanent: false,
            }),
            Kind::Extend => Ask::Extend(Extend {
                id,
                token,
                lease_ms: 0,
            }),
        };
        let item = Item {
            task_id: "t".into(),
            deadline_ns,
            ask,
        };
        assert_eq!((item.key(), item.kind()), (key, kind));
        let (stamp_ns, results) = (100, vec![Err(lost)]);
        let outcome = match kind {
            Kind::Extend => Outcome::Extended {
                stamp_ns,
                results: vec![Err(lost)],
            },
            _ => Outcome::Ended { stamp_ns, results },
        };
        let settled = Settled {
            outcome,
            maybe_before,
        };
        read(settled, vec![item]).remove(0).ending
    }

    #[test]
    fn only_an_ack_that_nobody_else_can_have_done_is_taken_for_done() {
        use LeaseLost::{Expired, Gone};
        let done = Ending::Over(Ended::Done);
        assert_eq!(ending(Kind::Ack, Some(101), Gone, true), done);
        for (deadline_ns, lost) in [(Some(100), Gone), (None, Gone), (Some(101), Expired)] {
            let ending = ending(Kind::Ack, deadline_ns, lost, true);
            assert_eq!(ending, Ending::Uncertain);
        }
        for kind in [Kind::Nack, Kind::Release, Kind::Extend] {
            assert_eq!(ending(kind, Some(101), Gone, true), Ending::Uncertain);
            assert_eq!(ending(kind, Some(101), Gone, false), Ending::Lost(Gone));
        }
        let lost = Ending::Lost(Expired);
        assert_eq!(ending(Kind::Ack, Some(101), Expired, false), lost);
    }
}
