//! A leader whose clock is wrong takes nothing in, and hands over.

use super::addresses::{settle, tick};
use super::levels::{leader, level, says};
use super::*;
use crate::clocks::{ClockFault, Measured};
use crate::membership::Change;

const HOUR_NS: i64 = 3_600_000_000_000;

/// The leader of three, at the level from which on it heeds
/// its clock. Its own clocks stand at 0.
fn heeding() -> (Arc<MemLog>, Replica<MemLog, u32>) {
    let (log, mut replica) = leader();
    says(&mut replica, 2, 2, false);
    says(&mut replica, 3, 2, false);
    tick(&log, &mut replica, limits::LEVEL_SETTLE_TICKS as usize + 10);
    assert_eq!(level(&replica), 2);
    (log, replica)
}

/// The clock of a member was measured to be off by so much.
fn measured(replica: &mut Replica<MemLog, u32>, raft_id: u64, off_ns: i64) {
    let measured = Measured {
        least_ns: off_ns,
        most_ns: off_ns + 1_000_000,
        at_ns: 0,
    };
    replica.step(Input::Clock { raft_id, measured }, Now::default());
}

/// What becomes of a proposal: `None` when it was taken in.
fn refused(log: &MemLog, replica: &mut Replica<MemLog, u32>) -> Option<ProposeError> {
    let asked = Asked {
        command: vec![1],
        units: 0,
        token: 7,
    };
    replica.step(Input::Propose(vec![asked]), Now::default());
    let answers = std::mem::take(&mut replica.work.answers);
    settle(log, replica);
    answers.into_iter().find_map(|answer| match answer {
        Answer::Propose(7, error) => Some(error),
        _ => None,
    })
}

#[test]
fn a_leader_measures_before_it_stamps_and_leads_its_members_meanwhile() {
    let (log, mut replica) = heeding();
    let unmeasured = Some(ProposeError::Clock(ClockFault::Unmeasured));
    assert_eq!(refused(&log, &mut replica), unmeasured);
    let status = replica.status();
    assert_eq!(status.clock_fault, Some(ClockFault::Unmeasured));
    assert!(status.leader_ready, "its consumers stay known");
    // Who is no member counts for nothing.
    measured(&mut replica, 9, 0);
    assert_eq!(refused(&log, &mut replica), unmeasured);
    let change = Change::Remove { raft_id: 3 };
    replica.step(Input::Change(change, 8), Now::default());
    assert_eq!(
        settle(&log, &mut replica).len(),
        1,
        "members change all the same"
    );
    measured(&mut replica, 2, 0);
    assert_eq!(refused(&log, &mut replica), None);
    assert_eq!(replica.status().clock_fault, None);
}

#[test]
fn a_leader_that_is_ahead_hands_over_and_stamps_again_when_a_clock_is_set() {
    let (log, mut replica) = heeding();
    measured(&mut replica, 2, 0);
    assert_eq!(refused(&log, &mut replica), None);
    measured(&mut replica, 2, -HOUR_NS);
    let ahead = refused(&log, &mut replica);
    let is_ahead = |error: &Option<ProposeError>| {
        matches!(error, Some(ProposeError::Clock(ClockFault::Ahead { ahead_ms, .. }))
            if *ahead_ms == 3_599_999)
    };
    assert!(is_ahead(&ahead), "{ahead:?}");
    assert_eq!(replica.ticks_to_next(), 1, "no tick is slept through");
    replica.step(Input::Tick, Now::default());
    let works = all_work(&mut replica);
    let mut sent = works.iter().flat_map(|work| &work.send);
    let asked = sent.find(|m| m.get_msg_type() == MessageType::MsgTimeoutNow);
    assert_eq!(asked.map(|m| m.to), Some(2));
    assert_eq!(replica.handing_over_for_clock(), Some(2));
    // It does not take over, and its clock is set meanwhile.
    measured(&mut replica, 2, 0);
    for _ in 0..limits::ELECTION_TICKS {
        replica.step(Input::Tick, Now::default());
    }
    settle(&log, &mut replica);
    assert_eq!(refused(&log, &mut replica), None);
}

#[test]
fn where_nobody_is_better_the_leader_stays_and_waits() {
    let (log, mut replica) = heeding();
    measured(&mut replica, 2, 0);
    for _ in 0..=limits::PROMOTE_LAG_MAX {
        assert_eq!(refused(&log, &mut replica), None);
    }
    measured(&mut replica, 2, -HOUR_NS);
    // The other voter is there, and lags far.
    replica.raw.raft.mut_prs().get_mut(2).unwrap().matched = 0;
    replica.step(Input::Tick, Now::default());
    assert_eq!(replica.handing_over_for_clock(), None);
    assert!(refused(&log, &mut replica).is_some());
}
