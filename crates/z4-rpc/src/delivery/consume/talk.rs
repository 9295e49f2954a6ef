//! A conversation under way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{Future, FutureExt, Sink, Stream};
use grpcio::{DuplexSink, RequestStream, RpcStatus, RpcStatusCode, WriteFlags};
use z4_core::command::Grant;
use z4_core::state::{find_namespace, find_status, StateError};
use z4_core::task::Phase;
use z4_core::{Namespace, Refusal, View};
use z4_proto::generated::collection::{
    ConsumeRequest, ConsumeResponse, Consuming, Delivery, LeaseResult,
};

use super::batches::Batches;
use super::flow::{Flow, Wait};
use super::ledger::Key;
use super::opening::Opened;
use super::said::{said, Said};
use super::End;
use crate::collection::undecodable;
use crate::delivery::bodies::{self, unreadable, Read};
use crate::delivery::endings::{self, Lease};
use crate::delivery::inbox::Told;
use crate::delivery::seat::Seat;
use crate::delivery::{asks, consumer_id, deliver, wall_ns};
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::timer::Sleep;

type Reading = BoxFuture<'static, Result<Read<Wait, Delivery>, Error>>;
type Looking = BoxFuture<'static, Result<Vec<(Key, Option<u64>)>, Error>>;

/// See the module.
pub(super) struct Talk<V: View + Clone + Send + Sync + 'static> {
    seat: Seat<V>,
    flow: Flow,
    batches: Batches<V>,
    /// To be written, before deliveries; and whether it answers a request.
    out: VecDeque<(ConsumeResponse, bool)>,
    /// Requests without an answer written.
    unanswered: usize,
    reading: Option<(Vec<Wait>, Reading)>,
    /// Read, not written.
    ready: VecDeque<(Wait, Delivery)>,
    /// The state of leases, on its way.
    looking: Option<Looking>,
    /// When to look at leases and at what waits.
    look: Option<(u64, Sleep)>,
    /// The client sends no more; ready when it is not just a broken connection.
    /// Until it is known which, it is given nothing and nothing is given back.
    half_closed: Option<Sleep>,
}

