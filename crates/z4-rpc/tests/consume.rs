//! A consumer's conversation with a cluster of one.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::client::Client;
use futures::executor::block_on;
use grpcio::RpcStatusCode;
use support::consume::{duration, lease_ref, nack, Consumer};
use support::{eventually, Peer, SnapshotsOfTest};
use z4_core::Namespace;
use z4_proto::generated::collection::{
    AckTasksRequest, ConsumeRequest, CreateTaskRequest, DeathReason, Delivery, LeaseOutcome,
};

fn peer() -> (Peer, Client) {
    let peer = Peer::bootstrapped("a", &SnapshotsOfTest::default());
    let client = peer.client();
    (peer, client)
}

fn create(client: &Client, payload: &str) -> String {
    let mut request = CreateTaskRequest::default();
    request.set_namespace("n".into());
    request.set_payload(payload.as_bytes().to_vec());
    let mut created = client.create(&request).unwrap();
    created.take_task().id
}

fn id(delivery: &Delivery) -> &str {
    delivery.get_task().get_id()
}

fn now_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as i64
}

#[test]
fn an_ack_that_is_answered_is_done() {
    let (peer, client) = peer();
    let mut consumer = Consumer::open(&client, "c", 10);
    for n in 0..50 {
        let created = create(&client, &n.to_string());
        let delivery = consumer.delivery();
        assert_eq!(id(&delivery), created);
        assert_eq!(delivery.get_task().get_payload(), n.to_string().as_bytes());
        assert_eq!((delivery.attempt, delivery.deliveries), (1, 1));
        assert!(delivery.get_lease_deadline().seconds >= now_seconds() + 25);
        assert_eq!(delivery.get_task().get_consumer_id(), "c");
        let result = consumer.ack(&delivery);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
        assert_eq!(result.get_task_id(), created);
        assert!(client.get("n", &created).is_err(), "gone, to all who look");
        let again = consumer.ack(&delivery);
        assert_eq!(again.get_outcome(), LeaseOutcome::LEASE_OUTCOME_GONE);
        assert!(!again.get_message().is_empty());
    }
    peer.stop();
}

#[test]
fn nacks_extends_and_releases_say_what_they_did() {
    let (peer, client) = peer();
    for n in 0..5 {
        create(&client, &n.to_string());
    }
    let mut consumer = Consumer::open(&client, "c", 10);
    let got = consumer.deliveries(5);

    let mut delayed = nack(&got[0]);
    delayed.set_delay(duration(3_600_000));
    delayed.set_error("no".into());
    let result = consumer.nack(delayed);
    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_WAITING);
    let in_seconds = result.get_due_at().seconds - now_seconds();
    assert!((3_590..=3_601).contains(&in_seconds), "{in_seconds}");

    let mut hopeless = nack(&got[1]);
    hopeless.set_permanent(true);
    let result = consumer.nack(hopeless.clone());
    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DEAD);
    let reason = result.get_death_reason();
    assert_eq!(reason, DeathReason::DEATH_REASON_PERMANENT);
    let again = consumer.nack(hopeless);
    assert_eq!(
        again.get_outcome(),
        LeaseOutcome::LEASE_OUTCOME_ALREADY_DEAD
    );

    let result = consumer.extend(&got[2], 3_600_000);
    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_EXTENDED);
    assert!(result.get_lease_deadline().seconds >= now_seconds() + 3_590);

    // No failure: it comes again at once, as the first try.
    let result = consumer.release(&got[3]);
    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_WAITING);
    let back = consumer.delivery();
    assert_eq!(id(&back), id(&got[3]));
    assert_eq!((back.attempt, back.deliveries), (1, 2));
    assert_ne!(back.lease_token, got[3].lease_token);
    let old = consumer.ack(&got[3]);
    assert_eq!(old.get_outcome(), LeaseOutcome::LEASE_OUTCOME_TAKEN);

    // A failure: it comes again after the backoff, a second more or less.
    let mut failed = nack(&got[4]);
    failed.set_error("é".repeat(1_000));
    let result = consumer.nack(failed);
    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_WAITING);
    let back = consumer.delivery();
    assert_eq!(id(&back), id(&got[4]));
    assert_eq!((back.attempt, back.deliveries), (2, 2));
    let error = back.get_task().get_last_error();
    assert_eq!(error, "é".repeat(512), "what is too long is cut");
    peer.stop();
}

