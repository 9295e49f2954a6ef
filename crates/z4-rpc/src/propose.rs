//! Proposing from any peer: here when this peer leads, else at the leader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use z4_consensus::runtime::{Accepted, Proposal, Sink};
use z4_consensus::{ProposeError, Role, Status};
use z4_core::{Outcome, View};
use z4_proto::decode_outcome;
use z4_proto::generated::peer::{
    ForwardProposal, ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask,
};

use crate::errors::Error;
use crate::forward::AskError;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;

/// When a proposal is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// Committed and applied.
    Applied,
    /// Taken in by the leader.
    Accepted,
}

/// What to propose.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) command: Vec<u8>,
    pub(crate) units: u32,
    /// Doing it twice does what doing it once does.
    pub(crate) idempotent: bool,
    pub(crate) until: Until,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Proposed {
    Applied(Outcome),
    Accepted {
        index: u64,
        stamp_ns: u64,
        unit_first: u32,
    },
}

/// A proposal's answer, and the address of the leader when another peer led.
pub(crate) struct ProposedAt {
    pub(crate) proposed: Proposed,
    pub(crate) forwarded_to: String,
}

/// How one try ended.
enum Failed {
    /// Nothing was done; another try may do it.
    Again,
    /// It may have been done.
    Unknown,
    /// No use to try again.
    Final(Error),
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Proposes, waiting for a leader while nothing was done.
    pub(crate) async fn propose(
        &self,
        ask: Request,
        timeout: Duration,
    ) -> Result<ProposedAt, Error> {
        let idempotent = ask.idempotent;
        let timeout = self.patience(timeout);
        let is_sent = Arc::new(AtomicBool::new(false));
        let tries = Box::pin(self.propose_until(ask, timeout, &is_sent));
        let answer = self.timer().within(timeout, tries).await;
        answer.unwrap_or_else(|| match is_sent.load(Ordering::Relaxed) {
            // What was sent and not answered may have been done.
            true => Err(Error::Unknown { idempotent }),
            false => Err(no_leader(&self.handle().status())),
        })
    }

