//! RemoveClusterMember, at the leader.

use z4_consensus::{Change, Status};
use z4_core::View;

use super::change::{leads, unknown_member};
use super::AdminError;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Removes a member. When it is this peer, leadership goes first, and the
    /// answer is that this peer does not lead: the new leader removes it.
    pub(crate) async fn remove_member_here(&self, peer_id: &str) -> Result<(), AdminError> {
        let of = |status: &Status| -> Result<(u64, bool), AdminError> {
            leads(status)?;
            let raft_id = check(status, peer_id)?;
            Ok((raft_id, raft_id == status.raft_id))
        };
        let found = self.handle().when(|status| match of(status) {
            // A new leader has yet to hear of those that did not elect it.
            Err(failed) if matches!(failed.error, Error::Precondition(_)) => None,
            found => Some(found),
        });
        let found = self.timer().within(limits::LIVENESS_WAIT, Box::pin(found));
        let found = found.await;
        let (raft_id, is_own) = found.unwrap_or_else(|| of(&self.handle().status()))?;
        if !is_own {
            return self.change(Change::Remove { raft_id }).await;
        }
        self.transfer_here("").await?;
        Err(AdminError {
            error: Error::Unavailable("leadership was handed over; retry".into()),
            not_leader: true,
        })
    }
}

/// The raft id of a member whose removal leaves a quorum of peers that answer.
fn check(status: &Status, peer_id: &str) -> Result<u64, Error> {
    let Some((raft_id, member)) = status.membership.find(peer_id) else {
        return Err(unknown_member(peer_id));
    };
    if !member.voter {
        return Ok(raft_id);
    }
    let left = status.membership.voter_count() - 1;
    if left == 0 {
        let why = format!("{peer_id} is the last voter; a cluster cannot be without one");
        return Err(Error::Precondition(why));
    }
    let alive = status
        .membership
        .members
        .iter()
        .filter(|(id, member)| member.voter && **id != raft_id)
        .filter(|(id, _)| {
            **id == status.raft_id || status.progress.get(id).is_some_and(|p| p.alive)
        })
        .count();
    let quorum = left / 2 + 1;
    if alive < quorum {
        return Err(Error::Precondition(format!(
            "without {peer_id} the cluster would have {alive} of {left} voters alive and needs \
             {quorum}; bring the others back first"
        )));
    }
    Ok(raft_id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use grpcio::RpcStatusCode;
    use z4_consensus::status::Progress;
    use z4_consensus::Member;

    fn status(voters: &[(u64, bool)]) -> Status {
        let mut status = Status {
            raft_id: 1,
            leader: 1,
            ..Status::default()
        };
        for (id, alive) in voters {
            let member = Member {
                peer_id: format!("p{id}"),
                address: format!("h:{id}"),
                voter: true,
            };
            status.membership.members.insert(*id, member);
            let progress = Progress {
                match_index: 1,
                alive: *alive,
                ..Progress::default()
            };
            status.progress.insert(*id, progress);
        }
        status
    }

    #[test]
    fn a_quorum_of_the_living_stays() {
        let three = status(&[(1, true), (2, true), (3, false)]);
        assert_eq!(check(&three, "p3"), Ok(3), "the dead one may go");
        assert_eq!(
            check(&three, "p2").unwrap_err().code(),
            RpcStatusCode::FAILED_PRECONDITION
        );
        assert_eq!(
            check(&three, "p9").unwrap_err().code(),
            RpcStatusCode::NOT_FOUND
        );
        let one = status(&[(1, true)]);
        assert_eq!(
            check(&one, "p1").unwrap_err().code(),
            RpcStatusCode::FAILED_PRECONDITION
        );
        let two = status(&[(1, true), (2, false)]);
        assert_eq!(check(&two, "p2"), Ok(2));
        assert!(check(&two, "p1").is_err());
    }
}
