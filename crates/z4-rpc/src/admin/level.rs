//! HoldLevel: all members hold the level of the cluster, or let it rise.
//!
//! One member that holds the level is enough to keep it from rising, because the leader
//! raises it only when every member has said what it wants. All are told, so that whoever
//! leads next knows it from the others or from itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use grpcio::RpcStatusCode;
use z4_consensus::Status;
use z4_core::{Command, View};
use z4_proto::generated::admin::{HeldMember, HoldLevelResponse};
use z4_proto::generated::peer::{ForwardRequest_oneof_ask as Ask, HoldLevel};

use super::members::{self, Patience, Unanswered};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::RetryPolicy;
use crate::reading;

/// Tells this peer first, and then all other members. Members that came meanwhile are told
/// too: they may have heard from all others before these were told.
pub(super) async fn hold<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    hold: bool,
) -> Result<HoldLevelResponse, Error> {
    node.hold_level_here(hold).await?;
    let own = of(node.network().peer_id(), Ok(()));
    let mut told = BTreeMap::from([(node.handle().status().raft_id, own)]);
    let mut is_settled = false;
    loop {
        let status = applied(node).await?;
        let members = status.membership.members.iter();
        let new: Vec<_> = members.filter(|(id, _)| !told.contains_key(*id)).collect();
        if new.is_empty() && is_settled {
            let mut response = HoldLevelResponse::default();
            response.set_members(told.into_values().collect());
            response.set_level(status.membership.level);
            return Ok(response);
        }
        let asked = new.iter().map(|(id, _)| tell(node, &status, **id, hold));
        let answers = join_all(asked).await;
        for ((raft_id, member), answer) in new.into_iter().zip(answers) {
            told.insert(*raft_id, of(&member.peer_id, answer));
        }
        if hold {
            commit(node).await?;
        }
        is_settled = true;
    }
}

/// The status of this peer when it has applied what was acknowledged anywhere before the call.
async fn applied<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
) -> Result<Arc<Status>, Error> {
    let index = reading::catch_up(node).await?;
    loop {
        let status = node.handle().status();
        if status.applied_index >= index {
            return Ok(status);
        }
        // The status is published with the next tick.
        node.timer().sleep(limits::STATUS_LOOK).await;
    }
}

/// Has a command committed. A raise that was begun before stands in front of it in the log, or
/// is gone for good.
async fn commit<V: View + Clone + Send + Sync + 'static>(node: &Node<V>) -> Result<(), Error> {
    loop {
        let command = Command::Pulse;
        let policy = RetryPolicy::of(&command, limits::UNARY_TIMEOUT);
        match node.propose(&command, policy).await {
            Ok(_) => return Ok(()),
            Err(Error::Unknown { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn tell<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    status: &Status,
    raft_id: u64,
    hold: bool,
) -> Result<(), Unanswered> {
    let mut message = HoldLevel::default();
    message.set_hold(hold);
    let ask = Ask::hold_level(message);
    let patience = Patience::of(limits::ADMIN_TIMEOUT);
    let asked = members::ask(node, status, raft_id, ask, patience);
    asked.await.map(|_| ())
}

fn of(peer_id: &str, told: Result<(), Unanswered>) -> HeldMember {
    let mut member = HeldMember::default();
    member.set_id(peer_id.to_owned());
    let unknown = i32::from(RpcStatusCode::INVALID_ARGUMENT) as u32;
    match told {
        Ok(()) => {}
        Err(Unanswered::Refused(error)) if error.get_status() == unknown => {
            member.set_is_older(true);
        }
        Err(why) => member.set_error(why.to_string()),
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;
    use z4_proto::generated::peer::ForwardError;

    #[test]
    fn an_older_release_is_no_failure() {
        let refused = |code: RpcStatusCode| {
            let mut error = ForwardError::default();
            error.set_status(i32::from(code) as u32);
            error.set_message("why".into());
            of("b", Err(Unanswered::Refused(error)))
        };
        let older = refused(RpcStatusCode::INVALID_ARGUMENT);
        assert!(older.get_is_older() && older.get_error().is_empty());
        let busy = refused(RpcStatusCode::RESOURCE_EXHAUSTED);
        assert!(!busy.get_is_older());
        assert_eq!(busy.get_error(), "why");
    }
}
