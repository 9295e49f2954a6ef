//! A create that is repeated with its request id makes one task.

use std::thread;
use std::time::Duration;

use grpcio::RpcStatusCode;
use z4_e2e::client::create_anywhere;
use z4_e2e::{audit, create, Cluster, Edit};

#[test]
fn the_same_content_gives_the_same_task_at_any_peer() {
    let cluster = Cluster::three();
    let clients = cluster.clients();
    for (n, request) in [
        create("same", "now").id("a"),
        create("same", "tts")
            .id("b")
            .in_seconds(3_600)
            .label("k", "v"),
        create("same", "at").id("c").at_wire(4_000_000_000, 5),
    ]
    .iter()
    .enumerate()
    {
        let first = clients[n].create(request).expect("it is created");
        for client in &clients {
            // A span counts from the stamp: asked for again it is the same.
            let again = client.create(request).expect("it is the same");
            assert_eq!(again.get_task(), first.get_task());
        }
    }
    let elsewhere = clients[0].create(&create("other", "now").id("a")).unwrap();
    let first = clients[0].create(&create("same", "now").id("a")).unwrap();
    assert_ne!(elsewhere.get_task().get_id(), first.get_task().get_id());
}

#[test]
fn other_content_is_refused_and_changes_nothing() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let request = || {
        create("other", "content")
            .id("r")
            .in_seconds(3_600)
            .label("k", "v")
    };
    let first = client.create(&request()).expect("it is created");
    let mut payload = request();
    payload.set_payload(b"different".to_vec());
    for other in [
        payload,
        request().in_seconds(3_601),
        request().label("k", "w"),
        request().label("more", "v"),
    ] {
        let refused = client.create(&other).expect_err("it is other content");
        assert_eq!(refused.code, RpcStatusCode::ALREADY_EXISTS, "{refused}");
        assert!(refused.message.contains("request_id"), "{refused}");
    }
    let again = client.create(&request()).expect("it is the same");
    assert_eq!(again.get_task(), first.get_task());
}

#[test]
fn the_same_request_at_three_peers_at_once_makes_one_task() {
    let cluster = Cluster::three();
    let clients = cluster.clients();
    for round in 0..20 {
        let request = create("race", round.to_string()).id(format!("race {round}"));
        let threads: Vec<_> = (0..6)
            .map(|n| {
                let (client, request) = (clients[n % 3].clone(), request.clone());
                thread::spawn(move || client.create(&request).expect("it is created"))
            })
            .collect();
        let ids: Vec<String> = threads
            .into_iter()
            .map(|t| t.join().unwrap().get_task().get_id().to_owned())
            .collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
    let came = audit::drain(&clients, "race", 20, Duration::from_secs(10));
    assert_eq!(came.len(), 20);
}

#[test]
fn a_new_leader_and_a_restart_remember_it() {
    let mut cluster = Cluster::three();
    let clients = cluster.clients();
    let request = create("remember", "x").id("before").in_seconds(3_600);
    let first = clients[0].create(&request).expect("it is created");
    let leader = cluster.wait_leader();
    cluster.peers[leader].kill();
    let limit = Duration::from_secs(15);
    let again = create_anywhere(&clients, leader + 1, &request, limit).expect("it is the same");
    assert_eq!(again.task_id, first.get_task().get_id(), "after fail-over");
    cluster.kill_all();
    cluster.start_missing();
    let again = create_anywhere(&clients, 0, &request, limit).expect("it is the same");
    assert_eq!(
        again.task_id,
        first.get_task().get_id(),
        "after a restart of all"
    );
}
