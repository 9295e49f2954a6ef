//! A conversation under way: what its client says goes to the session, what the
//! session says goes to the client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, Stream, StreamExt};
use grpcio::{DuplexSink, RequestStream, RpcStatus, WriteFlags};
use z4_consensus::fault::mark;
use z4_core::{Refusal, View};
use z4_delivery::{End, Open, Said, SessionInput, Told};
use z4_proto::generated::collection::{
    ConsumeRequest, ConsumeResponse, Consuming, Delivery, LeaseResult,
};

use super::messages::{check, Heard};
use crate::access::{Guard, Method};
use crate::collection::undecodable;
use crate::delivery::bodies::Bodies;
use crate::delivery::line::Line;
use crate::delivery::{deliver, endings, lease_asks};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;

/// Why a conversation ended.
pub(super) enum Over {
    /// The client went without a word: one with a name may come back.
    Gone,
    /// The session ended.
    Ended(End<Error>),
    /// The shell ends it.
    Status(RpcStatus),
}

/// See the module.
pub(super) struct Talk<V> {
    node: Node<V>,
    line: Line<V>,
    guard: Guard,
    consumer_id: String,
    bodies: Bodies<V, Delivery>,
    /// To be written, before deliveries; and whether it answers a request.
    out: VecDeque<(ConsumeResponse, bool)>,
    /// Requests without an answer written.
    unanswered: usize,
    /// The session is open: what its client says is listened to.
    is_open: bool,
    is_half_closed: bool,
    /// The client drains, and the session has not taken back yet what is on the way.
    is_withdrawing: bool,
    /// The session wants to know when all answers are written.
    is_to_flush: bool,
    /// Both sides are done: it ends when all answers are written.
    is_done: bool,
}

