//! Leases without a stream.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::client::{Client, ClientError};
use futures::executor::block_on;
use futures::future::join;
use futures::FutureExt;
use grpcio::{CallOption, RpcStatusCode};
use protobuf::well_known_types::Timestamp;
use support::consume::{duration, extend, lease_ref, nack, Consumer};
use support::{Peer, SnapshotsOfTest};
use z4_proto::generated::collection::{
    AckTasksRequest, CreateTaskRequest, Delivery, ExtendLeasesRequest, LeaseOutcome,
    LeaseTasksRequest, LeaseTasksResponse, NackTasksRequest, ReleaseTasksRequest,
};

fn peer() -> (Peer, Client) {
    let peer = Peer::bootstrapped("a", &SnapshotsOfTest::default());
    let client = peer.client();
    (peer, client)
}

fn request(payload: &str) -> CreateTaskRequest {
    let mut request = CreateTaskRequest::default();
    request.set_namespace("n".into());
    request.set_payload(payload.as_bytes().to_vec());
    request
}

fn create(client: &Client, payload: &str) -> String {
    client
        .create(&request(payload))
        .unwrap()
        .take_task()
        .take_id()
}

fn ask(tasks: u32, wait_ms: u64) -> LeaseTasksRequest {
    let mut request = LeaseTasksRequest::default();
    request.set_namespace("n".into());
    request.set_consumer_id("c".into());
    request.set_max_tasks(tasks);
    if wait_ms > 0 {
        request.set_wait(duration(wait_ms));
    }
    request
}

fn lease(client: &Client, request: &LeaseTasksRequest) -> LeaseTasksResponse {
    let option = CallOption::default().timeout(Duration::from_secs(60));
    let collection = client.collection();
    collection.lease_tasks_opt(request, option).unwrap()
}

fn id(delivery: &Delivery) -> &str {
    delivery.get_task().get_id()
}

#[test]
fn what_is_due_is_leased_at_once_and_no_more_than_asked() {
    let (peer, client) = peer();
    let none = lease(&client, &ask(5, 0));
    assert_eq!(none.get_consumer_id(), "c");
    assert!(none.get_deliveries().is_empty());
    let ids: Vec<_> = (0..5).map(|n| create(&client, &n.to_string())).collect();
    let mut nameless = ask(0, 0);
    nameless.set_consumer_id(String::new());
    let one = lease(&client, &nameless);
    assert!(one.get_consumer_id().starts_with("auto-"));
    let three = lease(&client, &ask(3, 10_000));
    let got: Vec<_> = one
        .get_deliveries()
        .iter()
        .chain(three.get_deliveries())
        .collect();
    let got_ids: Vec<_> = got.iter().map(|d| id(d)).collect();
    assert_eq!(got_ids, ids[..4], "in the order of creation");
    assert_eq!(got[1].get_task().get_payload(), b"1");
    assert_eq!(got[1].get_task().get_consumer_id(), "c");
    // What it holds comes back to a stream of its name.
    let mut stream = Consumer::open(&client, "c", 10);
    assert_eq!(stream.consuming.get_resumed(), 3);
    let mut back: Vec<_> = stream
        .deliveries(4)
        .iter()
        .map(|d| id(d).to_owned())
        .collect();
    back.sort();
    assert_eq!(back, ids[1..], "three of before and one more");
    peer.stop();
}

#[test]
fn an_answer_holds_no_more_bytes_than_asked_and_the_rest_is_given_back() {
    let (peer, client) = peer();
    for n in 0..6 {
        create(&client, &n.to_string().repeat(100_000));
    }
    let mut some = ask(10, 0);
    some.set_max_bytes(250_000);
    let first = lease(&client, &some);
    assert_eq!(first.get_deliveries().len(), 2);
    some.set_max_bytes(1);
    some.set_wait(duration(10_000));
    let alone = lease(&client, &some);
    assert_eq!(alone.get_deliveries().len(), 1);
    let mut left = Vec::new();
    while left.len() < 3 {
        let more = lease(&client, &ask(10, 10_000));
        left.extend(more.get_deliveries().iter().map(|d| d.attempt));
    }
    assert_eq!(left, [1, 1, 1], "no failure was counted");
    peer.stop();
}

