//! Every method and what it takes, apart from the table of the server on purpose.

use std::time::Duration;

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use grpcio::{RpcStatusCode, WriteFlags};
use z4_e2e::client::Refused;
use z4_proto::generated::access::{
    CreateTokenRequest, DeletePrincipalRequest, GetPrincipalRequest, ListPrincipalsRequest,
    PutPrincipalRequest, RevokeTokenRequest, Role, WhoAmIRequest,
};
use z4_proto::generated::admin::{
    AddClusterMemberRequest, BackupRequest, CheckHealthRequest, DeleteNamespaceRequest,
    GetClusterInfoRequest, GetNamespaceRequest, GetNamespaceStatsRequest, GetPeerStatusRequest,
    HoldLevelRequest, ListNamespacesRequest, PauseNamespaceRequest, RemoveClusterMemberRequest,
    ResumeNamespaceRequest, SetMemberAddressRequest, TransferLeadershipRequest,
    UpdateNamespaceRequest, VerifyClusterRequest,
};
use z4_proto::generated::collection::{
    AckTasksRequest, CancelTaskRequest, ConsumeOpen, ConsumeRequest, CreateTaskRequest,
    CreateTasksRequest, ExplainTaskRequest, ExtendLeasesRequest, GetTaskRequest, LeaseTasksRequest,
    ListTasksRequest, NackTasksRequest, PurgeTasksRequest, RedriveTasksRequest,
    ReleaseTasksRequest, RescheduleTaskRequest, RunTaskRequest, StreamTasksRequest,
};
use z4_proto::generated::health::HealthCheckRequest;

use super::{Stubs, SPACE};

/// The condition that a caller of a method has to meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    Nothing,
    Known,
    On(Role),
    AnyOn,
    Admin,
}

pub(super) type Call = fn(&Stubs) -> Result<(), Refused>;

macro_rules! unary {
    ($stub:ident . $method:ident ( $request:ident { $($set:ident : $value:expr),* } )) => {
        |stubs| {
            #[allow(unused_mut)]
            let mut request = $request::new();
            $( request.$set($value.into()); )*
            stubs.$stub.$method(&request, stubs.option())?;
            Ok(())
        }
    };
}

const TASK: &str = "0rxjczcwggrgcg000000070000";

