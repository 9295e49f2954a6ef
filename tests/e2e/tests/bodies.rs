//! Every answer with a list or a body reaches a client that nobody told to take
//! more than gRPC's 4 MiB.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::try_join_all;
use futures::StreamExt;
use grpcio::{Channel, ChannelBuilder};
use protobuf::well_known_types::Duration as Span;
use protobuf::Message;
use z4_e2e::client::{environment, option};
use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::{create, Client, Cluster, Edit};
use z4_proto::generated::admin::{
    ListNamespacesRequest, UpdateNamespaceRequest, VerifyClusterRequest,
};
use z4_proto::generated::admin_grpc::AdminClient;
use z4_proto::generated::collection::{
    AckTasksRequest, ConsumeResponse_oneof_message as Heard, CreateTaskRequest, CreateTasksRequest,
    ExplainTaskRequest, GetTaskRequest, LeaseRef, LeaseTasksRequest, ListTasksRequest,
    RedriveTasksRequest, ReleaseTasksRequest, StreamTasksRequest,
};
use z4_proto::generated::collection_grpc::CollectionClient;

const LIMIT: Duration = Duration::from_secs(120);
/// What a gRPC client takes unless it is told otherwise.
const CLIENT_MAX: u32 = 4_194_304;
const MIB: usize = 1 << 20;

/// A channel with nothing set.
fn plain(address: &str) -> Channel {
    let builder = ChannelBuilder::new(environment());
    match z4_e2e::tls::credentials(address) {
        Some(credentials) => builder.set_credentials(credentials).connect(address),
        None => builder.connect(address),
    }
}

fn plain_client(address: &str) -> Client {
    Client {
        address: address.to_owned(),
        collection: CollectionClient::new(plain(address)),
        admin: AdminClient::new(plain(address)),
    }
}

/// Many small labels: what they take on the wire is much more than they count.
fn labelled(namespace: &str, labels: usize, len: usize) -> CreateTaskRequest {
    (0..labels).fold(create(namespace, ""), |task, n| {
        task.label(format!("{n}"), "v".repeat(len))
    })
}

/// The largest task that there can be.
fn largest(namespace: &str) -> CreateTaskRequest {
    let mut task = labelled(namespace, 1_024, 60);
    task.set_payload(vec![0xf0; MIB]);
    task
}

/// Creates so many of a task; gives their ids.
fn fill(client: &Client, task: &CreateTaskRequest, count: usize) -> BTreeSet<String> {
    let made = (0..count).map(|_| {
        let limit = option(LIMIT);
        let call = client.collection.create_task_async_opt(task, limit);
        async { call.unwrap().await }
    });
    let made = block_on(try_join_all(made)).expect("the tasks are created");
    made.iter()
        .map(|answer| answer.get_task().get_id().to_owned())
        .collect()
}

/// Bodies of every shape, in namespaces of their own, and how many.
fn shapes() -> [(CreateTaskRequest, usize); 4] {
    [
        (create("large", vec![0xff; MIB]), 8),
        (create("medium", vec![0xfe; 64 << 10]), 80),
        (labelled("labels", 1_000, 0), 900),
        (largest("largest"), 5),
    ]
}

#[test]
fn a_client_of_default_settings_leases_and_lists_bodies_of_every_shape() {
    let mut cluster = Cluster::single();
    cluster.wait_leader();
    let client = plain_client(&cluster.peers[0].service_address());
    for (task, count) in shapes() {
        let namespace = task.get_namespace();
        let made = fill(&client, &task, count);
        assert_eq!(listed(&client, namespace), made, "{namespace}");
        for max_bytes in [0, u64::MAX] {
            let mut got = BTreeSet::new();
            let mut calls = 0;
            while got.len() < count {
                let mut request = LeaseTasksRequest::new();
                request.set_namespace(namespace.to_owned());
                request.set_max_tasks(1_024);
                request.set_max_bytes(max_bytes);
                request.set_wait(span(5));
                let answer = client
                    .collection
                    .lease_tasks_opt(&request, option(LIMIT))
                    .unwrap_or_else(|e| panic!("{namespace}, {max_bytes}: {e}"));
                assert!(answer.compute_size() <= CLIENT_MAX);
                let before = got.len();
                for delivery in answer.get_deliveries() {
                    let task = delivery.get_task();
                    got.insert((task.get_id().to_owned(), delivery.get_lease_token()));
                    assert_eq!(task.get_failures(), 0, "{namespace}: nobody failed it");
                }
                assert!(got.len() > before, "{namespace}: a lease brought nothing");
                calls += 1;
            }
            let bytes = count * task.compute_size() as usize;
            let few = 2 + 2 * bytes / CLIENT_MAX as usize;
            assert!(calls <= few, "{namespace}: {calls} calls, not {few}");
            let ids: BTreeSet<String> = got.iter().map(|(id, _)| id.clone()).collect();
            assert_eq!(ids, made, "{namespace}");
            // For the next round.
            let mut back = ReleaseTasksRequest::new();
            back.set_namespace(namespace.to_owned());
            back.set_leases(got.iter().map(lease).collect());
            let call = client.collection.release_tasks_opt(&back, option(LIMIT));
            call.unwrap();
        }
    }
}

