//! A cluster of one over real ports: tasks in, tasks out, errors as drawn.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use crate::support::client::ClientError;
use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use grpcio::{RpcStatusCode, WriteFlags};
use protobuf::well_known_types::Timestamp;
use support::Peer;
use z4_proto::generated::collection::CreateTaskRequest;

fn request(payload: &str) -> CreateTaskRequest {
    let mut request = CreateTaskRequest::default();
    request.set_namespace("n".into());
    request.set_payload(payload.as_bytes().to_vec());
    request
}

fn code(error: ClientError) -> RpcStatusCode {
    match error {
        ClientError::Status { code, .. } => code,
        other => panic!("{other}"),
    }
}

#[test]
fn tasks_are_created_read_and_delivered() {
    let peer = Peer::bootstrapped("a", &support_snapshots());
    let client = peer.client();
    client.health().unwrap();
    let mut later = request("later");
    later.set_deliver_at(Timestamp {
        seconds: 4_000_000_000,
        nanos: 5,
        ..Timestamp::default()
    });
    later.mut_metadata().insert("k".into(), "v".into());
    let later = client.create(&later).unwrap();
    assert_eq!(later.get_forwarded_to(), "");
    let read = client.get("n", later.get_task().get_id()).unwrap();
    assert_eq!(read.get_payload(), b"later");
    assert_eq!(read.get_metadata(), later.get_task().get_metadata());
    assert_eq!(read.get_deliver_at(), later.get_task().get_deliver_at());
    assert_eq!(read.get_deliver_at().get_nanos(), 5);

    let mut stream = client.stream("n").unwrap();
    let early = client.create(&request("early")).unwrap();
    let accepted = client
        .collection()
        .create_task_accepted(&request("accepted"))
        .unwrap();
    let mut got = Vec::new();
    for _ in 0..2 {
        got.push(
            block_on(stream.next())
                .unwrap()
                .unwrap()
                .get_id()
                .to_owned(),
        );
    }
    got.sort();
    let mut expected = vec![early.get_task().get_id(), accepted.get_task().get_id()];
    expected.sort_unstable();
    assert_eq!(got, expected, "the id foretold is the one delivered");
    // Written is acknowledged: it is gone for those who look.
    support::eventually("acked", || client.get("n", &got[0]).is_err());

    let missing = client.get("n", &got[0]).unwrap_err();
    assert_eq!(code(missing), RpcStatusCode::NOT_FOUND);
    let bad = client.get("n", "zzz").unwrap_err();
    assert_eq!(code(bad), RpcStatusCode::INVALID_ARGUMENT);
    peer.stop();
}

#[test]
fn a_request_id_makes_one_task() {
    let peer = Peer::bootstrapped("a", &support_snapshots());
    let client = peer.client();
    let mut once = request("p");
    once.set_request_id("r".into());
    let first = client.create(&once).unwrap();
    let again = client.collection().create_task_accepted(&once).unwrap();
    assert_eq!(first, again);
    once.set_payload(b"other".to_vec());
    let refused = client.create(&once).unwrap_err();
    assert_eq!(code(refused), RpcStatusCode::ALREADY_EXISTS);
    peer.stop();
}

#[test]
fn a_stream_answers_in_order_and_outlives_a_bad_request() {
    let peer = Peer::bootstrapped("a", &support_snapshots());
    let client = peer.client();
    let (mut sender, mut receiver) = client.collection().create_task_stream().unwrap();
    const COUNT: usize = 3_000;
    let sending = async {
        for i in 0..COUNT {
            let mut request = request(&i.to_string());
            if i == 7 {
                request.set_tts_seconds(-1);
            }
            sender.send((request, WriteFlags::default())).await.unwrap();
        }
        // An error when the peer was quicker and the call is over.
        let _ = sender.close().await;
    };
    let receiving = async {
        let mut answers = Vec::new();
        while let Some(answer) = receiver.next().await {
            answers.push(answer.unwrap());
        }
        answers
    };
    let ((), answers) = block_on(futures::future::join(sending, receiving));
    assert_eq!(answers.len(), COUNT);
    for (i, answer) in answers.iter().enumerate() {
        if i == 7 {
            assert_eq!(answer.get_status(), 3);
            assert!(answer.get_message().contains("tts_seconds"));
        } else {
            assert_eq!(answer.get_status(), 0, "{}", answer.get_message());
            assert_eq!(answer.get_task().get_payload(), i.to_string().as_bytes());
        }
    }
    peer.stop();
}

#[test]
fn tasks_not_written_when_a_stream_ends_go_to_the_next_one() {
    let peer = Peer::bootstrapped("a", &support_snapshots());
    let client = peer.client();
    // Larger together than what flow control lets out unread.
    let large = "x".repeat(900_000);
    for _ in 0..40 {
        client.create(&request(&large)).unwrap();
    }
    let mut first = client.stream("n").unwrap();
    let one = block_on(first.next()).unwrap().unwrap();
    // A stream that breaks before the write is confirmed gives the task back.
    support::eventually("acked", || client.get("n", one.get_id()).is_err());
    drop(first);
    let mut second = client.stream("n").unwrap();
    let started = std::time::Instant::now();
    // Most of them: what gRPC had taken before the end counts as written.
    for _ in 0..15 {
        let task = block_on(second.next()).unwrap().unwrap();
        assert_ne!(task.get_id(), one.get_id());
    }
    let lease = std::time::Duration::from_millis(z4_delivery::limits::STREAM_LEASE_MS);
    assert!(started.elapsed() < lease / 2, "released, not expired");
    peer.stop();
}

#[test]
fn a_peer_that_waits_says_so() {
    let peer = Peer::waiting("a", &support_snapshots());
    let client = peer.client();
    for error in [
        client.health().unwrap_err(),
        client.create(&request("p")).unwrap_err(),
        client
            .stream("n")
            .map(|mut s| block_on(s.next()))
            .unwrap()
            .unwrap()
            .unwrap_err()
            .into(),
    ] {
        assert!(error.to_string().contains("add-peer"), "{error}");
        assert_eq!(code(error), RpcStatusCode::UNAVAILABLE);
    }
    let info = client.info().unwrap();
    assert_eq!(info.get_server_id(), "a");
    assert!(info.get_notice().contains("add-peer"));
    peer.stop();
}

fn support_snapshots() -> support::SnapshotsOfTest {
    support::SnapshotsOfTest::default()
}
