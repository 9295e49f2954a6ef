//! Changes of members and of the leader, at the leader.

use std::sync::Arc;
use std::time::Instant;

use futures::channel::oneshot;
use z4_consensus::runtime::Sink;
use z4_consensus::{Change, ProposeError, Status};
use z4_core::View;

use super::AdminError;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// This peer's status if it leads.
    pub(super) fn leading(&self) -> Result<Arc<Status>, AdminError> {
        let status = self.handle().status();
        leads(&status)?;
        Ok(status)
    }

    /// Makes a change; waits while another one is under way.
    pub(super) async fn change(&self, change: Change) -> Result<(), AdminError> {
        let started = Instant::now();
        loop {
            let (tx, rx) = oneshot::channel();
            let sink = Sink::new(move |result| {
                // The asker may have left.
                let _ = tx.send(result);
            });
            self.handle().change(change.clone(), sink);
            let changed = self.timer().within(limits::UNARY_TIMEOUT, rx).await;
            match changed.map(|answer| answer.unwrap_or(Err(ProposeError::Unknown))) {
                Some(Ok(())) => return Ok(()),
                Some(Err(ProposeError::Busy { .. }))
                    if started.elapsed() < limits::UNARY_TIMEOUT =>
                {
                    self.timer().sleep(limits::LEADER_RETRY).await;
                }
                Some(Err(ProposeError::Unknown)) | None => {
                    return Err(Error::Unconfirmed(
                        "the change is not confirmed, quorum may be lost; see with info whether \
                         it was made, then retry"
                            .into(),
                    )
                    .into())
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Hands leadership to `peer_id`, or to the most caught-up voter when empty.
    pub(crate) async fn transfer_here(&self, peer_id: &str) -> Result<(), AdminError> {
        let status = self.leading()?;
        let to = match status.membership.find(peer_id) {
            None if peer_id.is_empty() => 0,
            None => return Err(unknown_member(peer_id).into()),
            Some((_, member)) if !member.voter => {
                let why = format!("{peer_id} is a learner; wait until it votes");
                return Err(Error::Precondition(why).into());
            }
            // It leads already.
            Some((raft_id, _)) if raft_id == status.raft_id => return Ok(()),
            Some((raft_id, _)) => raft_id,
        };
        if status.membership.voter_count() < 2 {
            let why = "there is no other voter to lead; add a peer first";
            return Err(Error::Precondition(why.into()).into());
        }
        let (tx, rx) = oneshot::channel();
        let sink = Sink::new(move |result| {
            // The asker may have left.
            let _ = tx.send(result);
        });
        self.handle().transfer_leader(to, sink);
        match self.timer().within(limits::UNARY_TIMEOUT, rx).await {
            Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(ProposeError::Busy { .. }))) => {
                let why = "the other peer did not take over in time; retry";
                Err(Error::Unconfirmed(why.into()).into())
            }
            Some(Ok(Err(error))) => Err(error.into()),
            Some(Err(_)) | None => {
                Err(Error::Unconfirmed("the transfer is not confirmed; retry".into()).into())
            }
        }
    }
}

/// Whether the peer of this status leads.
pub(super) fn leads(status: &Status) -> Result<(), AdminError> {
    if status.leader != 0 && status.leader == status.raft_id {
        return Ok(());
    }
    Err(ProposeError::NotLeader.into())
}

pub(super) fn unknown_member(peer_id: &str) -> Error {
    Error::not_found(format!(
        "no member has the id {peer_id}; see info for the members"
    ))
}
