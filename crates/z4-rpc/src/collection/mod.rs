//! The service of producers and consumers.

mod change;
mod create;
mod create_batch;
mod create_stream;
mod dead;
mod explain;
mod get;
mod leases;
mod list;
mod unchanged;

use std::time::Instant;

use grpcio::{
    DuplexSink, RequestStream, RpcContext, RpcStatus, RpcStatusCode, ServerStreamingSink, UnarySink,
};
use z4_core::{Namespace, View};
use z4_delivery::endings::Kind;
use z4_proto::generated::collection::{
    AckTasksRequest, AckTasksResponse, CancelTaskRequest, ConsumeRequest, ConsumeResponse,
    CreateTaskRequest, CreateTaskResponse, CreateTasksRequest, CreateTasksResponse,
    ExplainTaskRequest, ExplainTaskResponse, ExtendLeasesRequest, ExtendLeasesResponse,
    GetTaskRequest, ListTasksRequest, ListTasksResponse, NackTasksRequest, NackTasksResponse,
    PurgeTasksRequest, PurgeTasksResponse, RedriveTasksRequest, RedriveTasksResponse,
    ReleaseTasksRequest, ReleaseTasksResponse, RescheduleTaskRequest, RunTaskRequest,
    StreamTasksRequest, Task, TaskStreamResponse,
};
use z4_proto::generated::collection_grpc::Collection;

use crate::access::{note, About, Done, Judged, Method};
use crate::delivery::{self, lease_asks};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::propose::Until;
use crate::validate;

