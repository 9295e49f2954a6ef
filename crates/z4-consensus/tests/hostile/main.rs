//! Arbitrary messages, through the gate into the replica, at each role: nothing
//! panics, and what the gate does not let in changes nothing.
//!
//! The messages are made by a seed: every type, terms and indexes around those
//! of the replica and far from them, runs of entries that fit and that do not,
//! snapshots with all kinds of members, senders that are members, that were, that
//! may be, and that cannot be. A known member may lie as it likes: the promise is
//! that the peer does not panic, not that it keeps its log.
//!
//! `Z4_HOSTILE_MESSAGES` is how many to send in all (60,000), `Z4_HOSTILE_SEED`
//! the seed (1).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod host;
mod messages;

use std::panic::{catch_unwind, AssertUnwindSafe};

use host::Host;
use raft::eraftpb::MessageType;
use rand::rngs::StdRng;
use rand::SeedableRng;
use z4_consensus::gate::Refused;
use z4_consensus::limits::UNKNOWN_AHEAD_MAX;
use z4_consensus::Role;

/// The places a replica can be in when a message comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seat {
    /// Of three voters, and a learner.
    Leader,
    /// It knows the leader.
    Follower,
    /// It asks for votes, or whether it would get them.
    Candidate,
    /// Of a group of two others.
    Learner,
    /// It leads, and has a learner.
    SingleVoter,
    /// It is no member any more.
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

/// What became of the messages that came to one seat.
#[derive(Default, Debug)]
struct Tally {
    sent: u64,
    refused: u64,
    admitted: u64,
    log_lost: u64,
    stopped: u64,
}

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn arbitrary_messages_do_not_panic_and_the_refused_change_nothing() {
    let total = number("Z4_HOSTILE_MESSAGES", 60_000);
    let seed = number("Z4_HOSTILE_SEED", 1);
    for seat in SEATS {
        let tally = bombard(seat, seed, total / SEATS.len() as u64);
        println!("{seat:?}: {tally:?}");
        // The messages are no mere noise: many are let in, and many are not.
        assert!(tally.refused * 10 > tally.sent, "{seat:?}: {tally:?}");
        if seat != Seat::Removed {
            assert!(tally.admitted * 20 > tally.sent, "{seat:?}: {tally:?}");
        }
    }
}

/// Sends messages to replicas that have this seat when they come.
fn bombard(seat: Seat, seed: u64, count: u64) -> Tally {
    let mut dice = StdRng::seed_from_u64(seed ^ ((seat as u64) << 32));
    let mut tally = Tally::default();
    let mut host = Host::new(seat, &mut dice);
    while tally.sent < count {
        if !host.sits(seat) || host.is_stopped() || host.messages > 5_000 {
            tally.stopped += u64::from(host.is_stopped());
            host = Host::new(seat, &mut dice);
        }
        let (from, message, with_snapshot) = messages::any(&mut dice, &host);
        let before = host.status();
        tally.sent += 1;
        let result = catch_unwind(AssertUnwindSafe(|| {
            let refused = host.message(from, message.clone(), with_snapshot);
            let after = host.status();
            if refused.is_none() && seat != Seat::Removed {
                assert!(
                    may_pass(&before, from, &message),
                    "the gate let a message in"
                );
            }
            if refused.is_some() || seat == Seat::Removed {
                assert_eq!(before, after, "{refused:?}");
                let quiet = host.take_work().is_none();
                let lost = matches!(refused, Some(Refused::LogLost(_)));
                assert!(quiet || lost, "a refused message makes work: {refused:?}");
            }
            host.settle(&mut dice);
            refused
        }));
        match result {
            Ok(Some(refused)) => {
                tally.refused += 1;
                tally.log_lost += u64::from(matches!(refused, Refused::LogLost(_)));
            }
            Ok(None) if seat == Seat::Removed => tally.refused += 1,
            Ok(None) => tally.admitted += 1,
            Err(_) => panic!(
                "message {} to a {seat:?}, seed {seed}: {from} {message:?} snapshot \
                 {with_snapshot}, at {before:?}",
                tally.sent
            ),
        }
    }
    tally
}

/// What must hold of every message that was let in, said anew and not by the
/// gate: its sender is the stream's member, known or of those that a lagging
/// peer may not have heard of, and not removed; it is for this peer; peers send
/// such messages.
fn may_pass(at: &z4_consensus::Status, from: u64, message: &raft::eraftpb::Message) -> bool {
    let members = &at.membership;
    let known = members.members.is_empty() || members.members.contains_key(&from);
    let ahead = members.raft_id_next..members.raft_id_next + UNKNOWN_AHEAD_MAX;
    let local = [
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgPropose,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
        MessageType::MsgTransferLeader,
    ];
    message.from == from
        && message.to == at.raft_id
        && from != at.raft_id
        && (known || ahead.contains(&from))
        && !members.removed.contains(&from)
        && !local.contains(&message.get_msg_type())
        && at.role != Role::Removed
}
