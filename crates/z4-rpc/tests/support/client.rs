//! A small client for tools: several addresses, finds one that answers.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use grpcio::{
    CallOption, Channel, ChannelBuilder, ClientSStreamReceiver, EnvBuilder, Environment, Error,
    RpcStatusCode,
};
use z4_proto::generated::admin::{
    AddClusterMemberRequest, CheckHealthRequest, ClusterInfo, GetClusterInfoRequest,
    RemoveClusterMemberRequest, TransferLeadershipRequest,
};
use z4_proto::generated::admin_grpc::AdminClient;
use z4_proto::generated::collection::{
    CreateTaskRequest, CreateTaskResponse, GetTaskRequest, StreamTasksRequest, Task,
};
use z4_proto::generated::collection_grpc::CollectionClient;

use z4_rpc::limits;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// None of the addresses answers in time: is a peer running there?
    #[error("no peer answers at {addresses} within {within_ms} ms; is one running there?")]
    NobodyAnswers {
        /// Those that were tried.
        addresses: String,
        /// How long, in milliseconds.
        within_ms: u64,
    },
    /// The peer answered with an error.
    #[error("{message}")]
    Status {
        /// What kind.
        code: RpcStatusCode,
        /// For a person: names the field, the limit, the remedy.
        message: String,
    },
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Connection(String),
}

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::RpcFailure(status) => Some(status),
            Error::RpcFinished(status) => status.as_ref(),
            _ => None,
        };
        match status {
            Some(status) => Self::Status {
                code: status.code(),
                message: match status.message() {
                    "" => status.code().to_string(),
                    message => message.to_owned(),
                },
            },
            None => Self::Connection(error.to_string()),
        }
    }
}

/// A connection to one peer.
pub struct Client {
    collection: CollectionClient,
    admin: AdminClient,
    address: String,
    timeout: Duration,
}

impl Client {
    /// Connects to the first of `addresses` (`host:port`) that takes a
    /// connection. Each gets an even part of `timeout`, which also bounds every
    /// later unary call but changes of members (45 s).
    ///
    /// # Errors
    /// [`ClientError::NobodyAnswers`].
    pub fn connect(addresses: &[String], timeout: Duration) -> Result<Self, ClientError> {
        let env = Arc::new(
            EnvBuilder::new()
                .cq_count(1)
                .name_prefix("z4-client")
                .build(),
        );
        let share = timeout / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        for address in addresses.iter().filter(|address| !address.contains('\0')) {
            let channel = channel(&env, address);
            if block_on(channel.wait_for_connected(share)) {
                return Ok(Self {
                    collection: CollectionClient::new(channel.clone()),
                    admin: AdminClient::new(channel),
                    address: address.clone(),
                    timeout,
                });
            }
        }
        Err(ClientError::NobodyAnswers {
            addresses: addresses.join(", "),
            within_ms: timeout.as_millis() as u64,
        })
    }

    /// The address that answered.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The generated client of `z4.Collection`, for what is not here.
    #[must_use]
    pub fn collection(&self) -> &CollectionClient {
        &self.collection
    }

    /// The generated client of `z4.Admin`, for what is not here.
    #[must_use]
    pub fn admin(&self) -> &AdminClient {
        &self.admin
    }

    fn option(&self) -> CallOption {
        CallOption::default().timeout(self.timeout)
    }

    /// Changes of members wait for the newcomer to catch up.
    fn slow_option() -> CallOption {
        CallOption::default().timeout(limits::ADMIN_TIMEOUT + Duration::from_secs(5))
    }

    /// OK when the peer knows a leader.
    ///
    /// # Errors
    /// [`ClientError::Status`] that says why it does not.
    pub fn health(&self) -> Result<(), ClientError> {
        let request = CheckHealthRequest::default();
        self.admin.check_health_opt(&request, self.option())?;
        Ok(())
    }

    /// What the peer knows of its cluster.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn info(&self) -> Result<ClusterInfo, ClientError> {
        let request = GetClusterInfoRequest::default();
        Ok(self.admin.get_cluster_info_opt(&request, self.option())?)
    }

    /// Adds the peer `peer_id` that listens for peers at `address`; waits until
    /// it votes.
    ///
    /// # Errors
    /// [`ClientError::Status`] that says what to do.
    pub fn add_member(&self, peer_id: &str, address: &str) -> Result<(), ClientError> {
        let mut request = AddClusterMemberRequest::default();
        request.set_member_id(peer_id.to_owned());
        request.set_member_address(address.to_owned());
        self.admin
            .add_cluster_member_opt(&request, Self::slow_option())?;
        Ok(())
    }

    /// Removes a peer for good.
    ///
    /// # Errors
    /// [`ClientError::Status`] that says what to do.
    pub fn remove_member(&self, peer_id: &str) -> Result<(), ClientError> {
        let mut request = RemoveClusterMemberRequest::default();
        request.set_member_id(peer_id.to_owned());
        self.admin
            .remove_cluster_member_opt(&request, Self::slow_option())?;
        Ok(())
    }

    /// Hands leadership to `peer_id`; to the most caught-up voter when empty.
    ///
    /// # Errors
    /// [`ClientError::Status`] that says what to do.
    pub fn transfer_leader(&self, peer_id: &str) -> Result<(), ClientError> {
        let mut request = TransferLeadershipRequest::default();
        request.set_member_id(peer_id.to_owned());
        self.admin
            .transfer_leadership_opt(&request, Self::slow_option())?;
        Ok(())
    }

    /// Creates a task.
    ///
    /// # Errors
    /// [`ClientError::Status`]; with UNKNOWN the task may be there.
    pub fn create(&self, request: &CreateTaskRequest) -> Result<CreateTaskResponse, ClientError> {
        Ok(self.collection.create_task_opt(request, self.option())?)
    }

    /// The task of an id.
    ///
    /// # Errors
    /// [`ClientError::Status`], NOT_FOUND when it is done or was never there.
    pub fn get(&self, namespace: &str, task_id: &str) -> Result<Task, ClientError> {
        let mut request = GetTaskRequest::default();
        request.set_namespace(namespace.to_owned());
        request.set_task_id(task_id.to_owned());
        Ok(self.collection.get_task_opt(&request, self.option())?)
    }

    /// Due tasks of a namespace, without an end. A task counts as done once it
    /// is written to the stream.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stream(&self, namespace: &str) -> Result<ClientSStreamReceiver<Task>, ClientError> {
        let mut request = StreamTasksRequest::default();
        request.set_namespace(namespace.to_owned());
        Ok(self.collection.get_task_stream(&request)?)
    }
}

fn channel(env: &Arc<Environment>, address: &str) -> Channel {
    // An answer may carry what a request may.
    let len = limits::MESSAGE_LEN_MAX as i32;
    ChannelBuilder::new(Arc::clone(env))
        .max_receive_message_len(len)
        .max_send_message_len(len)
        .enable_http_proxy(false)
        .connect(address)
}
