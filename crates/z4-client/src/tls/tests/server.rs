//! A server of gRPC that speaks TLS, and whose certificate can be replaced.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use grpcio::{
    CertificateRequestType, DuplexSink, Environment, RequestStream, RpcContext, ServerBuilder,
    ServerCredentials, ServerCredentialsBuilder, ServerCredentialsFetcher, ServerStreamingSink,
    UnarySink, WriteFlags,
};
use z4_proto::admin::{CheckHealthRequest, Status};
use z4_proto::admin_grpc::{create_admin, Admin};
use z4_proto::collection::{self as wire, CreateTaskRequest, StreamTasksRequest};
use z4_proto::collection_grpc::{create_collection, Collection};
use z4_tls::{Authority, Issued};

use super::pem;

/// A peer that notes who asks for its health, and whose streams give a task at once and
/// one whenever it is told to. It creates what it is asked to.
#[derive(Clone)]
struct FakePeer {
    seen: Arc<Mutex<Vec<String>>>,
    opened: Arc<AtomicUsize>,
    told: Arc<Mutex<Receiver<()>>>,
}

impl Admin for FakePeer {
    fn check_health(
        &mut self,
        ctx: RpcContext<'_>,
        _: CheckHealthRequest,
        sink: UnarySink<Status>,
    ) {
        let context = ctx.auth_context();
        let mut names: Vec<String> = Vec::new();
        for property in context.iter().flatten() {
            if property.name() == "x509_subject_alternative_name" {
                names.push(property.value_str().unwrap().to_owned());
            }
        }
        self.seen.lock().unwrap().push(names.join(" "));
        let answered = sink.success(Status::default());
        ctx.spawn(async move {
            let _ = answered.await;
        });
    }
}

impl Collection for FakePeer {
    fn get_task_stream(
        &mut self,
        _: RpcContext<'_>,
        _: StreamTasksRequest,
        mut sink: ServerStreamingSink<wire::Task>,
    ) {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let told = Arc::clone(&self.told);
        std::thread::spawn(move || loop {
            let sent = block_on(sink.send((wire::Task::default(), WriteFlags::default())));
            if sent.is_err() || told.lock().unwrap().recv().is_err() {
                break;
            }
        });
    }

    fn create_task_stream(
        &mut self,
        ctx: RpcContext<'_>,
        mut requests: RequestStream<CreateTaskRequest>,
        mut sink: DuplexSink<wire::TaskStreamResponse>,
    ) {
        ctx.spawn(async move {
            while let Some(Ok(_)) = requests.next().await {
                let answer = wire::TaskStreamResponse::default();
                // A stream that was left takes none.
                let _ = sink.send((answer, WriteFlags::default())).await;
            }
            let _ = sink.close().await;
        });
    }
}

/// The certificate that is shown to new connections, with its key, and the CA that
/// clients are measured by.
type Shown = (Issued, Vec<u8>);

struct Fetcher {
    next: Arc<Mutex<Option<Shown>>>,
    auth: CertificateRequestType,
}

impl ServerCredentialsFetcher for Fetcher {
    fn fetch(&self) -> Result<Option<ServerCredentialsBuilder>, Box<dyn StdError>> {
        let next = self.next.lock().unwrap().take();
        Ok(next.map(|(own, clients)| {
            ServerCredentialsBuilder::new()
                .root_cert(clients, self.auth)
                .add_cert(own.cert_pem, own.key_pem)
        }))
    }
}

/// A server that runs until it is dropped.
pub(super) struct Server {
    peer: FakePeer,
    next: Arc<Mutex<Option<Shown>>>,
    next_task: Sender<()>,
    pub(super) address: String,
    _server: grpcio::Server,
}

impl Server {
    /// Shows `own`, and asks clients for a certificate of `clients` as `auth` says.
    pub(super) fn start(own: Issued, clients: &Authority, auth: CertificateRequestType) -> Self {
        let next = Arc::new(Mutex::new(Some((own, pem(clients)))));
        let fetcher = Fetcher {
            next: Arc::clone(&next),
            auth,
        };
        Self::serve(
            ServerCredentials::with_fetcher(Box::new(fetcher), auth),
            next,
        )
    }

    /// Speaks no TLS.
    pub(super) fn in_the_clear() -> Self {
        Self::serve(ServerCredentials::insecure(), Arc::default())
    }

    fn serve(credentials: ServerCredentials, next: Arc<Mutex<Option<Shown>>>) -> Self {
        let (next_task, told) = channel();
        let peer = FakePeer {
            seen: Arc::default(),
            opened: Arc::default(),
            told: Arc::new(Mutex::new(told)),
        };
        let mut server = ServerBuilder::new(Arc::new(Environment::new(1)))
            .register_service(create_admin(peer.clone()))
            .register_service(create_collection(peer.clone()))
            .build()
            .unwrap();
        let port = server.add_listening_port("127.0.0.1:0", credentials);
        server.start();
        Self {
            peer,
            next,
            next_task,
            address: format!("127.0.0.1:{}", port.unwrap()),
            _server: server,
        }
    }

    /// Shows another certificate to new connections, and measures their clients by another
    /// CA.
    pub(super) fn replace(&self, own: Issued, clients: &Authority) {
        *self.next.lock().unwrap() = Some((own, pem(clients)));
    }

    /// Sends a task on the stream that is open.
    pub(super) fn send_task(&self) {
        self.next_task.send(()).unwrap();
    }

    /// The number of streams that were opened.
    pub(super) fn opened(&self) -> usize {
        self.peer.opened.load(Ordering::SeqCst)
    }

    /// The names in the certificate of whoever asked for the health last.
    pub(super) fn last_seen(&self) -> String {
        let seen = self.peer.seen.lock().unwrap();
        seen.last().cloned().unwrap_or_default()
    }
}
