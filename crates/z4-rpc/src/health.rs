//! The standard health service: serving when a leader is known.

use std::time::Instant;

use futures::{FutureExt, SinkExt};
use grpcio::{RpcContext, RpcStatus, RpcStatusCode, ServerStreamingSink, UnarySink, WriteFlags};
use z4_core::View;
use z4_proto::generated::health::{
    HealthCheckRequest, HealthCheckResponse, HealthCheckResponse_ServingStatus as Serving,
};
use z4_proto::generated::health_grpc::Health;

use crate::limits;
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

    fn serving(&self, service: &str) -> Serving {
        if !matches!(service, "" | "z4.Collection" | "z4.Admin") {
            return Serving::SERVICE_UNKNOWN;
        }
        if self.node.handle().status().leader == 0 {
            Serving::NOT_SERVING
        } else {
            Serving::SERVING
        }
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
        let answered = match self.serving(request.get_service()) {
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
        let service = self.clone();
        ctx.spawn(async move {
            let mut told = None;
            loop {
                let serving = service.serving(request.get_service());
                if told != Some(serving) {
                    let message = (response(serving), WriteFlags::default());
                    if sink.send(message).await.is_err() {
                        return;
                    }
                    told = Some(serving);
                }
                // Notices that the watcher has gone.
                if sink.flush().await.is_err() {
                    return;
                }
                let next = Instant::now() + limits::HEALTH_POLL;
                service.node.timer().sleep_until(next).await;
            }
        });
    }
}