#[test]
fn who_waits_is_woken_by_what_comes_and_by_what_falls_due() {
    let (peer, client) = peer();
    let wait = || {
        let option = CallOption::default().timeout(Duration::from_secs(60));
        let waiting = client
            .collection()
            .lease_tasks_async_opt(&ask(4, 30_000), option)
            .unwrap();
        waiting.map(|response| response.unwrap().take_deliveries().to_vec())
    };
    let waiting = wait();
    std::thread::sleep(Duration::from_millis(50));
    let started = Instant::now();
    let now = create(&client, "now");
    let got = block_on(waiting);
    assert_eq!(got.iter().map(id).collect::<Vec<_>>(), [now]);

    let waiting = wait();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_millis(400);
    let mut later = request("later");
    later.set_deliver_at(Timestamp {
        seconds: since.as_secs() as i64,
        nanos: since.subsec_nanos() as i32,
        ..Timestamp::default()
    });
    for _ in 0..3 {
        client.create(&later).unwrap();
    }
    let got = block_on(waiting);
    assert_eq!(got.len(), 3, "what falls due together comes together");
    // Two waits of 30 s would have ended by themselves.
    assert!(started.elapsed() < Duration::from_secs(20));

    // And an end when nothing does.
    let none = lease(&client, &ask(4, 100));
    assert!(none.get_deliveries().is_empty());
    peer.stop();
}

#[test]
fn those_who_wait_together_get_each_task_once() {
    let (peer, client) = peer();
    let wait = || {
        let waiting = client.collection().lease_tasks_async(&ask(1, 20_000));
        waiting.unwrap().map(|response| {
            let response = response.unwrap();
            id(&response.get_deliveries()[0]).to_owned()
        })
    };
    let waiting = join(wait(), wait());
    std::thread::sleep(Duration::from_millis(50));
    create(&client, "one");
    create(&client, "two");
    let (one, two) = block_on(waiting);
    assert_ne!(one, two);
    peer.stop();
}

#[test]
fn what_a_caller_that_left_was_granted_goes_to_others() {
    let (peer, client) = peer();
    let option = CallOption::default().timeout(Duration::from_millis(200));
    // The peer answers before the caller leaves, when it is not too busy for it.
    match client.collection().lease_tasks_opt(&ask(4, 30_000), option) {
        Ok(answered) => assert!(answered.get_deliveries().is_empty()),
        Err(left) => assert!(left.to_string().contains("DEADLINE"), "{left}"),
    }
    // Its place may be there for a little longer.
    let created = create(&client, "p");
    let mut other = Consumer::open(&client, "d", 10);
    let started = Instant::now();
    let delivery = other.delivery();
    assert_eq!((id(&delivery), delivery.attempt), (created.as_str(), 1));
    assert!(started.elapsed() < Duration::from_secs(15), "not expired");
    peer.stop();
}

#[test]
fn a_caller_that_hangs_up_leaves_nothing_behind() {
    let (peer, client) = peer();
    let waiting = client.collection().lease_tasks_async(&ask(4, 30_000));
    let mut waiting = waiting.unwrap();
    std::thread::sleep(Duration::from_millis(50));
    waiting.cancel();
    std::thread::sleep(Duration::from_millis(50));
    let created = create(&client, "p");
    let mut other = Consumer::open(&client, "d", 10);
    let started = Instant::now();
    let delivery = other.delivery();
    assert_eq!((id(&delivery), delivery.attempt), (created.as_str(), 1));
    assert!(started.elapsed() < Duration::from_secs(15), "not expired");
    peer.stop();
}

#[test]
fn a_repeat_that_resumes_has_the_leases_of_before_and_takes_nothing_new_meanwhile() {
    let (peer, client) = peer();
    for n in 0..5 {
        create(&client, &n.to_string());
    }
    let held = lease(&client, &ask(2, 0)).take_deliveries().to_vec();
    let mut again = ask(4, 0);
    again.set_resume(true);
    let mut of_another = again.clone();
    of_another.set_consumer_id("d".into());
    let names = |deliveries: &[Delivery]| -> Vec<(String, u64)> {
        let name = |d: &Delivery| (id(d).to_owned(), d.get_lease_token());
        deliveries.iter().map(name).collect()
    };
    for _ in 0..2 {
        let resumed = lease(&client, &again).take_deliveries().to_vec();
        assert_eq!(names(&resumed), names(&held));
        assert!(resumed.iter().all(|d| d.get_resumed() && d.attempt == 1));
    }
    let mut one = again.clone();
    one.set_max_tasks(1);
    let resumed = lease(&client, &one).take_deliveries().to_vec();
    assert_eq!(names(&resumed), names(&held[..1]));
    // What did not fit was not given back: it is another's to hold.
    let other = lease(&client, &of_another).take_deliveries().to_vec();
    assert_eq!(other.len(), 3);
    assert!(other.iter().all(|d| !d.get_resumed()));

    let mut acks = AckTasksRequest::default();
    acks.set_namespace("n".into());
    acks.set_leases(held.iter().map(lease_ref).collect());
    client.collection().ack_tasks(&acks).unwrap();
    let new = create(&client, "new");
    let leased = lease(&client, &again).take_deliveries().to_vec();
    assert_eq!(leased.iter().map(id).collect::<Vec<_>>(), [new]);
    assert!(!leased[0].get_resumed());
    peer.stop();
}

