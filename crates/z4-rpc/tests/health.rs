//! Who watches the health of a peer is told of each change, and of nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;

use futures::executor::block_on;
use futures::StreamExt;
use grpcio::{ChannelBuilder, EnvBuilder};
use support::{Peer, SnapshotsOfTest};
use z4_proto::generated::health::{
    HealthCheckRequest, HealthCheckResponse_ServingStatus as Serving,
};
use z4_proto::generated::health_grpc::HealthClient;

#[test]
fn a_watcher_is_told_when_the_leader_goes() {
    let peer = Peer::bootstrapped("a", &SnapshotsOfTest::default());
    let env = Arc::new(EnvBuilder::new().cq_count(1).build());
    let client = HealthClient::new(ChannelBuilder::new(env).connect(&peer.address));
    let watch = |service: &str| {
        let mut request = HealthCheckRequest::default();
        request.set_service(service.into());
        let told = client.watch(&request).unwrap();
        told.map(|told| told.unwrap().get_status())
    };
    let (mut all, mut unknown) = (watch(""), watch("no.Such"));
    assert_eq!(block_on(all.next()), Some(Serving::SERVING));
    let none = Some(Serving::SERVICE_UNKNOWN);
    assert_eq!(block_on(unknown.next()), none);
    peer.node.handle().stop();
    assert_eq!(block_on(all.next()), Some(Serving::NOT_SERVING));
    drop((all, unknown));
    peer.stop();
}
