//! Every field of every request out of its range: refused by name, nothing
//! changed.
//!
//! | file | what |
//! |---|---|
//! | here | creates, reads, streams, members |
//! | `batches` | batches of creates and of leases, leases without a stream |
//! | `changes` | changes of tasks, lists, dead letters |
//! | `consume` | the opening of `Consume`, and bad messages within it |
//! | `settings` | namespaces |

mod batches;
mod changes;
mod consume;
mod settings;

use std::time::Duration;

use futures::StreamExt;
use grpcio::RpcStatusCode;
use protobuf::well_known_types::{Duration as Span, Timestamp};
use z4_e2e::client::{option, Refused};
use z4_e2e::request::as_created;
use z4_e2e::{create, Client, Cluster, Edit};
use z4_proto::generated::admin::{CheckHealthRequest, TransferLeadershipRequest};
use z4_proto::generated::collection::{CreateTaskRequest, GetTaskRequest, StreamTasksRequest};

#[track_caller]
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

/// A row of a table: the field that is wrong, how, and what the peer said of it.
type Row = (&'static str, &'static str, Result<(), Refused>);

/// The answer to a call, for a table.
fn said<T>(answer: grpcio::Result<T>) -> Result<(), Refused> {
    answer.map(|_| ()).map_err(Refused::from)
}

/// Each is refused by the name of its field.
#[track_caller]
fn all_refused(method: &str, table: Vec<Row>) {
    for (field, what, answer) in table {
        let what = format!("{method}: {field} {what}");
        let refused = answer.expect_err(&what);
        names(&refused, field, &what);
    }
}

fn span(seconds: i64, nanos: i32) -> Span {
    let mut span = Span::new();
    span.set_seconds(seconds);
    span.set_nanos(nanos);
    span
}

/// Spans that no field takes.
fn bad_spans() -> [(&'static str, Span); 6] {
    [
        ("negative", span(-1, 0)),
        ("just negative", span(0, -1)),
        ("smallest", span(i64::MIN, i32::MIN)),
        ("largest", span(i64::MAX, 999_999_999)),
        ("nanos of a second", span(1, 1_000_000_000)),
        ("more than 100 years", span(101 * 366 * 24 * 3_600, 0)),
    ]
}

fn time(seconds: i64, nanos: i32) -> Timestamp {
    let mut time = Timestamp::new();
    time.set_seconds(seconds);
    time.set_nanos(nanos);
    time
}

/// Namespaces that nobody can have.
fn bad_namespaces() -> [(&'static str, String); 5] {
    [
        ("empty", String::new()),
        ("with a blank", "a b".to_owned()),
        ("with a slash", "a/b".to_owned()),
        ("not ASCII", "ä".to_owned()),
        ("too long", "n".repeat(129)),
    ]
}

/// Ids that no task has.
const BAD_IDS: [(&str, &str); 5] = [
    ("empty", ""),
    ("short", "short"),
    ("too high", "zzzzzzzzzzzzzzzzzzzzzzzzzz"),
    ("too long", "000000000000000000000000000"),
    ("not ASCII", "0000000000000000000000000ä"),
];

/// An id that a task could have.
const GOOD_ID: &str = "00000000000000000000000001";

fn bad_creates() -> Vec<(&'static str, &'static str, CreateTaskRequest)> {
    let good = || create("fields", "x");
    let large = "x".repeat(65 << 10);
    let many = (0..2_000).fold(good(), |r, n| r.label(n.to_string(), ""));
    let with = |change: fn(&mut CreateTaskRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let ttl = |span: Span| {
        let mut request = good();
        request.set_ttl(span);
        request
    };
    let mut table = vec![
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
        (
            "priority",
            "too high",
            with(|r| r.mut_priority().set_value(10)),
        ),
        (
            "priority",
            "beyond a byte",
            with(|r| r.mut_priority().set_value(256)),
        ),
        (
            "priority",
            "largest",
            with(|r| r.mut_priority().set_value(u32::MAX)),
        ),
        (
            "max_attempts",
            "too many",
            with(|r| r.set_max_attempts(1_000_001)),
        ),
        (
            "max_attempts",
            "largest",
            with(|r| r.set_max_attempts(u32::MAX)),
        ),
        ("ttl", "zero", ttl(span(0, 0))),
    ];
    table.extend(bad_spans().map(|(what, span)| ("ttl", what, ttl(span))));
    table
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

fn largest() -> CreateTaskRequest {
    let mut request = create("limit", "x");
    request.mut_priority().set_value(9);
    request.set_max_attempts(1_000_000);
    request.set_ttl(span(100 * 366 * 24 * 3_600, 0));
    request
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
        ("priority, attempts and ttl", largest()),
    ] {
        let made = client
            .create(&request)
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let made = made.get_task();
        if request.has_deliver_at() {
            assert_eq!(made.get_deliver_at(), request.get_deliver_at(), "{what}");
        }
        let seen = client.get(request.get_namespace(), made.get_id());
        let seen = seen.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(&as_created(seen), made);
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