pub(crate) use self::list::no_namespace;

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
            Until::Applied => Method::CreateTask,
            Until::Accepted => Method::CreateTaskAsync,
        };
        let node = self.node.of_call(ctx);
        let call = node.judge(method, About::Namespace(request.get_namespace()));
        respond(ctx, self.node.clone(), call, sink, async move {
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
        let node = self.node.of_stream(ctx);
        ctx.spawn(create_stream::run(node, stream, sink, until));
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
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::GetTask, About::Namespace(request.get_namespace()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            get::get(&node, &request).await
        });
    }

    fn get_task_stream(
        &mut self,
        ctx: RpcContext<'_>,
        request: StreamTasksRequest,
        sink: ServerStreamingSink<Task>,
    ) {
        let node = self.node.of_stream(&ctx);
        let about = About::Namespace(request.get_namespace());
        let checked = node.authorize(Method::GetTaskStream, about).and_then(|()| {
            validate::request_id(request.get_request_id())?;
            Ok(Namespace::new(request.get_namespace())?)
        });
        ctx.spawn(async move {
            let started = Instant::now();
            let metrics = node.network().metrics().clone();
            let status = match checked {
                Ok(namespace) => delivery::run_stream(node, namespace, sink).await,
                Err(error) => {
                    let status = error.status();
                    // The consumer has gone when this fails.
                    let _ = sink.fail(status.clone()).await;
                    status
                }
            };
            let seconds = started.elapsed().as_secs_f64();
            metrics.request("GetTaskStream", status.code(), seconds);
        });
    }

    fn create_tasks(
        &mut self,
        ctx: RpcContext<'_>,
        request: CreateTasksRequest,
        sink: UnarySink<CreateTasksResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::CreateTasks,
            About::Namespace(request.get_namespace()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            create_batch::create_batch(&node, request, limits::UNARY_TIMEOUT).await
        });
    }

    fn cancel_task(
        &mut self,
        ctx: RpcContext<'_>,
        request: CancelTaskRequest,
        sink: UnarySink<Task>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::CancelTask,
            About::Namespace(request.get_namespace()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            change::cancel(&node, &request).await
        });
    }

    fn reschedule_task(
        &mut self,
        ctx: RpcContext<'_>,
        request: RescheduleTaskRequest,
        sink: UnarySink<Task>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::RescheduleTask,
            About::Namespace(request.get_namespace()),
        );
        let work = async move { change::reschedule(&node, &request).await };
        respond(&ctx, self.node.clone(), call, sink, work);
    }

    fn run_task(&mut self, ctx: RpcContext<'_>, request: RunTaskRequest, sink: UnarySink<Task>) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::RunTask, About::Namespace(request.get_namespace()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            change::run(&node, &request).await
        });
    }

    fn list_tasks(
        &mut self,
        ctx: RpcContext<'_>,
        request: ListTasksRequest,
        sink: UnarySink<ListTasksResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::ListTasks, About::Namespace(request.get_namespace()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            list::list(&node, &request).await
        });
    }

    fn redrive_tasks(
        &mut self,
        ctx: RpcContext<'_>,
        request: RedriveTasksRequest,
        sink: UnarySink<RedriveTasksResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::RedriveTasks,
            About::Namespace(request.get_namespace()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            dead::redrive(&node, &request).await
        });
    }

    fn purge_tasks(
        &mut self,
        ctx: RpcContext<'_>,
        request: PurgeTasksRequest,
        sink: UnarySink<PurgeTasksResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::PurgeTasks,
            About::Namespace(request.get_namespace()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            dead::purge(&node, &request).await
        });
    }

    fn explain_task(
        &mut self,
        ctx: RpcContext<'_>,
        request: ExplainTaskRequest,
        sink: UnarySink<ExplainTaskResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::ExplainTask,
            About::Namespace(request.get_namespace()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            let (namespace, id) =
                validate::task_of(request.get_namespace(), request.get_task_id())?;
            let consumers = node.consumers_view(&namespace).await?;
            explain::explain(&node, namespace, id, consumers).await
        });
    }

    fn consume(
        &mut self,
        ctx: RpcContext<'_>,
        requests: RequestStream<ConsumeRequest>,
        sink: DuplexSink<ConsumeResponse>,
    ) {
        let node = self.node.of_stream(&ctx);
        ctx.spawn(async move {
            let started = Instant::now();
            let metrics = node.network().metrics().clone();
            let status = delivery::run_consume(node, requests, sink).await;
            let seconds = started.elapsed().as_secs_f64();
            metrics.request("Consume", status.code(), seconds);
        });
    }

    fn ack_tasks(
        &mut self,
        ctx: RpcContext<'_>,
        request: AckTasksRequest,
        sink: UnarySink<AckTasksResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::AckTasks, About::Namespace(request.get_namespace()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            let asked = request.leases.into_iter().map(lease_asks::ack);
            let name = &request.namespace;
            let results = leases::end(&node, name, Kind::Ack, "leases", asked).await?;
            let mut response = AckTasksResponse::default();
            response.set_results(results.into());
            Ok(response)
        });
    }

    fn nack_tasks(
        &mut self,
        ctx: RpcContext<'_>,
        request: NackTasksRequest,
        sink: UnarySink<NackTasksResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(Method::NackTasks, About::Namespace(request.get_namespace()));
        respond(&ctx, self.node.clone(), call, sink, async move {
            let asked = request.nacks.into_iter().map(lease_asks::nack);
            let name = &request.namespace;
            let results = leases::end(&node, name, Kind::Nack, "nacks", asked).await?;
            let mut response = NackTasksResponse::default();
            response.set_results(results.into());
            Ok(response)
        });
    }

    fn extend_leases(
        &mut self,
        ctx: RpcContext<'_>,
        request: ExtendLeasesRequest,
        sink: UnarySink<ExtendLeasesResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::ExtendLeases,
            About::Namespace(request.get_namespace()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            let asked = request.extends.into_iter().map(lease_asks::extend);
            let name = &request.namespace;
            let results = leases::end(&node, name, Kind::Extend, "extends", asked).await?;
            let mut response = ExtendLeasesResponse::default();
            response.set_results(results.into());
            Ok(response)
        });
    }

    fn release_tasks(
        &mut self,
        ctx: RpcContext<'_>,
        request: ReleaseTasksRequest,
        sink: UnarySink<ReleaseTasksResponse>,
    ) {
        let node = self.node.of_call(&ctx);
        let call = node.judge(
            Method::ReleaseTasks,
            About::Namespace(request.get_namespace()),
        );
        respond(&ctx, self.node.clone(), call, sink, async move {
            let asked = request.leases.into_iter().map(lease_asks::release);
            let name = &request.namespace;
            let results = leases::end(&node, name, Kind::Release, "leases", asked).await?;
            let mut response = ReleaseTasksResponse::default();
            response.set_results(results.into());
            Ok(response)
        });
    }
}

/// Runs the work of a unary call whose caller may make it, answers it, and counts it.
pub(crate) fn respond<V, T>(
    ctx: &RpcContext<'_>,
    node: Node<V>,
    call: Judged,
    sink: UnarySink<T>,
    work: impl std::future::Future<Output = Result<T, Error>> + Send + 'static,
) where
    V: View + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    let started = Instant::now();
    let Judged {
        method,
        verdict,
        root,
        audited,
    } = call;
    let audited = audited.map(|audited| (audited, ctx.peer()));
    ctx.spawn(async move {
        let verdict = match (verdict, root) {
            (Ok(()), Some(root)) => node.judge_root(method, &root).await,
            (verdict, _) => verdict,
        };
        let result = match verdict {
            Ok(()) => work.await,
            Err(error) => Err(error),
        };
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
        node.network()
            .metrics()
            .request(method.name(), code, seconds);
        if let Some((audited, from)) = audited {
            let commit_index = node.handle().status().commit_index;
            let done = Done {
                audited,
                from,
                method,
                code,
                commit_index,
            };
            note(node.network().logger(), &done);
        }
    });
}

/// What is said of a request whose bytes cannot be read.
pub(crate) fn undecodable(error: &grpcio::Error) -> RpcStatus {
    let message = format!("the request does not decode: {error}");
    RpcStatus::with_message(RpcStatusCode::INVALID_ARGUMENT, message)
}
