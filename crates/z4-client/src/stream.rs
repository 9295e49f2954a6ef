//! Tasks that count as done once the peer has sent them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{select, Either};
use futures::StreamExt;
use grpcio::ClientSStreamReceiver;
use z4_proto::collection::{self as wire, StreamTasksRequest};

use crate::client::Client;
use crate::dial::Peer;
use crate::error::Error;
use crate::limits;
use crate::retry::{Backoff, Repeat};
use crate::task::Task;
use crate::token::Sent;
use crate::waiting::{OnWait, Waiting};

/// The tasks of a namespace as they fall due, without acknowledgements: a task
/// counts as done once the peer has sent it. For work that must not be lost use
/// [`crate::Consumer`].
pub struct TaskStream {
    client: Client,
    request: StreamTasksRequest,
    open: Option<Open>,
    backoff: Backoff,
    /// Since when no peer keeps a stream open.
    lost_at: Option<Instant>,
    give_up_after: Option<Duration>,
    waiting: Waiting,
}

/// A stream that is open, and at which peer: other calls of the same client move on
/// to other peers meanwhile.
struct Open {
    tasks: ClientSStreamReceiver<wire::Task>,
    peer: Arc<Peer>,
    sent: Sent,
}

impl Client {
    /// Takes the tasks of a namespace as they fall due. Opens at the first
    /// [`TaskStream::next`].
    #[must_use]
    pub fn stream(&self, namespace: &str) -> TaskStream {
        let mut request = StreamTasksRequest::default();
        request.set_namespace(namespace.to_owned());
        TaskStream {
            client: self.clone(),
            request,
            open: None,
            backoff: Backoff::new(limits::BACKOFF_MIN, limits::BACKOFF_MAX),
            lost_at: None,
            give_up_after: Some(self.timeout()),
            waiting: Waiting::default(),
        }
    }
}

impl TaskStream {
    /// The time for which no peer may keep the stream open before it ends with an
    /// error; `None`: it goes on trying for ever. The default is
    /// [`crate::Options::timeout`].
    #[must_use]
    pub fn give_up_after(mut self, span: Option<Duration>) -> Self {
        self.give_up_after = span;
        self
    }

    /// The hook that is told when the stream waits for the cluster, why, and when it
    /// is back.
    #[must_use]
    pub fn on_wait(mut self, on_wait: OnWait) -> Self {
        self.waiting = Waiting::new(Some(on_wait));
        self
    }

    /// The next task. When the peer goes away, or has lost the cluster, the stream is
    /// opened at another, for as long as [`TaskStream::give_up_after`] says.
    ///
    /// # Errors
    /// `Unavailable` or `NobodyAnswers` after that time; others at once.
    pub async fn next(&mut self) -> Result<Task, Error> {
        loop {
            let error = match self.step().await {
                Ok(task) => {
                    self.backoff.reset();
                    self.lost_at = None;
                    self.waiting.got_on(Instant::now());
                    return Ok(task);
                }
                Err(error) => error,
            };
            let lost_at = *self.lost_at.get_or_insert_with(Instant::now);
            let is_lost = Repeat::Safe.allows(error.kind())
                || error.kind() == crate::ErrorKind::NobodyAnswers;
            let patience = self.give_up_after;
            let is_over = patience.is_some_and(|patience| lost_at.elapsed() >= patience);
            if !is_lost || is_over {
                return Err(error);
            }
            self.waiting.failed(&error, lost_at, Instant::now());
            if let Some(mut open) = self.open.take() {
                // One at a peer that has lost the cluster is open still.
                open.tasks.cancel();
                self.client.peers.leave(&open.peer);
            }
            let pause = self.backoff.pause();
            self.client.peers.timer.sleep(pause).await;
        }
    }

