//! Waiting for a leader, and what is said when there is none.

use std::time::Instant;

use z4_consensus::{Role, Status};
use z4_core::View;

use crate::errors::Error;
use crate::limits;
use crate::node::Node;

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Waits for another leader than the one of `seen`, until `give_up` at most. The
    /// leader of `seen` is to be asked again a moment later: it may not have known
    /// yet that it leads.
    pub(crate) async fn another_leader(&self, seen: &Status, give_up: Instant) {
        let left = give_up.saturating_duration_since(Instant::now());
        let wait = match seen.leader {
            0 => left,
            _ => left.min(limits::LEADER_RETRY),
        };
        let other = self.handle().when(|status| {
            let is_other = (status.leader, status.term) != (seen.leader, seen.term);
            let is_out = is_outside(status) && !is_outside(seen);
            (status.leader != 0 && is_other || is_out).then_some(())
        });
        // Without another leader the caller says what is missing.
        let _ = self.timer().within(wait, Box::pin(other)).await;
    }
}

/// Why there is nobody to ask for a change, for a person: what is missing.
pub(crate) fn no_leader(status: &Status) -> Error {
    let text = missing(status);
    Error::Unavailable(match is_outside(status) {
        true => text,
        false => format!("{text}; nothing was done, retry"),
    })
}

/// Why there is nobody to ask, where nothing was to be done: of a read, or of how
/// the cluster is.
pub(crate) fn no_leader_to_read(status: &Status) -> Error {
    let text = missing(status);
    Error::Unavailable(match is_outside(status) {
        true => text,
        false => format!("{text}; retry"),
    })
}

/// Why a read was not confirmed in time.
pub(crate) fn unconfirmed(status: &Status, waited_ms: u64) -> Error {
    let Some(leader) = status.membership.members.get(&status.leader) else {
        return no_leader_to_read(status);
    };
    Error::Unavailable(format!(
        "the leader {} did not confirm the read within {waited_ms} ms: it, or most voters, may be \
         stopped or cut off; retry",
        leader.peer_id
    ))
}

fn is_outside(status: &Status) -> bool {
    matches!(status.role, Role::Waiting | Role::Removed)
}

fn missing(status: &Status) -> String {
    match status.role {
        Role::Waiting => {
            "this peer is not in a cluster yet; add it with add-peer at a member".into()
        }
        Role::Removed => {
            "this peer was removed from its cluster; erase its directories and add it anew".into()
        }
        _ => {
            let voters = status.membership.voter_count();
            let quorum = voters / 2 + 1;
            format!(
                "no leader is known: {quorum} of {voters} voters must be up and reach each other"
            )
        }
    }
}
