#![allow(clippy::unwrap_used)]

use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::lane::Lanes;

const LIMIT: Duration = Duration::from_secs(10);

/// A lane that is up, its other end, and why it ended.
fn up() -> (Arc<Lane>, TcpStream, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    far.set_read_timeout(Some(LIMIT)).unwrap();
    let lane = Arc::new(Lane::new(Lanes::default().place().unwrap()).unwrap());
    let (ended, why) = mpsc::channel();
    let theirs = Arc::clone(&lane);
    thread::spawn(move || {
        ended
            .send(theirs.carry(Outgoing::Clear(Arc::new(near))).0)
            .unwrap()
    });
    wait_for("the lane is up", || lane.is_open());
    (lane, far, why)
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn batch(number: u32, len: usize) -> Vec<u8> {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(len, 7);
    frame::encode(Kind::Batch, &body).unwrap()
}

/// The numbers of the next batches, in the order in which they came. Each ping is
/// answered.
fn received(frames: &mut Frames<&TcpStream>, count: usize) -> Vec<u32> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        match frames.next(limits::LANE_BODY_LEN_MAX).unwrap() {
            (Kind::Batch, body) => numbers.push(u32::from_le_bytes(body[..4].try_into().unwrap())),
            (Kind::Ping, _) => heard(frames.source()),
            other => panic!("{other:?}"),
        }
    }
    numbers
}

fn heard(mut far: &TcpStream) {
    let frame = frame::encode(Kind::Heard, &[]).unwrap();
    far.write_all(&frame).unwrap();
}

#[test]
fn frames_keep_their_order_and_none_is_lost_when_the_socket_takes_no_more() {
    let (lane, far, why) = up();
    let mut frames = Frames::new(&far);
    // Far more than sockets hold, so that most of it waits.
    let count = 1_000;
    for number in 0..count {
        // A machine that is slow is no reason to doubt the lane.
        if number % 32 == 0 {
            heard(&far);
        }
        assert!(lane.send(batch(number, 20_000)), "{number}");
    }
    let is_behind = || lane.lock().as_ref().unwrap().is_behind;
    assert!(is_behind());
    assert_eq!(
        received(&mut frames, count as usize),
        (0..count).collect::<Vec<_>>()
    );
    wait_for("nothing waits any more", || !is_behind());
    assert!(lane.send(batch(count, 10)));
    assert_eq!(received(&mut frames, 1), [count]);
    lane.close();
    assert_eq!(why.recv_timeout(LIMIT).unwrap(), "the link was closed");
}

#[test]
fn a_full_queue_takes_nothing_more_and_sending_never_waits() {
    let (lane, far, _why) = up();
    let (frame, most) = (batch(0, 4_096), 3 * limits::PEER_QUEUE_LEN_MAX);
    let started = Instant::now();
    let taken = (0..most).filter(|n| {
        // A machine that is slow is no reason to doubt the lane.
        if n % 512 == 0 {
            heard(&far);
        }
        lane.send(frame.clone())
    });
    let taken = taken.count();
    assert!(
        (limits::PEER_QUEUE_LEN_MAX..most).contains(&taken),
        "{taken}"
    );
    assert!(started.elapsed() < LIMIT);
    lane.close();
}

#[test]
fn a_lane_that_gives_no_sign_of_life_is_doubted_and_then_given_up() {
    let (lane, far, why) = up();
    // The bytes are taken in, by the system, and nobody says anything.
    wait_for("it is doubted", || !lane.is_open());
    assert!(!lane.send(batch(0, 10)));
    assert!(why.try_recv().is_err(), "it is up still");
    // It asks in spite of the doubt, and is trusted again when it is answered.
    heard(&far);
    wait_for("it is trusted again", || lane.is_open());
    assert!(lane.send(batch(1, 10)));
    assert!(why.recv_timeout(LIMIT).unwrap().contains("sign of life"));
    assert!(!lane.send(batch(2, 10)));
}