#[test]
fn batches_are_answered_one_by_one_and_in_order() {
    let (peer, client) = peer();
    for n in 0..8 {
        create(&client, &n.to_string());
    }
    let got = lease(&client, &ask(8, 0)).take_deliveries().to_vec();
    let collection = client.collection();
    let bad = {
        let mut bad = lease_ref(&got[0]);
        bad.set_task_id("x".into());
        bad
    };
    let said = |results: &[z4_proto::generated::collection::LeaseResult]| {
        results.iter().map(|r| r.get_outcome()).collect::<Vec<_>>()
    };

    let mut acks = AckTasksRequest::default();
    acks.set_namespace("n".into());
    let leases = [lease_ref(&got[0]), bad.clone(), lease_ref(&got[1])];
    acks.set_leases(leases.to_vec().into());
    acks.mut_leases().push(lease_ref(&got[0]));
    let results = collection.ack_tasks(&acks).unwrap();
    let expected = [
        LeaseOutcome::LEASE_OUTCOME_DONE,
        LeaseOutcome::LEASE_OUTCOME_INVALID,
        LeaseOutcome::LEASE_OUTCOME_DONE,
        LeaseOutcome::LEASE_OUTCOME_GONE,
    ];
    assert_eq!(said(results.get_results()), expected);
    assert_eq!(results.get_results()[1].get_task_id(), "x");
    assert_eq!(results.get_results()[2].get_task_id(), id(&got[1]));

    let mut nacks = NackTasksRequest::default();
    nacks.set_namespace("n".into());
    let mut permanent = nack(&got[3]);
    permanent.set_permanent(true);
    nacks.set_nacks(vec![nack(&got[2]), permanent].into());
    let results = collection.nack_tasks(&nacks).unwrap();
    let expected = [
        LeaseOutcome::LEASE_OUTCOME_WAITING,
        LeaseOutcome::LEASE_OUTCOME_DEAD,
    ];
    assert_eq!(said(results.get_results()), expected);

    let mut extends = ExtendLeasesRequest::default();
    extends.set_namespace("n".into());
    let too_short = extend(&got[5], 1);
    let all = vec![
        extend(&got[4], 3_600_000),
        too_short,
        extend(&got[2], 1_000),
    ];
    extends.set_extends(all.into());
    let results = collection.extend_leases(&extends).unwrap();
    let expected = [
        LeaseOutcome::LEASE_OUTCOME_EXTENDED,
        LeaseOutcome::LEASE_OUTCOME_INVALID,
        LeaseOutcome::LEASE_OUTCOME_EXPIRED,
    ];
    assert_eq!(said(results.get_results()), expected);

    let mut releases = ReleaseTasksRequest::default();
    releases.set_namespace("n".into());
    releases.set_leases(vec![bad, lease_ref(&got[6])].into());
    let results = collection.release_tasks(&releases).unwrap();
    let expected = [
        LeaseOutcome::LEASE_OUTCOME_INVALID,
        LeaseOutcome::LEASE_OUTCOME_WAITING,
    ];
    assert_eq!(said(results.get_results()), expected);
    let back = lease(&client, &ask(8, 0));
    assert_eq!(id(&back.get_deliveries()[0]), id(&got[6]));
    peer.stop();
}

#[test]
fn bad_requests_are_refused_with_the_field() {
    let (peer, client) = peer();
    let collection = client.collection();
    let with = |change: &dyn Fn(&mut LeaseTasksRequest)| {
        let mut request = ask(1, 0);
        change(&mut request);
        collection.lease_tasks(&request).map(|_| ()).unwrap_err()
    };
    let no_acks = AckTasksRequest::default();
    let mut many = AckTasksRequest::default();
    many.set_namespace("n".into());
    many.set_leases(vec![Default::default(); 4_097].into());
    let table = [
        ("namespace", with(&|r| r.set_namespace(String::new()))),
        ("consumer_id", with(&|r| r.set_consumer_id("a b".into()))),
        (
            "consumer_id",
            with(&|r| {
                r.set_consumer_id(String::new());
                r.set_resume(true);
            }),
        ),
        ("max_tasks", with(&|r| r.set_max_tasks(1_025))),
        ("wait", with(&|r| r.set_wait(duration(60_001)))),
        ("lease", with(&|r| r.set_lease(duration(9)))),
        ("namespace", collection.ack_tasks(&no_acks).unwrap_err()),
        ("leases", collection.ack_tasks(&many).unwrap_err()),
    ];
    for (field, error) in table {
        match ClientError::from(error) {
            ClientError::Status { code, message } => {
                assert_eq!(code, RpcStatusCode::INVALID_ARGUMENT);
                assert!(message.starts_with(field), "{field}: {message}");
            }
            other => panic!("{other}"),
        }
    }
    peer.stop();
}
