//! A peer that is in no cluster says that it waits to be added.

use grpcio::RpcStatusCode;
use z4_e2e::command::z4t;
use z4_e2e::{create, http, Peer, PeerSpec, Reader};
use z4_proto::generated::admin::PeerRole;

#[test]
fn info_health_and_errors_say_that_it_waits() {
    // A peer that asks tells only those whom its cluster knows, and it has none yet.
    let peer = Peer::started(PeerSpec::waiting("peer5").unasked());
    let client = peer.client();
    let info = client.info().expect("it answers");
    assert_eq!(info.get_server_id(), "peer5");
    assert_eq!(info.get_role(), PeerRole::PEER_ROLE_WAITING);
    assert_eq!(info.get_leader_address(), "");
    assert!(info.get_notice().contains("add"), "{:?}", info.get_notice());
    assert!(info.get_members().is_empty(), "{info:?}");

    let errors = [
        client.health().expect_err("no leader"),
        client
            .create(&create("wait", "x"))
            .map(|_| ())
            .expect_err("no leader"),
        client
            .get("wait", "00000000000000000000000000")
            .map(|_| ())
            .expect_err("no leader"),
    ];
    for refused in errors {
        assert_eq!(refused.code, RpcStatusCode::UNAVAILABLE, "{refused}");
        assert!(refused.message.contains("add"), "what to do: {refused}");
    }
    let (code, body) = http::get(&peer.metrics_address(), "/readyz").unwrap();
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("add"), "what to do: {body}");
    assert_eq!(
        http::get(&peer.metrics_address(), "/healthz").unwrap().0,
        200
    );
    let shown = z4t(&["-t", &peer.service_address(), "info"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.stdout.contains("\"server_id\": \"peer5\""),
        "{shown:?}"
    );
    let health = z4t(&["-t", &peer.service_address(), "health"]);
    assert_ne!(health.code, 0, "{health:?}");
}

#[test]
fn it_serves_once_it_is_added_without_a_restart() {
    let mut one = Peer::started(PeerSpec::bootstrap("peer1"));
    let mut two = Peer::started(PeerSpec::waiting("peer2"));
    one.wait_ready();
    let client = two.client();
    client.create(&create("serve", "x")).expect_err("it waits");
    one.client()
        .add_member("peer2", &two.peer_address())
        .expect("it is added");
    two.wait_ready();
    let reader = Reader::open(&client, "serve");
    client.create(&create("serve", "y")).expect("it serves");
    let came = reader.wait_for(1, std::time::Duration::from_secs(10));
    assert_eq!(came[0].text(), "y");
}
