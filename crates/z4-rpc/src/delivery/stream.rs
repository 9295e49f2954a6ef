//! One consumer's stream: grants in, bodies read, tasks written, leases ended.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{Future, FutureExt, Sink, StreamExt};
use grpcio::{RpcStatus, ServerStreamingSink, WriteFlags};
use protobuf::Message;
use z4_core::command::Grant;
use z4_core::task::TaskStatus;
use z4_core::{Namespace, TaskBody, View};
use z4_proto::generated::collection::Task;

use super::bodies::{self, Read};
use super::inbox::Told;
use super::seat::{Seat, Wish};
use super::{settle, wall_ns};
use crate::convert;
use crate::errors::Error;
use crate::limits;
use crate::node::Node;
use crate::timer::Sleep;

/// Bodies on their way from a reader thread.
type Reading = BoxFuture<'static, Result<Read<Grant, Task>, Error>>;

struct Consumer<V: View + Clone + Send + Sync + 'static> {
    seat: Seat<V>,
    /// Granted, not read yet.
    held: VecDeque<Grant>,
    reading: Option<(Vec<Grant>, Reading)>,
    /// Read, not handed to gRPC yet.
    ready: VecDeque<(Grant, Task)>,
    /// Handed to gRPC, which has not said that they are written.
    writing: Vec<Grant>,
    group_bytes: usize,
    group_closed: bool,
    /// Written, not acknowledged yet.
    written: Vec<Grant>,
    ack_at: Option<Sleep>,
    acks: FuturesUnordered<BoxFuture<'static, usize>>,
    unacked: usize,
}

/// Why a stream ended.
enum End {
    /// The consumer left.
    Left,
    /// This peer ends it.
    Status(RpcStatus),
}

