//! The measure holds the truth, whatever the ways take; and who may stamp.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::membership::{Identity, Member};

const MS: u64 = 1_000_000;
const BOUND_NS: u64 = 500 * MS;

/// The wall clock of the other peer is off by so much against true time.
fn wall_ns(true_ns: u64, off_ns: i64) -> u64 {
    (1_700_000_000_000 * MS + true_ns).saturating_add_signed(off_ns)
}

/// Two peers whose messages take any time on either way. Gives all measures that the first
/// one had of the second one's clock, with the moments at which that clock was set last, and
/// the time at which the first one's monotonic clock was started.
fn talk(rng: &mut StdRng, offs_ns: &[(u64, i64)]) -> Vec<(Measured, u64)> {
    // The monotonic clocks have nothing to do with each other.
    let from_ns = [rng.gen_range(0..5_000 * MS), rng.gen_range(0..5_000 * MS)];
    let mut peers = [Exchange::default(), Exchange::default()];
    let mut on_way: BTreeMap<(u64, u32), (usize, ClockSample)> = BTreeMap::new();
    let (mut now_ns, mut number, mut measures) = (10_000 * MS, 0, Vec::new());
    let ways_ms = [rng.gen_range(1..400), rng.gen_range(1..400)];
    let off_at = |at_ns: u64| {
        offs_ns
            .iter()
            .rev()
            .find(|(from, _)| *from <= at_ns)
            .unwrap()
            .1
    };
    while now_ns < 20_000 * MS {
        let next_ns = now_ns + rng.gen_range(0..60 * MS);
        while let Some(entry) = on_way.first_entry().filter(|e| e.key().0 <= next_ns) {
            let at_ns = entry.key().0;
            let (to, sample) = entry.remove();
            let mono_ns = at_ns - from_ns[to];
            let measured = peers[to].heard(1 - to as u64, &sample, mono_ns);
            if let (0, Some(measured)) = (to, measured) {
                measures.push((measured, from_ns[0]));
            }
        }
        now_ns = next_ns;
        let by = rng.gen_range(0..2_usize);
        let off_ns = if by == 1 { off_at(now_ns) } else { 0 };
        let wall = || wall_ns(now_ns, off_ns);
        let sample = peers[by].to_send(1 - by as u64, now_ns - from_ns[by], wall);
        if let Some(sample) = sample.filter(|_| rng.gen_range(0..4) > 0) {
            let way_ns = rng.gen_range(MS / 10..ways_ms[by] * MS);
            number += 1;
            on_way.insert((now_ns + way_ns, number), (1 - by, sample));
        }
    }
    measures
}

/// The true shift, at the moment of a measure.
fn true_shift_ns((measured, from_ns): &(Measured, u64), off_ns: i64) -> i64 {
    let true_ns = measured.at_ns + from_ns;
    wall_ns(true_ns, off_ns) as i64 - measured.at_ns as i64
}

/// A way of half a second has a hundred samples under way, there and back, and the oldest of
/// them is the one that is answered.
#[test]
fn an_answer_to_a_sample_of_a_second_ago_is_a_measure() {
    let mut asking = Exchange::default();
    let asked = |at_ns: u64, asking: &mut Exchange| {
        let sample = asking.to_send(2, at_ns, || wall_ns(at_ns, 0));
        sample.map(|sample| sample.sent_ns)
    };
    let first_ns = asked(1_000 * MS, &mut asking).expect("a sample is due");
    let mut later = 0;
    // The other one asks with each of its messages, so that each batch takes a sample along.
    for n in 1..100 {
        let at_ns = (1_000 + n * 10) * MS;
        let question = ClockSample {
            wall_ns: wall_ns(at_ns, 0),
            sent_ns: at_ns,
            asks: true,
            echo: None,
        };
        asking.heard(2, &question, at_ns);
        later += usize::from(asked(at_ns, &mut asking).is_some());
    }
    assert!(later > 90, "{later}");
    let answer = ClockSample {
        wall_ns: wall_ns(2_000 * MS, 0),
        sent_ns: 0,
        asks: false,
        echo: Some(Echo {
            sent_ns: first_ns,
            held_ns: 0,
        }),
    };
    let measured = asking.heard(2, &answer, 2_000 * MS);
    assert_eq!(
        measured.map(|m| m.most_ns - m.least_ns),
        Some(1_000 * MS as i64)
    );
}

