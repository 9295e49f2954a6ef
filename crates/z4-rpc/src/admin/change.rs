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
    ///
    /// A change is no command and does not go through `propose`. It is made at the
    /// leader, because it depends on what this peer has just seen of the members; with
    /// another leader it begins anew there (`administer`). It is not repeated in doubt,
    /// because a person is to look first.
    pub(super) async fn change(&self, change: Change) -> Result<(), AdminError> {
        let give_up = Instant::now() + limits::UNARY_TIMEOUT;
        loop {
            let changed = self.decided(|sink| self.handle().change(change.clone(), sink));
            match changed.await {
                Ok(()) => return Ok(()),
                Err(ProposeError::Busy { .. }) if Instant::now() < give_up => {
                    self.timer().sleep(limits::LEADER_RETRY).await;
                }
                Err(ProposeError::Unknown) => {
                    return Err(Error::Unconfirmed(
                        "the change is not confirmed, quorum may be lost; see with info whether \
                         it was made, then retry"
                            .into(),
                    )
                    .into())
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the raft thread answers in time.
    async fn decided(&self, ask: impl FnOnce(Sink<()>)) -> Result<(), ProposeError> {
        let (tx, rx) = oneshot::channel();
        ask(Sink::new(move |result| {
            // The asker may have left.
            let _ = tx.send(result);
        }));
        let answer = self.timer().within(limits::UNARY_TIMEOUT, rx).await;
        match answer {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(ProposeError::Unknown),
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
        let moved = self.decided(|sink| self.handle().transfer_leader(to, sink));
        let why = match moved.await {
            Ok(()) => return Ok(()),
            Err(ProposeError::Busy { .. }) => "the other peer did not take over in time; retry",
            Err(ProposeError::Unknown) => "the transfer is not confirmed; retry",
            Err(error) => return Err(error.into()),
        };
        Err(Error::Unconfirmed(why.into()).into())
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
