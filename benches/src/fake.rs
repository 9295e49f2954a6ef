//! A server of this program's tests that breaks promises on purpose: what
//! measures must see it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use futures::channel::mpsc as tasks;
use futures::{SinkExt, StreamExt, TryStreamExt};
use grpcio::{
    ChannelBuilder, DuplexSink, EnvBuilder, RequestStream, RpcContext, RpcStatus, RpcStatusCode,
    Server, ServerBuilder, ServerCredentials, ServerStreamingSink, UnarySink, WriteFlags,
};
use z4_e2e::request::instant;
use z4_proto::generated::admin::{ClusterInfo, GetClusterInfoRequest, PeerRole};
use z4_proto::generated::admin_grpc::{create_admin, Admin};
use z4_proto::generated::collection::{
    CreateTaskRequest, CreateTaskResponse, StreamTasksRequest, Task, TaskStreamResponse,
};
use z4_proto::generated::collection_grpc::{create_collection, Collection};

/// What the server does wrong with the n-th task, from 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Delivered at once, whenever it is due.
    pub early: Option<usize>,
    /// Never delivered.
    pub lost: Option<usize>,
    /// Delivered twice.
    pub twice: Option<usize>,
    /// Refused as invalid on a stream.
    pub refused: Option<usize>,
}

#[derive(Clone)]
struct Fake {
    faults: Faults,
    count: Arc<AtomicUsize>,
    made: mpsc::Sender<(Duration, Task)>,
    consumers: Arc<Mutex<Vec<tasks::UnboundedSender<Task>>>>,
}

impl Fake {
    fn make(&self, request: CreateTaskRequest) -> Result<Task, RpcStatus> {
        let n = self.count.fetch_add(1, Ordering::SeqCst);
        if self.faults.refused == Some(n) {
            return Err(RpcStatus::new(RpcStatusCode::INVALID_ARGUMENT));
        }
        let mut task = Task::new();
        task.set_id(format!("{n:026}"));
        task.set_payload(request.get_payload().to_vec());
        task.set_deliver_at(request.get_deliver_at().clone());
        let due = instant(task.get_deliver_at());
        let mut after = due.duration_since(SystemTime::now()).unwrap_or_default();
        if self.faults.early == Some(n) {
            after = Duration::ZERO;
        }
        if self.faults.twice == Some(n) {
            let _ = self.made.send((after, task.clone()));
        }
        if self.faults.lost != Some(n) {
            let _ = self.made.send((after, task.clone()));
        }
        Ok(task)
    }
}

impl Collection for Fake {
    fn create_task(
        &mut self,
        ctx: RpcContext,
        request: CreateTaskRequest,
        sink: UnarySink<CreateTaskResponse>,
    ) {
        let made = self.make(request);
        ctx.spawn(async move {
            let _ = match made {
                Ok(task) => {
                    let mut answer = CreateTaskResponse::new();
                    answer.set_task(task);
                    sink.success(answer).await
                }
                Err(status) => sink.fail(status).await,
            };
        });
    }

    fn create_task_stream(
        &mut self,
        ctx: RpcContext,
        mut requests: RequestStream<CreateTaskRequest>,
        mut sink: DuplexSink<TaskStreamResponse>,
    ) {
        let fake = self.clone();
        ctx.spawn(async move {
            while let Ok(Some(request)) = requests.try_next().await {
                let mut answer = TaskStreamResponse::new();
                match fake.make(request) {
                    Ok(task) => answer.set_task(task),
                    Err(status) => answer.set_status(i32::from(status.code()) as u32),
                }
                let _ = sink.send((answer, WriteFlags::default())).await;
            }
            let _ = sink.close().await;
        });
    }

    fn get_task_stream(
        &mut self,
        ctx: RpcContext,
        _: StreamTasksRequest,
        mut sink: ServerStreamingSink<Task>,
    ) {
        let (consumer, mut given) = tasks::unbounded();
        let mut consumers = self
            .consumers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        consumers.push(consumer);
        ctx.spawn(async move {
            while let Some(task) = given.next().await {
                let _ = sink.send((task, WriteFlags::default())).await;
            }
        });
    }
}

impl Admin for Fake {
    fn get_cluster_info(
        &mut self,
        ctx: RpcContext,
        _: GetClusterInfoRequest,
        sink: UnarySink<ClusterInfo>,
    ) {
        let mut info = ClusterInfo::new();
        info.set_role(PeerRole::PEER_ROLE_LEADER);
        ctx.spawn(async move {
            let _ = sink.success(info).await;
        });
    }
}

/// Starts a server with these faults; it and its address.
pub fn start(faults: Faults) -> (Server, String) {
    let (made, queue) = mpsc::channel();
    let fake = Fake {
        faults,
        count: Arc::default(),
        made,
        consumers: Arc::default(),
    };
    let consumers = Arc::clone(&fake.consumers);
    thread::spawn(move || deliver(&queue, &consumers));
    let env = Arc::new(EnvBuilder::new().cq_count(1).build());
    let args = ChannelBuilder::new(Arc::clone(&env)).build_args();
    let mut server = ServerBuilder::new(env)
        .channel_args(args)
        .register_service(create_collection(fake.clone()))
        .register_service(create_admin(fake))
        .build()
        .unwrap();
    let port = server.add_listening_port("127.0.0.1:0", ServerCredentials::insecure());
    server.start();
    (server, format!("127.0.0.1:{}", port.unwrap()))
}

/// Hands each task to one of the consumers in turn, a little after its time.
fn deliver(
    queue: &mpsc::Receiver<(Duration, Task)>,
    consumers: &Mutex<Vec<tasks::UnboundedSender<Task>>>,
) {
    let mut waiting: Vec<(SystemTime, Task)> = Vec::new();
    let mut turn = 0;
    loop {
        match queue.recv_timeout(Duration::from_millis(1)) {
            Ok((after, task)) => waiting.push((SystemTime::now() + after, task)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let consumers = consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if consumers.is_empty() {
            continue;
        }
        let now = SystemTime::now();
        waiting.retain(|(due, task)| {
            let is_due = *due <= now;
            if is_due {
                turn += 1;
                let _ = consumers[turn % consumers.len()].unbounded_send(task.clone());
            }
            !is_due
        });
    }
}
