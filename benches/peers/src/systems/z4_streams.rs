//! The two streams of z4: creates, and a consumer's conversation.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use futures::{SinkExt, StreamExt};
use grpcio::{ClientDuplexReceiver, ClientDuplexSender, WriteFlags};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{spawn_local, JoinHandle};
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
type Waiting = Rc<RefCell<VecDeque<Reply>>>;

/// One CreateTaskStream.
pub struct Stream {
    requests: mpsc::UnboundedSender<(CreateTaskRequest, Reply)>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Stream {
    /// Opens a stream.
    pub fn open(client: &CollectionClient) -> Result<Self, String> {
        let (sender, receiver) = client.create_task_stream().map_err(text)?;
        let (requests, to_send) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        let send = send_creates(sender, to_send, Rc::clone(&waiting));
        let tasks = [
            spawn_local(send),
            spawn_local(hear_creates(receiver, waiting)),
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
        waiting.borrow_mut().push_back(reply);
        // gRPC may hold back what is marked so until something unmarked follows.
        let flags = WriteFlags::default().buffer_hint(next.is_some());
        if sender.send((request, flags)).await.is_err() {
            return;
        }
    }
}

async fn hear_creates(mut receiver: ClientDuplexReceiver<TaskStreamResponse>, waiting: Waiting) {
    while let Some(Ok(answer)) = receiver.next().await {
        let result = match answer.get_status() {
            0 => Ok(()),
            status => Err(format!("status {status}: {}", answer.get_message())),
        };
        match waiting.borrow_mut().pop_front() {
            // Nobody waits any more after the end of the run.
            Some(reply) => drop(reply.send(result)),
            None => return,
        }
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
    let tasks = vec![
        spawn_local(send_acks(speak, to_send)),
        spawn_local(async move {
            // With its last client the connection would end, and the stream with it.
            let _client = client;
            hear(listen, acks, inside).await;
        }),
    ];
    Ok(Taker {
        tasks,
        closing: None,
    })
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

async fn hear(
    mut listen: ClientDuplexReceiver<ConsumeResponse>,
    acks: mpsc::UnboundedSender<ConsumeRequest>,
    inside: Rc<Inside>,
) {
    // What was delivered and whose ack is not answered, by its id.
    let mut held: HashMap<String, Vec<u8>> = HashMap::new();
    loop {
        let message = match listen.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return inside.failed(text(error)),
            None => return inside.failed("the consumer's stream has ended".to_owned()),
        };
        match message.message {
            Some(Heard::delivery(mut delivery)) => {
                let mut task = delivery.take_task();
                let mut lease = LeaseRef::new();
                lease.set_task_id(task.get_id().to_owned());
                lease.set_lease_token(delivery.get_lease_token());
                held.insert(task.take_id(), task.take_payload());
                // Fails when the other half has ended, which the stream then tells.
                let _ = acks.send(say(Say::ack(lease)));
            }
            Some(Heard::result(result)) => {
                let body = held.remove(result.get_task_id());
                match (result.get_outcome(), body) {
                    (LeaseOutcome::LEASE_OUTCOME_DONE, Some(body)) => inside.taken(&body),
                    (outcome, _) => inside.failed(format!("an ack was answered {outcome:?}")),
                }
            }
            _ => {}
        }
    }
}
