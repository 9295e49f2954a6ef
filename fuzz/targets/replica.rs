//! Raft messages through the gate into a replica, as the bytes decide: role,
//! senders, terms, indexes, entries, snapshots, slow writes, ticks. Nothing
//! panics, and what the gate refuses changes nothing.
#![no_main]

mod bytes;
#[path = "../../crates/z4-consensus/tests/hostile/host.rs"]
mod host;
#[path = "../../crates/z4-consensus/tests/hostile/messages.rs"]
mod messages;

use bytes::Bytes;
use host::Host;
use libfuzzer_sys::fuzz_target;
use rand::Rng;
use z4_consensus::gate::Refused;

/// As the test has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seat {
    Leader,
    Follower,
    Candidate,
    Learner,
    SingleVoter,
    Removed,
}

const SEATS: [Seat; 6] = [
    Seat::Leader,
    Seat::Follower,
    Seat::Candidate,
    Seat::Learner,
    Seat::SingleVoter,
    Seat::Removed,
];

/// Longer runs would be fewer; the test of z4-consensus makes them.
const MESSAGES_MAX: u64 = 60;

fuzz_target!(|bytes: &[u8]| {
    let mut dice = Bytes(bytes);
    let seat = SEATS[dice.gen_range(0..SEATS.len())];
    let mut host = Host::new(seat, &mut dice);
    while dice.left() && !host.is_stopped() && host.messages < MESSAGES_MAX {
        let before = host.status();
        let (from, message, with_snapshot) = messages::any(&mut dice, &host);
        let refused = host.message(from, message, with_snapshot);
        if let Some(refused) = refused {
            assert_eq!(before, host.status());
            let lost = matches!(refused, Refused::LogLost(_));
            assert!(host.take_work().is_none() || lost, "{refused:?}");
        }
        host.settle(&mut dice);
    }
});