impl<V: View + Clone + Send + Sync + 'static> Talk<V> {
    pub(super) fn new(opened: Opened<V>) -> Self {
        let seat = opened.seat;
        let mut consuming = Consuming::default();
        consuming.set_consumer_id(opened.consumer_id);
        let resumed = u32::try_from(opened.leases.len()).unwrap_or(u32::MAX);
        consuming.set_resumed(resumed);
        let mut hello = ConsumeResponse::default();
        hello.set_consuming(consuming);
        let mut flow = Flow::new(opened.in_flight_max, opened.bytes_max);
        if seat.keeps() {
            flow.name();
        }
        let now_ns = wall_ns();
        for grant in opened.leases {
            flow.take(grant, false, true, now_ns);
        }
        Self {
            batches: Batches::new(seat.node.clone(), seat.namespace.clone()),
            seat,
            flow,
            out: VecDeque::from([(hello, false)]),
            unanswered: 0,
            reading: None,
            ready: VecDeque::new(),
            looking: None,
            look: None,
            half_closed: None,
        }
    }

    pub(super) fn poll(
        &mut self,
        requests: &mut RequestStream<ConsumeRequest>,
        sink: &mut DuplexSink<ConsumeResponse>,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        loop {
            match self.turn(requests, sink, cx) {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => return Poll::Ready(end),
            }
        }
        let waits = self.half_closed.as_mut();
        let is_closed = waits.map(|grace| Pin::new(grace).poll(cx).is_ready());
        let is_answered = self.unanswered == 0 && self.out.is_empty();
        let is_over = match is_closed {
            Some(is_closed) => is_closed,
            None => self.flow.is_draining() && self.flow.is_empty(),
        };
        if !(is_over && is_answered) {
            return Poll::Pending;
        }
        // An error means that the client is gone.
        match Pin::new(sink).poll_flush(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(End::Closed),
            Poll::Ready(Err(_)) => Poll::Ready(End::Gone),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Does what can be done now. Whether it did anything.
    fn turn(
        &mut self,
        requests: &mut RequestStream<ConsumeRequest>,
        sink: &mut DuplexSink<ConsumeResponse>,
        cx: &mut Context<'_>,
    ) -> Result<bool, End> {
        let mut any = self.poll_told(cx)?;
        any |= self.poll_requests(Pin::new(requests), cx)?;
        any |= self.poll_batches(cx)?;
        let is_open = self.half_closed.is_none();
        if is_open {
            // Only with the surplus: what is to be looked at would be found due
            // again and again while nothing may be done about it.
            any |= self.poll_look(cx)?;
            let surplus = self.flow.surplus(wall_ns());
            self.seat.release(surplus);
            any |= self.poll_read(cx)?;
        }
        any |= self.poll_write(Pin::new(sink), cx).map_err(|_| End::Gone)?;
        let settled = self.flow.settled().saturating_sub(self.seat.settled());
        self.seat.settle(settled);
        let window = if is_open { self.flow.window() } else { 0 };
        self.seat.set_window(window);
        Ok(any)
    }

    fn poll_told(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut any = false;
        while let Poll::Ready(told) = self.seat.poll_told(cx) {
            any = true;
            match told {
                Some(Told::Grant(grant)) => {
                    let own = grant.consumer == self.seat.name;
                    self.flow.take(grant, own, false, wall_ns());
                }
                Some(Told::Ended(count)) => self.flow.note_ended(count),
                Some(Told::Opened) => {}
                Some(Told::TakenOver) => {
                    let message = format!(
                        "another stream of consumer_id {} opened at this peer; one stream each",
                        consumer_id::of(&self.seat.name)
                    );
                    let status = RpcStatus::with_message(RpcStatusCode::ABORTED, message);
                    return Err(End::Status(status));
                }
                None => {
                    let message = "this peer is shutting down; reconnect with the same consumer_id";
                    return Err(End::Status(Error::Unavailable(message.into()).status()));
                }
            }
        }
        Ok(any)
    }

    fn poll_requests(
        &mut self,
        mut requests: Pin<&mut RequestStream<ConsumeRequest>>,
        cx: &mut Context<'_>,
    ) -> Result<bool, End> {
        let mut any = false;
        while self.half_closed.is_none() && self.unanswered < limits::CONSUME_UNANSWERED_MAX {
            match requests.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(request))) => {
                    self.flow.heard();
                    self.request(request);
                }
                Poll::Ready(Some(Err(error @ grpcio::Error::Codec(_)))) => {
                    return Err(End::Status(undecodable(&error)));
                }
                Poll::Ready(Some(Err(_))) => return Err(End::Gone),
                Poll::Ready(None) => {
                    let timer = self.seat.node.timer();
                    self.half_closed = Some(timer.sleep(limits::HALF_CLOSE_GRACE));
                }
                Poll::Pending => break,
            }
            any = true;
        }
        Ok(any)
    }

    fn request(&mut self, request: ConsumeRequest) {
        let (kind, asked) = match said(request) {
            Said::Asks(kind, asked) => (kind, asked),
            Said::Drain => return self.flow.drain(),
            Said::Credit(tasks, bytes) => return self.flow.set_credit(tasks, bytes),
            Said::Refused(refusal) => return self.refuse(&refusal),
        };
        self.unanswered += 1;
        match asked {
            Ok(mut item) => {
                item.deadline_ns = self.flow.ledger.deadline_ns(&(item.id, item.token));
                self.batches.push(kind, item);
            }
            Err(result) => {
                endings::count(&self.seat.node, kind, &result);
                self.answer(result);
            }
        }
    }

    /// Answers what names no lease.
    fn refuse(&mut self, refusal: &Refusal) {
        self.unanswered += 1;
        self.answer(asks::invalid(String::new(), 0, refusal));
    }

    fn answer(&mut self, result: LeaseResult) {
        let mut response = ConsumeResponse::default();
        response.set_result(result);
        self.out.push_back((response, true));
    }

    fn poll_batches(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Poll::Ready(answered) = self.batches.poll(cx) else {
            return Ok(false);
        };
        for (item, ending) in answered.map_err(|error| End::Status(error.status()))? {
            let key = (item.id, item.token);
            match ending.lease {
                Lease::Over => self.flow.end_held(&key),
                Lease::Until(deadline_ns) => self.flow.ledger.set_deadline(&key, deadline_ns),
                Lease::Unknown => {}
            }
            self.answer(ending.result);
        }
        Ok(true)
    }

    /// Reads the bodies of what may go next, when what was read is written.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let node = &self.seat.node;
        if self.reading.is_none() && self.ready.is_empty() {
            let next = self.flow.next(wall_ns());
            if !next.is_empty() {
                let namespace = self.seat.namespace.clone();
                let future = bodies::read(node.clone(), namespace, next.clone(), make);
                self.reading = Some((next, future.boxed()));
            }
        }
        let Some((_, future)) = &mut self.reading else {
            return Ok(false);
        };
        let Poll::Ready(result) = future.poll_unpin(cx) else {
            return Ok(false);
        };
        let read = result.map_err(|error| End::Status(error.status()))?;
        self.reading = None;
        for wait in read.left.into_iter().rev() {
            self.flow.put_back(wait);
        }
        for (wait, delivery) in read.found {
            match delivery {
                Some(delivery) => self.ready.push_back((wait, delivery)),
                None => self.flow.skip(&wait),
            }
        }
        Ok(true)
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
        if self.half_closed.is_some() {
            return None;
        }
        while let Some((wait, delivery)) = self.ready.pop_front() {
            if self.flow.is_draining() && !wait.resumed {
                self.seat.release(vec![wait.grant.clone()]);
                self.flow.skip(&wait);
                continue;
            }
            if wait.grant.deadline_ns <= wall_ns() {
                // It waited for the client to read for too long.
                self.flow.skip(&wait);
                continue;
            }
            deliver::count(self.seat.node.network().metrics(), &wait.grant);
            self.flow.delivered(&wait, wait.grant.deadline_ns);
            let mut response = ConsumeResponse::default();
            response.set_delivery(delivery);
            return Some(response);
        }
        None
    }

    /// Sees which leases are over, when it is time to.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if let Some(looking) = &mut self.looking {
            let Poll::Ready(found) = looking.poll_unpin(cx) else {
                return Ok(false);
            };
            self.looking = None;
            let found = found.map_err(|error| End::Status(error.status()))?;
            self.flow.looked(found, wall_ns());
            return Ok(true);
        }
        let now_ns = wall_ns();
        let Some(at_ns) = self.flow.look_at_ns(now_ns) else {
            self.look = None;
            return Ok(false);
        };
        if self.look.as_ref().is_none_or(|(at, _)| *at != at_ns) {
            let after = Duration::from_nanos(at_ns.saturating_sub(now_ns));
            let timer = self.seat.node.timer();
            self.look = Some((at_ns, timer.sleep(after)));
        }
        let is_time = |(_, sleep): &mut (u64, Sleep)| Pin::new(sleep).poll(cx).is_ready();
        if !self.look.as_mut().is_some_and(is_time) {
            return Ok(false);
        }
        self.look = None;
        let doubtful = self.flow.doubtful(wall_ns());
        if doubtful.is_empty() {
            self.flow.settle_excess(wall_ns());
        } else {
            let (node, namespace) = (self.seat.node.clone(), self.seat.namespace.clone());
            self.looking = Some(look(node, namespace, doubtful).boxed());
        }
        Ok(true)
    }

    /// Ends it, the client being done: all that it has is given back. Whether that
    /// is done; the client may come back under its name as soon as it is told so,
    /// and must not be given again what is on its way to others.
    pub(super) async fn finish(mut self) -> bool {
        self.batches.let_go();
        self.seat.finish();
        // One that comes again from an earlier stream was in hand there.
        let (had, untouched): (Vec<Wait>, Vec<Wait>) =
            self.undelivered().partition(|wait| wait.resumed);
        let grants = |waits: Vec<Wait>| waits.into_iter().map(|wait| wait.grant);
        let untouched: Vec<Grant> = grants(untouched).collect();
        let mut in_hand: Vec<Grant> = grants(had).collect();
        let held = self.flow.ledger.take();
        in_hand.extend(held.into_iter().map(|((id, token), held)| Grant {
            consumer: self.seat.name.clone(),
            id,
            token,
            deadline_ns: held.deadline_ns,
            due_at_ns: 0,
            attempt: 0,
            deliveries: 0,
            bytes: held.bytes,
        }));
        // The place is kept meanwhile: what comes late is seen.
        let is_done = self.seat.give_back(untouched, in_hand).await;
        let late = self.seat.leave();
        self.seat.release(late);
        is_done
    }

    /// Ends it without a word of the client. One with a name keeps all that it was
    /// leased, given or not: it may be at another peer by now, and have been given
    /// it there.
    pub(super) fn break_off(mut self) {
        self.batches.let_go();
        if self.seat.keeps() {
            return;
        }
        // What the client had before, it may come back for.
        let undelivered = self.undelivered().filter(|wait| !wait.resumed);
        let mut grants: Vec<Grant> = undelivered.map(|wait| wait.grant).collect();
        grants.extend(self.seat.leave());
        self.seat.release(grants);
    }

    fn undelivered(&mut self) -> impl Iterator<Item = Wait> {
        let reading = self.reading.take().map(|(waits, _)| waits);
        let ready: Vec<Wait> = self.ready.drain(..).map(|(wait, _)| wait).collect();
        let waiting = self.flow.take_waiting();
        ready
            .into_iter()
            .chain(reading.into_iter().flatten())
            .chain(waiting)
    }
}

fn make(
    namespace: &Namespace,
    wait: &Wait,
    body: z4_core::TaskBody,
    status: Option<z4_core::task::TaskStatus>,
) -> Option<Delivery> {
    deliver::delivery(namespace, &wait.grant, body, status, wait.resumed)
}

/// The deadlines of these leases, if they are live.
async fn look<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    namespace: Namespace,
    keys: Vec<Key>,
) -> Result<Vec<(Key, Option<u64>)>, Error> {
    let view = node.view().clone();
    let look = move || {
        let row = find_namespace(&view, &namespace)?;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let status = match &row {
                Some(row) => find_status(&view, row.id, key.0)?,
                None => None,
            };
            let deadline_ns = status.and_then(|status| match status.phase {
                Phase::Leased {
                    token, deadline_ns, ..
                } if token == key.1 => Some(deadline_ns),
                _ => None,
            });
            found.push((key, deadline_ns));
        }
        Ok(found)
    };
    let found: Result<_, StateError> = node.readers().run(look).await?;
    found.map_err(unreadable)
}
