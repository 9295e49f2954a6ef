//! A server of gRPC that lets those in whose token it knows, and notes what each call brought.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use grpcio::{
    DuplexSink, Environment, RequestStream, RpcContext, RpcStatus, RpcStatusCode, ServerBuilder,
    ServerCredentials, ServerStreamingSink, UnarySink, WriteFlags,
};
use z4_proto::access::{
    CreateTokenRequest, CreateTokenResponse, ListPrincipalsRequest, ListPrincipalsResponse,
    Principal, PutPrincipalRequest, WhoAmIRequest, WhoAmIResponse,
};
use z4_proto::access_grpc::{create_access, Access};
use z4_proto::admin::{CheckHealthRequest, ClusterInfo, GetClusterInfoRequest, Status};
use z4_proto::admin_grpc::{create_admin, Admin};
use z4_proto::collection::{self as wire, ConsumeRequest, CreateTaskRequest, StreamTasksRequest};
use z4_proto::collection_grpc::{create_collection, Collection};

#[derive(Clone, Default)]
struct FakePeer {
    /// The calls, and the header of each.
    calls: Arc<Mutex<Vec<(&'static str, String)>>>,
    /// The token that it knows; empty: it lets everybody in.
    known: Arc<Mutex<String>>,
    created: Arc<AtomicUsize>,
    may_create_tasks: bool,
}

impl FakePeer {
    fn header(ctx: &RpcContext<'_>) -> String {
        let headers = ctx.request_headers().iter();
        let of_token = headers.filter(|(name, _)| *name == "authorization");
        let values: Vec<_> = of_token.map(|(_, v)| String::from_utf8_lossy(v)).collect();
        values.join(" and ")
    }

    fn judge(&self, header: &str) -> Option<RpcStatus> {
        let known = self.known.lock().unwrap().clone();
        let is_known = known.is_empty() || header == format!("Bearer {known}");
        let status =
            |text: &str| RpcStatus::with_message(RpcStatusCode::UNAUTHENTICATED, text.to_owned());
        (!is_known).then(|| status("the token is not known; give one that is"))
    }

    /// Notes the call; why it is refused.
    fn note(&self, call: &'static str, ctx: &RpcContext<'_>) -> Option<RpcStatus> {
        let header = Self::header(ctx);
        self.calls.lock().unwrap().push((call, header.clone()));
        self.judge(&header)
    }

    fn answer<T>(&self, call: &'static str, ctx: RpcContext<'_>, sink: UnarySink<T>, answer: T) {
        let answered = match self.note(call, &ctx) {
            None => sink.success(answer),
            Some(refusal) => sink.fail(refusal),
        };
        ctx.spawn(async move {
            let _ = answered.await;
        });
    }
}

impl Access for FakePeer {
    fn who_am_i(&mut self, ctx: RpcContext<'_>, _: WhoAmIRequest, sink: UnarySink<WhoAmIResponse>) {
        let mut answer = WhoAmIResponse::default();
        answer.set_principal("mailer".into());
        answer.set_known_by("token 7".into());
        answer.mut_grants().push(grant());
        self.answer("who_am_i", ctx, sink, answer);
    }

    fn put_principal(
        &mut self,
        ctx: RpcContext<'_>,
        request: PutPrincipalRequest,
        sink: UnarySink<Principal>,
    ) {
        let mut answer = Principal::default();
        answer.set_name(request.name);
        answer.set_grants(request.grants);
        answer.set_certificate_names(request.certificate_names);
        self.answer("put_principal", ctx, sink, answer);
    }

    fn list_principals(
        &mut self,
        ctx: RpcContext<'_>,
        request: ListPrincipalsRequest,
        sink: UnarySink<ListPrincipalsResponse>,
    ) {
        let mut answer = ListPrincipalsResponse::default();
        let mut principal = Principal::default();
        principal.set_name(format!("after {}", request.get_page_token()));
        answer.mut_principals().push(principal);
        if request.get_page_token().is_empty() {
            answer.set_next_page_token("one".into());
        }
        self.answer("list_principals", ctx, sink, answer);
    }

    /// Makes a token, and loses the answer.
    fn create_token(
        &mut self,
        ctx: RpcContext<'_>,
        _: CreateTokenRequest,
        sink: UnarySink<CreateTokenResponse>,
    ) {
        if let Some(refusal) = self.note("create_token", &ctx) {
            ctx.spawn(async move {
                let _ = sink.fail(refusal).await;
            });
            return;
        }
        self.created.fetch_add(1, Ordering::SeqCst);
        let lost = RpcStatus::new(RpcStatusCode::UNAVAILABLE);
        ctx.spawn(async move {
            let _ = sink.fail(lost).await;
        });
    }
}

pub(super) fn grant() -> z4_proto::access::Grant {
    let mut grant = z4_proto::access::Grant::default();
    grant.set_role(z4_proto::access::Role::ROLE_PRODUCER);
    grant.set_namespaces("mail.*".into());
    grant
}

impl Admin for FakePeer {
    fn check_health(
        &mut self,
        ctx: RpcContext<'_>,
        _: CheckHealthRequest,
        sink: UnarySink<Status>,
    ) {
        self.answer("check_health", ctx, sink, Status::default());
    }

