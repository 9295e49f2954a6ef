//! The service of those who run a cluster. Changes are made by the leader; other
//! peers send them on.

mod add;
mod address;
mod backup;
mod change;
mod check;
mod here;
mod info;
mod level;
mod members;
pub(crate) mod namespaces;
mod peer_status;
mod remove;
mod replace;
mod request;
mod verify;

use std::time::Instant;

use grpcio::{RpcContext, ServerStreamingSink, UnarySink};
use protobuf::well_known_types::Empty;
use z4_consensus::ProposeError;
use z4_core::View;
use z4_proto::generated::admin::{
    AddClusterMemberRequest, BackupChunk, BackupRequest, CheckHealthRequest, ClusterInfo,
    DeleteNamespaceRequest, DeleteNamespaceResponse, GetClusterInfoRequest, GetNamespaceRequest,
    GetNamespaceStatsRequest, GetPeerStatusRequest, GetPeerStatusResponse, HoldLevelRequest,
    HoldLevelResponse, ListNamespacesRequest, ListNamespacesResponse, Namespace, NamespaceStats,
    PauseNamespaceRequest, RemoveClusterMemberRequest, ResumeNamespaceRequest,
    SetMemberAddressRequest, SetMemberAddressResponse, Status, TransferLeadershipRequest,
    UpdateNamespaceRequest, VerifyClusterRequest, VerifyClusterResponse,
};
use z4_proto::generated::admin_grpc::Admin;
use z4_proto::generated::peer::{
    AddMember, ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask, RemoveMember,
    SetAddress, TransferLeader,
};

use crate::access::{About, Caller, Method};
use crate::backup::Backups;
use crate::collection::respond;
use crate::errors::Error;
use crate::forward::AskError;
use crate::leader::{no_leader, no_leader_to_read};
use crate::limits;
use crate::node::Node;
use crate::validate;

pub(crate) use self::peer_status::own as own_status;
pub(crate) use self::request::answer as answer_request;

pub use self::check::{check_address, check_peer_id};

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
    backups: Backups,
}

impl<V> Clone for AdminService<V> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            backups: self.backups.clone(),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> AdminService<V> {
    /// The service of this peer.
    #[must_use]
    pub(crate) fn new(node: Node<V>, backups: Backups) -> Self {
        Self { node, backups }
    }
}

/// What only the leader does.
#[derive(Clone)]
enum Work {
    Add {
        peer_id: String,
        address: String,
        /// The peer itself asks.
        is_own_request: bool,
    },
    Remove {
        peer_id: String,
    },
    Transfer {
        peer_id: String,
    },
    SetAddress {
        peer_id: String,
        address: String,
    },
}

