//! The two streams of z4: creates, and a consumer's conversation.
//!
//! Both run on gRPC's own thread, as those of `z4-client` do: on another one, each
//! message would wake that thread twice.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{abortable, AbortHandle};
use futures::{Future, SinkExt, StreamExt};
use grpcio::{ClientDuplexReceiver, ClientDuplexSender, WriteFlags};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use z4_proto::collection::{
    ConsumeCredit, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Say,
    ConsumeResponse, ConsumeResponse_oneof_message as Heard, CreateTaskRequest, LeaseOutcome,
    LeaseRef, TaskStreamResponse,
};
use z4_proto::collection_grpc::CollectionClient;

use crate::inside::Inside;
use crate::system::{text, Answer, Taker};

type Reply = oneshot::Sender<Result<(), String>>;

/// Who waits for an answer, oldest in front: answers come in the order of requests.
type Waiting = Arc<Mutex<VecDeque<Reply>>>;

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, VecDeque<Reply>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs on gRPC's thread until it ends or is aborted.
fn spawn(
    client: &CollectionClient,
    what: impl Future<Output = ()> + Send + 'static,
) -> AbortHandle {
    let (what, handle) = abortable(what);
    client.spawn(async move {
        // Aborted or not: there is nothing to learn from it.
        let _ = what.await;
    });
    handle
}

/// One CreateTaskStream.
pub struct Stream {
    requests: mpsc::UnboundedSender<(CreateTaskRequest, Reply)>,
    tasks: [AbortHandle; 2],
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Stream {
    /// Opens a stream.
    pub fn open(client: &CollectionClient) -> Result<Self, String> {
        let (sender, receiver) = client.create_task_stream().map_err(text)?;
        let (requests, to_send) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        let send = send_creates(sender, to_send, Arc::clone(&waiting));
        let tasks = [
            spawn(client, send),
            spawn(client, hear_creates(receiver, waiting)),
        ];
        Ok(Self { requests, tasks })
    }

    /// Sends a create.
    pub fn create(&self, request: CreateTaskRequest) -> Answer {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send((request, reply));
        Box::pin(async move {
            sent.map_err(|_| "the stream has ended".to_owned())?;
            answer
                .await
                .unwrap_or_else(|_| Err("the stream has ended".to_owned()))
        })
    }
}

async fn send_creates(
    mut sender: ClientDuplexSender<CreateTaskRequest>,
    mut requests: mpsc::UnboundedReceiver<(CreateTaskRequest, Reply)>,
    waiting: Waiting,
) {
    let mut next = None;
    loop {
        let Some((request, reply)) = (match next.take() {
            Some(next) => Some(next),
            None => requests.recv().await,
        }) else {
            return;
        };
        next = requests.try_recv().ok();
        lock(&waiting).push_back(reply);
        // gRPC may hold back what is marked so until something unmarked follows.
        let flags = WriteFlags::default().buffer_hint(next.is_some());
        if sender.send((request, flags)).await.is_err() {
            return;
        }
    }
}

async fn hear_creates(mut receiver: ClientDuplexReceiver<TaskStreamResponse>, waiting: Waiting) {
    let why = loop {
        let answer = match receiver.next().await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => break text(error),
            None => break "the stream has ended".to_owned(),
        };
        let result = match answer.get_status() {
            0 => Ok(()),
            status => Err(format!("status {status}: {}", answer.get_message())),
        };
        // Nobody waits any more after the end of the run.
        if let Some(reply) = lock(&waiting).pop_front() {
            let _ = reply.send(result);
        }
    };
    for reply in lock(&waiting).drain(..) {
        let _ = reply.send(Err(why.clone()));
    }
}

/// A consumer that acknowledges each delivery at once.
pub fn consume(
    client: CollectionClient,
    namespace: &str,
    room: usize,
    inside: Rc<Inside>,
) -> Result<Taker, String> {
    let (speak, listen) = client.consume().map_err(text)?;
    let mut credit = ConsumeCredit::new();
    credit.set_max_in_flight(u32::try_from(room).map_err(text)?);
    let mut open = ConsumeOpen::new();
    open.set_namespace(namespace.to_owned());
    open.set_credit(credit);
    let (acks, to_send) = mpsc::unbounded_channel();
    // The other half is there until both are aborted.
    let _ = acks.send(say(Say::open(open)));
    let (events, mut told) = mpsc::unbounded_channel();
    let streams = [
        spawn(&client, send_acks(speak, to_send)),
        spawn(&client, hear(listen, acks, events)),
    ];
    let tell = spawn_local(async move {
        while let Some(event) = told.recv().await {
            match event {
                Event::Taken(body) => inside.taken(&body),
                Event::Failed(error) => inside.failed(error),
            }
        }
    });
    Ok(Taker {
        tasks: vec![tell],
        closing: Some(Box::pin(async move {
            streams.iter().for_each(AbortHandle::abort);
            // With its last client the connection would have ended, and the streams.
            drop(client);
        })),
    })
}

/// What a consumer's stream brought.
enum Event {
    Taken(Vec<u8>),
    Failed(String),
}

fn say(what: Say) -> ConsumeRequest {
    let mut message = ConsumeRequest::new();
    message.message = Some(what);
    message
}

async fn send_acks(
    mut speak: ClientDuplexSender<ConsumeRequest>,
    mut messages: mpsc::UnboundedReceiver<ConsumeRequest>,
) {
    let mut next = None;
    loop {
        let Some(message) = (match next.take() {
            Some(next) => Some(next),
            None => messages.recv().await,
        }) else {
            return;
        };
        next = messages.try_recv().ok();
        let flags = WriteFlags::default().buffer_hint(next.is_some());
        if speak.send((message, flags)).await.is_err() {
            return;
        }
    }
}

/// Until the stream ends, or nobody listens any more.
async fn hear(
    mut listen: ClientDuplexReceiver<ConsumeResponse>,
    acks: mpsc::UnboundedSender<ConsumeRequest>,
    events: mpsc::UnboundedSender<Event>,
) {
    // What was delivered and whose ack is not answered, by its id.
    let mut held: HashMap<String, Vec<u8>> = HashMap::new();
    loop {
        let event = match listen.next().await {
            Some(Ok(message)) => match answer(message, &mut held, &acks) {
                Some(event) => event,
                None => continue,
            },
            Some(Err(error)) => {
                // The receiver may have gone at the same time.
                let _ = events.send(Event::Failed(text(error)));
                return;
            }
            None => {
                let _ = events.send(Event::Failed("the stream has ended".to_owned()));
                return;
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Acknowledges a delivery; gives what became of an earlier one.
fn answer(
    message: ConsumeResponse,
    held: &mut HashMap<String, Vec<u8>>,
    acks: &mpsc::UnboundedSender<ConsumeRequest>,
) -> Option<Event> {
    match message.message? {
        Heard::delivery(mut delivery) => {
            let mut task = delivery.take_task();
            let mut lease = LeaseRef::new();
            lease.set_task_id(task.get_id().to_owned());
            lease.set_lease_token(delivery.get_lease_token());
            held.insert(task.take_id(), task.take_payload());
            // Fails when the other half has ended, which the stream then tells.
            let _ = acks.send(say(Say::ack(lease)));
            None
        }
        Heard::result(result) => {
            let body = held.remove(result.get_task_id());
            Some(match (result.get_outcome(), body) {
                (LeaseOutcome::LEASE_OUTCOME_DONE, Some(body)) => Event::Taken(body),
                (outcome, _) => Event::Failed(format!("an ack was answered {outcome:?}")),
            })
        }
        Heard::consuming(_) => None,
    }
}