impl<V: View + Clone + Send + Sync + 'static> Talk<V> {
    pub(super) fn new(node: Node<V>, open: Open, line: Line<V>) -> Self {
        Self {
            guard: node.guard(Method::Consume, Some(open.namespace.clone())),
            bodies: Bodies::new(node.clone(), open.namespace, deliver::delivery),
            node,
            line,
            consumer_id: open.consumer_id,
            out: VecDeque::new(),
            unanswered: 0,
            is_open: false,
            is_half_closed: false,
            is_withdrawing: false,
            is_to_flush: false,
            is_done: false,
        }
    }

    pub(super) fn poll(
        &mut self,
        requests: &mut RequestStream<ConsumeRequest>,
        sink: &mut DuplexSink<ConsumeResponse>,
        cx: &mut Context<'_>,
    ) -> Poll<Over> {
        if let Poll::Ready(status) = self.guard.poll(cx) {
            return Poll::Ready(Over::Status(status));
        }
        loop {
            let turned = self.turn(requests, sink, cx);
            self.line.delivered(self.bodies.take_delivered());
            match turned {
                Ok(true) => {}
                Ok(false) => break,
                Err(over) => return Poll::Ready(over),
            }
        }
        if (self.is_to_flush || self.is_done) && self.out.is_empty() {
            // An error means that the client is gone.
            match Pin::new(sink).poll_flush(cx) {
                Poll::Ready(Ok(())) if self.is_done => return Poll::Ready(Over::Ended(End::Done)),
                Poll::Ready(Ok(())) => {
                    self.is_to_flush = false;
                    self.line.tell(SessionInput::Flushed);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Over::Gone),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Does what can be done now. Whether it did anything.
    fn turn(
        &mut self,
        requests: &mut RequestStream<ConsumeRequest>,
        sink: &mut DuplexSink<ConsumeResponse>,
        cx: &mut Context<'_>,
    ) -> Result<bool, Over> {
        let mut any = self.poll_told(cx)?;
        any |= self.poll_requests(Pin::new(requests), cx)?;
        any |= match self.bodies.poll_read(cx) {
            Ok(any) => any,
            Err(error) => return Err(Over::Status(error.status())),
        };
        any |= self
            .poll_write(Pin::new(sink), cx)
            .map_err(|_| Over::Gone)?;
        Ok(any)
    }

    fn poll_told(&mut self, cx: &mut Context<'_>) -> Result<bool, Over> {
        let mut any = false;
        while !self.is_done {
            let Poll::Ready(told) = self.line.told.poll_next_unpin(cx) else {
                break;
            };
            any = true;
            match told {
                Some(Told::Hello { resumed }) => self.hello(resumed),
                Some(Told::Deliver(deliveries)) => self.bodies.push(deliveries),
                Some(Told::Expect(deliveries)) => self.bodies.expect(deliveries),
                Some(Told::Withdraw) => {
                    self.is_withdrawing = false;
                    self.bodies.withdraw();
                }
                Some(Told::Taken) => self.unanswered -= 1,
                Some(Told::Answer(answer)) => {
                    let kind = answer.kind;
                    let result = endings::result(answer);
                    endings::count(&self.node, kind, &result);
                    mark("ack.reply");
                    self.answer(result);
                }
                Some(Told::Flush) => self.is_to_flush = true,
                Some(Told::Close(End::Done)) => self.is_done = true,
                Some(Told::Close(end)) => return Err(Over::Ended(end)),
                None => return Err(Over::Ended(End::Stopping)),
            }
        }
        Ok(any)
    }

    fn hello(&mut self, resumed: u32) {
        let mut consuming = Consuming::default();
        consuming.set_consumer_id(self.consumer_id.clone());
        consuming.set_resumed(resumed);
        let mut hello = ConsumeResponse::default();
        hello.set_consuming(consuming);
        self.out.push_back((hello, false));
        self.is_open = true;
    }

    fn poll_requests(
        &mut self,
        mut requests: Pin<&mut RequestStream<ConsumeRequest>>,
        cx: &mut Context<'_>,
    ) -> Result<bool, Over> {
        let mut any = false;
        while self.is_open
            && !self.is_done
            && !self.is_half_closed
            && self.unanswered < limits::CONSUME_UNANSWERED_MAX
        {
            match requests.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(request))) => self.request(request),
                Poll::Ready(Some(Err(error @ grpcio::Error::Codec(_)))) => {
                    return Err(Over::Status(undecodable(&error)));
                }
                Poll::Ready(Some(Err(_))) => return Err(Over::Gone),
                Poll::Ready(None) => {
                    self.is_half_closed = true;
                    self.line.tell(SessionInput::HalfClosed);
                }
                Poll::Pending => break,
            }
            any = true;
        }
        Ok(any)
    }

    fn request(&mut self, request: ConsumeRequest) {
        let said = match check(request) {
            Heard::Said(said) => {
                self.is_withdrawing |= said == Said::Drain;
                said
            }
            Heard::Invalid(kind, result) => {
                endings::count(&self.node, kind, &result);
                self.refuse(result);
                Said::Refused
            }
            Heard::Refused(refusal) => {
                self.refuse(of_no_lease(&refusal));
                Said::Refused
            }
        };
        // Answered by the session, or taken: no more wait for it than may.
        self.unanswered += 1;
        self.line.tell(SessionInput::Said(said));
    }

    fn refuse(&mut self, result: LeaseResult) {
        self.unanswered += 1;
        self.answer(result);
    }

    fn answer(&mut self, result: LeaseResult) {
        let mut response = ConsumeResponse::default();
        response.set_result(result);
        self.out.push_back((response, true));
    }

    fn poll_write(
        &mut self,
        mut sink: Pin<&mut DuplexSink<ConsumeResponse>>,
        cx: &mut Context<'_>,
    ) -> grpcio::Result<bool> {
        let mut any = false;
        while sink.as_mut().poll_ready(cx)?.is_ready() {
            let Some(response) = self.next_response() else {
                // Also notices that the client has gone.
                let _ = sink.as_mut().poll_flush(cx)?;
                break;
            };
            sink.as_mut()
                .start_send((response, WriteFlags::default()))?;
            any = true;
        }
        Ok(any)
    }

    fn next_response(&mut self) -> Option<ConsumeResponse> {
        if let Some((response, is_answer)) = self.out.pop_front() {
            self.unanswered -= usize::from(is_answer);
            return Some(response);
        }
        // The session takes back what is on the way.
        if self.is_half_closed || self.is_withdrawing {
            return None;
        }
        let (delivery, message) = self.bodies.next()?;
        deliver::count(self.node.network().metrics(), &delivery.grant);
        self.bodies.sent(&delivery);
        let mut response = ConsumeResponse::default();
        response.set_delivery(message);
        Some(response)
    }

    /// Ends the session. Gives the id of its consumer.
    pub(super) fn leave(mut self) -> String {
        self.bodies.withdraw();
        self.line.delivered(self.bodies.take_delivered());
        self.consumer_id
    }
}

/// The answer to what names no lease.
fn of_no_lease(refusal: &Refusal) -> LeaseResult {
    lease_asks::invalid(String::new(), 0, refusal)
}
