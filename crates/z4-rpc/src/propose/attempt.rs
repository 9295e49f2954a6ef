//! One try of a proposal: here when this peer leads, else at the leader. Nothing
//! here waits; what comes of the try is told to a callback.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use z4_consensus::runtime::{Accepted, Done, Proposal, Sink};
use z4_consensus::{ProposeError, Role, Status};
use z4_core::{Outcome, View};
use z4_proto::decode_outcome;
use z4_proto::generated::peer::{
    ForwardProposal, ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask,
};

use super::Encoded;
use crate::errors::Error;
use crate::forward::AskError;
use crate::leader::no_leader;
use crate::node::Node;

/// When a proposal is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// Committed and applied.
    Applied,
    /// Taken in by the leader.
    Accepted,
}

/// A command for this peer's own log.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) command: Vec<u8>,
    /// How many task ids it uses up.
    pub(crate) units: u32,
    /// The namespace whose rider goes with it, if it has tasks that are due at once.
    pub(crate) topic: Option<String>,
    /// Only in this term, if one is given.
    pub(crate) term: Option<u64>,
    pub(crate) until: Until,
}

/// What came of a proposal.
#[derive(Debug)]
pub(crate) enum Proposed {
    Applied(Outcome),
    Accepted(Appended),
}

/// Where the leader has put a command. With these three its task ids are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Appended {
    pub(crate) index: u64,
    pub(crate) stamp_ns: u64,
    pub(crate) unit_first: u32,
}

/// A try that was answered, and the address of the leader when another peer led.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) proposed: Proposed,
    pub(super) forwarded_to: String,
}

/// Why a try was not (certainly) applied.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Failed {
    /// Nothing was done; another leader may do it.
    Again,
    /// The same, for the clock of the leader is wrong, in these words.
    Clock(String),
    /// It may have been done, or may yet be.
    Unknown,
    /// Nothing was done; another try at once would end alike.
    Refused(Error),
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Tries once. `then` is called once, at `by` at the latest: by this thread when
    /// nobody can be asked, else by whichever thread has the answer.
    pub(super) fn attempt(
        &self,
        status: &Status,
        encoded: &Encoded,
        by: Instant,
        then: impl FnOnce(Result<Tried, Failed>) + Send + 'static,
    ) {
        let to = match self.whom(status, encoded) {
            Ok(to) => to,
            Err(failed) => return then(Err(failed)),
        };
        // What is on its way at the end of its time may have been done.
        let then = self.timer().in_time(by, move |tried: Option<_>| {
            then(tried.unwrap_or(Err(Failed::Unknown)));
        });
        let (command, until) = (encoded.bytes.clone(), encoded.until);
        let Some(address) = to else {
            let local = Local {
                command,
                units: encoded.units,
                topic: encoded.topic.clone(),
                term: None,
                until,
            };
            return self.propose_here(local, move |answer| {
                then(answer.map_err(of_propose).map(|proposed| Tried {
                    proposed,
                    forwarded_to: String::new(),
                }));
            });
        };
        let mut proposal = ForwardProposal::default();
        proposal.set_command(command);
        proposal.set_answer_when_accepted(until == Until::Accepted);
        let (ask, at) = (Ask::proposal(proposal), address.clone());
        let answered = move |answer| {
            then(read(answer).map(|proposed| Tried {
                proposed,
                forwarded_to: at,
            }));
        };
        let forwarder = self.forwarder();
        forwarder.ask_with(status.leader, &address, ask, Box::new(answered));
    }

    /// Where to propose: at this address, or here.
    fn whom(&self, status: &Status, encoded: &Encoded) -> Result<Option<String>, Failed> {
        if matches!(status.role, Role::Waiting | Role::Removed) {
            return Err(Failed::Refused(no_leader(status)));
        }
        if status.leader == 0 {
            return Err(Failed::Again);
        }
        self.admit(status, encoded.units, encoded.bytes.len())
            .map_err(Failed::Refused)?;
        if status.leader == status.raft_id {
            return Ok(None);
        }
        let address = self.network().address(&status.membership, status.leader);
        address.map(Some).ok_or(Failed::Again)
    }

    /// Refuses what stores tasks where there is no room for them.
    pub(crate) fn admit(&self, status: &Status, units: u32, bytes: usize) -> Result<(), Error> {
        if units == 0 {
            return Ok(());
        }
        let network = self.network();
        network
            .disk_admission()
            .admit(status, network.peer_id(), bytes)
    }

    /// Proposes to this peer's own log. `answered` is called once, from any thread.
    pub(crate) fn propose_here(
        &self,
        local: Local,
        answered: impl FnOnce(Result<Proposed, ProposeError>) + Send + 'static,
    ) {
        let applied = |done: Done<Outcome>| Proposed::Applied(done.reply);
        let (accepted, sink) = match local.until {
            Until::Applied => {
                let sink = Sink::new(move |done: Result<_, _>| answered(done.map(applied)));
                (None, sink)
            }
            Until::Accepted => {
                // Of its two answers the first one counts.
                let answered = Arc::new(Mutex::new(Some(answered)));
                let first = Arc::clone(&answered);
                let accepted = Box::new(move |at: Accepted| {
                    if let Some(answered) = take(&first) {
                        answered(Ok(of_accepted(at)));
                    }
                }) as Box<dyn FnOnce(Accepted) + Send>;
                let sink = Sink::new(move |done: Result<_, _>| {
                    if let Some(answered) = take(&answered) {
                        answered(done.map(applied));
                    }
                });
                (Some(accepted), sink)
            }
        };
        self.handle().propose(Proposal {
            topic: local.topic,
            term: local.term,
            accepted,
            ..Proposal::new(local.command, local.units, sink)
        });
    }
}

