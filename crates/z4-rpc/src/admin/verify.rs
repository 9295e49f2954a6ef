//! VerifyCluster: every member checks its state as of one entry of the log, and the
//! findings are compared.

use futures::future::join_all;
use z4_consensus::Status;
use z4_core::{Command, Outcome, View};
use z4_proto::generated::admin::{MemberVerdict, VerifyClusterResponse};
use z4_proto::generated::peer::{
    ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask, VerifyState,
};

use super::members::{self, Patience};
use crate::delivery::wall_ns;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::{unexpected, RetryPolicy};
use crate::verdicts::Verdict;

/// Marks a place in the log, and collects what the members find there.
///
/// A member that was down when the mark passed, and came back by a snapshot
/// beyond it, has no verdict; its entry says so, and the whole is not ok.
pub(super) async fn verify<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
) -> Result<VerifyClusterResponse, Error> {
    let mark_id = mark(node).await?;
    let status = node.handle().status();
    let members = status.membership.members.keys();
    let asked = members.map(|raft_id| found_by(node, &status, *raft_id, mark_id));
    let found = join_all(asked).await;
    let mut response = VerifyClusterResponse::default();
    let mut agreed: Option<&Verdict> = None;
    let mut ok = !found.is_empty();
    for verdict in found.iter().map(|(_, verdict)| verdict) {
        match (verdict, agreed) {
            (Ok(verdict), None) => {
                agreed = Some(verdict);
                ok &= verdict.violations.is_empty();
            }
            (Ok(verdict), Some(first)) => {
                let same = (verdict.index, verdict.state_hash) == (first.index, first.state_hash);
                ok &= same && verdict.violations.is_empty();
            }
            (Err(_), _) => ok = false,
        }
    }
    response.set_ok(ok);
    response.set_index(agreed.map_or(0, |verdict| verdict.index));
    response.set_members(found.into_iter().map(member).collect());
    Ok(response)
}

/// Proposes a mark; gives its id once it is applied here or at the leader.
async fn mark<V: View + Clone + Send + Sync + 'static>(node: &Node<V>) -> Result<u64, Error> {
    loop {
        let id = wall_ns();
        let command = Command::Mark { id };
        let policy = RetryPolicy::of(&command, limits::UNARY_TIMEOUT);
        let settled = node.propose(&command, policy).await;
        match settled.map(|settled| settled.outcome) {
            Ok(Outcome::Marked { .. }) => return Ok(id),
            Ok(other) => return Err(unexpected(other)),
            // A mark whose outcome is unknown may come to stand in two places, so
            // another one is made.
            Err(Error::Unknown { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The name of a member, and its verdict or why there is none.
type Found = (String, Result<Verdict, String>);

async fn found_by<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    status: &Status,
    raft_id: u64,
    mark_id: u64,
) -> Found {
    let member = status.membership.members.get(&raft_id);
    let name = member.map(|m| m.peer_id.clone()).unwrap_or_default();
    if raft_id == status.raft_id {
        return (name, node.verdict(mark_id).await);
    }
    let mut ask = VerifyState::default();
    ask.set_mark_id(mark_id);
    // The member itself gives up before.
    let patience = Patience::of(limits::VERIFY_TIMEOUT + limits::UNARY_TIMEOUT);
    let asked = members::ask(node, status, raft_id, Ask::verify_state(ask), patience);
    let verdict = match asked.await {
        Ok(Answer::verdict(verdict)) => read(&verdict),
        Ok(_) => Err("it answered something else".into()),
        Err(why) => Err(why.to_string()),
    };
    (name, verdict)
}

fn read(verdict: &z4_proto::generated::peer::VerdictReply) -> Result<Verdict, String> {
    let hash: [u8; 16] = verdict
        .get_state_hash()
        .try_into()
        .map_err(|_| "it answered with a hash of another length".to_owned())?;
    Ok(Verdict {
        index: verdict.get_index(),
        state_hash: u128::from_be_bytes(hash),
        rows: verdict.get_rows(),
        violations: verdict.get_violations().to_vec(),
    })
}

fn member((name, verdict): Found) -> MemberVerdict {
    let mut member = MemberVerdict::default();
    member.set_id(name);
    match verdict {
        Ok(verdict) => {
            member.set_state_hash(format!("{:032x}", verdict.state_hash));
            member.set_violations(verdict.violations.into());
            member.set_rows(verdict.rows);
        }
        Err(why) => member.set_error(why),
    }
    member
}