#[test]
fn a_lease_that_expires_frees_its_place_and_its_late_ack_is_refused() {
    let (peer, client) = peer();
    let first = create(&client, "first");
    let mut consumer = Consumer::try_open(&client, |open| {
        open.mut_credit().set_max_in_flight(1);
        open.set_lease(duration(100));
    })
    .unwrap();
    let late = consumer.delivery();
    assert_eq!(id(&late), first);
    let second = create(&client, "second");
    let next = consumer.delivery();
    assert_eq!(id(&next), second);
    let result = consumer.ack(&late);
    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_EXPIRED);
    assert!(result.get_message().contains("expired"));
    // And so on, for as long as it does nothing.
    for _ in 0..5 {
        consumer.delivery();
    }
    peer.stop();
}

#[test]
fn no_more_are_in_flight_than_the_consumer_takes() {
    let (peer, client) = peer();
    for n in 0..20 {
        create(&client, &n.to_string());
    }
    let mut consumer = Consumer::open(&client, "c", 2);
    let got = consumer.deliveries(2);
    consumer.expect_quiet(&got[0]);
    consumer.ack(&got[0]);
    let third = consumer.delivery();
    consumer.expect_quiet(&third);
    consumer.credit(5, 0);
    let more = consumer.deliveries(3);
    consumer.expect_quiet(&third);
    consumer.credit(1, 0);
    for delivery in more.iter().chain([&got[1]]) {
        consumer.ack(delivery);
    }
    consumer.expect_quiet(&third);
    consumer.ack(&third);
    let seventh = consumer.delivery();
    consumer.expect_quiet(&seventh);
    peer.stop();
}

#[test]
fn acks_that_came_another_way_free_their_places() {
    let (peer, client) = peer();
    let ids: Vec<_> = (0..3).map(|n| create(&client, &n.to_string())).collect();
    let mut consumer = Consumer::open(&client, "c", 1);
    for expected in ids {
        let delivery = consumer.delivery();
        assert_eq!(id(&delivery), expected);
        let mut request = AckTasksRequest::default();
        request.set_namespace("n".into());
        request.mut_leases().push(lease_ref(&delivery));
        let response = client.collection().ack_tasks(&request).unwrap();
        let outcome = response.get_results()[0].get_outcome();
        assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_DONE);
    }
    peer.stop();
}

#[test]
fn no_more_bytes_are_in_flight_than_the_consumer_takes() {
    let (peer, client) = peer();
    let large = "x".repeat(400_000);
    for _ in 0..8 {
        create(&client, &large);
    }
    let mut consumer = Consumer::try_open(&client, |open| {
        open.mut_credit().set_max_in_flight_bytes(1_000_000);
    })
    .unwrap();
    let mut held = consumer.deliveries(2);
    for _ in 0..6 {
        consumer.expect_quiet(&held[1]);
        consumer.ack(&held.remove(0));
        held.push(consumer.delivery());
    }
    // One above the credit goes alone.
    consumer.credit(0, 10);
    for delivery in &held {
        consumer.ack(delivery);
    }
    create(&client, &large);
    create(&client, "small");
    let alone = consumer.delivery();
    consumer.expect_quiet(&alone);
    consumer.ack(&alone);
    consumer.delivery();
    peer.stop();
}