fn take<T>(from: &Mutex<Option<T>>) -> Option<T> {
    from.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn of_accepted(accepted: Accepted) -> Proposed {
    Proposed::Accepted(Appended {
        index: accepted.position.index,
        stamp_ns: accepted.stamp_ns,
        unit_first: accepted.unit_first,
    })
}

fn of_propose(error: ProposeError) -> Failed {
    match error {
        ProposeError::NotLeader | ProposeError::Superseded => Failed::Again,
        ProposeError::Unknown => Failed::Unknown,
        ProposeError::Clock(_) => Failed::Clock(error.to_string()),
        _ => Failed::Refused(Error::of_proposal(error, false)),
    }
}

/// What the leader answered to what was sent on.
fn read(answer: Result<Answer, AskError>) -> Result<Proposed, Failed> {
    match answer {
        Ok(Answer::outcome(bytes)) => match decode_outcome(&bytes) {
            Ok(outcome) => Ok(Proposed::Applied(outcome)),
            Err(error) => Err(Failed::Refused(Error::Internal(format!(
                "the leader's answer does not decode: {error}"
            )))),
        },
        Ok(Answer::accepted(accepted)) => Ok(Proposed::Accepted(Appended {
            index: accepted.get_index(),
            stamp_ns: accepted.get_stamp_ns(),
            unit_first: accepted.get_unit_first(),
        })),
        Ok(_) | Err(AskError::Lost) => Err(Failed::Unknown),
        Err(AskError::NotSent(_)) => Err(Failed::Again),
        Err(AskError::Full) => Err(Failed::Refused(Error::Busy {
            what: "the queue of requests to the leader".into(),
            retry_after_ms: 100,
        })),
        Err(AskError::Refused(error)) if error.get_clock_refuses() => {
            Err(Failed::Clock(error.get_message().to_owned()))
        }
        Err(AskError::Refused(error)) if error.get_not_leader() => Err(Failed::Again),
        Err(AskError::Refused(error)) if error.get_unknown() => Err(Failed::Unknown),
        Err(AskError::Refused(error)) => Err(Failed::Refused(Error::of_forward(&error, false))),
    }
}
