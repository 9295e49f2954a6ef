//! GetTaskStream: a consumer's stream. Leases in, bodies read, tasks written; what is
//! written is acknowledged.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Sink, StreamExt};
use grpcio::{RpcStatus, RpcStatusCode, ServerStreamingSink, WriteFlags};
use protobuf::Message;
use z4_core::task::TaskStatus;
use z4_core::{Namespace, TaskBody, View};
use z4_delivery::{Delivery, End, Method, Open, Told};
use z4_proto::generated::collection::Task;

use super::bodies::Bodies;
use super::line::{status_of, Line};
use super::wall_ns;
use crate::access::{self, Guard};
use crate::convert;
use crate::errors::Error;
use crate::leader::no_leader;
use crate::limits;
use crate::node::Node;

struct Consumer<V> {
    node: Node<V>,
    line: Line<V>,
    guard: Guard,
    bodies: Bodies<V, Task>,
    /// Handed to gRPC, which has not said that they are written.
    writing: Vec<Delivery>,
    group_bytes: usize,
    is_group_closed: bool,
}

/// Why a stream ended.
enum Over {
    /// The consumer left.
    Left,
    /// The session ended.
    Ended(End<Error>),
    /// The shell ends it.
    Status(RpcStatus),
}

/// Runs a stream until the consumer leaves or this peer stops.
pub(crate) async fn run<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    namespace: Namespace,
    mut sink: ServerStreamingSink<Task>,
) -> RpcStatus {
    let mut consumer = match Consumer::open(&node, namespace) {
        Ok(consumer) => consumer,
        Err(error) => {
            let status = error.status();
            // The consumer has gone when this fails.
            let _ = sink.fail(status.clone()).await;
            return status;
        }
    };
    let over = std::future::poll_fn(|cx| consumer.poll(&mut sink, cx)).await;
    consumer.leave();
    let status = match over {
        Over::Left => return RpcStatus::new(RpcStatusCode::CANCELLED),
        Over::Ended(end) => status_of(end, "", "; reconnect", &node.handle().status()),
        Over::Status(status) => status,
    };
    let _ = sink.fail(status.clone()).await;
    status
}

impl<V: View + Clone + Send + Sync + 'static> Consumer<V> {
    fn open(node: &Node<V>, namespace: Namespace) -> Result<Self, Error> {
        let status = node.handle().status();
        if status.raft_id == 0 {
            return Err(no_leader(&status));
        }
        let open = Open {
            namespace: namespace.clone(),
            consumer_id: String::new(),
            lease_ms: z4_delivery::limits::STREAM_LEASE_MS,
            method: Method::Stream,
        };
        Ok(Self {
            node: node.clone(),
            line: node.delivery().open(node.clone(), open)?,
            guard: node.guard(access::Method::GetTaskStream, Some(namespace.clone())),
            bodies: Bodies::new(node.clone(), namespace, task),
            writing: Vec::new(),
            group_bytes: 0,
            is_group_closed: false,
        })
    }

    fn poll(&mut self, sink: &mut ServerStreamingSink<Task>, cx: &mut Context<'_>) -> Poll<Over> {
        let over = match self.guard.poll(cx) {
            Poll::Ready(status) => Some(Over::Status(status)),
            Poll::Pending => self.turn(sink, cx),
        };
        self.line.delivered(self.bodies.take_delivered());
        match over {
            Some(over) => Poll::Ready(over),
            None => Poll::Pending,
        }
    }

    /// Does what can be done now; why the stream ended, if it did.
    fn turn(&mut self, sink: &mut ServerStreamingSink<Task>, cx: &mut Context<'_>) -> Option<Over> {
        while let Poll::Ready(told) = self.line.told.poll_next_unpin(cx) {
            match told {
                Some(Told::Deliver(deliveries)) => self.bodies.push(deliveries),
                Some(Told::Expect(deliveries)) => self.bodies.expect(deliveries),
                Some(Told::Withdraw) => self.bodies.withdraw(),
                Some(Told::Close(end)) => return Some(Over::Ended(end)),
                // These are of conversations alone.
                Some(Told::Hello { .. } | Told::Taken | Told::Answer(_) | Told::Flush) => {}
                None => return Some(Over::Ended(End::Stopping)),
            }
        }
        loop {
            let is_read = match self.bodies.poll_read(cx) {
                Ok(is_read) => is_read,
                Err(error) => return Some(Over::Status(error.status())),
            };
            // An error means that the consumer is gone.
            match self.poll_write(Pin::new(sink), cx) {
                Poll::Ready(Ok(())) if is_read => {}
                Poll::Ready(Ok(())) | Poll::Pending => return None,
                Poll::Ready(Err(_)) => return Some(Over::Left),
            }
        }
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
            if self.is_group_closed {
                self.is_group_closed = false;
                self.group_bytes = 0;
                self.note_written();
            }
            let Some((delivery, task)) = self.bodies.next() else {
                // A group that the clock cut short is written too. Also notices that
                // the consumer has gone.
                futures::ready!(sink.as_mut().poll_flush(cx)?);
                self.note_written();
                return Poll::Ready(Ok(()));
            };
            self.group_bytes += task.compute_size() as usize;
            let next = self.bodies.peek().map(|task| task.compute_size() as usize);
            let fits = |next: usize| self.group_bytes + next <= limits::STREAM_WRITE_GROUP_BYTES;
            let has_more = next.is_some_and(fits);
            self.is_group_closed = !has_more;
            self.writing.push(delivery);
            let flags = WriteFlags::default().buffer_hint(has_more);
            sink.as_mut().start_send((task, flags))?;
        }
    }

    fn note_written(&mut self) {
        let metrics = self.node.network().metrics();
        let now_ns = wall_ns();
        metrics.delivered.inc_by(self.writing.len() as u64);
        for delivery in std::mem::take(&mut self.writing) {
            let late_ns = now_ns.saturating_sub(delivery.grant.due_at_ns);
            metrics.lateness.observe(late_ns as f64 / 1e9);
            self.bodies.sent(&delivery);
        }
    }

    /// Ends the session: what is not written goes back.
    fn leave(mut self) {
        for delivery in std::mem::take(&mut self.writing) {
            self.bodies.unsent(&delivery);
        }
        self.bodies.withdraw();
        self.line.delivered(self.bodies.take_delivered());
    }
}

fn task(
    namespace: &Namespace,
    delivery: &Delivery,
    body: TaskBody,
    _: Option<TaskStatus>,
) -> Option<Task> {
    Some(convert::task(namespace, delivery.grant.id, body))
}
