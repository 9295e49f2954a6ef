//! The level of a cluster rises by itself.

use super::addresses::{settle, tick};
use super::*;
use crate::level::{SaidLevels, UnknownLevel};
use crate::membership::Change;

/// So many ticks raise the level when nothing is in the way.
const LONG: usize = limits::LEVEL_SETTLE_TICKS as usize + 10;
const RAISED: &str = "SetLevel(2)";

pub(super) fn says(replica: &mut Replica<MemLog, u32>, raft_id: u64, max: u32, is_held: bool) {
    let said = SaidLevels {
        levels: Levels { min: 1, max },
        version: String::new(),
        is_held,
    };
    replica.step(Input::SaidLevels { raft_id, said }, Now::default());
}

/// The leader of three, of which the third is a learner; nobody has said anything.
pub(super) fn leader() -> (Arc<MemLog>, Replica<MemLog, u32>) {
    let (log, mut replica) = replica(&[1, 2], &[3]);
    tick(&log, &mut replica, 60);
    assert_eq!(replica.status().role, Role::Leader);
    (log, replica)
}

pub(super) fn level(replica: &Replica<MemLog, u32>) -> u32 {
    replica.membership().level
}

#[test]
fn the_level_rises_when_all_have_known_a_greater_one_for_a_while() {
    let (log, mut replica) = leader();
    says(&mut replica, 2, 2, false);
    assert_eq!(
        tick(&log, &mut replica, LONG).len(),
        0,
        "the third is silent"
    );
    says(&mut replica, 3, 7, false);
    let before = limits::LEVEL_SETTLE_TICKS as usize - 1;
    assert_eq!(tick(&log, &mut replica, before).len(), 0);
    assert_eq!(tick(&log, &mut replica, 10), [RAISED]);
    assert_eq!(level(&replica), 2);
    assert_eq!(tick(&log, &mut replica, LONG).len(), 0, "it is raised once");
}

#[test]
fn one_member_is_enough_to_keep_the_level() {
    // The member, what it knows, whether it holds the level.
    for (raft_id, max, is_held) in [(2, 1, false), (3, 1, false), (3, 2, true), (1, 2, true)] {
        let (log, mut replica) = leader();
        says(&mut replica, 2, 2, false);
        says(&mut replica, 3, 2, false);
        tick(&log, &mut replica, LONG / 2);
        says(&mut replica, raft_id, max, is_held);
        let raised = tick(&log, &mut replica, LONG);
        assert_eq!(raised.len(), 0, "{raft_id} knows {max}, holds: {is_held}");
        says(&mut replica, raft_id, 2, false);
        let raised = tick(&log, &mut replica, LONG / 2);
        assert_eq!(raised.len(), 0, "the time begins anew");
        assert_eq!(tick(&log, &mut replica, LONG), [RAISED]);
    }
}

#[test]
fn a_member_that_does_not_answer_may_come_back_with_an_older_binary() {
    let (log, mut replica) = leader();
    says(&mut replica, 2, 2, false);
    says(&mut replica, 3, 2, false);
    // Nobody has answered for an hour; no tick passed meanwhile.
    let now = Now {
        wall_ns: 0,
        monotonic_ns: 3_600_000_000_000,
    };
    for _ in 0..LONG {
        replica.now = now;
        replica.raise_level();
    }
    assert_eq!(settle(&log, &mut replica).len(), 0);
    assert_eq!(level(&replica), 1);
}

#[test]
fn a_peer_stops_before_a_level_that_it_does_not_know() {
    let (log, mut replica) = replica(&[1], &[]);
    settle(&log, &mut replica);
    assert!(replica.append_change(&Change::SetLevel(3)).is_none());
    let mut stop = None;
    while let Some(work) = replica.work() {
        stop = stop.or(work.stop);
        assert!(work.apply.iter().all(|entry| entry.membership.is_none()));
        if let Some(persist) = work.persist {
            log.write(&persist.write).unwrap();
            let number = persist.number;
            replica.step(Input::Persisted { number }, Now::default());
        }
    }
    let levels = Levels { min: 1, max: 2 };
    let unknown = UnknownLevel { level: 3, levels };
    assert_eq!(stop, Some(StopReason::Level(unknown)));
    assert_eq!(level(&replica), 1);
}

#[test]
fn a_peer_does_not_start_on_a_level_that_it_does_not_know() {
    let (log, _) = replica(&[1], &[]);
    for (level, starts) in [(0, true), (1, true), (2, true), (3, false)] {
        let applied = Applied {
            position: START,
            membership: Membership {
                level,
                ..Membership::default()
            },
            stamp_ns: 0,
        };
        let started = Replica::<MemLog, u32>::new(
            config(7),
            Arc::clone(&log),
            &applied,
            &slog::Logger::root(slog::Discard, slog::o!()),
        );
        match started {
            Ok(_) => assert!(starts, "{level}"),
            Err(error) => {
                assert!(
                    !starts && matches!(error, StartError::Level { .. }),
                    "{error}"
                );
                assert!(error.to_string().contains("level 3"), "{error}");
            }
        }
    }
}