fn lease((id, token): &(String, u64)) -> LeaseRef {
    let mut lease = LeaseRef::new();
    lease.set_task_id(id.clone());
    lease.set_lease_token(*token);
    lease
}

fn span(seconds: i64) -> Span {
    let mut span = Span::new();
    span.set_seconds(seconds);
    span
}

/// The ids of a namespace, from pages with bodies; none comes twice.
fn listed(client: &Client, namespace: &str) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut request = ListTasksRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_page_size(1_000);
    request.set_with_body(true);
    loop {
        let answer = client
            .collection
            .list_tasks_opt(&request, option(LIMIT))
            .unwrap_or_else(|e| panic!("{namespace}: {e}"));
        assert!(answer.compute_size() <= CLIENT_MAX);
        for task in answer.get_tasks() {
            assert!(ids.insert(task.get_id().to_owned()), "{namespace}: twice");
        }
        if answer.get_next_page_token().is_empty() {
            return ids;
        }
        request.set_page_token(answer.get_next_page_token().to_owned());
    }
}

#[test]
fn who_asks_for_more_gets_more_and_who_asks_for_little_gets_one() {
    let mut cluster = Cluster::single();
    cluster.wait_leader();
    let client = cluster.peers[0].client();
    fill(&client, &create("n", vec![1; MIB]), 8);
    let list = |bytes: u32| {
        let mut request = ListTasksRequest::new();
        request.set_namespace("n".into());
        request.set_with_body(true);
        request.set_answer_bytes_max(bytes);
        let answer = client.collection.list_tasks_opt(&request, option(LIMIT));
        let answer = answer.unwrap();
        (answer.get_tasks().len(), answer.compute_size())
    };
    assert_eq!((list(0).0, list(100).0), (3, 1));
    for asked in [7 << 20, u32::MAX] {
        let (count, size) = list(asked);
        assert_eq!(count, 6, "{size} bytes");
        assert!(size <= 7 << 20);
    }
    let take = |bytes: u32| {
        let mut request = LeaseTasksRequest::new();
        request.set_namespace("n".into());
        request.set_max_tasks(8);
        request.set_max_bytes(u64::MAX);
        request.set_wait(span(5));
        request.set_answer_bytes_max(bytes);
        let answer = client.collection.lease_tasks_opt(&request, option(LIMIT));
        answer.unwrap().get_deliveries().len()
    };
    assert_eq!((take(u32::MAX), take(1)), (6, 1));
}

#[test]
fn streams_deliver_the_largest_tasks_to_a_client_of_default_settings() {
    let mut cluster = Cluster::single();
    cluster.wait_leader();
    let client = plain_client(&cluster.peers[0].service_address());
    let made = fill(&client, &largest("consumed"), 9);
    for id in &made {
        let mut request = GetTaskRequest::new();
        request.set_namespace("consumed".into());
        request.set_task_id(id.clone());
        let task = client.collection.get_task_opt(&request, option(LIMIT));
        assert_eq!(task.unwrap().get_payload().len(), MIB);
    }
    let lease = Duration::from_secs(60);
    let mut consumer = Conversation::open(&client, "consumed", "", 100, lease).unwrap();
    let mut got = BTreeSet::new();
    let end = Instant::now() + LIMIT;
    while got.len() < made.len() {
        assert!(Instant::now() < end, "{} came", got.len());
        match consumer.listen(Duration::from_secs(1)) {
            Listened::Heard(Heard::delivery(delivery)) => {
                got.insert(delivery.get_task().get_id().to_owned());
            }
            Listened::Ended => panic!("the stream ended"),
            _ => {}
        }
    }
    assert_eq!(got, made);
    let made = fill(&client, &largest("streamed"), 9);
    let mut request = StreamTasksRequest::new();
    request.set_namespace("streamed".into());
    let stream = client
        .collection
        .get_task_stream_opt(&request, option(LIMIT))
        .unwrap();
    let got = block_on(stream.take(made.len()).collect::<Vec<_>>());
    let got: BTreeSet<String> = got.into_iter().map(|t| t.unwrap().take_id()).collect();
    assert_eq!(got, made);
}