impl Work {
    fn ask(&self) -> Ask {
        match self {
            Self::Add {
                peer_id,
                address,
                is_own_request,
            } => {
                let mut ask = AddMember::default();
                ask.set_peer_id(peer_id.clone());
                ask.set_address(address.clone());
                ask.set_is_own_request(*is_own_request);
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
            Self::SetAddress { peer_id, address } => {
                let mut ask = SetAddress::default();
                ask.set_peer_id(peer_id.clone());
                ask.set_address(address.clone());
                Ask::set_address(ask)
            }
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> Node<V> {
    /// Has the leader do it, waiting for one while nothing was done.
    async fn administer(&self, work: Work) -> Result<Empty, Error> {
        let give_up = Instant::now() + self.patience(limits::LEADER_WAIT);
        loop {
            let status = self.handle().status();
            let result = if status.leader == 0 {
                Err(AdminError {
                    error: no_leader(&status),
                    not_leader: status.raft_id != 0,
                })
            } else if status.leader == status.raft_id {
                self.administer_here(&work).await
            } else {
                self.administer_at(status.leader, &work).await
            };
            match result {
                Ok(()) => return Ok(Empty::default()),
                Err(failed) if failed.not_leader && Instant::now() < give_up => {
                    self.another_leader(&status, give_up).await;
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
        let limit = self.patience(limits::ADMIN_TIMEOUT);
        // Members that know no principals are not told of them.
        let is_told = status.membership.level >= limits::PRINCIPAL_LEVEL;
        let principal = self.caller().filter(|_| is_told).map_or("", Caller::name);
        let asking = self
            .forwarder()
            .ask_as(principal.to_owned(), leader, &address, work.ask());
        let asked = Box::pin(asking);
        match self.timer().within(limit, asked).await {
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
            None => Err(Error::Unconfirmed(
                "the leader did not answer in time, and goes on; see with info what was done, then \
                 retry"
                    .into(),
            )
            .into()),
            Some(Ok(_) | Err(AskError::Lost)) => Err(Error::Unconfirmed(
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
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::CheckHealth, About::Nothing);
        respond(&ctx, self.node.clone(), call, sink, async move {
            validate::request_id(request.get_request_id())?;
            let status = node.handle().status();
            match status.leader {
                0 if node.authorize(Method::WhoAmI, About::Nothing).is_ok() => {
                    Err(no_leader_to_read(&status))
                }
                // The reason names members, whom a stranger is not told of.
                0 => Err(Error::Unavailable("this peer knows no leader".into())),
                _ => Ok(Status::default()),
            }
        });
    }

    fn get_cluster_info(
        &mut self,
        ctx: RpcContext<'_>,
        _: GetClusterInfoRequest,
        sink: UnarySink<ClusterInfo>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::GetClusterInfo, About::Nothing);
        respond(&ctx, self.node.clone(), call, sink, async move {
            Ok(info::info(&node).await)
        });
    }

    fn add_cluster_member(
        &mut self,
        ctx: RpcContext<'_>,
        request: AddClusterMemberRequest,
        sink: UnarySink<Empty>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::AddClusterMember,
            About::Other(request.get_member_id()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            check_peer_id(request.get_member_id())?;
            let address = check_address(request.get_member_address())?;
            let peer_id = request.member_id;
            let work = Work::Add {
                peer_id,
                address,
                is_own_request: false,
            };
            node.administer(work).await
        });
    }

    fn remove_cluster_member(
        &mut self,
        ctx: RpcContext<'_>,
        request: RemoveClusterMemberRequest,
        sink: UnarySink<Empty>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::RemoveClusterMember,
            About::Other(request.get_member_id()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            check_peer_id(request.get_member_id())?;
            let peer_id = request.member_id;
            node.administer(Work::Remove { peer_id }).await
        });
    }

    fn transfer_leadership(
        &mut self,
        ctx: RpcContext<'_>,
        request: TransferLeadershipRequest,
        sink: UnarySink<Empty>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::TransferLeadership,
            About::Other(request.get_member_id()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            if !request.get_member_id().is_empty() {
                check_peer_id(request.get_member_id())?;
            }
            let peer_id = request.member_id;
            node.administer(Work::Transfer { peer_id }).await
        });
    }

    fn set_member_address(
        &mut self,
        ctx: RpcContext<'_>,
        request: SetMemberAddressRequest,
        sink: UnarySink<SetMemberAddressResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::SetMemberAddress,
            About::Other(request.get_member_id()),
        );
        let work = async move {
            let (peer_id, address) = (request.get_member_id(), request.get_member_address());
            address::set(&node, peer_id, address).await
        };
        respond(&ctx, self.node.clone(), call, sink, work);
    }

    fn verify_cluster(
        &mut self,
        ctx: RpcContext<'_>,
        _: VerifyClusterRequest,
        sink: UnarySink<VerifyClusterResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::VerifyCluster, About::Nothing);
        let backups = self.backups.clone();
        respond(&ctx, self.node.clone(), call, sink, async move {
            let mut found = verify::verify(&node).await?;
            if let Some(origin) = backup::origin(&node, &backups).await? {
                found.set_origin(origin);
            }
            Ok(found)
        });
    }

    fn backup(
        &mut self,
        ctx: RpcContext<'_>,
        _: BackupRequest,
        sink: ServerStreamingSink<BackupChunk>,
    ) {
        let node = self.node.of_stream(&ctx);
        let call = node.judge(Method::Backup, About::Nothing);
        let backups = self.backups.clone();
        ctx.spawn(backup::run(node, backups, call, ctx.peer(), sink));
    }

    fn get_peer_status(
        &mut self,
        ctx: RpcContext<'_>,
        request: GetPeerStatusRequest,
        sink: UnarySink<GetPeerStatusResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::GetPeerStatus, About::Nothing);
        respond(&ctx, self.node.clone(), call, sink, async move {
            peer_status::of_members(&node, request.get_member_id()).await
        });
    }

    fn hold_level(
        &mut self,
        ctx: RpcContext<'_>,
        request: HoldLevelRequest,
        sink: UnarySink<HoldLevelResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::HoldLevel, About::Nothing);
        respond(&ctx, self.node.clone(), call, sink, async move {
            level::hold(&node, request.get_hold()).await
        });
    }

    fn list_namespaces(
        &mut self,
        ctx: RpcContext<'_>,
        request: ListNamespacesRequest,
        sink: UnarySink<ListNamespacesResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::ListNamespaces, About::Nothing);
        let work = async move { namespaces::list(&node, &request).await };
        respond(&ctx, self.node.clone(), call, sink, work);
    }