/// Every method, by its path. It stands apart from the table of the server on purpose.
pub(super) fn methods() -> Vec<(&'static str, Need, Call)> {
    use Need::{Admin, AnyOn, Known, Nothing, On};
    use Role::{
        ROLE_CONSUMER as CONSUMER, ROLE_OPERATOR as OPERATOR, ROLE_PRODUCER as PRODUCER,
        ROLE_READER as READER,
    };
    vec![
        (
            "CreateTask",
            On(PRODUCER),
            unary!(collection.create_task_opt(CreateTaskRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "CreateTaskAsync",
            On(PRODUCER),
            unary!(collection.create_task_accepted_opt(CreateTaskRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "CreateTasks",
            On(PRODUCER),
            unary!(collection.create_tasks_opt(CreateTasksRequest {
                set_namespace: SPACE
            })),
        ),
        ("CreateTaskStream", On(PRODUCER), |stubs| {
            created_by_stream(stubs, false)
        }),
        ("CreateTaskStreamAsync", On(PRODUCER), |stubs| {
            created_by_stream(stubs, true)
        }),
        (
            "CancelTask",
            On(PRODUCER),
            unary!(collection.cancel_task_opt(CancelTaskRequest {
                set_namespace: SPACE,
                set_task_id: TASK
            })),
        ),
        (
            "RescheduleTask",
            On(PRODUCER),
            unary!(collection.reschedule_task_opt(RescheduleTaskRequest {
                set_namespace: SPACE,
                set_task_id: TASK
            })),
        ),
        ("GetTaskStream", On(CONSUMER), streamed),
        ("Consume", On(CONSUMER), consumed),
        (
            "LeaseTasks",
            On(CONSUMER),
            unary!(collection.lease_tasks_opt(LeaseTasksRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "AckTasks",
            On(CONSUMER),
            unary!(collection.ack_tasks_opt(AckTasksRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "NackTasks",
            On(CONSUMER),
            unary!(collection.nack_tasks_opt(NackTasksRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "ExtendLeases",
            On(CONSUMER),
            unary!(collection.extend_leases_opt(ExtendLeasesRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "ReleaseTasks",
            On(CONSUMER),
            unary!(collection.release_tasks_opt(ReleaseTasksRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "GetTask",
            On(READER),
            unary!(collection.get_task_opt(GetTaskRequest {
                set_namespace: SPACE,
                set_task_id: TASK
            })),
        ),
        (
            "ListTasks",
            On(READER),
            unary!(collection.list_tasks_opt(ListTasksRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "ExplainTask",
            On(READER),
            unary!(collection.explain_task_opt(ExplainTaskRequest {
                set_namespace: SPACE,
                set_task_id: TASK
            })),
        ),
        (
            "RunTask",
            On(OPERATOR),
            unary!(collection.run_task_opt(RunTaskRequest {
                set_namespace: SPACE,
                set_task_id: TASK
            })),
        ),
        (
            "RedriveTasks",
            On(OPERATOR),
            unary!(collection.redrive_tasks_opt(RedriveTasksRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "PurgeTasks",
            On(OPERATOR),
            unary!(collection.purge_tasks_opt(PurgeTasksRequest {
                set_namespace: SPACE
            })),
        ),
        (
            "GetNamespace",
            AnyOn,
            unary!(admin.get_namespace_opt(GetNamespaceRequest { set_name: SPACE })),
        ),
        (
            "GetNamespaceStats",
            AnyOn,
            unary!(admin.get_namespace_stats_opt(GetNamespaceStatsRequest { set_name: SPACE })),
        ),
        (
            "ListNamespaces",
            Known,
            unary!(admin.list_namespaces_opt(ListNamespacesRequest {})),
        ),
        (
            "UpdateNamespace",
            On(OPERATOR),
            unary!(admin.update_namespace_opt(UpdateNamespaceRequest { set_name: SPACE })),
        ),
        (
            "PauseNamespace",
            On(OPERATOR),
            unary!(admin.pause_namespace_opt(PauseNamespaceRequest { set_name: SPACE })),
        ),
        (
            "ResumeNamespace",
            On(OPERATOR),
            unary!(admin.resume_namespace_opt(ResumeNamespaceRequest { set_name: SPACE })),
        ),
        (
            "CheckHealth",
            Nothing,
            unary!(admin.check_health_opt(CheckHealthRequest {})),
        ),
        (
            "GetClusterInfo",
            Known,
            unary!(admin.get_cluster_info_opt(GetClusterInfoRequest {})),
        ),
        (
            "AddClusterMember",
            Admin,
            unary!(admin.add_cluster_member_opt(AddClusterMemberRequest {
                set_member_id: "peer9",
                set_member_address: "127.0.0.1:1"
            })),
        ),
        (
            "RemoveClusterMember",
            Admin,
            unary!(admin.remove_cluster_member_opt(RemoveClusterMemberRequest {
                set_member_id: "peer9"
            })),
        ),
        (
            "TransferLeadership",
            Admin,
            unary!(admin.transfer_leadership_opt(TransferLeadershipRequest {
                set_member_id: "peer9"
            })),
        ),
        (
            "SetMemberAddress",
            Admin,
            unary!(admin.set_member_address_opt(SetMemberAddressRequest {
                set_member_id: "peer9",
                set_member_address: "127.0.0.1:1"
            })),
        ),
        (
            "VerifyCluster",
            Admin,
            unary!(admin.verify_cluster_opt(VerifyClusterRequest {})),
        ),
        (
            "GetPeerStatus",
            Admin,
            unary!(admin.get_peer_status_opt(GetPeerStatusRequest {})),
        ),
        (
            "HoldLevel",
            Admin,
            unary!(admin.hold_level_opt(HoldLevelRequest { set_hold: false })),
        ),
        ("Backup", Admin, |stubs| {
            let mut chunks = stubs
                .admin
                .backup_opt(&BackupRequest::new(), stubs.option())?;
            match block_on(chunks.next()) {
                Some(Err(error)) => Err(error.into()),
                Some(Ok(_)) | None => Ok(()),
            }
        }),
        (
            "PutPrincipal",
            Admin,
            unary!(access.put_principal_opt(PutPrincipalRequest { set_name: "nobody" })),
        ),
        (
            "GetPrincipal",
            Admin,
            unary!(access.get_principal_opt(GetPrincipalRequest { set_name: "nobody" })),
        ),
        (
            "ListPrincipals",
            Admin,
            unary!(access.list_principals_opt(ListPrincipalsRequest {})),
        ),
        (
            "CreateToken",
            Admin,
            unary!(access.create_token_opt(CreateTokenRequest {
                set_principal: "no-such"
            })),
        ),
        (
            "RevokeToken",
            Admin,
            unary!(access.revoke_token_opt(RevokeTokenRequest {
                set_principal: "no-such",
                set_token_id: "0000000000000000"
            })),
        ),
        (
            "DeletePrincipal",
            Admin,
            unary!(access.delete_principal_opt(DeletePrincipalRequest { set_name: "nobody" })),
        ),
        (
            "WhoAmI",
            Known,
            unary!(access.who_am_i_opt(WhoAmIRequest {})),
        ),
        (
            "Check",
            Nothing,
            unary!(health.check_opt(HealthCheckRequest {})),
        ),
        // The last one: the namespace is gone behind it.
        (
            "DeleteNamespace",
            On(OPERATOR),
            unary!(admin.delete_namespace_opt(DeleteNamespaceRequest { set_name: SPACE })),
        ),
    ]
}

/// A create by a stream: what its answer says, or why there is none.
fn created_by_stream(stubs: &Stubs, is_accepted: bool) -> Result<(), Refused> {
    let option = stubs.option();
    let opened = match is_accepted {
        true => stubs.collection.create_task_stream_async_opt(option),
        false => stubs.collection.create_task_stream_opt(option),
    };
    let (mut sender, mut receiver) = opened?;
    let mut request = CreateTaskRequest::new();
    request.set_namespace(SPACE.to_owned());
    let answer = block_on(async {
        let _ = sender.send((request, WriteFlags::default())).await;
        receiver.next().await
    });
    match answer {
        Some(Ok(answer)) if answer.get_status() == 0 => Ok(()),
        Some(Ok(answer)) => Err(Refused {
            code: (answer.get_status() as i32).into(),
            message: answer.get_message().to_owned(),
        }),
        Some(Err(error)) => Err(error.into()),
        None => Err(Refused {
            code: RpcStatusCode::UNKNOWN,
            message: "it ended without a word".to_owned(),
        }),
    }
}

/// A stream of tasks that is left at once.
fn streamed(stubs: &Stubs) -> Result<(), Refused> {
    let mut request = StreamTasksRequest::new();
    request.set_namespace(SPACE.to_owned());
    let option = stubs.option_for(Duration::from_secs(1));
    let mut receiver = stubs.collection.get_task_stream_opt(&request, option)?;
    match block_on(receiver.next()) {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

fn consumed(stubs: &Stubs) -> Result<(), Refused> {
    let (mut sender, mut receiver) = stubs.collection.consume_opt(stubs.option())?;
    let mut open = ConsumeOpen::new();
    open.set_namespace(SPACE.to_owned());
    let mut request = ConsumeRequest::new();
    request.set_open(open);
    let answer = block_on(async {
        let _ = sender.send((request, WriteFlags::default())).await;
        receiver.next().await
    });
    match answer {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(()),
    }
}