    /// `is_sent` says whether a try may have been done, or may yet be.
    async fn propose_until(
        &self,
        ask: Request,
        timeout: Duration,
        is_sent: &AtomicBool,
    ) -> Result<ProposedAt, Error> {
        let give_up = Instant::now() + limits::LEADER_WAIT.min(timeout);
        // Once a try may have been done, no later one can say that none was.
        let mut maybe_done = false;
        loop {
            let status = self.handle().status();
            let tried = self.try_propose(&status, &ask, is_sent).await;
            is_sent.store(maybe_done, Ordering::Relaxed);
            match tried {
                Ok(done) => return Ok(done),
                Err(Failed::Final(_)) if maybe_done => {
                    return Err(Error::Unknown { idempotent: true })
                }
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Unknown) if !ask.idempotent => {
                    return Err(Error::Unknown { idempotent: false })
                }
                Err(Failed::Unknown) => {
                    maybe_done = true;
                    is_sent.store(true, Ordering::Relaxed);
                }
                Err(Failed::Again) => {}
            }
            if Instant::now() >= give_up {
                return Err(if maybe_done {
                    Error::Unknown { idempotent: true }
                } else {
                    no_leader(&self.handle().status())
                });
            }
            self.another_leader(&status, give_up).await;
        }
    }

    async fn try_propose(
        &self,
        status: &Arc<Status>,
        ask: &Request,
        is_sent: &AtomicBool,
    ) -> Result<ProposedAt, Failed> {
        if matches!(status.role, Role::Waiting | Role::Removed) {
            return Err(Failed::Final(no_leader(status)));
        }
        if status.leader == 0 {
            return Err(Failed::Again);
        }
        self.admit(status, ask.units, ask.command.len())
            .map_err(Failed::Final)?;
        if status.leader == status.raft_id {
            is_sent.store(true, Ordering::Relaxed);
            let proposed = self.propose_here(ask.clone()).await;
            let proposed = proposed.map_err(|error| sort(error, ask.idempotent))?;
            return Ok(ProposedAt {
                proposed,
                forwarded_to: String::new(),
            });
        }
        let Some(address) = self.network().address(&status.membership, status.leader) else {
            return Err(Failed::Again);
        };
        is_sent.store(true, Ordering::Relaxed);
        let proposed = self.propose_there(status.leader, &address, ask).await?;
        Ok(ProposedAt {
            proposed,
            forwarded_to: address,
        })
    }

    /// Refuses what stores tasks where there is no room for them.
    pub(crate) fn admit(&self, status: &Status, units: u32, bytes: usize) -> Result<(), Error> {
        if units == 0 {
            return Ok(());
        }
        let network = self.network();
        network.room().admit(status, network.peer_id(), bytes)
    }

    /// Proposes to this peer's own log.
    pub(crate) async fn propose_here(&self, ask: Request) -> Result<Proposed, ProposeError> {
        let (tx, rx) = oneshot::channel();
        let tx = Arc::new(std::sync::Mutex::new(Some(tx)));
        let answer = |tx: &std::sync::Mutex<Option<oneshot::Sender<_>>>, result| {
            let tx = tx.lock().ok().and_then(|mut tx| tx.take());
            // The asker may have left, or has its answer.
            let _ = tx.map(|tx| tx.send(result));
        };
        let first = Arc::clone(&tx);
        let accepted = (ask.until == Until::Accepted).then(|| {
            Box::new(move |accepted: Accepted| answer(&first, Ok(of_accepted(accepted))))
                as Box<dyn FnOnce(Accepted) + Send>
        });
        self.handle().propose(Proposal {
            command: ask.command,
            units: ask.units,
            accepted,
            sink: Sink::new(move |result| {
                let result = result.map(|done: z4_consensus::runtime::Done<Outcome>| {
                    Proposed::Applied(done.reply)
                });
                answer(&tx, result);
            }),
        });
        rx.await.unwrap_or(Err(ProposeError::Unknown))
    }

    async fn propose_there(
        &self,
        to: u64,
        address: &str,
        ask: &Request,
    ) -> Result<Proposed, Failed> {
        let mut proposal = ForwardProposal::default();
        proposal.set_command(ask.command.clone());
        proposal.set_answer_when_accepted(ask.until == Until::Accepted);
        let answer = self
            .forwarder()
            .ask(to, address, Ask::proposal(proposal))
            .await;
        match answer {
            Ok(Answer::outcome(bytes)) => match decode_outcome(&bytes) {
                Ok(outcome) => Ok(Proposed::Applied(outcome)),
                Err(error) => Err(Failed::Final(Error::Internal(format!(
                    "the leader's answer does not decode: {error}"
                )))),
            },
            Ok(Answer::accepted(accepted)) => Ok(Proposed::Accepted {
                index: accepted.get_index(),
                stamp_ns: accepted.get_stamp_ns(),
                unit_first: accepted.get_unit_first(),
            }),
            Ok(_) | Err(AskError::Lost) => Err(Failed::Unknown),
            Err(AskError::NotSent(_)) => Err(Failed::Again),
            Err(AskError::Full) => Err(Failed::Final(Error::Busy {
                what: "the queue of requests to the leader".into(),
                retry_after_ms: 100,
            })),
            Err(AskError::Refused(error)) if error.get_not_leader() => Err(Failed::Again),
            Err(AskError::Refused(error)) if error.get_unknown() => Err(Failed::Unknown),
            Err(AskError::Refused(error)) => {
                Err(Failed::Final(Error::of_forward(&error, ask.idempotent)))
            }
        }
    }
}

fn sort(error: ProposeError, idempotent: bool) -> Failed {
    match error {
        ProposeError::NotLeader | ProposeError::Superseded => Failed::Again,
        ProposeError::Unknown => Failed::Unknown,
        _ => Failed::Final(Error::of_proposal(error, idempotent)),
    }
}

fn of_accepted(accepted: Accepted) -> Proposed {
    Proposed::Accepted {
        index: accepted.position.index,
        stamp_ns: accepted.stamp_ns,
        unit_first: accepted.unit_first,
    }
}
