//! The two pipelined forms of create.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use grpcio::WriteFlags;
use z4_e2e::client::option;
use z4_e2e::{audit, create, Client, Cluster};
use z4_proto::generated::collection::{CreateTaskRequest, TaskStreamResponse};

/// Sends all requests on one stream before it reads an answer; the answers.
pub fn pipeline(
    client: &Client,
    requests: &[CreateTaskRequest],
    asynchronous: bool,
) -> Vec<TaskStreamResponse> {
    let limit = option(Duration::from_secs(20));
    let stream = if asynchronous {
        client.collection.create_task_stream_async_opt(limit)
    } else {
        client.collection.create_task_stream_opt(limit)
    };
    let (mut sender, receiver) = stream.expect("the stream opens");
    futures::executor::block_on(async {
        let send = async {
            for request in requests {
                let sent = sender.send((request.clone(), WriteFlags::default())).await;
                sent.expect("the stream takes a request");
            }
            // An error when the peer was quicker and the call is over.
            let _ = sender.close().await;
        };
        let receive = receiver.map(|r| r.expect("an answer")).collect::<Vec<_>>();
        futures::future::join(send, receive).await.1
    })
}

#[test]
fn answers_come_in_order_and_a_bad_request_in_its_place() {
    const COUNT: usize = 1_000;
    let cluster = Cluster::three();
    for (p, client) in cluster.clients().iter().enumerate() {
        for asynchronous in [false, true] {
            let namespace = format!("order-{p}-{asynchronous}");
            let requests: Vec<_> = (0..COUNT)
                .map(|n| match n % 100 {
                    37 => create("not a name", n.to_string()),
                    _ => create(&namespace, n.to_string()),
                })
                .collect();
            let answers = pipeline(client, &requests, asynchronous);
            assert_eq!(answers.len(), COUNT);
            for (n, answer) in answers.iter().enumerate() {
                if n % 100 == 37 {
                    assert_eq!(answer.get_status(), 3, "INVALID_ARGUMENT: {answer:?}");
                    assert!(answer.get_message().contains("namespace"), "{answer:?}");
                    assert!(!answer.has_task(), "{answer:?}");
                } else {
                    assert_eq!(answer.get_status(), 0, "{answer:?}");
                    let payload = answer.get_task().get_payload();
                    assert_eq!(payload, n.to_string().as_bytes(), "at place {n}");
                }
            }
            let good = COUNT - COUNT / 100;
            let limit = Duration::from_secs(10);
            let came = audit::drain(&cluster.clients(), &namespace, good, limit);
            let mut ids: Vec<&str> = came.iter().map(|d| d.task.get_id()).collect();
            let mut told: Vec<&str> = answers
                .iter()
                .filter(|a| a.has_task())
                .map(|a| a.get_task().get_id())
                .collect();
            ids.sort_unstable();
            told.sort_unstable();
            assert_eq!(ids, told, "the ids that were told are the ids that come");
        }
    }
}

#[test]
fn an_accepted_create_has_its_final_id() {
    let cluster = Cluster::three();
    for (n, client) in cluster.clients().iter().enumerate() {
        let request = create("accepted", n.to_string());
        let answer = client
            .collection
            .create_task_accepted(&request)
            .expect("it is taken");
        let id = answer.get_task().get_id();
        // Not acknowledged by a quorum yet: wait for it.
        let seen = z4_e2e::wait::until("the task is there", Duration::from_secs(5), || {
            client.get("accepted", id).map_err(|e| e.to_string())
        });
        assert_eq!(seen.get_payload(), request.get_payload());
    }
}

#[test]
fn a_request_id_repeated_on_one_stream_gives_one_task() {
    use z4_e2e::Edit;
    let cluster = Cluster::three();
    let client = &cluster.clients()[1];
    let requests = vec![create("twice", "same").id("r"); 50];
    let answers = pipeline(client, &requests, false);
    let first = answers[0].get_task().get_id();
    assert!(!first.is_empty());
    assert!(answers
        .iter()
        .all(|a| a.get_status() == 0 && a.get_task().get_id() == first));
}
