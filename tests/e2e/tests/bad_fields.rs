//! Every field of every request out of its range: refused by name, nothing
//! changed.

use std::time::Duration;

use futures::StreamExt;
use grpcio::RpcStatusCode;
use z4_e2e::client::{option, Refused};
use z4_e2e::{create, Client, Cluster, Edit};
use z4_proto::generated::admin::{CheckHealthRequest, TransferLeadershipRequest};
use z4_proto::generated::collection::{CreateTaskRequest, GetTaskRequest, StreamTasksRequest};

fn names(refused: &Refused, field: &str, what: &str) {
    assert_eq!(
        refused.code,
        RpcStatusCode::INVALID_ARGUMENT,
        "{what}: {refused}"
    );
    assert!(
        refused.message.contains(field),
        "{what}: {field} is not in {refused}"
    );
}

fn bad_creates() -> Vec<(&'static str, &'static str, CreateTaskRequest)> {
    let good = || create("fields", "x");
    let large = "x".repeat(65 << 10);
    let many = (0..2_000).fold(good(), |r, n| r.label(n.to_string(), ""));
    vec![
        ("namespace", "empty", create("", "x")),
        ("namespace", "with a blank", create("a b", "x")),
        ("namespace", "with a hash", create("a#b", "x")),
        ("namespace", "not ASCII", create("ä", "x")),
        ("namespace", "too long", create(&"n".repeat(129), "x")),
        ("request_id", "too long", good().id("r".repeat(257))),
        (
            "payload",
            "too large",
            create("fields", vec![0; (1 << 20) + 1]),
        ),
        ("metadata", "too large", good().label("k", &large)),
        ("metadata", "too large a key", good().label(&large, "v")),
        ("metadata", "too many", many),
        ("tts_seconds", "negative", good().in_seconds(-1)),
        ("tts_seconds", "smallest", good().in_seconds(i64::MIN)),
        ("tts_seconds", "largest", good().in_seconds(i64::MAX)),
        ("deliver_at", "negative nanos", good().at_wire(1, -1)),
        (
            "deliver_at",
            "nanos of a second",
            good().at_wire(1, 1_000_000_000),
        ),
        (
            "deliver_at",
            "after 2500",
            good().at_wire(16_725_225_601, 0),
        ),
        ("deliver_at", "largest", good().at_wire(i64::MAX, 0)),
    ]
}

#[test]
fn creates_are_refused_by_the_name_of_the_field_in_all_four_forms() {
    let mut cluster = Cluster::of(2, &[]);
    let leader = cluster.wait_leader();
    for client in [leader, 1 - leader].map(|n| cluster.peers[n].client()) {
        for (field, what, request) in bad_creates() {
            let refused = client.create(&request).expect_err(what);
            names(&refused, field, what);
            let accepted = client.collection.create_task_accepted(&request);
            names(
                &accepted.map_err(Refused::from).expect_err(what),
                field,
                what,
            );
        }
        for asynchronous in [false, true] {
            let bad = bad_creates();
            let requests: Vec<_> = bad.iter().map(|(_, _, request)| request.clone()).collect();
            let answers = crate::streams::pipeline(&client, &requests, asynchronous);
            assert_eq!(answers.len(), bad.len(), "each is answered in its place");
            for ((field, what, _), answer) in bad.iter().zip(&answers) {
                assert_eq!(answer.get_status(), 3, "{what}: {}", answer.get_message());
                assert!(
                    answer.get_message().contains(field),
                    "{what}: {}",
                    answer.get_message()
                );
            }
        }
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    for (what, request) in [
        ("namespace", create(&"n".repeat(128), "x")),
        ("request_id", create("limit", "x").id("r".repeat(256))),
        ("payload", create("limit", vec![7; 1 << 20])),
        ("no payload", create("limit", "")),
        (
            "metadata",
            create("limit", "x").label("k", "v".repeat((64 << 10) - 1)),
        ),
        (
            "deliver_at",
            create("limit", "x").at_wire(16_725_225_600, 0),
        ),
        ("1970", create("limit", "x").at_wire(0, 0)),
        ("before 1970", create("limit", "x").at_wire(-5, 999_999_999)),
        // Any past is due at once.
        ("before all time", create("limit", "x").at_wire(i64::MIN, 0)),
        (
            "tts_seconds",
            create("limit", "x").in_seconds(100 * 366 * 24 * 3600),
        ),
    ] {
        let made = client
            .create(&request)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let made = made.get_task();
        if request.has_deliver_at() {
            assert_eq!(made.get_deliver_at(), request.get_deliver_at(), "{what}");
        }
        let seen = client.get(request.get_namespace(), made.get_id());
        assert_eq!(&seen.unwrap_or_else(|e| panic!("{what}: {e}")), made);
    }
}

#[test]
fn reads_and_streams_are_refused_by_the_name_of_the_field() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let id = "00000000000000000000000000";
    let mut long = GetTaskRequest::new();
    long.set_namespace("n".to_owned());
    long.set_task_id(id.to_owned());
    long.set_request_id("r".repeat(257));
    let answer = client
        .collection
        .get_task_opt(&long, option(Duration::from_secs(5)));
    names(
        &answer.map_err(Refused::from).expect_err("too long"),
        "request_id",
        "get",
    );
    for (field, namespace, id) in [
        ("namespace", "", id),
        ("namespace", "a b", id),
        ("task_id", "n", ""),
        ("task_id", "n", "short"),
        ("task_id", "n", "zzzzzzzzzzzzzzzzzzzzzzzzzz"),
        ("task_id", "n", "uuuuuuuuuuuuuuuuuuuuuuuuuu"),
    ] {
        names(&client.get(namespace, id).expect_err(id), field, id);
    }
    for (field, namespace, request_id) in [
        ("namespace", "", String::new()),
        ("namespace", "a/b", String::new()),
        ("request_id", "n", "r".repeat(257)),
    ] {
        names(
            &stream_error(&client, namespace, &request_id),
            field,
            namespace,
        );
    }
}

