//! What may come to the port of lanes, and what becomes of it.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use z4_proto::generated::peer::{Opening, RaftBatch};
use z4_rpc::limits;

use crate::dialled::{frame, hello, secret, Dialled, BATCH, HEARD, HELLO, PING};
use crate::support::{eventually, Peer, SnapshotsOfTest};
use crate::{alone, create, opening, peer_client, refused, stop};

fn leader() -> Peer {
    Peer::bootstrapped("a", &SnapshotsOfTest::default())
}

/// How another member opens a stream to the leader.
fn of_b() -> Opening {
    opening(2, 1)
}

fn message(from: u64, to: u64, kind: MessageType) -> Vec<u8> {
    let mut message = Message::default();
    message.set_from(from);
    message.set_to(to);
    message.set_msg_type(kind);
    message.set_term(9);
    message.write_to_bytes().unwrap()
}

fn batch(messages: Vec<Vec<u8>>) -> Vec<u8> {
    let mut batch = RaftBatch::default();
    batch.set_messages(messages.into());
    batch.write_to_bytes().unwrap()
}

/// The peer is well: it serves clients, and lets the right one in.
fn is_well(peer: &Peer) {
    create(&peer.client(), 1);
    let mut lane = Dialled::open(peer, &of_b());
    lane.say(&frame(PING, b""));
    lane.hears();
    assert_eq!(peer.node.handle().status().leader, 1);
}

#[test]
fn nobody_comes_in_without_the_secret_of_its_own() {
    let _alone = alone();
    let peer = leader();
    let right = secret(&peer, &of_b());
    let mut wrong = right.clone();
    wrong[31] ^= 1;
    let bomb = [&10_000_u32.to_le_bytes()[..], &[HELLO; 5_000]].concat();
    let mut flipped = hello(2, &right);
    flipped[20] ^= 4;
    let table: [(&str, Vec<u8>, &str); 11] = [
        ("garbage", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "frame"),
        ("zeros", vec![0; 64], "frame"),
        ("a length of 10,000", bomb, "frame"),
        ("the greatest length", vec![0xff; 9], "frame"),
        ("a flipped bit", flipped, "frame"),
        ("a wrong secret", hello(2, &wrong), "hello"),
        ("the secret of another peer", hello(3, &right), "hello"),
        ("no secret", frame(HELLO, &2_u64.to_le_bytes()), "hello"),
        ("an empty hello", frame(HELLO, b""), "hello"),
        ("a batch first", frame(BATCH, b""), "hello"),
        ("the secret in a batch", frame(BATCH, &right), "hello"),
    ];
    for (what, bytes, reason) in table {
        let before = refused(&peer, reason);
        let mut dialled = Dialled::to(&peer);
        dialled.say(&bytes);
        dialled.is_closed();
        eventually(what, || refused(&peer, reason) == before + 1);
    }
    // All that used nothing up. Once it is used, the secret opens nothing.
    let mut lane = Dialled::to(&peer);
    lane.say(&hello(2, &right));
    lane.hears();
    let mut again = Dialled::to(&peer);
    again.say(&hello(2, &right));
    again.is_closed();
    lane.say(&frame(PING, b""));
    lane.hears();
    is_well(&peer);
    stop(vec![peer]);
}

#[test]
fn a_sender_that_breaks_a_rule_is_closed() {
    let _alone = alone();
    let peer = leader();
    let heartbeat = || message(2, 1, MessageType::MsgHeartbeat);
    let mut opened = RaftBatch::default();
    opened.set_opening(of_b());
    let mut flipped = frame(BATCH, &batch(vec![heartbeat()]));
    flipped[12] ^= 1;
    let long = (limits::LANE_BODY_LEN_MAX as u32 + 1).to_le_bytes();
    let many = vec![heartbeat(); limits::RAFT_BATCH_LEN_MAX + 1];
    let of_another = message(3, 1, MessageType::MsgHeartbeat);
    let for_another = message(2, 3, MessageType::MsgHeartbeat);
    let snapshot = message(2, 1, MessageType::MsgSnapshot);
    let table: [(&str, Vec<u8>, &str); 12] = [
        ("a flipped bit", flipped, "frame"),
        ("a length bomb", long.to_vec(), "frame"),
        ("no kind", frame(9, b""), "frame"),
        ("a second hello", hello(2, &[0; 32]), "kind"),
        ("a sign of life", frame(HEARD, b""), "kind"),
        (
            "an opening",
            frame(BATCH, &opened.write_to_bytes().unwrap()),
            "kind",
        ),
        ("no batch", frame(BATCH, b"\xff\xff"), "batch"),
        (
            "no message",
            frame(BATCH, &batch(vec![b"\xff".to_vec()])),
            "batch",
        ),
        (
            "a message of another",
            frame(BATCH, &batch(vec![of_another])),
            "batch",
        ),
        (
            "one for another",
            frame(BATCH, &batch(vec![for_another])),
            "batch",
        ),
        ("a snapshot", frame(BATCH, &batch(vec![snapshot])), "batch"),
        ("too many messages", frame(BATCH, &batch(many)), "batch"),
    ];
    for (what, bytes, reason) in table {
        let before = refused(&peer, reason);
        let mut lane = Dialled::open(&peer, &of_b());
        lane.say(&bytes);
        lane.is_closed();
        eventually(what, || refused(&peer, reason) == before + 1);
    }
    let before = refused(&peer, "frame");
    let mut lane = Dialled::open(&peer, &of_b());
    let whole = frame(BATCH, &batch(vec![heartbeat()]));
    lane.say(&whole[..whole.len() - 1]);
    lane.0.shutdown(Shutdown::Write).unwrap();
    lane.is_closed();
    eventually("a truncated frame", || {
        refused(&peer, "frame") == before + 1
    });
    is_well(&peer);
    stop(vec![peer]);
}

