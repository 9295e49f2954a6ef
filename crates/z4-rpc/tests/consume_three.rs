//! Consumers of a cluster of three: at any peer, from one to another, and over a
//! change of the leader.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;

use crate::support::client::Client;
use futures::executor::block_on;
use support::consume::{duration, lease_ref, Consumer};
use support::{eventually, Peer, SnapshotsOfTest};
use z4_core::Namespace;
use z4_proto::generated::collection::{
    AckTasksRequest, CreateTaskRequest, Delivery, LeaseOutcome, LeaseTasksRequest, TaskState,
};

fn three() -> (Vec<Peer>, Vec<Client>) {
    let snapshots = SnapshotsOfTest::default();
    let peers = vec![
        Peer::bootstrapped("a", &snapshots),
        Peer::waiting("b", &snapshots),
        Peer::waiting("c", &snapshots),
    ];
    let clients: Vec<Client> = peers.iter().map(Peer::client).collect();
    clients[0].add_member("b", &peers[1].peer_address).unwrap();
    clients[0].add_member("c", &peers[2].peer_address).unwrap();
    (peers, clients)
}

fn create(client: &Client) -> String {
    let mut request = CreateTaskRequest::default();
    request.set_namespace("n".into());
    client.create(&request).unwrap().take_task().take_id()
}

fn key(delivery: &Delivery) -> (String, u64) {
    let task_id = delivery.get_task().get_id().to_owned();
    (task_id, delivery.lease_token)
}

fn keys(deliveries: &[Delivery]) -> BTreeSet<(String, u64)> {
    deliveries.iter().map(key).collect()
}

#[test]
fn a_consumer_that_comes_back_elsewhere_has_its_leases() {
    let (peers, clients) = three();
    for _ in 0..8 {
        create(&clients[0]);
    }
    let mut at_b = Consumer::open(&clients[1], "c", 5);
    let got = at_b.deliveries(5);
    let mut other = Consumer::open(&clients[0], "other", 10);
    let others = other.deliveries(3);
    at_b.vanish();
    let mut at_c = Consumer::open(&clients[2], "c", 5);
    assert_eq!(at_c.consuming.get_resumed(), 5);
    let back = at_c.deliveries(5);
    assert_eq!(keys(&back), keys(&got));
    assert!(back.iter().all(|d| d.resumed && d.deliveries == 1));
    other.expect_quiet(&others[0]);
    for delivery in &back {
        let result = at_c.ack(delivery);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
        // Applied here, and seen everywhere.
        for client in &clients {
            assert!(client.get("n", delivery.get_task().get_id()).is_err());
        }
    }
    // Its places are free: as many again come to it.
    other.drain();
    for _ in 0..5 {
        create(&clients[1]);
    }
    let next = at_c.deliveries(5);
    assert!(next.iter().all(|d| !d.resumed));
    // Half-closed, it gives them back without a failure.
    at_c.close();
    let mut again = Consumer::open(&clients[1], "d", 10);
    let back = again.deliveries(5);
    assert!(back.iter().all(|d| d.attempt == 1 && d.deliveries == 2));
    drop(other);
    drop(again);
    peers.into_iter().for_each(Peer::stop);
}

/// It was told the end before its leases were given back, found them at another
/// peer, and lost them there.
#[test]
fn who_closed_finds_nothing_that_is_on_its_way_to_others() {
    let (peers, clients) = three();
    for n in 0..10 {
        for _ in 0..20 {
            create(&clients[0]);
        }
        let mut at_b = Consumer::open(&clients[1], "c", 50);
        let got = at_b.deliveries(20);
        at_b.close();
        let mut at_c = Consumer::open(&clients[2], "c", 50);
        assert_eq!(at_c.consuming.get_resumed(), 0, "{n}");
        for delivery in at_c.deliveries(20) {
            assert!(!keys(&got).contains(&key(&delivery)));
            let result = at_c.ack(&delivery);
            assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
        }
        at_c.close();
    }
    peers.into_iter().for_each(Peer::stop);
}

