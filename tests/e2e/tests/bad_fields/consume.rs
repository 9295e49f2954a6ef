//! The opening of `Consume`, and bad messages within it: a bad opening ends the
//! stream, a bad message is answered and the stream goes on.

use std::time::Duration;

use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use grpcio::WriteFlags;
use z4_e2e::client::{option, Refused};
use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::{create, Client, Cluster};
use z4_proto::generated::collection::{
    ConsumeCredit, ConsumeDrain, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Say,
    ConsumeResponse_oneof_message as Heard, Extend, LeaseOutcome, LeaseRef, LeaseResult, Nack,
};

use super::batches::bad_consumer_ids;
use super::{all_refused, bad_namespaces, bad_spans, span, Row, BAD_IDS, GOOD_ID};

const LIMIT: Duration = Duration::from_secs(20);

/// What comes of a first message.
fn opened(client: &Client, first: Option<Say>) -> Result<(), Refused> {
    let (mut sender, mut receiver) = client.collection.consume_opt(option(LIMIT)).unwrap();
    let mut message = ConsumeRequest::new();
    message.message = first;
    // An error when the peer was quicker to end the call; the answer tells.
    let _ = block_on(sender.send((message, WriteFlags::default())));
    match block_on(receiver.next()) {
        Some(answer) => answer.map(|_| ()).map_err(Refused::from),
        None => panic!("it ended without a word"),
    }
}

#[test]
fn the_opening() {
    let cluster = Cluster::of(2, &[]);
    for client in cluster.clients() {
        let with = |change: &dyn Fn(&mut ConsumeOpen)| {
            let mut open = ConsumeOpen::new();
            open.set_namespace("fields".to_owned());
            change(&mut open);
            opened(&client, Some(Say::open(open)))
        };
        let mut table: Vec<Row> = Vec::new();
        for (what, name) in bad_namespaces() {
            let answer = with(&|o| o.set_namespace(name.clone()));
            table.push(("namespace", what, answer));
        }
        for (what, id) in bad_consumer_ids() {
            table.push((
                "consumer_id",
                what,
                with(&|o| o.set_consumer_id(id.clone())),
            ));
        }
        for (what, bad) in bad_spans() {
            table.push(("lease", what, with(&|o| o.set_lease(bad.clone()))));
        }
        for (what, bad) in [
            ("zero", span(0, 0)),
            ("too short", span(0, 8_999_999)),
            ("more than a day", span(24 * 3_600, 1)),
        ] {
            table.push(("lease", what, with(&|o| o.set_lease(bad.clone()))));
        }
        for (what, count) in [("too many", 10_001), ("largest", u32::MAX)] {
            let answer = with(&|o| o.mut_credit().set_max_in_flight(count));
            table.push(("max_in_flight", what, answer));
        }
        let mut lease = LeaseRef::new();
        lease.set_task_id(GOOD_ID.to_owned());
        lease.set_lease_token(1);
        for (what, first) in [
            ("an ack before it", Some(Say::ack(lease))),
            (
                "a credit before it",
                Some(Say::credit(ConsumeCredit::new())),
            ),
            ("a drain before it", Some(Say::drain(ConsumeDrain::new()))),
            ("an empty message", None),
        ] {
            table.push(("open", what, opened(&client, first)));
        }
        all_refused("Consume", table);
        with(&|o| {
            o.set_consumer_id("x".repeat(128));
            o.set_lease(span(24 * 3_600, 0));
            o.mut_credit().set_max_in_flight(10_000);
            o.mut_credit().set_max_in_flight_bytes(u64::MAX);
        })
        .unwrap();
    }
}

fn bad_messages() -> Vec<(&'static str, &'static str, Option<Say>)> {
    let mut lease = LeaseRef::new();
    lease.set_task_id(GOOD_ID.to_owned());
    lease.set_lease_token(1);
    let mut nack = Nack::new();
    nack.set_task_id(GOOD_ID.to_owned());
    nack.set_lease_token(1);
    let mut extend = Extend::new();
    extend.set_task_id(GOOD_ID.to_owned());
    extend.set_lease_token(1);
    let mut table = Vec::new();
    for (what, id) in BAD_IDS {
        let (mut lease, mut nack, mut extend) = (lease.clone(), nack.clone(), extend.clone());
        lease.set_task_id(id.to_owned());
        nack.set_task_id(id.to_owned());
        extend.set_task_id(id.to_owned());
        table.push(("task_id", what, Some(Say::ack(lease.clone()))));
        table.push(("task_id", what, Some(Say::release(lease))));
        table.push(("task_id", what, Some(Say::nack(nack))));
        table.push(("task_id", what, Some(Say::extend(extend))));
    }
    for (what, bad) in bad_spans() {
        let (mut nack, mut extend) = (nack.clone(), extend.clone());
        nack.set_delay(bad.clone());
        extend.set_lease(bad);
        table.push(("delay", what, Some(Say::nack(nack))));
        table.push(("lease", what, Some(Say::extend(extend))));
    }
    lease.set_lease_token(0);
    table.push(("lease_token", "none", Some(Say::ack(lease))));
    extend.set_lease(span(0, 0));
    table.push(("lease", "zero", Some(Say::extend(extend))));
    let mut credit = ConsumeCredit::new();
    credit.set_max_in_flight(10_001);
    table.push(("max_in_flight", "too many", Some(Say::credit(credit))));
    let mut open = ConsumeOpen::new();
    open.set_namespace("other".to_owned());
    table.push(("open", "a second one", Some(Say::open(open))));
    table.push(("message", "none", None));
    table
}

#[test]
fn bad_messages_are_answered_and_the_stream_goes_on() {
    let cluster = Cluster::of(2, &[]);
    for (name, client) in ["first", "second"].into_iter().zip(cluster.clients()) {
        let lease = Duration::from_secs(60);
        let mut stream = Conversation::open(&client, name, "one", 2, lease).unwrap();
        for (field, what, message) in bad_messages() {
            match message {
                Some(message) => assert!(stream.say(message), "{field} {what}"),
                None => assert!(stream.say_nothing(), "{field} {what}"),
            }
            let result = answer(&mut stream);
            let outcome = result.get_outcome();
            assert_eq!(
                outcome,
                LeaseOutcome::LEASE_OUTCOME_INVALID,
                "{field} {what}: {result:?}"
            );
            let named = result.get_message().contains(field);
            assert!(named, "{field} {what}: {result:?}");
        }
        // Its credit is as it was, and it serves on.
        for n in 0..3 {
            client.create(&create(name, n.to_string())).unwrap();
        }
        let mut held = Vec::new();
        while let Listened::Heard(heard) = stream.listen(Duration::from_secs(1)) {
            match heard {
                Heard::delivery(delivery) => held.push(delivery),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(held.len(), 2, "{held:?}");
        for delivery in &held {
            let mut lease = LeaseRef::new();
            lease.set_task_id(delivery.get_task().get_id().to_owned());
            lease.set_lease_token(delivery.get_lease_token());
            assert!(stream.say(Say::ack(lease)));
            let result = answer(&mut stream);
            let outcome = result.get_outcome();
            assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_DONE, "{result:?}");
        }
        stream.hang_up();
        assert_eq!(stream.ended(), Ok(()));
    }
}

/// The next answer; deliveries and the greeting are passed over.
#[track_caller]
fn answer(stream: &mut Conversation) -> LeaseResult {
    loop {
        match stream.listen(LIMIT) {
            Listened::Heard(Heard::result(result)) => return result,
            Listened::Heard(_) => {}
            nothing => panic!("{nothing:?}"),
        }
    }
}