#[test]
fn what_is_sent_by_the_rules_reaches_the_gate() {
    let _alone = alone();
    let peer = leader();
    let mut lane = Dialled::open(&peer, &of_b());
    let before = peer.metrics.received.get();
    let answers = vec![message(2, 1, MessageType::MsgHeartbeatResponse); 3];
    lane.say(&frame(BATCH, &batch(answers)));
    eventually("they are let in", || {
        peer.metrics.received.get() == before + 3
    });
    // It knows no member 2 that it could have asked, so nothing comes of them.
    assert_eq!(peer.node.handle().status().leader, 1);
    is_well(&peer);
    stop(vec![peer]);
}

#[test]
fn strangers_that_say_nothing_are_few_and_go_soon() {
    let _alone = alone();
    let peer = leader();
    let started = Instant::now();
    let mut waiting: Vec<Dialled> = (0..limits::LANE_HELLOS_MAX)
        .map(|_| Dialled::to(&peer))
        .collect();
    let before = refused(&peer, "crowd");
    for n in 1..=20 {
        let mut one_more = Dialled::to(&peer);
        one_more.is_closed();
        assert!(started.elapsed() < limits::LANE_HELLO_TIMEOUT, "{n}");
    }
    // Of one address fewer are accepted than in total.
    assert!(refused(&peer, "crowd") > before);
    create(&peer.client(), 1);
    // A byte now and then makes no hello.
    let (drip, silent) = waiting.split_first_mut().unwrap();
    let bytes = hello(2, &[0; 32]);
    for byte in bytes.chunks(1).take(8) {
        drip.say(byte);
        std::thread::sleep(Duration::from_millis(700));
    }
    drip.is_closed();
    silent.iter_mut().for_each(Dialled::is_closed);
    // Its bytes gave it no more time than the others had.
    assert!(started.elapsed() < limits::LANE_HELLO_TIMEOUT + Duration::from_secs(3));
    let slow = limits::LANE_HELLOS_MAX as u64;
    eventually("each was too slow", || refused(&peer, "slow") == slow);
    is_well(&peer);
    stop(vec![peer]);
}

#[test]
fn only_those_who_may_open_a_stream_are_offered_a_lane() {
    let _alone = alone();
    let peer = leader();
    let mut strange = of_b();
    strange.set_cluster_id(vec![8; 16]);
    match peer_client(&peer).open_lane(&strange) {
        Err(grpcio::Error::RpcFailure(status)) => {
            assert_eq!(status.code(), RpcStatusCode::FAILED_PRECONDITION);
        }
        other => panic!("{other:?}"),
    }
    let snapshots = SnapshotsOfTest::default();
    let without = Peer::bootstrapped_with("a", &snapshots, None);
    let offer = peer_client(&without).open_lane(&of_b()).unwrap();
    assert_eq!((offer.get_port(), offer.get_secret()), (0, &[][..]));
    stop(vec![peer, without]);
}

#[test]
fn a_newer_lane_of_a_sender_closes_the_one_before() {
    let _alone = alone();
    let peer = leader();
    let mut first = Dialled::open(&peer, &of_b());
    let started = Instant::now();
    let mut second = Dialled::open(&peer, &of_b());
    first.is_closed();
    // It is not closed because nothing comes on it.
    assert!(started.elapsed() < limits::LANE_IDLE_MAX / 2);
    second.say(&frame(PING, b""));
    second.hears();
    stop(vec![peer]);
}
