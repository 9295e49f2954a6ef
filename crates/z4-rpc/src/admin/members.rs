//! Questions to each member, and not to the leader alone.

use std::time::{Duration, Instant};

use z4_consensus::Status;
use z4_core::View;
use z4_proto::generated::peer::{
    ForwardError, ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask,
};

use crate::forward::AskError;
use crate::limits;
use crate::node::Node;

/// The reason for which a member gave no answer, for a person.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// The member does not want to, or does not know what it is asked.
    #[error("{}", .0.get_message())]
    Refused(ForwardError),
    /// The member was not reached, or did not answer.
    #[error("{0}")]
    Silent(String),
}

/// How long a member is waited for.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For its answer, once it was reached.
    pub answer: Duration,
    /// For a connection to it.
    pub reach: Duration,
}

impl Patience {
    /// This long for the answer, and as long for a connection as a member takes that has
    /// just started.
    pub fn of(answer: Duration) -> Self {
        Self {
            answer,
            reach: limits::MEMBER_REACH_TIMEOUT,
        }
    }
}

/// Asks another member.
pub(super) async fn ask<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    status: &Status,
    raft_id: u64,
    ask: Ask,
    patience: Patience,
) -> Result<Answer, Unanswered> {
    let silent = |why: &str| Err(Unanswered::Silent(why.to_owned()));
    let Some(address) = node.network().address(&status.membership, raft_id) else {
        return silent("its address is not known");
    };
    let reached_by = Instant::now() + patience.reach;
    let answered = loop {
        let asked = Box::pin(node.forwarder().ask(raft_id, &address, ask.clone()));
        let answered = node.timer().within(patience.answer, asked).await;
        // A member that has just started is not connected to at once.
        let is_reached = !matches!(answered, Some(Err(AskError::NotSent(_))));
        if is_reached || Instant::now() >= reached_by {
            break answered;
        }
        node.timer().sleep(limits::RECONNECT_MIN).await;
    };
    match answered {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(AskError::Refused(error))) => Err(Unanswered::Refused(error)),
        Some(Err(AskError::NotSent(why))) => silent(&format!("it was not reached: {why}")),
        Some(Err(AskError::Full)) => silent("too many requests are under way to it"),
        Some(Err(AskError::Lost)) => silent("the connection to it broke"),
        None => silent("it did not answer"),
    }
}