#[test]
fn the_true_offset_is_within_half_a_round_trip_whatever_the_ways_take() {
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..300 {
        let off_ns = rng.gen_range(-3_600_000..3_600_000_i64) * MS as i64;
        let measures = talk(&mut rng, &[(0, off_ns)]);
        assert!(measures.len() > 5, "{}", measures.len());
        let mut clocks = Clocks::new(BOUND_NS);
        let mut narrowest_ns = i64::MAX;
        for measure in &measures {
            let (measured, _) = measure;
            let truth_ns = true_shift_ns(measure, off_ns);
            assert!(measured.least_ns <= truth_ns && truth_ns <= measured.most_ns);
            clocks.heard(2, *measured);
            let both = clocks.by_member[&2];
            assert!(both.least_ns <= truth_ns && truth_ns <= both.most_ns);
            narrowest_ns = narrowest_ns.min(measured.most_ns - measured.least_ns);
            let now = Now {
                wall_ns: wall_ns(measured.at_ns, 0),
                monotonic_ns: measured.at_ns,
            };
            let shown = clocks.offsets(now)[&2];
            let off_by_ns = (shown.offset_ns + now.shift_ns()).abs_diff(truth_ns);
            assert!(off_by_ns <= shown.error_ns + 1, "{off_by_ns} {shown:?}");
        }
        // The least round trip of all bounds the error, but for the drift of 10 s.
        let both = clocks.by_member[&2];
        assert!(both.most_ns - both.least_ns <= narrowest_ns + 10 * MS as i64);
    }
}

#[test]
fn a_clock_that_was_set_is_heard_anew() {
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..300 {
        let mut off_ns = || rng.gen_range(-5_000..5_000_i64) * MS as i64;
        let set_ns = 15_000 * MS;
        let offs_ns = [(0, off_ns()), (set_ns, off_ns())];
        let measures = talk(&mut rng, &offs_ns);
        let mut clocks = Clocks::new(BOUND_NS);
        for measure in &measures {
            let (measured, from_ns) = measure;
            clocks.heard(2, *measured);
            let both = clocks.by_member[&2];
            // The time within which the sample was on its way.
            let width_ns = (measured.most_ns - measured.least_ns) as u64;
            let sent_from_ns = measured.at_ns + from_ns - width_ns;
            if sent_from_ns <= set_ns && set_ns <= sent_from_ns + width_ns {
                continue;
            }
            let off_ns = offs_ns[usize::from(sent_from_ns > set_ns)].1;
            let truth_ns = true_shift_ns(measure, off_ns);
            // No older sample makes it worse than the newest one is.
            assert!(both.least_ns >= measured.least_ns && both.most_ns <= measured.most_ns);
            assert!(truth_ns.abs_diff(both.middle_ns()) <= width_ns);
        }
    }
}

#[test]
fn samples_are_few_and_an_answer_to_a_question_is_at_once() {
    let (mut a, mut b) = (Exchange::default(), Exchange::default());
    let first = a.to_send(2, 0, || 7).unwrap();
    assert!(first.asks && first.echo.is_none());
    assert!(b.heard(1, &first, 5 * MS).is_none());
    let answer = b.to_send(1, 6 * MS, || 9).unwrap();
    assert_eq!(answer.echo.map(|echo| echo.held_ns), Some(MS));
    let measured = a.heard(2, &answer, 3 * MS).unwrap();
    assert_eq!(measured.most_ns - measured.least_ns, 2 * MS as i64);
    // What is measured is asked for seldom.
    let mut sent = 0;
    for ms in 4..754 {
        sent += u32::from(a.to_send(2, ms * MS, || 7).is_some());
    }
    assert!(sent <= 4, "{sent}");
}

#[test]
fn what_was_not_sent_is_not_taken_for_an_echo() {
    let mut a = Exchange::default();
    let sent = a.to_send(2, 900 * MS, || 7).unwrap();
    let sample = |sent_ns, held_ns| ClockSample {
        wall_ns: u64::MAX >> 1,
        sent_ns: u64::MAX,
        asks: true,
        echo: Some(Echo { sent_ns, held_ns }),
    };
    let now_ns = 1_000 * MS;
    for (sent_ns, held_ns) in [
        (0, 0),
        (900 * MS + 1, 0),
        (900 * MS, 101 * MS),
        (900 * MS, u64::MAX),
    ] {
        assert_eq!(a.heard(2, &sample(sent_ns, held_ns), now_ns), None);
    }
    assert!(a.heard(2, &sample(sent.sent_ns, 0), now_ns).is_some());
    let too_late_ns = 2_000 * MS;
    assert_eq!(a.heard(2, &sample(sent.sent_ns, 0), too_late_ns), None);
    let lie = ClockSample {
        wall_ns: u64::MAX,
        ..sample(sent.sent_ns, 0)
    };
    assert_eq!(a.heard(2, &lie, now_ns), None);
}

