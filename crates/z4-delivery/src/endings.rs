//! Acks, nacks, extends and releases that a client asks for: the command, and what
//! its outcome says of each lease.

use std::collections::VecDeque;

use z4_core::command::{
    Command, Ended, Extend, ExtendLeases, LeaseLost, LeaseRefs, Nack, NackTasks, Outcome,
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
    /// The lease.
    pub key: Key,
    /// Its deadline, in machine nanoseconds, if this peer knows it.
    pub deadline_ns: Option<u64>,
    /// What goes with it.
    pub how: How,
}

/// What goes with what is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum How {
    /// Nothing: an ack or a release.
    End,
    /// A nack.
    Nack {
        /// When it comes again, in milliseconds from now; `None`: by the settings.
        delay_ms: Option<u64>,
        /// Why it failed.
        error: String,
        /// It must not come again.
        permanent: bool,
    },
    /// An extend.
    Extend {
        /// In milliseconds from now; 0 for the namespace's setting.
        lease_ms: u64,
    },
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

/// The command that asks for these leases: at most
/// [`ACK_COUNT_MAX`].
#[must_use]
pub fn command(namespace: Namespace, kind: Kind, items: &[Item]) -> Command {
    let refs = |namespace| LeaseRefs {
        namespace,
        leases: items.iter().map(|item| item.key).collect(),
    };
    match kind {
        Kind::Ack => Command::AckTasks(refs(namespace)),
        // The client had the task in hand.
        Kind::Release => Command::ReturnTasks(refs(namespace)),
        Kind::Nack => Command::NackTasks(NackTasks {
            namespace,
            nacks: items.iter().map(nack).collect(),
        }),
        Kind::Extend => Command::ExtendLeases(ExtendLeases {
            namespace,
            extends: items.iter().map(extend).collect(),
        }),
    }
}

fn nack(item: &Item) -> Nack {
    let (delay_ms, error, permanent) = match &item.how {
        How::Nack {
            delay_ms,
            error,
            permanent,
        } => (*delay_ms, error.clone(), *permanent),
        How::End | How::Extend { .. } => (None, String::new(), false),
    };
    Nack {
        id: item.key.0,
        token: item.key.1,
        delay_ms,
        error,
        permanent,
    }
}

fn extend(item: &Item) -> Extend {
    let lease_ms = match item.how {
        How::Extend { lease_ms } => lease_ms,
        How::End | How::Nack { .. } => 0,
    };
    Extend {
        id: item.key.0,
        token: item.key.1,
        lease_ms,
    }
}

/// The answers to what was asked, in order. An outcome of another kind of command says
/// nothing: they are uncertain then.
#[must_use]
pub fn read(settled: Settled, kind: Kind, items: Vec<Item>) -> Vec<Answer> {
    let repeated = settled.maybe_before;
    let endings: Vec<Ending> = match settled.outcome {
        Outcome::Ended { stamp_ns, results } => {
            let read = |(item, result): (&Item, Result<Ended, LeaseLost>)| match result {
                Ok(ended) => Ending::Over(ended),
                Err(lost) if repeated => after_repeat(item, kind, lost, stamp_ns),
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
    let next = |item| answer(item, kind, endings.next().unwrap_or(Ending::Uncertain));
    items.into_iter().map(next).collect()
}

/// The answers to what may have been done, or not.
#[must_use]
pub fn uncertain(kind: Kind, items: Vec<Item>) -> Vec<Answer> {
    let uncertain = |item| answer(item, kind, Ending::Uncertain);
    items.into_iter().map(uncertain).collect()
}

fn answer(item: Item, kind: Kind, ending: Ending) -> Answer {
    Answer {
        task_id: item.task_id,
        key: item.key,
        kind,
        ending,
    }
}

/// A lease that is not there when the try is repeated: the first try may have
/// ended it.
fn after_repeat(item: &Item, kind: Kind, lost: LeaseLost, stamp_ns: u64) -> Ending {
    // Nobody else can have ended a lease that would still be live, and of what
    // ends one only an ack takes the task away.
    let was_live = item.deadline_ns.is_some_and(|at_ns| at_ns > stamp_ns);
    let is_gone = lost == LeaseLost::Gone || planted!("repeated-ack-taken-for-done");
    if kind == Kind::Ack && is_gone && (was_live || planted!("repeated-ack-taken-for-done")) {
        return Ending::Over(Ended::Done);
    }
    Ending::Uncertain
}

/// What a session was asked and has not answered: one proposal of each kind at a
/// time, and all that comes meanwhile goes with the next.
#[derive(Debug)]
pub(crate) struct Lanes([Lane; 4]);

#[derive(Debug)]
struct Lane {
    kind: Kind,
    waiting: VecDeque<Item>,
    under_way: Option<Ticket>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self(Kind::ALL.map(|kind| Lane {
            kind,
            waiting: VecDeque::new(),
            under_way: None,
        }))
    }
}

impl Lanes {
    pub(crate) fn push(&mut self, kind: Kind, item: Item) {
        if let Some(lane) = self.0.iter_mut().find(|lane| lane.kind == kind) {
            lane.waiting.push_back(item);
        }
    }

    /// Nothing was asked that is not answered.
    pub(crate) fn is_empty(&self) -> bool {
        let is_empty = |lane: &Lane| lane.waiting.is_empty() && lane.under_way.is_none();
        self.0.iter().all(is_empty)
    }

    /// The proposal under way has come back.
    pub(crate) fn came_back(&mut self, ticket: Ticket) {
        for lane in &mut self.0 {
            lane.under_way.take_if(|under_way| *under_way == ticket);
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
        for lane in &mut self.0 {
            while !lane.waiting.is_empty() && (all || lane.under_way.is_none()) {
                let count = lane.waiting.len().min(ACK_COUNT_MAX);
                let items: Vec<Item> = lane.waiting.drain(..count).collect();
                let kind = lane.kind;
                let command = command(namespace.clone(), kind, &items);
                let retry = Retry::Repeat {
                    patience_ns: limits::ASK_PATIENCE_NS,
                };
                let asked = Asked::Lane {
                    session,
                    kind,
                    items,
                };
                lane.under_way = Some(out.propose(asked, command, retry));
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
        let item = Item {
            task_id: "t".into(),
            key: (TaskId::default(), LeaseToken(3)),
            deadline_ns,
            how: How::End,
        };
        let outcome = match kind {
            Kind::Extend => Outcome::Extended {
                stamp_ns: 100,
                results: vec![Err(lost)],
            },
            _ => Outcome::Ended {
                stamp_ns: 100,
                results: vec![Err(lost)],
            },
        };
        let settled = Settled {
            outcome,
            maybe_before,
        };
        read(settled, kind, vec![item]).remove(0).ending
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
