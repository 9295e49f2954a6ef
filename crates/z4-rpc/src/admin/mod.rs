//! The service of those who run a cluster. Changes are made by the leader; other
//! peers send them on.

mod add;
mod change;
mod info;
mod remove;

use std::time::Instant;

use grpcio::{RpcContext, UnarySink};
use protobuf::well_known_types::Empty;
use z4_consensus::ProposeError;
use z4_core::View;
use z4_proto::generated::admin::{
    AddClusterMemberRequest, CheckHealthRequest, ClusterInfo, GetClusterInfoRequest,
    RemoveClusterMemberRequest, Status, TransferLeadershipRequest,
};
use z4_proto::generated::admin_grpc::Admin;
use z4_proto::generated::peer::{
    AddMember, ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask, RemoveMember,
    TransferLeader,
};

use crate::collection::respond;
use crate::errors::Error;
use crate::forward::AskError;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;
use crate::validate;

/// Why a change was not (certainly) made.
#[derive(Debug)]
pub(crate) struct AdminError {
    pub(crate) error: Error,
    /// This peer does not lead (any more), and nothing was done: ask the leader.
    pub(crate) not_leader: bool,
}

impl From<Error> for AdminError {
    fn from(error: Error) -> Self {
        Self {
            error,
            not_leader: false,
        }
    }
}

impl From<ProposeError> for AdminError {
    fn from(error: ProposeError) -> Self {
        let not_leader = matches!(error, ProposeError::NotLeader | ProposeError::Superseded);
        Self {
            error: Error::of_proposal(error, true),
            not_leader,
        }
    }
}

/// `z4.Admin` at one peer.
pub struct AdminService<V> {
    node: Node<V>,
}

impl<V> Clone for AdminService<V> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> AdminService<V> {
    /// The service of this peer.
    #[must_use]
    pub fn new(node: Node<V>) -> Self {
        Self { node }
    }
}

/// What only the leader does.
#[derive(Clone)]
enum Work {
    Add { peer_id: String, address: String },
    Remove { peer_id: String },
    Transfer { peer_id: String },
}