fn members(voters: u64, level: u32) -> Membership {
    let identity = Identity {
        cluster_id: [1; 16],
        raft_id: 1,
        peer_id: "peer1".into(),
    };
    let mut membership = Membership::bootstrap(&identity, "a:1");
    for id in 1..=voters {
        let member = Member {
            peer_id: format!("peer{id}"),
            address: format!("a:{id}"),
            voter: true,
        };
        membership.members.insert(id, member);
    }
    membership.level = level;
    membership
}

const NOW: Now = Now {
    wall_ns: 1_000_000 * MS,
    monotonic_ns: 1_000 * MS,
};

/// Tells whether peer 1 may stamp, when the clocks of the others are off by these milliseconds, and
/// who is to take over.
fn judged(others_ms: &[Option<i64>]) -> (bool, Option<u64>) {
    let mut clocks = Clocks::new(BOUND_NS);
    for (id, off_ms) in (2..).zip(others_ms) {
        let Some(off_ms) = off_ms else { continue };
        let least_ns = NOW.shift_ns() + off_ms * MS as i64;
        let measured = Measured {
            least_ns,
            most_ns: least_ns + MS as i64,
            at_ns: NOW.monotonic_ns,
        };
        clocks.heard(id, measured);
    }
    let members = members(others_ms.len() as u64 + 1, 2);
    let may = clocks.limit(1, &members, NOW).allows(NOW);
    (may, clocks.heir(1, &members, NOW, |_| true))
}

#[test]
fn a_leader_stamps_while_it_is_not_ahead_of_a_majority() {
    const HOUR: i64 = 3_600_000;
    let may = |others: &[Option<i64>]| judged(others).0;
    assert!(may(&[]), "it is alone");
    assert!(may(&[Some(0), Some(0)]));
    assert!(may(&[Some(-500), Some(-HOUR)]), "one within the bound");
    assert!(!may(&[Some(-502), Some(-HOUR)]));
    assert!(may(&[Some(HOUR), Some(HOUR)]), "behind is never early");
    assert!(may(&[Some(0), None]));
    assert!(!may(&[Some(-HOUR), None]), "of what it knows it is ahead");
    assert!(!may(&[None, None]), "nothing is measured");
    assert!(!may(&[Some(-HOUR)]), "of two voters both must agree");
    assert!(may(&[Some(HOUR)]));
    assert!(may(&[Some(0), Some(0), Some(-HOUR)]));
    assert!(!may(&[Some(0), Some(-HOUR), Some(-HOUR)]));
    assert!(may(&[Some(0), Some(0), None, None]));
    assert!(!may(&[Some(0), None, None, None]));
    // The first level knows nothing of this.
    let clocks = Clocks::new(BOUND_NS);
    assert_eq!(clocks.limit(1, &members(3, 1), NOW), ClockLimit::FREE);
    assert_eq!(clocks.limit(1, &members(3, 2), NOW), ClockLimit::UNMEASURED);
}

#[test]
fn a_voter_with_a_right_clock_takes_over() {
    const HOUR: i64 = 3_600_000;
    let heir = |others: &[Option<i64>]| judged(others).1;
    assert_eq!(
        heir(&[Some(-HOUR), Some(-HOUR + 20)]),
        Some(3),
        "the greater clock"
    );
    assert_eq!(heir(&[Some(-2 * HOUR), Some(-HOUR)]), Some(3));
    let two_ahead = [Some(0), Some(-HOUR), Some(-HOUR), Some(-HOUR)];
    assert!(
        matches!(heir(&two_ahead), Some(3..)),
        "not the other one that is ahead"
    );
    assert_eq!(heir(&[Some(-HOUR), None]), Some(2));
    assert_eq!(heir(&[None, None]), None);
}

#[test]
fn a_fault_says_by_how_much() {
    let mut clocks = Clocks::new(BOUND_NS);
    let hour_ns = 3_600_000 * MS as i64;
    let measured = Measured {
        least_ns: NOW.shift_ns() - hour_ns,
        most_ns: NOW.shift_ns() - hour_ns,
        at_ns: NOW.monotonic_ns,
    };
    clocks.heard(2, measured);
    let limit = clocks.limit(1, &members(2, 2), NOW);
    let said = clocks.fault(limit, NOW).to_string();
    assert!(
        said.contains("3600000 ms ahead") && said.contains("500 ms"),
        "{said}"
    );
    let unmeasured = clocks.fault(ClockLimit::UNMEASURED, NOW);
    assert_eq!(unmeasured, ClockFault::Unmeasured);
}
