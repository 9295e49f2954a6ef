//! Standard health and reflection, and the two HTTP checks.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use grpcio::{RpcStatusCode, WriteFlags};
use z4_e2e::client::{channel, environment, option, Refused};
use z4_e2e::{http, Cluster, Peer, PeerSpec};
use z4_proto::generated::health::{
    HealthCheckRequest, HealthCheckResponse_ServingStatus as Serving,
};
use z4_proto::generated::health_grpc::HealthClient;
use z4_proto::generated::reflection_v1::{ServerReflectionRequest, ServerReflectionResponse};
use z4_proto::generated::reflection_v1_grpc::ServerReflectionClient;

fn check(address: &str, service: &str) -> Result<Serving, Refused> {
    let client = HealthClient::new(channel(environment(), address));
    let mut request = HealthCheckRequest::new();
    request.set_service(service.to_owned());
    let answer = client.check_opt(&request, option(Duration::from_secs(5)));
    answer.map(|a| a.get_status()).map_err(Refused::from)
}

fn reflect(address: &str, request: ServerReflectionRequest) -> ServerReflectionResponse {
    let client = ServerReflectionClient::new(channel(environment(), address));
    let limit = option(Duration::from_secs(5));
    let (mut sender, mut receiver) = client.server_reflection_info_opt(limit).unwrap();
    futures::executor::block_on(async {
        sender.send((request, WriteFlags::default())).await.unwrap();
        let answer = receiver.next().await.expect("an answer").expect("no error");
        // When the peer is quick, the call is over before this ends, and grpcio
        // takes that for an error.
        let _ = sender.close().await;
        answer
    })
}

#[test]
fn a_peer_that_knows_a_leader_serves_and_one_that_waits_does_not() {
    let cluster = Cluster::single();
    let serving = cluster.peers[0].service_address();
    for service in ["", "z4.Collection", "z4.Admin"] {
        assert_eq!(
            check(&serving, service),
            Ok(Serving::SERVING),
            "{service:?}"
        );
    }
    let unknown = check(&serving, "no.Such").expect_err("there is none");
    assert_eq!(unknown.code, RpcStatusCode::NOT_FOUND, "{unknown}");
    let waiting = Peer::started(PeerSpec::waiting("peer2"));
    assert_eq!(
        check(&waiting.service_address(), ""),
        Ok(Serving::NOT_SERVING)
    );
    let metrics = cluster.peers[0].metrics_address();
    assert_eq!(http::get(&metrics, "/healthz").unwrap().0, 200);
    assert_eq!(http::get(&metrics, "/readyz").unwrap().0, 200);
    cluster.peers[0]
        .client()
        .health()
        .expect("it knows a leader");
}

#[test]
fn reflection_lists_the_services_and_describes_them() {
    let cluster = Cluster::single();
    let address = cluster.peers[0].service_address();
    let mut list = ServerReflectionRequest::new();
    list.set_list_services("*".to_owned());
    let answer = reflect(&address, list);
    let services = answer.get_list_services_response().get_service();
    let names: Vec<&str> = services.iter().map(|s| s.get_name()).collect();
    for wanted in ["z4.Collection", "z4.Admin", "grpc.health.v1.Health"] {
        assert!(names.contains(&wanted), "{wanted} is not in {names:?}");
    }
    let mut symbol = ServerReflectionRequest::new();
    symbol.set_file_containing_symbol("z4.Collection".to_owned());
    let answer = reflect(&address, symbol);
    let files = answer
        .get_file_descriptor_response()
        .get_file_descriptor_proto();
    let mentions = |file: &Vec<u8>| file.windows(10).any(|w| w == b"CreateTask");
    assert!(files.iter().any(mentions), "{} files", files.len());
    let mut unknown = ServerReflectionRequest::new();
    unknown.set_file_containing_symbol("no.Such".to_owned());
    let answer = reflect(&address, unknown);
    assert_eq!(
        answer.get_error_response().get_error_code(),
        5,
        "NOT_FOUND: {answer:?}"
    );
}
