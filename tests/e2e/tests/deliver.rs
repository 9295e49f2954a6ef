//! Each task comes once, at its time and not before.

use std::time::{Duration, SystemTime};

use z4_e2e::request::instant;
use z4_e2e::{create, Cluster, Delivered, Edit, Reader};

const LIMIT: Duration = Duration::from_secs(10);

fn lateness(one: &Delivered) -> Duration {
    let due = instant(one.task.get_deliver_at());
    assert!(
        one.early().is_none(),
        "{} came {:?} early",
        one.text(),
        one.early()
    );
    one.at.duration_since(due).unwrap_or_default()
}

#[test]
fn now_later_and_past_each_come_at_their_time() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let start = SystemTime::now();
    let reader = Reader::open(&client, "times");
    let at = start + Duration::from_millis(1_500);
    let past = (1_000_000_000, 123_456_789);
    let requests = [
        create("times", "now"),
        create("times", "tts").in_seconds(2),
        create("times", "at").at(at),
        create("times", "past").at_wire(past.0, past.1),
        create("times", "tts wins")
            .in_seconds(1)
            .at_wire(past.0, past.1),
    ];
    for request in &requests {
        client.create(request).expect("it is created");
    }
    let came = reader.wait_for(requests.len(), LIMIT);
    let find = |text: &str| came.iter().find(|d| d.text() == text).expect(text);
    let since_start = |d: &Delivered| d.at.duration_since(start).unwrap();
    let second = Duration::from_secs(1);

    assert!(since_start(find("now")) < second);
    assert!(lateness(find("now")) < second);
    assert!(since_start(find("past")) < second);
    let kept = find("past").task.get_deliver_at();
    assert_eq!(
        (kept.get_seconds(), kept.get_nanos()),
        past,
        "the field keeps what was asked"
    );
    assert_eq!(instant(find("at").task.get_deliver_at()), at);
    for (text, after) in [("at", 1_500), ("tts", 2_000), ("tts wins", 1_000)] {
        let one = find(text);
        assert!(
            lateness(one) < second,
            "{text} is late by {:?}",
            lateness(one)
        );
        let waited = since_start(one);
        assert!(
            waited >= Duration::from_millis(after),
            "{text} came after {waited:?}"
        );
    }
    assert_eq!(reader.stop().len(), requests.len(), "each comes once");
}

#[test]
fn a_backlog_older_than_the_first_consumer_comes() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    // Due hours ago, and created before anybody listened.
    for n in 0..300 {
        let request = create("old", n.to_string()).at_wire(1_500_000_000 + n, 0);
        client.create(&request).expect("it is created");
    }
    let came = Reader::open(&client, "old").wait_for(300, LIMIT);
    let order: Vec<String> = came.iter().map(Delivered::text).collect();
    let wanted: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(order, wanted, "in the order of their times, each once");
}

#[test]
fn a_task_created_below_what_was_delivered_comes_too() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let reader = Reader::open(&client, "below");
    for n in 0..50 {
        // Each is due before all that were delivered already.
        let request = create("below", n.to_string()).at_wire(1_500_000_000 - n * 1_000, 0);
        client.create(&request).expect("it is created");
        reader.wait_for(n as usize + 1, LIMIT);
    }
    assert_eq!(reader.stop().len(), 50);
}

#[test]
fn namespaces_that_look_alike_are_apart() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let names = ["a", "a.b", "a.", "A", "ab"];
    let readers = names.map(|name| Reader::open(&client, name));
    for name in names {
        for _ in 0..20 {
            client.create(&create(name, name)).expect("it is created");
        }
    }
    for (name, reader) in names.iter().zip(&readers) {
        for one in reader.wait_for(20, LIMIT) {
            assert_eq!(one.text(), *name);
            assert_eq!(one.task.get_namespace(), *name);
        }
    }
    for reader in readers {
        assert_eq!(reader.stop().len(), 20);
    }
}

#[test]
fn what_a_stream_that_ended_had_not_written_comes_to_the_next() {
    const COUNT: usize = 64;
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let request = |n: usize| {
        let mut payload = vec![b'x'; 512 << 10];
        payload[..4].copy_from_slice(&(n as u32).to_be_bytes());
        create("early", payload)
    };
    for n in 0..COUNT {
        client.create(&request(n)).expect("it is created");
    }
    let first = Reader::open_for(&client, "early", 10);
    first.wait_for(10, LIMIT);
    let first = first.stop();
    // What was written and not read counts as delivered. It is bounded by what
    // the connection buffers; 16 MiB are more than both kernels take. The rest
    // comes at once, before the leases of the first stream would have ended
    // (10 s).
    let lost_at_most = 32;
    let at_once = Duration::from_secs(5);
    let second = Reader::open(&client, "early");
    let second = second.wait_for(COUNT - first.len() - lost_at_most, at_once);
    for one in &second {
        let twice = first.iter().any(|f| f.task.get_id() == one.task.get_id());
        assert!(!twice, "{} came to both", one.task.get_id());
    }
}