#[test]
fn the_end_of_the_connection_is_seen_without_a_message() {
    let (lane, far, why) = up();
    drop(far);
    assert!(!why.recv_timeout(LIMIT).unwrap().is_empty());
    assert!(!lane.is_open() && !lane.is_closed());
    // What comes back is no sign of life.
    let (lane, far, why) = up();
    (&far).write_all(b"HTTP/1.1 400 Bad Request\r\n").unwrap();
    assert!(!why.recv_timeout(LIMIT).unwrap().is_empty());
    assert!(!lane.is_open());
}

#[test]
fn a_pause_ends_when_the_lane_is_closed() {
    let lane = Arc::new(Lane::new(Lanes::default().place().unwrap()).unwrap());
    let theirs = Arc::clone(&lane);
    let pausing = thread::spawn(move || theirs.pause(LIMIT * 100));
    thread::sleep(Duration::from_millis(20));
    assert!(!pausing.is_finished());
    lane.close();
    pausing.join().unwrap();
    lane.pause(LIMIT * 100);
}

#[test]
fn a_lane_that_is_dead_is_doubted_before_an_election_begins() {
    use z4_consensus::limits::{ELECTION_TICKS, HEARTBEAT_TICKS, TICK};
    let heartbeat = TICK * HEARTBEAT_TICKS as u32;
    // The lane dies behind a ping that was answered, and heartbeats are all that is sent.
    let mut heartbeats = (1..).map(|number| heartbeat * number);
    let asked = heartbeats.find(|at| *at >= limits::LANE_PING_INTERVAL);
    let asked = asked.unwrap();
    let doubted = heartbeats.find(|at| *at - asked >= limits::LANE_DOUBT);
    let election = TICK * ELECTION_TICKS as u32;
    assert!(doubted.unwrap() < election, "{doubted:?}, {election:?}");
    // A ping that is sent with one heartbeat is answered in time even when the next one
    // comes late by a tick.
    assert!(heartbeat + TICK < limits::LANE_DOUBT);
}

#[test]
fn a_flood_of_answers_ends_the_lane_and_does_not_hold_whoever_sends() {
    let (lane, far, why) = up();
    let heard = frame::encode(Kind::Heard, &[]).unwrap();
    (&far)
        .write_all(&heard.repeat(10 * limits::LANE_HEARD_COUNT_MAX))
        .unwrap();
    let why = why.recv_timeout(LIMIT).unwrap();
    assert_eq!(why, "the other side answers what was not asked");
    assert!(!lane.is_open());
}

#[test]
fn a_frame_takes_a_ping_with_it_when_the_last_one_is_old_and_was_answered() {
    let (lane, far, _why) = up();
    let mut frames = Frames::new(&far);
    let mut next = || frames.next(limits::LANE_BODY_LEN_MAX).unwrap().0;
    assert_eq!(next(), Kind::Ping, "the one of the first look");
    heard(&far);
    thread::sleep(limits::LANE_PING_INTERVAL);
    assert!(lane.send(batch(0, 10)));
    // The thread of the lane pings too, a while later; this one comes behind a ping.
    lane.send(batch(1, 10));
    assert_eq!((next(), next()), (Kind::Batch, Kind::Ping));
    lane.close();
}

#[test]
fn no_sealed_frame_is_longer_than_the_room_that_is_asked_for_it() {
    let tls = crate::tls::tests::tls(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    let server = tls.server().unwrap();
    let accepted = thread::spawn(move || server.accept(far).unwrap());
    let pipe = Outgoing::pipe(near, Instant::now() + LIMIT);
    let stream = tls.connector().unwrap().connect("peer1", pipe).unwrap();
    let _far = accepted.join().unwrap();
    let mut wire = Outgoing::Sealed(Box::new(stream));
    wire.go_up().unwrap();
    // Records of 16 KiB, full ones and those with one byte.
    for len in [1, 511, 16_383, 16_384, 16_385, 32_769, 1_000_000] {
        let sealed = wire.seal(vec![7; len]).unwrap().len();
        assert!(
            (len + 1..=sealed_len(len)).contains(&sealed),
            "{len}: {sealed}"
        );
    }
}