#[test]
fn who_drains_gets_no_more_and_ends_with_its_last_lease() {
    let (peer, client) = peer();
    for n in 0..3 {
        create(&client, &n.to_string());
    }
    let mut consumer = Consumer::open(&client, "c", 10);
    let got = consumer.deliveries(3);
    consumer.drain();
    consumer.extend(&got[2], 60_000);
    let other_one = create(&client, "other");
    consumer.expect_quiet(&got[0]);
    let mut other = Consumer::open(&client, "d", 10);
    assert_eq!(id(&other.delivery()), other_one);
    for delivery in &got {
        let result = consumer.ack(delivery);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
    }
    assert!(consumer.rest().is_empty());
    // Nothing in hand: it ends at once.
    let mut idle = Consumer::open(&client, "e", 10);
    idle.drain();
    assert!(idle.rest().is_empty());
    peer.stop();
}

#[test]
fn who_closes_gives_all_back_without_a_failure() {
    let (peer, client) = peer();
    for n in 0..4 {
        create(&client, &n.to_string());
    }
    let mut consumer = Consumer::open(&client, "c", 2);
    let got = consumer.deliveries(2);
    consumer.close();
    let mut other = Consumer::open(&client, "d", 10);
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let delivery = other.delivery();
        assert_eq!(delivery.attempt, 1);
        tokens.push(delivery.lease_token);
    }
    assert!(got.iter().all(|old| !tokens.contains(&old.lease_token)));
    peer.stop();
}

#[test]
fn who_vanishes_finds_its_leases_again_and_nobody_else_gets_them() {
    let (peer, client) = peer();
    for n in 0..6 {
        create(&client, &n.to_string());
    }
    let mut consumer = Consumer::open(&client, "c", 3);
    let mut got = consumer.deliveries(3);
    let done = got.pop().unwrap();
    consumer.ack(&done);
    got.push(consumer.delivery());
    consumer.vanish();
    let mut other = Consumer::open(&client, "other", 10);
    let others = other.deliveries(2);
    other.expect_quiet(&others[0]);

    let mut again = Consumer::open(&client, "c", 4);
    assert_eq!(again.consuming.get_resumed(), 3);
    let mut back = again.deliveries(3);
    assert!(back.iter().all(|d| d.resumed && d.attempt == 1));
    let key = |d: &Delivery| (id(d).to_owned(), d.lease_token, d.deliveries);
    got.sort_by_key(key);
    back.sort_by_key(key);
    let keys = |all: &[Delivery]| all.iter().map(key).collect::<Vec<_>>();
    assert_eq!(keys(&got), keys(&back));
    // They count against the credit: one more, not four. The other one takes no more.
    other.drain();
    let namespace = Namespace::new("n").unwrap();
    eventually("the leader has heard of the drain", || {
        let view = block_on(peer.node.consumers_view(&namespace)).unwrap();
        view.room == 1
    });
    let one = create(&client, "one");
    create(&client, "two");
    let next = again.delivery();
    assert_eq!(id(&next), one);
    again.expect_quiet(&next);
    for delivery in &back {
        let result = again.ack(delivery);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
    }
    peer.stop();
}

/// Who has no name cannot come back: what was not given to it goes to others.
#[test]
fn who_vanishes_without_a_name_leaves_what_it_was_not_given() {
    let (peer, client) = peer();
    let ids: Vec<_> = (0..4).map(|_| create(&client, &"x".repeat(100))).collect();
    let mut nameless = Consumer::try_open(&client, |open| {
        open.set_lease(duration(600_000));
        open.mut_credit().set_max_in_flight(4);
        open.mut_credit().set_max_in_flight_bytes(200);
    })
    .unwrap();
    let given: Vec<_> = nameless.deliveries(2);
    let given: Vec<_> = given.iter().map(id).collect();
    assert_eq!(given, [&ids[0], &ids[1]]);
    nameless.vanish();
    let mut other = Consumer::open(&client, "other", 10);
    let others = other.deliveries(2);
    let mut others_ids: Vec<_> = others.iter().map(id).collect();
    others_ids.sort_unstable();
    assert_eq!(others_ids, [&ids[2], &ids[3]]);
    other.expect_quiet(&others[0]);
    peer.stop();
}

