//! One connection to a leader: requests out, answers back in any order.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::{Sink, SinkExt, Stream, StreamExt};
use grpcio::{ClientDuplexReceiver, ClientDuplexSender, WriteFlags};
use protobuf::Message;
use z4_proto::generated::peer::{
    ForwardReply, ForwardReply_oneof_answer as Answer, ForwardRequest,
    ForwardRequest_oneof_ask as Ask,
};
use z4_proto::generated::peer_grpc::PeerClient;

use super::{Answered, AskError, Lost};
use crate::errors::said;
use crate::limits;
use crate::network::Network;
use crate::outbox::Outbox;

pub(super) struct Link {
    address: String,
    waiting: Outbox<(ForwardRequest, Answered)>,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    answers: HashMap<u64, (Answered, usize)>,
    bytes: usize,
    id_last: u64,
}

type Sender = ClientDuplexSender<ForwardRequest>;
type Receiver = ClientDuplexReceiver<ForwardReply>;

impl Link {
    pub(super) fn open(network: &Network, to: u64, address: &str, lost: Lost) -> Arc<Self> {
        let link = Arc::new(Self {
            address: address.to_owned(),
            waiting: Outbox::new(limits::FORWARD_COUNT_MAX, limits::FORWARD_BYTES_MAX),
            under_way: Mutex::default(),
        });
        let (task, of_task) = (Arc::clone(&link), network.clone());
        network.spawn(async move { task.run(of_task, to, lost).await });
        link
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn ask(&self, request: ForwardRequest, answered: Answered) {
        let bytes = request.compute_size() as usize;
        let full = {
            let under_way = self.lock();
            under_way.answers.len() >= limits::FORWARD_COUNT_MAX
                || under_way.bytes > limits::FORWARD_BYTES_MAX
        };
        if full {
            return answered(Err(AskError::Full));
        }
        if let Err((_, answered)) = self.waiting.push((request, answered), bytes) {
            let closed = self.waiting.is_closed();
            let closing = || AskError::NotSent("the connection to the leader was closed".into());
            answered(Err(if closed { closing() } else { AskError::Full }));
        }
    }

    pub(super) fn close(&self) {
        self.waiting.close();
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects whenever there is something to send.
    async fn run(self: Arc<Self>, network: Network, to: u64, lost: Lost) {
        let mut generation = network.generation();
        let mut client = PeerClient::new(network.channel(&self.address));
        loop {
            poll_fn(|cx| {
                self.waiting.register(cx.waker());
                if self.waiting.is_empty() && !self.waiting.is_closed() {
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
            if self.waiting.is_closed() {
                return self.fail("the connection to the leader was closed");
            }
            if generation != network.generation() {
                // A channel shows what it was made with for as long as it lives.
                generation = network.generation();
                client = PeerClient::new(network.channel(&self.address));
            }
            let why = match connect(&client, &network, to, &self.address).await {
                Ok((sender, receiver)) => {
                    let why = self.carry(sender, receiver).await;
                    lost(to);
                    why
                }
                Err(why) => {
                    network.failed(to, &self.address);
                    why
                }
            };
            slog::debug!(network.logger(), "forward connection ended";
                "to" => to, "address" => &self.address, "reason" => &why);
            self.fail(&why);
        }
    }

    /// Carries requests and answers until the stream breaks; says why it did.
    async fn carry(&self, mut sender: Sender, mut receiver: Receiver) -> String {
        poll_fn(|cx| match self.poll_carry(&mut sender, &mut receiver, cx) {
            Poll::Ready(Ok(())) => Poll::Ready("the stream ended".to_owned()),
            Poll::Ready(Err(error)) => Poll::Ready(error.to_string()),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn poll_carry(
        &self,
        sender: &mut Sender,
        receiver: &mut Receiver,
        cx: &mut Context<'_>,
    ) -> Poll<grpcio::Result<()>> {
        let (mut sender, mut receiver) = (std::pin::Pin::new(sender), std::pin::Pin::new(receiver));
        while let Poll::Ready(reply) = receiver.as_mut().poll_next(cx) {
            match reply {
                Some(reply) => self.answer(reply?),
                None => return Poll::Ready(Ok(())),
            }
        }
        self.waiting.register(cx.waker());
        if self.waiting.is_closed() {
            return Poll::Ready(Ok(()));
        }
        while sender.as_mut().poll_ready(cx)?.is_ready() {
            let Some((mut request, answered)) = self.waiting.pop() else {
                // Nothing more to add: let go of what is buffered.
                let _ = sender.as_mut().poll_flush(cx)?;
                break;
            };
            request.set_id(self.note(answered, &request));
            sender
                .as_mut()
                .start_send((request, WriteFlags::default()))?;
        }
        Poll::Pending
    }

    fn note(&self, answered: Answered, request: &ForwardRequest) -> u64 {
        let bytes = request.compute_size() as usize;
        let mut under_way = self.lock();
        under_way.id_last += 1;
        under_way.bytes += bytes;
        let id = under_way.id_last;
        under_way.answers.insert(id, (answered, bytes));
        id
    }

    fn answer(&self, reply: ForwardReply) {
        let answered = {
            let mut under_way = self.lock();
            let found = under_way.answers.remove(&reply.get_id());
            found.map(|(answered, bytes)| {
                under_way.bytes -= bytes;
                answered
            })
        };
        // An id that nobody waits for: the other side's mistake.
        let Some(answered) = answered else { return };
        answered(match reply.answer {
            Some(Answer::error(error)) => Err(AskError::Refused(error)),
            Some(answer) => Ok(answer),
            None => Err(AskError::Lost),
        });
    }

    /// Answers all that is under way or waits.
    fn fail(&self, why: &str) {
        let sent = {
            let mut under_way = self.lock();
            under_way.bytes = 0;
            std::mem::take(&mut under_way.answers)
        };
        for (answered, _) in sent.into_values() {
            answered(Err(AskError::Lost));
        }
        for (_, answered) in self.waiting.clear() {
            answered(Err(AskError::NotSent(why.to_owned())));
        }
    }
}

/// Opens a stream and waits until the other side has let this peer in: what is
/// sent before that could not be told from what was done.
async fn connect(
    client: &PeerClient,
    network: &Network,
    to: u64,
    address: &str,
) -> Result<(Sender, Receiver), String> {
    let opening = network
        .opening(to, address)
        .ok_or("this peer is in no cluster")?;
    let request = ForwardRequest {
        ask: Some(Ask::opening(opening)),
        ..ForwardRequest::default()
    };
    let (mut sender, mut receiver) = client.forward().map_err(|e| said(&e))?;
    sender.enhance_batch(true);
    let opened = async {
        sender
            .send((request, WriteFlags::default()))
            .await
            .map_err(|e| said(&e))?;
        match receiver.next().await {
            Some(Ok(reply)) if reply.has_done() => Ok(()),
            Some(Ok(reply)) => Err(reply.get_error().get_message().to_owned()),
            Some(Err(error)) => Err(said(&error)),
            None => Err("the stream ended".to_owned()),
        }
    };
    let opened = Box::pin(opened);
    let timer = network.timer().clone();
    match timer.within(limits::FORWARD_OPEN_TIMEOUT, opened).await {
        Some(Ok(())) => Ok((sender, receiver)),
        Some(Err(why)) => Err(why),
        None => Err("the leader did not answer in time".to_owned()),
    }
}