/// Four of eight leases are given and four wait at the peer for room; the consumer
/// is at another peer and has all eight when the old one sees that it has gone.
#[test]
fn a_stream_that_breaks_late_ends_no_lease_that_its_consumer_has_elsewhere() {
    let (peers, clients) = three();
    let create_one = |_| {
        let mut request = CreateTaskRequest::default();
        request.set_namespace("n".into());
        request.set_payload(vec![7; 100]);
        let mut created = clients[0].create(&request).unwrap();
        created.take_task().take_id()
    };
    let ids: Vec<_> = (0..8).map(create_one).collect();
    let mut at_b = Consumer::try_open(&clients[1], |open| {
        open.set_consumer_id("c".into());
        open.set_lease(duration(600_000));
        open.mut_credit().set_max_in_flight(8);
        open.mut_credit().set_max_in_flight_bytes(400);
    })
    .unwrap();
    at_b.deliveries(4);
    let is_leased = |id: &String| {
        let task = clients[0].get("n", id).unwrap();
        task.get_state() == TaskState::TASK_STATE_LEASED
    };
    eventually("all are leased", || ids.iter().all(is_leased));
    let mut at_c = Consumer::open(&clients[2], "c", 8);
    assert_eq!(at_c.consuming.get_resumed(), 8);
    let back = at_c.deliveries(8);
    at_b.vanish();
    let namespace = Namespace::new("n").unwrap();
    // Of the new one the leader need not know: it has no room.
    eventually("the old stream has ended", || {
        let view = block_on(peers[0].node.consumers_view(&namespace)).unwrap();
        view.consumers == 0
    });
    let mut rival = Consumer::open(&clients[0], "rival", 10);
    let created = create(&clients[0]);
    let new = rival.delivery();
    assert_eq!(
        new.get_task().get_id(),
        created,
        "and nothing of the other's"
    );
    rival.expect_quiet(&new);
    for delivery in &back {
        let result = at_c.ack(delivery);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
    }
    drop(at_c);
    drop(rival);
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn a_peer_that_lags_finds_every_lease_of_who_comes() {
    let (peers, clients) = three();
    for n in 0..20 {
        create(&clients[0]);
        let mut request = LeaseTasksRequest::default();
        request.set_namespace("n".into());
        request.set_consumer_id(format!("c{n}"));
        let leased = clients[0].collection().lease_tasks(&request).unwrap();
        // A follower learns later than the leader that it is committed.
        let mut stream = Consumer::open(&clients[2], &format!("c{n}"), 1);
        assert_eq!(stream.consuming.get_resumed(), 1);
        let back = stream.delivery();
        assert_eq!(key(&back), key(&leased.get_deliveries()[0]));
        stream.ack(&back);
        // One that breaks may be given the next task before that is noticed.
        stream.close();
    }
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn conversations_go_on_when_the_leader_changes() {
    let (peers, clients) = three();
    let mut consumers: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(n, client)| Consumer::open(client, &format!("c{n}"), 4))
        .collect();
    let mut acked = BTreeSet::new();
    let leaders = ["b", "c", "a"];
    for leader in leaders {
        for n in 0..12 {
            create(&clients[n % 3]);
        }
        let held: Vec<_> = consumers.iter_mut().map(|c| c.deliveries(4)).collect();
        clients[0].transfer_leader(leader).unwrap();
        for (consumer, deliveries) in consumers.iter_mut().zip(&held) {
            for delivery in deliveries {
                let result = consumer.ack(delivery);
                assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
                assert!(acked.insert(key(delivery)), "twice");
            }
        }
    }
    assert_eq!(acked.len(), 12 * leaders.len());
    drop(consumers);
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn leases_without_a_stream_work_at_any_peer() {
    let (peers, clients) = three();
    for client in &clients {
        let created = create(&clients[0]);
        let mut request = LeaseTasksRequest::default();
        request.set_namespace("n".into());
        let mut response = client.collection().lease_tasks(&request).unwrap();
        let delivery = response.take_deliveries().pop().expect("due");
        assert_eq!(delivery.get_task().get_id(), created);
        let mut request = AckTasksRequest::default();
        request.set_namespace("n".into());
        request.mut_leases().push(lease_ref(&delivery));
        let response = client.collection().ack_tasks(&request).unwrap();
        let outcome = response.get_results()[0].get_outcome();
        assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_DONE);
        // Woken at any peer.
        let mut request = LeaseTasksRequest::default();
        request.set_namespace("n".into());
        request.set_wait(duration(20_000));
        let waiting = client.collection().lease_tasks_async(&request).unwrap();
        let created = create(&clients[0]);
        let response = block_on(waiting).unwrap();
        let delivery = &response.get_deliveries()[0];
        assert_eq!(delivery.get_task().get_id(), created);
    }
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn every_peer_knows_how_many_consumers_there_are() {
    let (peers, clients) = three();
    let namespace = Namespace::new("n").unwrap();
    let count = |peer: &Peer| {
        let view = block_on(peer.node.consumers_view(&namespace)).unwrap();
        (view.consumers, view.room)
    };
    let at_a = Consumer::open(&clients[0], "a", 3);
    let mut at_b = Consumer::open(&clients[1], "b", 4);
    for peer in &peers {
        eventually("both are known", || count(peer) == (2, 7));
    }
    create(&clients[0]);
    create(&clients[0]);
    for peer in &peers {
        eventually("two are in use", || count(peer) == (2, 5));
    }
    at_b.drain();
    drop(at_a);
    for peer in &peers {
        eventually("nobody takes any", || count(peer).1 == 0);
    }
    peers.into_iter().for_each(Peer::stop);
}
