//! A client of one peer, and creates that are retried at any peer.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use grpcio::{
    CallOption, Channel, ChannelBuilder, ChannelCredentials, EnvBuilder, Environment, RpcStatusCode,
};
use z4_proto::generated::admin::{
    AddClusterMemberRequest, CheckHealthRequest, ClusterInfo, GetClusterInfoRequest,
    RemoveClusterMemberRequest,
};
use z4_proto::generated::admin_grpc::AdminClient;
use z4_proto::generated::collection::{
    CreateTaskRequest, CreateTaskResponse, GetTaskRequest, Task,
};
use z4_proto::generated::collection_grpc::CollectionClient;

use crate::tls;

/// How long one call may take, unless it says otherwise.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);

/// A gRPC status and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub code: RpcStatusCode,
    /// What it says.
    pub message: String,
}

impl From<grpcio::Error> for Refused {
    fn from(error: grpcio::Error) -> Self {
        match error {
            grpcio::Error::RpcFailure(status) | grpcio::Error::RpcFinished(Some(status)) => Self {
                code: status.code(),
                message: status.message().to_owned(),
            },
            // The stream was torn down before its status arrived.
            other => Self {
                code: RpcStatusCode::UNAVAILABLE,
                message: other.to_string(),
            },
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// The completion queues that all clients of this process share.
#[must_use]
pub fn environment() -> Arc<Environment> {
    static SHARED: OnceLock<Arc<Environment>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| Arc::new(EnvBuilder::new().cq_count(2).build()));
    Arc::clone(shared)
}

/// A channel of its own connection that comes back quickly after a restart.
#[must_use]
pub fn channel(environment: Arc<Environment>, address: &str) -> Channel {
    channel_with(environment, address, tls::credentials(address))
}

/// A channel like [`channel`] that shows these credentials and nothing else.
#[must_use]
pub fn channel_with(
    environment: Arc<Environment>,
    address: &str,
    credentials: Option<ChannelCredentials>,
) -> Channel {
    let builder = ChannelBuilder::new(environment)
        .use_local_subchannel_pool(true)
        .initial_reconnect_backoff(Duration::from_millis(100))
        .max_reconnect_backoff(Duration::from_millis(200))
        .max_send_message_len(-1)
        .max_receive_message_len(-1);
    match credentials {
        Some(credentials) => builder.set_credentials(credentials).connect(address),
        None => builder.connect(address),
    }
}

/// A client of one peer.
#[derive(Clone)]
pub struct Client {
    /// The peer's `host:port`.
    pub address: String,
    /// Tasks.
    pub collection: CollectionClient,
    /// Administration.
    pub admin: AdminClient,
}

impl Client {
    /// A client of the services at `address`. Connects at the first call.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self::on(environment(), address)
    }

    /// As [`Client::new`], on completion queues of the caller's.
    #[must_use]
    pub fn on(environment: Arc<Environment>, address: &str) -> Self {
        let channel = channel(environment, address);
        Self {
            address: address.to_owned(),
            collection: CollectionClient::new(channel.clone()),
            admin: AdminClient::new(channel),
        }
    }

    /// Creates a task.
    ///
    /// # Errors
    /// The status of the peer.
    pub fn create(&self, request: &CreateTaskRequest) -> Result<CreateTaskResponse, Refused> {
        self.create_within(request, CALL_LIMIT)
    }

    /// Creates a task within `limit`.
    ///
    /// # Errors
    /// The status of the peer; `DEADLINE_EXCEEDED` after `limit`.
    pub fn create_within(
        &self,
        request: &CreateTaskRequest,
        limit: Duration,
    ) -> Result<CreateTaskResponse, Refused> {
        let answer = self.collection.create_task_opt(request, option(limit));
        answer.map_err(Refused::from)
    }

    /// The task with this id.
    ///
    /// # Errors
    /// The status of the peer.
    pub fn get(&self, namespace: &str, id: &str) -> Result<Task, Refused> {
        let mut request = GetTaskRequest::new();
        request.set_namespace(namespace.to_owned());
        request.set_task_id(id.to_owned());
        let answer = self.collection.get_task_opt(&request, option(CALL_LIMIT));
        answer.map_err(Refused::from)
    }

    /// What the peer says of its cluster.
    ///
    /// # Errors
    /// The status of the peer.
    pub fn info(&self) -> Result<ClusterInfo, Refused> {
        let (request, limit) = (GetClusterInfoRequest::new(), Duration::from_secs(2));
        let ask = |option| self.admin.get_cluster_info_opt(&request, option);
        match ask(option(limit)).map_err(Refused::from) {
            // A peer in no cluster knows the token of the first admin alone.
            Err(refused)
                if refused.code == RpcStatusCode::UNAUTHENTICATED && tls::is_switched_on() =>
            {
                ask(crate::asked::as_root(limit)).map_err(Refused::from)
            }
            answer => answer,
        }
    }

    /// `Admin.CheckHealth`.
    ///
    /// # Errors
    /// The status of the peer: it knows no leader.
    pub fn health(&self) -> Result<(), Refused> {
        let request = CheckHealthRequest::new();
        let answer = self.admin.check_health_opt(&request, option(CALL_LIMIT));
        answer.map(|_| ()).map_err(Refused::from)
    }

    /// Adds a member.
    ///
    /// # Errors
    /// The status of the peer.
    pub fn add_member(&self, id: &str, address: &str) -> Result<(), Refused> {
        let mut request = AddClusterMemberRequest::new();
        request.set_member_id(id.to_owned());
        request.set_member_address(address.to_owned());
        let limit = option(Duration::from_secs(20));
        let answer = self.admin.add_cluster_member_opt(&request, limit);
        answer.map(|_| ()).map_err(Refused::from)
    }

    /// Removes a member.
    ///
    /// # Errors
    /// The status of the peer.
    pub fn remove_member(&self, id: &str) -> Result<(), Refused> {
        let mut request = RemoveClusterMemberRequest::new();
        request.set_member_id(id.to_owned());
        let limit = option(Duration::from_secs(20));
        let answer = self.admin.remove_cluster_member_opt(&request, limit);
        answer.map(|_| ()).map_err(Refused::from)
    }
}

/// The option of a call that may take `limit`.
#[must_use]
pub fn option(limit: Duration) -> CallOption {
    CallOption::default().timeout(limit)
}

/// An acknowledged create.
#[derive(Debug, Clone)]
pub struct Created {
    /// The id that was acknowledged.
    pub task_id: String,
    /// Which of the given clients acknowledged it.
    pub by: usize,
    /// When the try that was acknowledged was sent.
    pub sent_at: Instant,
    /// When it was acknowledged.
    pub acked_at: Instant,
    /// Tries, the acknowledged one included.
    pub tries: u32,
}

/// Creates through the client at `first`, and through the others in turn while
/// a try may be retried. The request must carry a `request_id`.
///
/// # Errors
/// The last status, when it forbids a retry or `limit` has passed.
pub fn create_anywhere(
    clients: &[Client],
    first: usize,
    request: &CreateTaskRequest,
    limit: Duration,
) -> Result<Created, Refused> {
    assert!(
        !request.get_request_id().is_empty(),
        "a retry without a request_id may make two tasks"
    );
    let end = Instant::now() + limit;
    let mut tries = 0;
    loop {
        let by = (first + tries as usize) % clients.len();
        let sent_at = Instant::now();
        tries += 1;
        match clients[by].create_within(request, Duration::from_secs(1)) {
            Ok(answer) => {
                return Ok(Created {
                    task_id: answer.get_task().get_id().to_owned(),
                    by,
                    sent_at,
                    acked_at: Instant::now(),
                    tries,
                })
            }
            Err(refused) if !may_retry(refused.code) || Instant::now() >= end => {
                return Err(refused)
            }
            // A peer that refuses at once is not to be asked in a busy loop.
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Whether a create with a `request_id` is to be tried again.
#[must_use]
pub fn may_retry(code: RpcStatusCode) -> bool {
    [
        RpcStatusCode::UNAVAILABLE,
        RpcStatusCode::DEADLINE_EXCEEDED,
        RpcStatusCode::RESOURCE_EXHAUSTED,
        RpcStatusCode::CANCELLED,
    ]
    .contains(&code)
}
