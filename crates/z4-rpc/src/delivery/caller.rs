//! Who waits for the answer to a call that leases tasks, and whether it still
//! does.
//!
//! gRPC tells a handler of a unary call nothing of a caller that has left: the
//! answer then goes nowhere, and what was leased for it stays leased. A handler
//! that streams is told at once. On the wire a unary answer is a stream of one
//! message, so LeaseTasks is served as such a stream, and no client sees a
//! difference.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::{Sink, SinkExt};
use grpcio::{
    Marshaller, Method, MethodType, RpcStatus, ServerStreamingSink, Service, ServiceBuilder,
    WriteFlags,
};
use z4_core::View;
use z4_proto::generated::collection::{LeaseTasksRequest, LeaseTasksResponse};

use super::lease;
use super::CallDeadline;
use crate::node::Node;

const LEASE_TASKS: Method<LeaseTasksRequest, LeaseTasksResponse> = Method {
    ty: MethodType::ServerStreaming,
    name: "/z4.Collection/LeaseTasks",
    req_mar: Marshaller {
        ser: grpcio::pb_ser,
        de: grpcio::pb_de,
    },
    resp_mar: Marshaller {
        ser: grpcio::pb_ser,
        de: grpcio::pb_de,
    },
};

/// Serves LeaseTasks. To be registered after the service of the other methods,
/// whose handler of this one does nothing.
pub(crate) fn lease_service<V: View + Clone + Send + Sync + 'static>(node: Node<V>) -> Service {
    ServiceBuilder::new()
        .add_server_streaming_handler(&LEASE_TASKS, move |ctx, request, sink| {
            let node = node.of_call(&ctx);
            let caller = Caller {
                sink,
                deadline: CallDeadline::of(ctx.deadline()),
                has_left: false,
            };
            ctx.spawn(async move {
                let started = Instant::now();
                let metrics = node.network().metrics().clone();
                let status = lease::respond(node, request, caller).await;
                let seconds = started.elapsed().as_secs_f64();
                metrics.request("LeaseTasks", status.code(), seconds);
            });
        })
        .build()
}

/// See the module.
pub(super) struct Caller {
    sink: ServerStreamingSink<LeaseTasksResponse>,
    /// Nobody waits longer than this.
    deadline: CallDeadline,
    /// gRPC has said that the caller left. It says so once: a sink that is asked
    /// again panics.
    has_left: bool,
}

impl Caller {
    /// Ready when the caller has left; who polls is woken then.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_left {
            let ready = Pin::new(&mut self.sink).poll_ready(cx);
            self.has_left = matches!(ready, Poll::Ready(Err(_)));
        }
        match self.has_left || self.deadline.is_over() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Answers. Gives whether the answer went out to a caller that, as far as can
    /// be known, still waited for it.
    pub(super) async fn answer(mut self, response: LeaseTasksResponse) -> bool {
        if self.has_left {
            return false;
        }
        // The message waits for the status, so that both go out as one.
        let flags = WriteFlags::default().buffer_hint(true);
        self.sink.send((response, flags)).await.is_ok() && self.sink.close().await.is_ok()
    }

    /// Answers with an error, to whoever still waits.
    pub(super) async fn refuse(self, status: RpcStatus) {
        if !self.has_left {
            // The caller has left when this fails.
            let _ = self.sink.fail(status).await;
        }
    }
}
