//! Pipelined creates: many in flight, answered in the order of requests.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use grpcio::{DuplexSink, RequestStream, RpcStatus, WriteFlags};
use z4_core::View;
use z4_proto::generated::collection::{CreateTaskRequest, TaskStreamResponse};

use super::{create, undecodable};
use crate::access::{About, Guard, Method};
use crate::limits;
use crate::node::Node;
use crate::propose::Until;

struct Pipeline<V> {
    node: Node<V>,
    until: Until,
    method: Method,
    guard: Guard,
    /// In the order of requests: an answer and the bytes its request held.
    in_flight: FuturesOrdered<BoxFuture<'static, (TaskStreamResponse, usize)>>,
    bytes: usize,
    /// The client sends no more.
    ended: bool,
}

/// Runs a stream until the client has all answers, or is gone.
pub(super) async fn run<V: View + Clone + Send + Sync + 'static>(
    node: Node<V>,
    mut requests: RequestStream<CreateTaskRequest>,
    mut sink: DuplexSink<TaskStreamResponse>,
    until: Until,
) {
    sink.enhance_batch(true);
    let mut pipeline = Pipeline {
        // Each message says which namespace it is for.
        guard: node.guard(Method::WhoAmI, None),
        node,
        until,
        method: match until {
            Until::Applied => Method::CreateTaskStream,
            Until::Accepted => Method::CreateTaskStreamAsync,
        },
        in_flight: FuturesOrdered::new(),
        bytes: 0,
        ended: false,
    };
    let ended = poll_fn(|cx| {
        if let Poll::Ready(status) = pipeline.guard.poll(cx) {
            return Poll::Ready(Err(Over::Revoked(status)));
        }
        let polled = pipeline.poll(&mut requests, &mut sink, cx);
        polled.map(|ended| ended.map_err(Over::Broken))
    });
    // The client has gone when these fail.
    match ended.await {
        Ok(()) => {
            let _ = sink.close().await;
        }
        // The requests in flight are done, and nobody is told.
        Err(Over::Revoked(status)) => {
            let _ = sink.fail(status).await;
        }
        Err(Over::Broken(grpcio::Error::Codec(_))) => {
            // What is in flight is answered before the stream ends.
            while let Some((response, _)) = pipeline.in_flight.next().await {
                let _ = sink.feed((response, WriteFlags::default())).await;
            }
            let _ = sink.flush().await;
            let error = grpcio::Error::Codec("not a CreateTaskRequest".into());
            let _ = sink.fail(undecodable(&error)).await;
        }
        Err(Over::Broken(_)) => {}
    }
}

/// Why a stream ended before its client was done.
enum Over {
    /// The client is gone, or said what is no request.
    Broken(grpcio::Error),
    /// The client is not known any more.
    Revoked(RpcStatus),
}

impl<V: View + Clone + Send + Sync + 'static> Pipeline<V> {
    fn poll(
        &mut self,
        requests: &mut RequestStream<CreateTaskRequest>,
        sink: &mut DuplexSink<TaskStreamResponse>,
        cx: &mut Context<'_>,
    ) -> Poll<grpcio::Result<()>> {
        let (mut requests, mut sink) = (Pin::new(requests), Pin::new(sink));
        loop {
            let read = self.poll_read(requests.as_mut(), cx)?;
            let written = self.poll_write(sink.as_mut(), cx)?;
            // Answers that were written make room for requests.
            if !(read || written) {
                break;
            }
        }
        if self.ended && self.in_flight.is_empty() {
            return sink.poll_flush(cx);
        }
        Poll::Pending
    }

    /// Takes requests while there is room. Whether it took any.
    fn poll_read(
        &mut self,
        mut requests: Pin<&mut RequestStream<CreateTaskRequest>>,
        cx: &mut Context<'_>,
    ) -> grpcio::Result<bool> {
        let mut any = false;
        while !self.ended
            && self.in_flight.len() < limits::CREATE_STREAM_COUNT_MAX
            && self.bytes < limits::CREATE_STREAM_BYTES_MAX
        {
            match requests.as_mut().poll_next(cx)? {
                Poll::Ready(Some(request)) => self.take(request),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => break,
            }
            any = true;
        }
        Ok(any)
    }

    fn take(&mut self, request: CreateTaskRequest) {
        let bytes = request.get_payload().len();
        self.bytes += bytes;
        let (node, until, method) = (self.node.clone(), self.until, self.method);
        let creating = async move {
            let started = Instant::now();
            let about = About::Namespace(request.get_namespace());
            let result = match node.authorize(method, about) {
                Ok(()) => create::create(&node, request, until, limits::UNARY_TIMEOUT).await,
                Err(error) => Err(error),
            };
            let mut response = TaskStreamResponse::default();
            let status = match result {
                Ok(mut created) => {
                    response.set_task(created.take_task());
                    response.set_forwarded_to(created.take_forwarded_to());
                    RpcStatus::ok()
                }
                Err(error) => {
                    let status = error.status();
                    response.set_status(i32::from(status.code()).unsigned_abs());
                    response.set_message(status.message().to_owned());
                    status
                }
            };
            let seconds = started.elapsed().as_secs_f64();
            let metrics = node.network().metrics();
            metrics.request(method.name(), status.code(), seconds);
            (response, bytes)
        };
        self.in_flight.push_back(creating.boxed());
    }

    /// Writes answers that are ready, in order. Whether it wrote any.
    fn poll_write(
        &mut self,
        mut sink: Pin<&mut DuplexSink<TaskStreamResponse>>,
        cx: &mut Context<'_>,
    ) -> grpcio::Result<bool> {
        let mut any = false;
        loop {
            let can_write = sink.as_mut().poll_ready(cx)?.is_ready();
            // Polled even when nothing can be written: it starts new requests.
            if !can_write {
                self.start_new(cx);
                return Ok(any);
            }
            match self.in_flight.poll_next_unpin(cx) {
                Poll::Ready(Some((response, bytes))) => {
                    self.bytes -= bytes;
                    sink.as_mut()
                        .start_send((response, WriteFlags::default()))?;
                    any = true;
                }
                Poll::Ready(None) | Poll::Pending => {
                    let _ = sink.as_mut().poll_flush(cx)?;
                    return Ok(any);
                }
            }
        }
    }

    /// Starts requests that were taken, without taking an answer.
    fn start_new(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Some(ready)) = self.in_flight.poll_next_unpin(cx) {
            self.in_flight
                .push_front(futures::future::ready(ready).boxed());
        }
    }
}