    fn get_namespace(
        &mut self,
        ctx: RpcContext<'_>,
        request: GetNamespaceRequest,
        sink: UnarySink<Namespace>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::GetNamespace, About::Namespace(request.get_name()));
        let work = async move { namespaces::get(&node, request.get_name()).await };
        respond(&ctx, self.node.clone(), call, sink, work);
    }

    fn update_namespace(
        &mut self,
        ctx: RpcContext<'_>,
        request: UpdateNamespaceRequest,
        sink: UnarySink<Namespace>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::UpdateNamespace,
            About::Namespace(request.get_name()),
        );
        let work = async move { namespaces::update(&node, &request).await };
        respond(&ctx, self.node.clone(), call, sink, work);
    }

    fn delete_namespace(
        &mut self,
        ctx: RpcContext<'_>,
        request: DeleteNamespaceRequest,
        sink: UnarySink<DeleteNamespaceResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::DeleteNamespace,
            About::Namespace(request.get_name()),
        );
        let work = async move { namespaces::delete(&node, request.get_name()).await };
        respond(&ctx, self.node.clone(), call, sink, work);
    }

    fn pause_namespace(
        &mut self,
        ctx: RpcContext<'_>,
        request: PauseNamespaceRequest,
        sink: UnarySink<Namespace>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::PauseNamespace, About::Namespace(request.get_name()));
        let work = async move { namespaces::pause(&node, request.get_name(), true).await };
        respond(&ctx, self.node.clone(), call, sink, work);
    }

    fn resume_namespace(
        &mut self,
        ctx: RpcContext<'_>,
        request: ResumeNamespaceRequest,
        sink: UnarySink<Namespace>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::ResumeNamespace,
            About::Namespace(request.get_name()),
        );
        let work = async move { namespaces::pause(&node, request.get_name(), false).await };
        respond(&ctx, self.node.clone(), call, sink, work);
    }

    fn get_namespace_stats(
        &mut self,
        ctx: RpcContext<'_>,
        request: GetNamespaceStatsRequest,
        sink: UnarySink<NamespaceStats>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::GetNamespaceStats,
            About::Namespace(request.get_name()),
        );
        let work = async move {
            let name = namespaces::named(request.get_name())?;
            let consumers = node.consumers_view(&name).await?;
            namespaces::stats(&node, name, consumers).await
        };
        respond(&ctx, self.node.clone(), call, sink, work);
    }
}