/// Runs a stream until the consumer leaves or this peer stops.
pub(crate) async fn run<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    namespace: Namespace,
    mut sink: ServerStreamingSink<Task>,
) -> RpcStatus {
    let wish = Wish {
        namespace,
        consumer_id: String::new(),
        lease_ms: limits::STREAM_LEASE_MS,
        window: limits::STREAM_WINDOW,
        step: limits::STREAM_WINDOW / 8,
        follows: false,
        keeps: false,
    };
    let seat = match Seat::take(&node, wish) {
        Ok(seat) => seat,
        Err(error) => {
            let status = error.status();
            // The consumer has gone when this fails.
            let _ = sink.fail(status.clone()).await;
            return status;
        }
    };
    let mut consumer = Consumer::new(seat);
    let end = poll_fn(|cx| consumer.poll(&mut sink, cx)).await;
    consumer.close();
    match end {
        End::Left => RpcStatus::new(grpcio::RpcStatusCode::CANCELLED),
        End::Status(status) => {
            let _ = sink.fail(status.clone()).await;
            status
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> Consumer<V> {
    fn new(seat: Seat<V>) -> Self {
        Self {
            seat,
            held: VecDeque::new(),
            reading: None,
            ready: VecDeque::new(),
            writing: Vec::new(),
            group_bytes: 0,
            group_closed: false,
            written: Vec::new(),
            ack_at: None,
            acks: FuturesUnordered::new(),
            unacked: 0,
        }
    }

    fn poll(&mut self, sink: &mut ServerStreamingSink<Task>, cx: &mut Context<'_>) -> Poll<End> {
        while let Poll::Ready(Some(count)) = self.acks.poll_next_unpin(cx) {
            self.unacked -= count;
        }
        while let Poll::Ready(told) = self.seat.poll_told(cx) {
            match told {
                Some(Told::Grant(grant)) => self.held.push_back(grant),
                Some(_) => {}
                None => {
                    let error = Error::Unavailable("this peer is shutting down; reconnect".into());
                    return Poll::Ready(End::Status(error.status()));
                }
            }
        }
        loop {
            if let Poll::Ready(Err(status)) = self.poll_read(cx) {
                return Poll::Ready(End::Status(status));
            }
            // An error means that the consumer is gone.
            match self.poll_write(Pin::new(sink), cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(End::Left),
                Poll::Pending => break,
            }
            if self.reading.is_some() || self.held.is_empty() || self.is_behind() {
                break;
            }
        }
        self.poll_ack(cx);
        Poll::Pending
    }

    fn is_behind(&self) -> bool {
        self.unacked >= limits::STREAM_UNACKED_MAX
    }

    /// Reads the bodies of the next grants, when those before are on their way.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RpcStatus>> {
        if self.reading.is_none() && self.ready.is_empty() && !self.is_behind() {
            self.skip_expired();
            let len = self.held.len().min(limits::STREAM_READ_BATCH);
            if len > 0 {
                let batch: Vec<Grant> = self.held.drain(..len).collect();
                let (node, namespace) = (self.seat.node.clone(), self.seat.namespace.clone());
                let future = bodies::read(node, namespace, batch.clone(), task);
                self.reading = Some((batch, future.boxed()));
            }
        }
        let Some((_, future)) = &mut self.reading else {
            return Poll::Ready(Ok(()));
        };
        let result = futures::ready!(future.poll_unpin(cx));
        let batch = self.reading.take().map(|(batch, _)| batch);
        match result {
            Ok(read) => {
                let mut gone = 0;
                for grant in read.left.into_iter().rev() {
                    self.held.push_front(grant);
                }
                for (grant, task) in read.found {
                    match task {
                        Some(task) => self.ready.push_back((grant, task)),
                        None => gone += 1,
                    }
                }
                self.settle(gone);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.held.extend(batch.into_iter().flatten());
                Poll::Ready(Err(error.status()))
            }
        }
    }

    /// Tasks whose lease has ended while they waited belong to others by now.
    fn skip_expired(&mut self) {
        let now_ns = wall_ns();
        let before = self.held.len();
        self.held.retain(|grant| grant.deadline_ns > now_ns);
        self.settle(before - self.held.len());
    }

    /// Hands tasks to gRPC, small ones in groups; ready when all are written.
    ///
    /// Only the last write of a group says that the group is with the consumer's
    /// connection: those before it may be held back to travel with it.
    fn poll_write(
        &mut self,
        mut sink: Pin<&mut ServerStreamingSink<Task>>,
        cx: &mut Context<'_>,
    ) -> Poll<grpcio::Result<()>> {
        loop {
            futures::ready!(sink.as_mut().poll_ready(cx)?);
            if self.group_closed {
                self.group_closed = false;
                self.group_bytes = 0;
                self.note_written();
            }
            let Some((grant, task)) = self.ready.pop_front() else {
                // Also notices that the consumer has gone.
                return sink.as_mut().poll_flush(cx);
            };
            self.group_bytes += task.compute_size() as usize;
            let next = self
                .ready
                .front()
                .map(|(_, task)| task.compute_size() as usize);
            let fits = |next: usize| self.group_bytes + next <= limits::STREAM_WRITE_GROUP_BYTES;
            let more = next.is_some_and(fits);
            self.group_closed = !more;
            self.writing.push(grant);
            let flags = WriteFlags::default().buffer_hint(more);
            sink.as_mut().start_send((task, flags))?;
        }
    }

    fn note_written(&mut self) {
        let metrics = self.seat.node.network().metrics();
        let now_ns = wall_ns();
        for grant in &self.writing {
            let late_ns = now_ns.saturating_sub(grant.due_at_ns);
            metrics.lateness.observe(late_ns as f64 / 1e9);
        }
        let count = self.writing.len();
        metrics.delivered.inc_by(count as u64);
        self.written.append(&mut self.writing);
        self.unacked += count;
        self.settle(count);
    }

    /// Room for so many more.
    fn settle(&self, count: usize) {
        self.seat.settle(count as u64);
    }

    /// Acknowledges what is written: many at once, or after a short while.
    fn poll_ack(&mut self, cx: &mut Context<'_>) {
        if self.written.is_empty() {
            return;
        }
        let timer = self.seat.node.timer();
        let ack_at = self
            .ack_at
            .get_or_insert_with(|| timer.sleep(limits::ACK_DELAY));
        let elapsed = Pin::new(ack_at).poll(cx).is_ready();
        if !elapsed && self.written.len() < limits::ACK_BATCH_MAX {
            return;
        }
        self.ack_at = None;
        let written = std::mem::take(&mut self.written);
        for batch in written.chunks(limits::ACK_BATCH_MAX) {
            let count = batch.len();
            let ack = settle::ack(&self.seat.node, &self.seat.namespace, batch);
            self.acks.push(ack.map(move |()| count).boxed());
        }
        // Polled once now, so that they are on their way.
        while let Poll::Ready(Some(count)) = self.acks.poll_next_unpin(cx) {
            self.unacked -= count;
        }
    }

    /// Acknowledges what was written and gives back the rest, at once.
    fn close(mut self) {
        let (node, namespace) = (self.seat.node.clone(), self.seat.namespace.clone());
        let untaken = self.seat.leave();
        let reading = self.reading.take().map(|(batch, _)| batch);
        let unwritten: Vec<Grant> = std::mem::take(&mut self.writing)
            .into_iter()
            .chain(self.ready.drain(..).map(|(grant, _)| grant))
            .chain(reading.into_iter().flatten())
            .chain(self.held.drain(..))
            .chain(untaken)
            .collect();
        self.seat.release(unwritten);
        for batch in self.written.chunks(limits::ACK_BATCH_MAX) {
            node.network().spawn(settle::ack(&node, &namespace, batch));
        }
        // Acknowledgements on their way outlive the stream.
        let acks = std::mem::take(&mut self.acks);
        if !acks.is_empty() {
            node.network()
                .spawn(acks.for_each(|_| futures::future::ready(())));
        }
    }
}

fn task(
    namespace: &Namespace,
    grant: &Grant,
    body: TaskBody,
    _: Option<TaskStatus>,
) -> Option<Task> {
    Some(convert::task(namespace, grant.id, body))
}
