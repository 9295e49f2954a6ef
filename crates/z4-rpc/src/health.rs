//! The standard health service: serving when a leader is known.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures::future::{select, Either};
use futures::{FutureExt, Sink, SinkExt};
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, ServerStreamingSink, UnarySink, WriteFlags};
use z4_consensus::Status;
use z4_core::View;
use z4_proto::generated::health::{
    HealthCheckRequest, HealthCheckResponse, HealthCheckResponse_ServingStatus as Serving,
};
use z4_proto::generated::health_grpc::Health;

use crate::node::Node;

/// `grpc.health.v1.Health` at one peer.
pub struct HealthService<V> {
    node: Node<V>,
}

impl<V> Clone for HealthService<V> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
        }
    }
}

impl<V: View + Clone + Send + Sync + 'static> HealthService<V> {
    /// The service of this peer.
    #[must_use]
    pub fn new(node: Node<V>) -> Self {
        Self { node }
    }
}

fn serving(service: &str, status: &Status) -> Serving {
    match (service, status.leader) {
        ("" | "z4.Collection" | "z4.Admin", 0) => Serving::NOT_SERVING,
        ("" | "z4.Collection" | "z4.Admin", _) => Serving::SERVING,
        _ => Serving::SERVICE_UNKNOWN,
    }
}

fn response(serving: Serving) -> HealthCheckResponse {
    let mut response = HealthCheckResponse::default();
    response.set_status(serving);
    response
}

impl<V: View + Clone + Send + Sync + 'static> Health for HealthService<V> {
    fn check(
        &mut self,
        ctx: RpcContext<'_>,
        request: HealthCheckRequest,
        sink: UnarySink<HealthCheckResponse>,
    ) {
        let status = self.node.handle().status();
        let answered = match serving(request.get_service(), &status) {
            Serving::SERVICE_UNKNOWN => sink.fail(RpcStatus::with_message(
                RpcStatusCode::NOT_FOUND,
                "service must be empty, z4.Collection or z4.Admin".into(),
            )),
            serving => sink.success(response(serving)),
        };
        ctx.spawn(answered.map(|_| ()));
    }

    fn watch(
        &mut self,
        ctx: RpcContext<'_>,
        request: HealthCheckRequest,
        mut sink: ServerStreamingSink<HealthCheckResponse>,
    ) {
        let node = self.node.clone();
        ctx.spawn(async move {
            let mut told = None;
            loop {
                let serving = |status: &Status| serving(request.get_service(), status);
                let change = node.handle().when(|status| {
                    let now = Some(serving(status));
                    now.filter(|_| now != told)
                });
                // A sink that is asked whether it takes more says when the watcher
                // has left.
                let left = poll_fn(|cx| match Pin::new(&mut sink).poll_ready(cx) {
                    Poll::Ready(Err(_)) => Poll::Ready(()),
                    Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                });
                let Either::Left((now, _)) = select(Box::pin(change), left).await else {
                    return;
                };
                told = Some(now);
                if sink
                    .send((response(now), WriteFlags::default()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }
}