fn stream_error(client: &Client, namespace: &str, request_id: &str) -> Refused {
    let mut request = StreamTasksRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_request_id(request_id.to_owned());
    let limit = option(Duration::from_secs(5));
    let mut stream = client
        .collection
        .get_task_stream_opt(&request, limit)
        .unwrap();
    let first = futures::executor::block_on(stream.next());
    first
        .expect("an error, not an end")
        .expect_err("no task")
        .into()
}

#[test]
fn administration_is_refused_by_the_name_of_the_field() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let long = "p".repeat(10_000);
    for (field, id, address) in [
        ("member_id", "", "127.0.0.1:1"),
        ("member_id", long.as_str(), "127.0.0.1:1"),
        ("member_id", "a b", "127.0.0.1:1"),
        ("member_address", "peer2", ""),
        ("member_address", "peer2", "nonsense"),
        ("member_address", "peer2", "127.0.0.1"),
        ("member_address", "peer2", "127.0.0.1:0"),
        ("member_address", "peer2", "127.0.0.1:65536"),
        ("member_address", "peer2", long.as_str()),
    ] {
        let what = format!(
            "{field} of {} bytes, {}",
            id.len(),
            &address[..address.len().min(20)]
        );
        names(
            &client.add_member(id, address).expect_err(&what),
            field,
            &what,
        );
    }
    names(
        &client.remove_member("").expect_err("empty"),
        "member_id",
        "remove",
    );
    names(
        &client.remove_member(&long).expect_err("long"),
        "member_id",
        "remove",
    );
    let unknown = client.remove_member("nobody").expect_err("there is none");
    assert_eq!(unknown.code, RpcStatusCode::NOT_FOUND, "{unknown}");
    let mut transfer = TransferLeadershipRequest::new();
    transfer.set_member_id("nobody".to_owned());
    let limit = option(Duration::from_secs(5));
    let unknown = client
        .admin
        .transfer_leadership_opt(&transfer, limit)
        .map_err(Refused::from);
    let unknown = unknown.expect_err("there is none");
    assert_eq!(unknown.code, RpcStatusCode::NOT_FOUND, "{unknown}");
    let mut health = CheckHealthRequest::new();
    health.set_request_id("r".repeat(257));
    let limit = option(Duration::from_secs(5));
    let refused = client
        .admin
        .check_health_opt(&health, limit)
        .map_err(Refused::from);
    names(&refused.expect_err("too long"), "request_id", "health");
    client.create(&create("fields", "x")).expect("it serves on");
}