/// A lease that waits for room on a stream whose client sends no more is neither
/// given nor given back until it is known that the client is not gone; half of it
/// may pass meanwhile.
#[test]
fn who_half_closes_while_a_lease_waits_for_room_has_a_good_end() {
    let (peer, client) = peer();
    let ids: Vec<_> = (0..2).map(|_| create(&client, &"x".repeat(100))).collect();
    let mut consumer = Consumer::try_open(&client, |open| {
        open.set_consumer_id("c".into());
        open.set_lease(duration(200));
        open.mut_credit().set_max_in_flight(2);
        open.mut_credit().set_max_in_flight_bytes(150);
    })
    .unwrap();
    assert_eq!(id(&consumer.delivery()), ids[0]);
    // The other is leased too, and half of that passes right after the close.
    std::thread::sleep(Duration::from_millis(70));
    assert!(consumer.close().is_empty());
    // And its thread serves others.
    let other = Consumer::open(&client, "other", 2).deliveries(2);
    assert_eq!(other.len(), 2);
    peer.stop();
}

#[test]
fn a_second_stream_of_a_consumer_takes_over() {
    let (peer, client) = peer();
    for n in 0..10 {
        create(&client, &n.to_string());
    }
    let mut first = Consumer::open(&client, "c", 10);
    let mut got = first.deliveries(10);
    let mut second = Consumer::open(&client, "c", 20);
    let (code, message) = loop {
        if let Err(ended) = first.next() {
            break ended;
        }
    };
    assert_eq!(code, RpcStatusCode::ABORTED);
    assert!(message.contains("consumer_id c"), "{message}");
    assert_eq!(second.consuming.get_resumed(), 10);
    let mut back = second.deliveries(10);
    got.sort_by_key(|d| d.get_task().id.clone());
    back.sort_by_key(|d| d.get_task().id.clone());
    for (old, new) in got.iter().zip(&back) {
        assert_eq!(
            (id(old), old.lease_token),
            (id(new), new.lease_token),
            "{new:?}"
        );
        let result = second.ack(new);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
    }
    // A consumer of another namespace is another one.
    let elsewhere = Consumer::try_open(&client, |open| {
        open.set_namespace("m".into());
        open.set_consumer_id("c".into());
    })
    .unwrap();
    create(&client, "after");
    assert!(!second.delivery().resumed);
    drop(elsewhere);
    peer.stop();
}

#[test]
fn what_waited_for_the_credit_of_a_stream_goes_to_the_one_that_takes_over() {
    let (peer, client) = peer();
    for _ in 0..20 {
        create(&client, &"x".repeat(100));
    }
    // Half of what it is granted has no room.
    let mut first = Consumer::try_open(&client, |open| {
        open.set_consumer_id("c".into());
        open.mut_credit().set_max_in_flight_bytes(1_000);
    })
    .unwrap();
    let got = first.deliveries(10);
    first.expect_quiet(&got[0]);
    let mut second = Consumer::open(&client, "c", 30);
    // The tasks that the first has in hand come again. Those that waited there are resumed
    // too, or go to whoever takes tasks: whichever comes first into the log.
    assert!(second.consuming.get_resumed() >= 10);
    for delivery in second.deliveries(20) {
        assert_eq!(delivery.deliveries, if delivery.resumed { 1 } else { 2 });
        let result = second.ack(&delivery);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
    }
    peer.stop();
}

#[test]
fn streams_that_take_over_in_a_row_lose_and_double_nothing() {
    let (peer, client) = peer();
    let mut consumer = Consumer::open(&client, "c", 50);
    let mut acked = std::collections::BTreeSet::new();
    let mut created = 0;
    for _ in 0..20 {
        for _ in 0..10 {
            create(&client, "x");
            created += 1;
        }
        // Some are on their way when the next one comes.
        let next = Consumer::open(&client, "c", 50);
        drop(std::mem::replace(&mut consumer, next));
        let delivery = consumer.delivery();
        let result = consumer.ack(&delivery);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
        assert!(acked.insert(id(&delivery).to_owned()), "twice");
    }
    while acked.len() < created {
        let delivery = consumer.delivery();
        assert_eq!(delivery.attempt, 1);
        let result = consumer.ack(&delivery);
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
        assert!(acked.insert(id(&delivery).to_owned()), "twice");
    }
    peer.stop();
}