#[test]
fn lists_of_small_things_reach_a_client_of_default_settings_at_their_limits() {
    let mut cluster = Cluster::single();
    cluster.wait_leader();
    let client = plain_client(&cluster.peers[0].service_address());
    let longest = "n".repeat(128);
    // The most tasks of one batch, and what is said of them.
    let mut batch = CreateTasksRequest::new();
    batch.set_namespace(longest.clone());
    batch.set_tasks((0..10_000).map(|_| create("", "")).collect());
    let made = client.collection.create_tasks_opt(&batch, option(LIMIT));
    let made = made.unwrap();
    assert_eq!(made.get_tasks().len(), 10_000);
    let mut list = ListTasksRequest::new();
    list.set_namespace(longest.clone());
    list.set_page_size(1_000);
    let page = client.collection.list_tasks_opt(&list, option(LIMIT));
    assert_eq!(page.unwrap().get_tasks().len(), 1_000);
    let mut explain = ExplainTaskRequest::new();
    explain.set_namespace(longest.clone());
    explain.set_task_id(made.get_tasks()[0].get_id().to_owned());
    let explained = client
        .collection
        .explain_task_opt(&explain, option(LIMIT))
        .unwrap();
    assert_eq!(explained.get_task().get_namespace(), longest);
    let mut redrive = RedriveTasksRequest::new();
    redrive.set_namespace(longest.clone());
    let ids = made.get_tasks().iter().map(|task| task.get_id().to_owned());
    redrive.set_task_ids(ids.collect());
    let refused = client.collection.redrive_tasks_opt(&redrive, option(LIMIT));
    let refused = z4_e2e::client::Refused::from(refused.expect_err("none is dead"));
    assert!(refused.message.contains("wait"), "{refused}");
    // Leases that are none, with names as long as a message takes.
    let mut acks = AckTasksRequest::new();
    acks.set_namespace(longest.clone());
    let bad = ("x".repeat(1_900), 1);
    acks.set_leases((0..4_096).map(|_| lease(&bad)).collect());
    let answered = client.collection.ack_tasks_opt(&acks, option(LIMIT));
    let answered = answered.unwrap_or_else(|e| panic!("AckTasks: {e}"));
    assert_eq!(answered.get_results().len(), 4_096);
    assert!(answered.get_results()[0].get_task_id().starts_with("xxx"));
    let verified = client
        .admin
        .verify_cluster_opt(&VerifyClusterRequest::new(), option(LIMIT));
    assert!(verified.unwrap().get_ok());
}

#[test]
fn a_thousand_namespaces_with_settings_come_on_one_page() {
    let mut cluster = Cluster::single();
    cluster.wait_leader();
    let client = plain_client(&cluster.peers[0].service_address());
    let updates = (0..1_000).map(|n| {
        let mut request = UpdateNamespaceRequest::new();
        request.set_name(format!("{n:0128}"));
        let settings = request.mut_settings();
        settings.set_max_attempts(1_000_000);
        settings.set_pending_max(u64::MAX);
        settings.set_bytes_max(u64::MAX);
        settings.set_leased_max(u64::MAX);
        let call = client
            .admin
            .update_namespace_async_opt(&request, option(LIMIT));
        async { call.unwrap().await }
    });
    block_on(try_join_all(updates)).expect("the namespaces are made");
    let mut request = ListNamespacesRequest::new();
    request.set_page_size(1_000);
    let answer = client.admin.list_namespaces_opt(&request, option(LIMIT));
    let answer = answer.unwrap();
    assert_eq!(answer.get_namespaces().len(), 1_000);
    assert!(answer.compute_size() <= CLIENT_MAX);
}
