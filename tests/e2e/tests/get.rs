//! GetTask sees every acknowledged create, on every peer.

use grpcio::RpcStatusCode;
use z4_e2e::request::as_created;
use z4_e2e::{create, Cluster, Edit};
use z4_proto::generated::collection::TaskState;

#[test]
fn every_peer_sees_an_acknowledged_create_at_once() {
    let cluster = Cluster::three();
    let clients = cluster.clients();
    for n in 0..60 {
        let request = create("get", format!("payload {n}"))
            .in_seconds(3_600)
            .label("number", n.to_string());
        let made = clients[n % 3].create(&request).expect("it is created");
        let made = made.get_task();
        for client in &clients {
            let seen = client.get("get", made.get_id()).expect("it is there");
            assert_eq!(seen.get_state(), TaskState::TASK_STATE_SCHEDULED);
            assert_eq!(seen.get_due_at(), made.get_deliver_at());
            assert_eq!(seen.get_attempt(), 1);
            assert_eq!(&as_created(seen), made);
        }
        assert_eq!(made.get_payload(), request.get_payload());
        assert_eq!(made.get_metadata(), request.get_metadata());
        assert_eq!(made.get_namespace(), "get");
        assert_eq!(made.get_id().len(), 26, "{}", made.get_id());
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let cluster = Cluster::three();
    let clients = cluster.clients();
    let made = clients[0]
        .create(&create("here", "x").in_seconds(3_600))
        .unwrap();
    let id = made.get_task().get_id();
    for client in &clients {
        for (namespace, id) in [
            ("here", "00000000000000000000000000"),
            ("elsewhere", id),
            ("her", id),
        ] {
            let refused = client.get(namespace, id).expect_err("it is not there");
            assert_eq!(refused.code, RpcStatusCode::NOT_FOUND, "{refused}");
        }
    }
}
