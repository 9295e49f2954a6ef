//! The service of producers and consumers.

mod create;
mod create_stream;
mod get;

use std::time::Instant;

use futures::FutureExt;
use grpcio::{
    DuplexSink, RequestStream, RpcContext, RpcStatus, RpcStatusCode, ServerStreamingSink, UnarySink,
};
use z4_core::{Namespace, View};
use z4_proto::generated::collection::{
    CreateTaskRequest, CreateTaskResponse, GetTaskRequest, StreamTasksRequest, Task,
    TaskStreamResponse,
};
use z4_proto::generated::collection_grpc::Collection;

use crate::delivery;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::Until;
use crate::validate;

/// `z4.Collection` at one peer.
pub struct CollectionService<V> {
    node: Node<V>,
}

impl<V> Clone for CollectionService<V> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> CollectionService<V> {
    /// The service of this peer.
    #[must_use]
    pub fn new(node: Node<V>) -> Self {
        Self { node }
    }

    fn create(
        &self,
        ctx: &RpcContext<'_>,
        request: CreateTaskRequest,
        sink: UnarySink<CreateTaskResponse>,
        until: Until,
    ) {
        let method = match until {
            Until::Applied => "CreateTask",
            Until::Accepted => "CreateTaskAsync",
        };
        let node = self.node.clone();
        respond(ctx, self.node.clone(), method, sink, async move {
            create::create(&node, request, until, limits::UNARY_TIMEOUT).await
        });
    }

    fn create_stream(
        &self,
        ctx: &RpcContext<'_>,
        stream: RequestStream<CreateTaskRequest>,
        sink: DuplexSink<TaskStreamResponse>,
        until: Until,
    ) {
        ctx.spawn(create_stream::run(self.node.clone(), stream, sink, until));
    }
}

impl<V: View + Clone + Send + Sync + 'static> Collection for CollectionService<V> {
    fn create_task(
        &mut self,
        ctx: RpcContext<'_>,
        request: CreateTaskRequest,
        sink: UnarySink<CreateTaskResponse>,
    ) {
        self.create(&ctx, request, sink, Until::Applied);
    }

    fn create_task_async(
        &mut self,
        ctx: RpcContext<'_>,
        request: CreateTaskRequest,
        sink: UnarySink<CreateTaskResponse>,
    ) {
        self.create(&ctx, request, sink, Until::Accepted);
    }

    fn create_task_stream(
        &mut self,
        ctx: RpcContext<'_>,
        stream: RequestStream<CreateTaskRequest>,
        sink: DuplexSink<TaskStreamResponse>,
    ) {
        self.create_stream(&ctx, stream, sink, Until::Applied);
    }

    fn create_task_stream_async(
        &mut self,
        ctx: RpcContext<'_>,
        stream: RequestStream<CreateTaskRequest>,
        sink: DuplexSink<TaskStreamResponse>,
    ) {
        self.create_stream(&ctx, stream, sink, Until::Accepted);
    }

    fn get_task(&mut self, ctx: RpcContext<'_>, request: GetTaskRequest, sink: UnarySink<Task>) {
        let node = self.node.clone();
        respond(&ctx, self.node.clone(), "GetTask", sink, async move {
            get::get(&node, &request).await
        });
    }

    fn get_task_stream(
        &mut self,
        ctx: RpcContext<'_>,
        request: StreamTasksRequest,
        sink: ServerStreamingSink<Task>,
    ) {
        let node = self.node.clone();
        let checked = validate::request_id(request.get_request_id())
            .and_then(|()| Namespace::new(request.get_namespace()));
        ctx.spawn(async move {
            let started = Instant::now();
            let metrics = node.network().metrics().clone();
            let status = match checked {
                Ok(namespace) => delivery::run_stream(node, namespace, sink).await,
                Err(refusal) => {
                    let status = Error::from(refusal).status();
                    // The consumer has gone when this fails.
                    let _ = sink.fail(status.clone()).await;
                    status
                }
            };
            let seconds = started.elapsed().as_secs_f64();
            metrics.request("GetTaskStream", status.code(), seconds);
        });
    }
}

/// Runs the work of a unary call, answers it, and counts it.
pub(crate) fn respond<V, T>(
    ctx: &RpcContext<'_>,
    node: Node<V>,
    method: &'static str,
    sink: UnarySink<T>,
    work: impl std::future::Future<Output = Result<T, Error>> + Send + 'static,
) where
    V: View + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    let started = Instant::now();
    ctx.spawn(work.then(move |result| async move {
        let status = match &result {
            Ok(_) => RpcStatus::ok(),
            Err(error) => error.status(),
        };
        let code = status.code();
        let answered = match result {
            Ok(answer) => sink.success(answer),
            Err(_) => sink.fail(status),
        };
        // The caller has gone when this fails.
        let _ = answered.await;
        let seconds = started.elapsed().as_secs_f64();
        node.network().metrics().request(method, code, seconds);
    }));
}

/// What is said of a request whose bytes cannot be read.
pub(crate) fn undecodable(error: &grpcio::Error) -> RpcStatus {
    let message = format!("the request does not decode: {error}");
    RpcStatus::with_message(RpcStatusCode::INVALID_ARGUMENT, message)
}
