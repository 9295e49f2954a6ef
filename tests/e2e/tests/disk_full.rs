//! Disks that fill up: nothing is created, all else goes on, and the peers go
//! on by themselves when there is room.
//!
//! `Z4_DISK_CYCLES` says how often the first test fills its disk (2).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;
use z4_e2e::client::{option, CALL_LIMIT};
use z4_e2e::{create, http, wait, Client, Cluster, Edit, Peer, PeerSpec, SmallDisk};
use z4_proto::generated::collection::{
    AckTasksRequest, LeaseOutcome, LeaseRef, LeaseTasksRequest, ListTasksRequest,
};

/// How long it may take until there is room again, or none.
const LIMIT: Duration = Duration::from_secs(30);
const PAYLOAD_LEN: usize = 64 << 10;
const MIB: usize = 1 << 20;

/// Bytes that do not get smaller.
fn noise(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    (0..PAYLOAD_LEN / 8)
        .flat_map(|_| next().to_le_bytes())
        .collect()
}

/// A value of the metrics of a peer.
fn metric(peer: &Peer, name: &str) -> u64 {
    let (_, text) = http::get(&peer.metrics_address(), "/metrics").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.trim().parse::<f64>().unwrap() as u64
}

/// Creates at `client` until `small` says that its disk is low, and the leader has
/// heard it; adds the ids that were acknowledged. What the last refusal says.
fn fill(client: &Client, small: &Peer, namespace: &str, made: &mut BTreeSet<String>) -> String {
    for n in 0..4_096 {
        match client.create(&create(namespace, noise(n))) {
            Ok(answer) => {
                made.insert(answer.get_task().get_id().to_owned());
            }
            Err(refused) => {
                assert_eq!(refused.code, RpcStatusCode::RESOURCE_EXHAUSTED, "{refused}");
                // The create may have come too fast only: then creates go on in a moment. A leader
                // that was not told yet still takes a small one.
                if metric(small, "z4_server_disk_low ") == 1 {
                    match client.create(&create(namespace, "x")) {
                        Ok(answer) => made.insert(answer.get_task().get_id().to_owned()),
                        Err(refused) => return refused.message,
                    };
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    panic!("the disk does not fill up");
}

/// Leases up to `count` tasks and acknowledges them; takes them out of `made`.
fn take(client: &Client, namespace: &str, count: usize, made: &mut BTreeSet<String>) -> usize {
    let mut request = LeaseTasksRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_consumer_id("taker".to_owned());
    request.set_max_tasks(count.min(64) as u32);
    let leased = client
        .collection
        .lease_tasks_opt(&request, option(CALL_LIMIT))
        .expect("leases go on");
    let mut acks = AckTasksRequest::new();
    acks.set_namespace(namespace.to_owned());
    for delivery in leased.get_deliveries() {
        let mut lease = LeaseRef::new();
        lease.set_task_id(delivery.get_task().get_id().to_owned());
        lease.set_lease_token(delivery.get_lease_token());
        acks.mut_leases().push(lease);
    }
    if acks.get_leases().is_empty() {
        return 0;
    }
    let acked = client.collection.ack_tasks_opt(&acks, option(CALL_LIMIT));
    for result in acked.expect("acks go on").get_results() {
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
        assert!(made.remove(result.get_task_id()), "{result:?}");
    }
    acks.get_leases().len()
}

/// Reads go on: a task by its id, and a page of them.
fn read(client: &Client, namespace: &str, made: &BTreeSet<String>) {
    let some = made.iter().next_back().expect("something was made");
    client.get(namespace, some).expect("reads go on");
    let mut list = ListTasksRequest::new();
    list.set_namespace(namespace.to_owned());
    let page = client
        .collection
        .list_tasks_opt(&list, option(CALL_LIMIT))
        .expect("listings go on");
    assert!(!page.get_tasks().is_empty());
}

/// Waits until a create is taken; how long that took.
fn until_created(client: &Client, namespace: &str, made: &mut BTreeSet<String>) -> Duration {
    let since = Instant::now();
    let answer = wait::until("there is room again", LIMIT, || {
        client
            .create(&create(namespace, noise(1)))
            .map_err(|refused| refused.to_string())
    });
    made.insert(answer.get_task().get_id().to_owned());
    since.elapsed()
}

#[track_caller]
fn all_there(client: &Client, namespace: &str, made: &BTreeSet<String>) {
    let lost: Vec<_> = made
        .iter()
        .filter(|id| client.get(namespace, id).is_err())
        .collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), made.len());
}

#[test]
fn a_peer_refuses_creates_before_its_disk_is_full_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mounted(64) else {
        return;
    };
    let mut peer = Peer::started(disk.holds(PeerSpec::bootstrap("peer1")));
    peer.wait_ready();
    let client = peer.client();
    let cycles = std::env::var("Z4_DISK_CYCLES").map_or(2, |n| n.parse().unwrap());
    let mut made = BTreeSet::new();
    for cycle in 0..cycles {
        // Somebody else takes space and gives it back, or the tasks do.
        let by_others = cycle % 2 == 0;
        if by_others {
            disk.fill(12 * MIB);
        }
        let message = fill(&client, &peer, "full", &mut made);
        assert!(message.contains("peer1 is low on disk space"), "{message}");
        let free = metric(&peer, "z4_server_disk_free_bytes{dir=\"db\"}");
        let most = made.len();
        read(&client, "full", &made);
        assert_eq!(take(&client, "full", 10, &mut made), 10);
        if by_others {
            disk.free();
        } else {
            while take(&client, "full", 64, &mut made) > 0 {}
        }
        let waited = until_created(&client, "full", &mut made);
        println!(
            "cycle {cycle}: {most} tasks of 64 KiB held, {} KiB free when refused, creates {} ms \
             after room was made by {}",
            free >> 10,
            waited.as_millis(),
            if by_others { "others" } else { "acks" }
        );
        all_there(&client, "full", &made);
    }
    assert!(peer.is_running());
    peer.kill();
    peer.start();
    peer.wait_ready();
    peer.wait_answers();
    all_there(&client, "full", &made);
}

#[test]
fn a_peer_whose_disk_others_fill_waits_for_room_and_has_lost_nothing() {
    let Some(disk) = SmallDisk::mounted(96) else {
        return;
    };
    let mut peer = Peer::started(disk.holds(PeerSpec::bootstrap("peer1")));
    peer.wait_ready();
    let client = peer.client();
    let mut made = BTreeSet::new();
    for n in 0..200 {
        let answer = client.create(&create("full", noise(n)).in_seconds(3_600));
        made.insert(answer.unwrap().get_task().get_id().to_owned());
    }
    disk.fill(usize::MAX);
    wait::until("the peer knows", LIMIT, || {
        let refused = client.create(&create("full", "x"));
        wait::check(refused.is_err(), || "it takes creates".to_owned())
    });
    // What must not be created is not written; the peer may live, or not. Its
    // end gives back what was set aside for the write-ahead log.
    peer.kill();
    disk.fill(usize::MAX);
    let before = peer.log().len();
    peer.start();
    wait::until("it says what it waits for", LIMIT, || {
        let (code, body) = http::get(&peer.metrics_address(), "/readyz")?;
        wait::check(code == 503 && body.contains("waits for room"), || {
            format!("{code} {body}")
        })
    });
    let (code, _) = http::get(&peer.metrics_address(), "/healthz").unwrap();
    assert_eq!(code, 200);
    assert!(peer.is_running(), "it waits");
    assert!(peer.log()[before..].contains("waiting for room on the disk"));
    disk.free();
    let freed = Instant::now();
    peer.wait_ready();
    println!(
        "ready {} ms after room was made",
        freed.elapsed().as_millis()
    );
    peer.wait_answers();
    all_there(&client, "full", &made);
    until_created(&client, "full", &mut made);

    // It also ends when it is told to, though it waits.
    peer.kill();
    disk.fill(usize::MAX);
    peer.start();
    wait::until("it waits again", LIMIT, || {
        let (_, body) = http::get(&peer.metrics_address(), "/readyz")?;
        wait::check(body.contains("waits for room"), || body)
    });
    assert_eq!(peer.terminate(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn a_follower_without_room_stops_creates_everywhere_and_nothing_else() {
    let Some(disk) = SmallDisk::mounted(64) else {
        return;
    };
    let small = disk.holds(PeerSpec::waiting("peer3"));
    let specs = [
        PeerSpec::bootstrap("peer1"),
        PeerSpec::waiting("peer2"),
        small,
    ];
    let mut cluster = Cluster::formed(specs.into());
    let leader = cluster.wait_leader();
    let clients = cluster.clients();
    let mut made = BTreeSet::new();
    disk.fill(12 * MIB);
    let message = fill(&clients[0], &cluster.peers[2], "full", &mut made);
    assert!(message.contains("peer3 is low on disk space"), "{message}");
    for client in &clients {
        let refused = client.create(&create("full", "x")).unwrap_err();
        assert_eq!(refused.code, RpcStatusCode::RESOURCE_EXHAUSTED, "{refused}");
        assert!(refused.message.contains("peer3"), "{refused}");
        read(client, "full", &made);
        assert_eq!(take(client, "full", 5, &mut made), 5);
    }
    disk.free();
    let waited = until_created(&clients[leader], "full", &mut made);
    println!("creates {} ms after room was made", waited.as_millis());
    assert!(cluster.peers.iter_mut().all(Peer::is_running));
    for client in &clients {
        all_there(client, "full", &made);
    }
    // A peer that is gone cannot be hurt, and does not stop the others.
    cluster.peers[2].pause();
    disk.fill_but(3 * MIB as u64);
    cluster.peers[2].resume();
    wait::until("it is low again", LIMIT, || {
        let refused = clients[leader].create(&create("full", "x"));
        wait::check(refused.is_err(), || "creates are taken".to_owned())
    });
    cluster.peers[2].kill();
    cluster.wait_leader();
    until_created(&clients[0], "full", &mut made);
}
