//! One stream of a consumer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use grpcio::{ClientDuplexReceiver, ClientDuplexSender, WriteFlags};
use z4_proto::collection::{
    ConsumeDrain, ConsumeOpen, ConsumeRequest, ConsumeResponse, ConsumeResponse_oneof_message,
};

use super::ledger::Answer;
use super::Consumer;
use crate::convert;
use crate::dial::Peer;
use crate::error::{Error, ErrorKind};
use crate::lease::{extend_wire, Delivery, LeaseRef};
use crate::outcome::LeaseResult;
use crate::token::Sent;

/// What a peer says.
pub(super) enum Event {
    /// The stream is open.
    Consuming,
    Delivery(Box<Delivery>),
    Result(Box<LeaseResult>),
    /// The stream has ended.
    Ended(Error),
    /// The peer has ended the stream in good order: it has answered all that it has
    /// taken.
    Closed,
}

/// An open stream. What is said goes into a queue, which is bounded by the
/// leases in hand: each has one answer and one extension at most.
pub(super) struct Session {
    out: Option<mpsc::UnboundedSender<ConsumeRequest>>,
    lease: Option<Duration>,
}

/// The reading end.
pub(super) struct Reader {
    receiver: ClientDuplexReceiver<ConsumeResponse>,
    peer: Arc<Peer>,
    sent: Sent,
}

/// The writing end; the caller polls it beside everything else.
pub(super) struct Writer {
    sender: ClientDuplexSender<ConsumeRequest>,
    queue: mpsc::UnboundedReceiver<ConsumeRequest>,
}

impl Session {
    pub(super) fn open(
        consumer: &Consumer,
        peer: &Arc<Peer>,
        credit: u32,
    ) -> Result<(Self, Reader, Writer), Error> {
        let (option, sent) = peer.option();
        let (sender, receiver) = peer.collection.consume_opt(option)?;
        let (out, queue) = mpsc::unbounded();
        let settings = &consumer.settings;
        let mut open = ConsumeOpen::default();
        open.set_namespace(settings.namespace.clone());
        open.set_consumer_id(consumer.consumer_id.clone());
        open.mut_credit().set_max_in_flight(credit);
        open.mut_credit()
            .set_max_in_flight_bytes(settings.max_in_flight_bytes);
        open.lease = settings.lease.map(convert::wire_span).into();
        let session = Self {
            out: Some(out),
            lease: settings.lease,
        };
        let mut request = ConsumeRequest::default();
        request.set_open(open);
        session.say(request);
        let reader = Reader {
            receiver,
            peer: Arc::clone(peer),
            sent,
        };
        Ok((session, reader, Writer { sender, queue }))
    }

    fn say(&self, request: ConsumeRequest) {
        if let Some(out) = &self.out {
            // When the writer has ended, the reader learns why.
            let _ = out.unbounded_send(request);
        }
    }

    pub(super) fn answer(&self, answer: &Answer) {
        let mut request = ConsumeRequest::default();
        match answer {
            Answer::Ack(lease) => request.set_ack(lease.wire()),
            Answer::Nack(nack) => request.set_nack(nack.wire()),
            Answer::Release(lease) => request.set_release(lease.wire()),
        }
        self.say(request);
    }

    pub(super) fn extend(&self, lease: &LeaseRef) {
        let mut request = ConsumeRequest::default();
        request.set_extend(extend_wire(lease, self.lease));
        self.say(request);
    }

    pub(super) fn credit(&self, max_in_flight: u32) {
        let mut request = ConsumeRequest::default();
        request.mut_credit().set_max_in_flight(max_in_flight);
        self.say(request);
    }

    pub(super) fn drain(&self) {
        let mut request = ConsumeRequest::default();
        request.set_drain(ConsumeDrain::default());
        self.say(request);
    }

    /// Says no more; the peer then ends the stream.
    pub(super) fn close(&mut self) {
        self.out = None;
    }
}

impl Reader {
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let response = match self.receiver.next().await {
                Some(Ok(response)) => response,
                Some(Err(error)) => {
                    return Event::Ended(self.peer.judge(error.into(), self.sent));
                }
                None => return Event::Closed,
            };
            match response.message {
                Some(ConsumeResponse_oneof_message::consuming(_)) => return Event::Consuming,
                Some(ConsumeResponse_oneof_message::delivery(delivery)) => {
                    return Event::Delivery(Box::new(delivery.into()))
                }
                Some(ConsumeResponse_oneof_message::result(result)) => {
                    return Event::Result(Box::new(LeaseResult::of_wire(result)))
                }
                // Of a newer peer.
                None => {}
            }
        }
    }
}

impl Writer {
    /// Writes what is said until nothing more will be, then closes.
    pub(super) async fn run(mut self) -> Infallible {
        while let Some(first) = self.queue.next().await {
            let mut next = Some(first);
            while let Some(request) = next {
                next = self.queue.try_recv().ok();
                // gRPC may hold back what is marked so until something unmarked
                // follows.
                let flags = WriteFlags::default().buffer_hint(next.is_some());
                if self.sender.send((request, flags)).await.is_err() {
                    // The reader learns why; to drop the sender would cancel the
                    // call and hide it.
                    return futures::future::pending().await;
                }
            }
        }
        // A call that has ended needs no closing.
        let _ = self.sender.close().await;
        futures::future::pending().await
    }
}

/// Whether another stream may go better.
pub(super) fn may_reopen(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NobodyAnswers
            | ErrorKind::Unavailable
            | ErrorKind::Unknown
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Exhausted
            | ErrorKind::Cancelled
            | ErrorKind::Internal
    )
}