#[test]
fn a_bad_field_is_answered_and_the_stream_goes_on() {
    let (peer, client) = peer();
    create(&client, "p");
    let mut consumer = Consumer::open(&client, "", 10);
    assert!(consumer.consuming.get_consumer_id().starts_with("auto-"));
    let delivery = consumer.delivery();
    let mut late = nack(&delivery);
    late.set_delay(duration(u64::from(u32::MAX) * 1_000_000));
    let mut nameless = delivery.clone();
    nameless.mut_task().set_id("x".into());
    let mut again = ConsumeRequest::default();
    again.mut_open();
    for (field, request) in [
        ("open", again),
        ("message", ConsumeRequest::default()),
        ("max_in_flight", {
            let mut request = ConsumeRequest::default();
            request.mut_credit().set_max_in_flight(10_001);
            request
        }),
        ("delay", {
            let mut request = ConsumeRequest::default();
            request.set_nack(late);
            request
        }),
        ("task_id", {
            let mut request = ConsumeRequest::default();
            request.set_ack(lease_ref(&nameless));
            request
        }),
    ] {
        consumer.send(request);
        let result = consumer.result();
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_INVALID);
        let message = result.get_message();
        assert!(message.starts_with(field), "{field}: {message}");
    }
    let result = consumer.extend(&delivery, 1);
    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_INVALID);
    assert_eq!(result.get_lease_token(), delivery.lease_token);
    let result = consumer.ack(&delivery);
    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
    peer.stop();
}

#[test]
fn a_bad_opening_ends_the_stream() {
    let (peer, client) = peer();
    let mut no_open = ConsumeRequest::default();
    no_open.mut_drain();
    let tries = [
        (
            "namespace",
            Consumer::try_open(&client, |o| o.set_namespace("a b".into())),
        ),
        (
            "consumer_id",
            Consumer::try_open(&client, |o| o.set_consumer_id("a~b".into())),
        ),
        (
            "lease",
            Consumer::try_open(&client, |o| o.set_lease(duration(1))),
        ),
        (
            "max_in_flight",
            Consumer::try_open(&client, |o| o.mut_credit().set_max_in_flight(10_001)),
        ),
        ("open", Consumer::start(&client, no_open)),
    ];
    for (field, opened) in tries {
        let (code, message) = opened.err().expect(field);
        assert_eq!(code, RpcStatusCode::INVALID_ARGUMENT);
        assert!(message.starts_with(field), "{field}: {message}");
    }
    peer.stop();
}

#[test]
fn who_shuts_down_says_so_and_leaves_leases_to_their_holders() {
    let (peer, client) = peer();
    create(&client, "p");
    let mut consumer = Consumer::open(&client, "c", 10);
    consumer.delivery();
    peer.node.drain();
    let (code, message) = consumer.next().expect_err("ends");
    assert_eq!(code, RpcStatusCode::UNAVAILABLE);
    assert!(message.contains("consumer_id"), "{message}");
    peer.stop();
}

#[test]
fn many_acks_at_once_are_all_answered() {
    let (peer, client) = peer();
    const COUNT: usize = 500;
    for n in 0..COUNT {
        create(&client, &n.to_string());
    }
    let mut consumer = Consumer::open(&client, "c", 1_000);
    let got = consumer.deliveries(COUNT);
    for delivery in &got {
        let mut request = ConsumeRequest::default();
        request.set_ack(lease_ref(delivery));
        consumer.send(request);
    }
    for delivery in &got {
        let result = consumer.result();
        assert_eq!(result.get_task_id(), id(delivery), "in order");
        assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
    }
    eventually("nothing is left", || {
        got.iter().all(|d| client.get("n", id(d)).is_err())
    });
    std::thread::sleep(Duration::from_millis(1));
    peer.stop();
}