    async fn step(&mut self) -> Result<Task, Error> {
        let peers = &self.client.peers;
        if self.open.is_none() {
            let peer = peers.reach(self.client.timeout()).await?;
            // A peer without the cluster would open a stream on which nothing comes.
            peers.knows_leader(&peer).await?;
            let (option, sent) = peer.option();
            let tasks = peer.collection.get_task_stream_opt(&self.request, option)?;
            self.open = Some(Open { tasks, peer, sent });
            self.waiting.got_on(Instant::now());
        }
        let Some(open) = &mut self.open else {
            return Err(Error::stream_ended());
        };
        let opened = Instant::now();
        let leaderless = peers.leaderless(&open.peer);
        futures::pin_mut!(leaderless);
        // What has come is looked at first: it counts as done.
        let next = match select(open.tasks.next(), leaderless).await {
            Either::Left((next, _)) => next,
            Either::Right((error, _)) => return Err(error),
        };
        match next {
            Some(Ok(task)) => Ok(task.into()),
            ended => {
                if opened.elapsed() > Duration::from_secs(1) {
                    // It was open, only quiet.
                    self.lost_at = None;
                }
                Err(match ended {
                    Some(Err(error)) => open.peer.judge(error.into(), open.sent),
                    _ => Error::stream_ended(),
                })
            }
        }
    }
}

impl Drop for TaskStream {
    fn drop(&mut self) {
        // gRPC does not cancel it by itself.
        if let Some(open) = &mut self.open {
            open.tasks.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use futures::executor::block_on;
    use futures::SinkExt;
    use grpcio::{
        Environment, RpcContext, RpcStatus, RpcStatusCode, Server, ServerBuilder,
        ServerCredentials, ServerStreamingSink, UnarySink, WriteFlags,
    };
    use z4_proto::admin::{CheckHealthRequest, Status};
    use z4_proto::admin_grpc::{create_admin, Admin};
    use z4_proto::collection_grpc::{create_collection, Collection};

    use super::*;
    use crate::client::Options;

    /// A peer that is well or not, and whose stream has a task at once and one late.
    #[derive(Clone)]
    struct FakePeer {
        is_well: bool,
        late: Duration,
        opened: Arc<AtomicUsize>,
    }

    impl Admin for FakePeer {
        fn check_health(
            &mut self,
            ctx: RpcContext<'_>,
            _: CheckHealthRequest,
            sink: UnarySink<Status>,
        ) {
            let answered = match self.is_well {
                true => sink.success(Status::default()),
                false => sink.fail(RpcStatus::new(RpcStatusCode::UNAVAILABLE)),
            };
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
            let late = self.late;
            thread::spawn(move || {
                let task = || (wire::Task::default(), WriteFlags::default());
                // A stream that was left takes none.
                let _ = block_on(sink.send(task()));
                thread::sleep(late);
                let _ = block_on(sink.send(task()));
                let _ = block_on(sink.close());
            });
        }
    }

    fn serve(peer: &FakePeer) -> (Server, String) {
        let mut server = ServerBuilder::new(Arc::new(Environment::new(1)))
            .register_service(create_admin(peer.clone()))
            .register_service(create_collection(peer.clone()))
            .build()
            .unwrap();
        let credentials = ServerCredentials::insecure();
        let port = server
            .add_listening_port("127.0.0.1:0", credentials)
            .unwrap();
        server.start();
        (server, format!("127.0.0.1:{port}"))
    }

    /// Another call of the same client moves on to a peer that has lost the cluster;
    /// the stream is open elsewhere, and stays so.
    #[test]
    fn a_stream_asks_the_peer_that_it_is_open_at() {
        let late = limits::IDLE_CHECK + limits::IDLE_CHECK_AGAIN + Duration::from_secs(1);
        let peer = |is_well| FakePeer {
            is_well,
            late,
            opened: Arc::default(),
        };
        let (well, lost) = (peer(true), peer(false));
        let ((_one, one), (_two, two)) = (serve(&well), serve(&lost));
        let client = block_on(Client::connect([one, two], Options::default())).unwrap();
        let mut stream = client.stream("ns");
        assert_eq!(block_on(stream.next()).err(), None);
        client.peers.leave(&client.peers.at(0));
        assert_eq!(block_on(stream.next()).err(), None);
        assert_eq!(well.opened.load(Ordering::SeqCst), 1);
    }
}