    fn get_cluster_info(
        &mut self,
        ctx: RpcContext<'_>,
        _: GetClusterInfoRequest,
        sink: UnarySink<ClusterInfo>,
    ) {
        self.answer("get_cluster_info", ctx, sink, ClusterInfo::default());
    }
}

impl Collection for FakePeer {
    /// Sends a task now and then, and ends when the token is not known any more.
    fn get_task_stream(
        &mut self,
        ctx: RpcContext<'_>,
        _: StreamTasksRequest,
        mut sink: ServerStreamingSink<wire::Task>,
    ) {
        let _ = self.note("get_task_stream", &ctx);
        let (peer, header) = (self.clone(), Self::header(&ctx));
        std::thread::spawn(move || loop {
            if let Some(refusal) = peer.judge(&header) {
                let _ = block_on(sink.fail(refusal));
                return;
            }
            // A stream that was left takes none.
            if block_on(sink.send((wire::Task::default(), WriteFlags::default()))).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        });
    }

    fn create_task_stream(
        &mut self,
        ctx: RpcContext<'_>,
        mut requests: RequestStream<CreateTaskRequest>,
        mut sink: DuplexSink<wire::TaskStreamResponse>,
    ) {
        let _ = self.note("create_task_stream", &ctx);
        let (peer, header) = (self.clone(), Self::header(&ctx));
        ctx.spawn(async move {
            while let Some(Ok(_)) = requests.next().await {
                if let Some(refusal) = peer.judge(&header) {
                    let _ = sink.fail(refusal).await;
                    return;
                }
                if !peer.may_create_tasks {
                    let text = "mailer may not create tasks in ns: it lacks producer:ns".to_owned();
                    let code = RpcStatusCode::PERMISSION_DENIED;
                    let _ = sink.fail(RpcStatus::with_message(code, text)).await;
                    return;
                }
                let answer = wire::TaskStreamResponse::default();
                let _ = sink.send((answer, WriteFlags::default())).await;
            }
            let _ = sink.close().await;
        });
    }

    fn consume(
        &mut self,
        ctx: RpcContext<'_>,
        mut requests: RequestStream<ConsumeRequest>,
        mut sink: DuplexSink<wire::ConsumeResponse>,
    ) {
        let refusal = self.note("consume", &ctx);
        let (peer, header) = (self.clone(), Self::header(&ctx));
        std::thread::spawn(move || {
            if let Some(refusal) = refusal {
                let _ = block_on(sink.fail(refusal));
                return;
            }
            let _ = block_on(requests.next());
            let mut consuming = wire::ConsumeResponse::default();
            consuming.mut_consuming();
            let _ = block_on(sink.send((consuming, WriteFlags::default())));
            while peer.judge(&header).is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
            if let Some(refusal) = peer.judge(&header) {
                let _ = block_on(sink.fail(refusal));
            }
        });
    }
}

/// A server that runs until it is dropped.
pub(super) struct Server {
    peer: FakePeer,
    pub(super) address: String,
    _server: grpcio::Server,
}

impl Server {
    /// A server that knows this token; empty: it lets everybody in.
    pub(super) fn start(known: &str) -> Self {
        Self::serve(known, true)
    }

    /// A server that knows this token, of a principal that may not create tasks.
    pub(super) fn start_strict(known: &str) -> Self {
        Self::serve(known, false)
    }

    fn serve(known: &str, may_create_tasks: bool) -> Self {
        let peer = FakePeer {
            known: Arc::new(Mutex::new(known.to_owned())),
            may_create_tasks,
            ..FakePeer::default()
        };
        let mut server = ServerBuilder::new(Arc::new(Environment::new(1)))
            .register_service(create_admin(peer.clone()))
            .register_service(create_collection(peer.clone()))
            .register_service(create_access(peer.clone()))
            .build()
            .unwrap();
        let port = server.add_listening_port("127.0.0.1:0", ServerCredentials::insecure());
        server.start();
        Self {
            peer,
            address: format!("127.0.0.1:{}", port.unwrap()),
            _server: server,
        }
    }

    /// Knows this token from now on, and no other.
    pub(super) fn know(&self, token: &str) {
        *self.peer.known.lock().unwrap() = token.to_owned();
    }

    /// The headers that calls of this name brought.
    pub(super) fn headers(&self, call: &str) -> Vec<String> {
        let calls = self.peer.calls.lock().unwrap();
        let of_call = calls.iter().filter(|(name, _)| *name == call);
        of_call.map(|(_, header)| header.clone()).collect()
    }

    /// All calls that brought another header than this one.
    pub(super) fn others(&self, header: &str) -> Vec<(&'static str, String)> {
        let calls = self.peer.calls.lock().unwrap();
        let others = calls.iter().filter(|(_, brought)| brought != header);
        others.cloned().collect()
    }

    /// The number of tokens that were made.
    pub(super) fn created(&self) -> usize {
        self.peer.created.load(Ordering::SeqCst)
    }
}