impl Work {
    fn ask(&self) -> Ask {
        match self {
            Self::Add { peer_id, address } => {
                let mut ask = AddMember::default();
                ask.set_peer_id(peer_id.clone());
                ask.set_address(address.clone());
                Ask::add_member(ask)
            }
            Self::Remove { peer_id } => {
                let mut ask = RemoveMember::default();
                ask.set_peer_id(peer_id.clone());
                Ask::remove_member(ask)
            }
            Self::Transfer { peer_id } => {
                let mut ask = TransferLeader::default();
                ask.set_peer_id(peer_id.clone());
                Ask::transfer_leader(ask)
            }
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Has the leader do it, waiting for one while nothing was done.
    async fn administer(&self, work: Work) -> Result<Empty, Error> {
        let started = Instant::now();
        loop {
            let status = self.handle().status();
            let result = if status.leader == 0 {
                Err(AdminError {
                    error: no_leader(&status),
                    not_leader: status.raft_id != 0,
                })
            } else if status.leader == status.raft_id {
                match &work {
                    Work::Add { peer_id, address } => self.add_member_here(peer_id, address).await,
                    Work::Remove { peer_id } => self.remove_member_here(peer_id).await,
                    Work::Transfer { peer_id } => self.transfer_here(peer_id).await,
                }
            } else {
                self.administer_at(status.leader, &work).await
            };
            match result {
                Ok(()) => return Ok(Empty::default()),
                Err(failed) if failed.not_leader && started.elapsed() < limits::LEADER_WAIT => {
                    self.leader_watch().changed(&status).await;
                }
                Err(failed) => return Err(failed.error),
            }
        }
    }

    async fn administer_at(&self, leader: u64, work: &Work) -> Result<(), AdminError> {
        let status = self.handle().status();
        let again = |why: &str| AdminError {
            error: Error::Unavailable(format!("the leader could not be asked: {why}; retry")),
            not_leader: true,
        };
        let Some(address) = self.network().address(&status.membership, leader) else {
            return Err(again("its address is not known yet"));
        };
        let asked = Box::pin(self.forwarder().ask(leader, &address, work.ask()));
        match self.timer().within(limits::ADMIN_TIMEOUT, asked).await {
            Some(Ok(Answer::done(_))) => Ok(()),
            Some(Err(AskError::NotSent(why))) => Err(again(&why)),
            Some(Err(AskError::Refused(error))) => Err(AdminError {
                not_leader: error.get_not_leader(),
                error: Error::of_forward(&error, true),
            }),
            Some(Err(AskError::Full)) => Err(Error::Busy {
                what: "the queue of requests to the leader".into(),
                retry_after_ms: 100,
            }
            .into()),
            Some(Ok(_) | Err(AskError::Lost)) | None => Err(Error::Unavailable(
                "the leader went away before it answered; see with info what was done, then retry"
                    .into(),
            )
            .into()),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> Admin for AdminService<V> {
    fn check_health(
        &mut self,
        ctx: RpcContext<'_>,
        request: CheckHealthRequest,
        sink: UnarySink<Status>,
    ) {
        let node = self.node.clone();
        respond(&ctx, self.node.clone(), "CheckHealth", sink, async move {
            validate::request_id(request.get_request_id())?;
            let status = node.handle().status();
            if status.leader == 0 {
                return Err(no_leader(&status));
            }
            Ok(Status::default())
        });
    }

    fn get_cluster_info(
        &mut self,
        ctx: RpcContext<'_>,
        _: GetClusterInfoRequest,
        sink: UnarySink<ClusterInfo>,
    ) {
        let node = self.node.clone();
        respond(
            &ctx,
            self.node.clone(),
            "GetClusterInfo",
            sink,
            async move { Ok(info::info(&node).await) },
        );
    }

    fn add_cluster_member(
        &mut self,
        ctx: RpcContext<'_>,
        request: AddClusterMemberRequest,
        sink: UnarySink<Empty>,
    ) {
        let node = self.node.clone();
        respond(
            &ctx,
            self.node.clone(),
            "AddClusterMember",
            sink,
            async move {
                check_peer_id(request.get_member_id())?;
                check_address(request.get_member_address())?;
                let work = Work::Add {
                    peer_id: request.member_id,
                    address: request.member_address,
                };
                node.administer(work).await
            },
        );
    }

    fn remove_cluster_member(
        &mut self,
        ctx: RpcContext<'_>,
        request: RemoveClusterMemberRequest,
        sink: UnarySink<Empty>,
    ) {
        let node = self.node.clone();
        respond(
            &ctx,
            self.node.clone(),
            "RemoveClusterMember",
            sink,
            async move {
                check_peer_id(request.get_member_id())?;
                let peer_id = request.member_id;
                node.administer(Work::Remove { peer_id }).await
            },
        );
    }

    fn transfer_leadership(
        &mut self,
        ctx: RpcContext<'_>,
        request: TransferLeadershipRequest,
        sink: UnarySink<Empty>,
    ) {
        let node = self.node.clone();
        respond(
            &ctx,
            self.node.clone(),
            "TransferLeadership",
            sink,
            async move {
                if !request.get_member_id().is_empty() {
                    check_peer_id(request.get_member_id())?;
                }
                let peer_id = request.member_id;
                node.administer(Work::Transfer { peer_id }).await
            },
        );
    }
}

/// Checks the name of a peer.
///
/// # Errors
/// [`Error`] that names the field and the rule.
pub fn check_peer_id(peer_id: &str) -> Result<(), Error> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    let fits = (1..=limits::PEER_ID_LEN_MAX).contains(&peer_id.len());
    if fits && peer_id.bytes().all(plain) {
        return Ok(());
    }
    let rule = format!(
        "must be 1 to {} characters of A-Z a-z 0-9 . _ -",
        limits::PEER_ID_LEN_MAX
    );
    Err(Error::invalid("member_id", rule))
}

/// Checks the address of a peer: `host:port`, with a name, an IPv4 address, or
/// an IPv6 address in brackets.
///
/// # Errors
/// [`Error`] that names the field and the rule.
pub fn check_address(address: &str) -> Result<(), Error> {
    let bad = || {
        let rule = "must be host:port, for example 10.0.0.7:6356";
        Err(Error::invalid("member_address", rule))
    };
    let Some((host, port)) = address.rsplit_once(':') else {
        return bad();
    };
    let host_fits = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
            (1..=253).contains(&host.len()) && host.bytes().all(plain)
        }
    };
    let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    let port_fits = digits && port.parse::<u16>().is_ok_and(|port| port > 0);
    if host_fits && port_fits {
        return Ok(());
    }
    bad()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_ids_are_plain_and_bounded() {
        for good in ["a", "peer1", "A.b_c-9", &"x".repeat(128)] {
            assert!(check_peer_id(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(check_peer_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_host_and_port() {
        for good in [
            "localhost:1",
            "10.0.0.1:6356",
            "[::1]:6356",
            "a-b.c_d:65535",
        ] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ":",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "a b:1",
            "[::1:1",
            "[x]:1",
            "unix:/x",
            "http://a:1",
            "::1:1",
        ] {
            let refused = check_address(bad).err().map(|e| e.to_string());
            let text = refused.unwrap_or_default();
            assert!(text.starts_with("member_address"), "{bad}: {text}");
        }
    }
}
