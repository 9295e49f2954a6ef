//! A history that is right passes; the same with one thing spoiled does not, and
//! the breach is named.

#![allow(clippy::unwrap_used)]

mod creates;
mod deaths;
mod indexes;
mod leases;
mod natures;

use z4_core::state::NamespaceCounts;
use z4_core::task::DeathReason;
use z4_core::TaskId;

use super::judge::judge_by_parts;
use super::{judge, Dead, Verdict};
use super::{Act, Call, Death, End, Fate, Handed, Op, Spec, Told};
use crate::history::Standing;

const MS: u64 = 1_000_000;
const DUE_NS: u64 = 5_000 * MS;
/// The death of a task that may fail twice.
const LAST_ATTEMPT: Death = Death {
    reason: DeathReason::Attempts,
    failures: 2,
};

fn id(n: u64) -> TaskId {
    TaskId::new(n, n, 0)
}

fn op(call: Call, invoked_ms: u64, at_ms: u64, end: End) -> Op {
    Op {
        client: 1,
        call,
        invoked_ns: invoked_ms * MS,
        at_ns: at_ms * MS,
        end,
    }
}

fn create(label: u64, invoked_ms: u64, at_ms: u64, end: End) -> Op {
    let call = Call::Create {
        request: Some(format!("r{label}")),
        labels: vec![label],
    };
    op(call, invoked_ms, at_ms, end)
}

fn handed(n: u64, token: u64, deliveries: u32, at_ms: u64, began_ns: u64) -> Handed {
    Handed {
        client: 1,
        consumer: format!("c{token}").into(),
        asked_ns: 0,
        at_ns: at_ms * MS,
        id: id(n),
        label: n,
        token,
        attempt: 1,
        deliveries,
        resumed: false,
        began_ns,
        deadline_ns: began_ns + 1_500 * MS,
    }
}

/// Task 1 is made, read, handed out, acked and read again; task 2 is cancelled;
/// the create of task 3 got no answer, and it was done; task 4 is a dead letter.
fn right() -> (Told, Dead, NamespaceCounts) {
    let mut told = Told {
        lease_max_ns: 3_000 * MS,
        ..Told::default()
    };
    for label in 1..=4 {
        let spec = Spec {
            fate: if label == 4 { Fate::Poison } else { Fate::Good },
            due_ns: if label == 1 { DUE_NS } else { 0 },
            ttl_ms: 0,
            attempts_max: if label == 4 { 2 } else { 0 },
        };
        told.specs.insert(label, spec);
    }
    let ack = |n, token| Call::Lease(Act::Ack, id(n), token);
    told.ops = vec![
        create(1, 10, 20, End::Made(vec![id(1)])),
        op(Call::Get(id(1)), 30, 40, End::Stands(Standing::Waiting)),
        create(2, 10, 20, End::Made(vec![id(2)])),
        op(Call::Cancel(id(2)), 30, 40, End::Done),
        op(Call::Get(id(2)), 50, 60, End::Stands(Standing::Missing)),
        create(3, 10, 20, End::Unknown),
        op(ack(3, 50), 300, 310, End::Done),
        op(ack(1, 60), 300, 310, End::Done),
        op(Call::Get(id(1)), 320, 330, End::Stands(Standing::Missing)),
        create(4, 10, 20, End::Made(vec![id(4)])),
        op(Call::Lease(Act::Nack, id(4), 70), 200, 210, End::Died),
    ];
    told.handed = vec![
        handed(3, 50, 1, 100, 10 * MS),
        handed(1, 60, 1, 200, DUE_NS),
        handed(4, 70, 1, 150, 20 * MS),
    ];
    let counts = NamespaceCounts {
        created: 4,
        done: 2,
        cancelled: 1,
        dead: 1,
        ..NamespaceCounts::default()
    };
    (told, Dead::from([(id(4), LAST_ATTEMPT)]), counts)
}

/// What the judge says of a history that was spoiled.
fn spoiled(spoil: impl Fn(&mut Told, &mut Dead, &mut NamespaceCounts)) -> String {
    let (mut told, mut dead, mut counts) = right();
    spoil(&mut told, &mut dead, &mut counts);
    judged(&told, &dead, &counts).broken.join("\n")
}

/// The verdict, which is the same when every task is judged by itself.
fn judged(told: &Told, dead: &Dead, counts: &NamespaceCounts) -> Verdict {
    let whole = judge("ns", told, dead, counts);
    let parts = judge_by_parts("ns", told, dead, counts, 1);
    let sentences = |verdict: &Verdict| {
        let mut all = verdict.broken.clone();
        all.sort();
        all
    };
    assert_eq!(sentences(&whole), sentences(&parts));
    assert_eq!(whole.judged, (told.ops.len() + told.handed.len()) as u64);
    assert_eq!(parts.judged, whole.judged);
    assert_eq!(parts.ordered_tasks, whole.ordered_tasks);
    assert_eq!(parts.ordered_calls, whole.ordered_calls);
    let tallies = |verdict: &Verdict| {
        let deliveries = &verdict.deliveries;
        (deliveries.tasks, deliveries.deliveries, deliveries.acked)
    };
    assert_eq!(tallies(&parts), tallies(&whole));
    whole
}

#[test]
fn a_right_history_passes_and_is_looked_at() {
    let (told, dead, counts) = right();
    let verdict = judged(&told, &dead, &counts);
    assert_eq!(verdict.broken, Vec::<String>::new());
    assert_eq!(verdict.ordered_tasks, 4);
    assert_eq!(verdict.ordered_calls, 11);
    assert_eq!(verdict.gave_up, 0);
}

#[test]
fn an_ack_that_is_said_twice_may_be_told_twice() {
    let (mut told, dead, counts) = right();
    let again = op(Call::Lease(Act::Ack, id(1), 60), 301, 309, End::Done);
    told.ops.insert(7, again);
    assert_eq!(judged(&told, &dead, &counts).broken, Vec::<String>::new());
    // Under another token it is a breach.
    told.ops[7].call = Call::Lease(Act::Ack, id(1), 61);
    assert!(!judged(&told, &dead, &counts).broken.is_empty());
}

type Spoil = fn(&mut Told, &mut Dead, &mut NamespaceCounts);

#[test]
fn each_breach_is_found_and_named() {
    let cases: &[(&str, &str, Spoil)] = &[
        (
            "a read sees nothing of an acknowledged create",
            "NotLinearizable",
            |told, _, _| {
                told.ops[1].end = End::Stands(Standing::Missing);
            },
        ),
        (
            "a read sees what was acked",
            "NotLinearizable",
            |told, _, _| {
                told.ops[8].end = End::Stands(Standing::Waiting);
            },
        ),
        (
            "a read sees what was cancelled",
            "NotLinearizable",
            |told, _, _| {
                told.ops[4].end = End::Stands(Standing::Waiting);
            },
        ),
        ("one create made two tasks", "MadeTwice", |told, _, _| {
            let mut again = handed(1, 80, 1, 250, DUE_NS);
            again.id = id(9);
            told.handed.push(again);
        }),
        (
            "a lease began before the task was due",
            "Early",
            |told, _, _| {
                told.handed[1].began_ns = DUE_NS - 1;
            },
        ),
        ("it came again after its ack", "AfterEnd", |told, _, _| {
            told.handed.push(handed(1, 90, 2, 400, DUE_NS + 9_000 * MS));
        }),
        ("it came after its cancel", "AfterEnd", |told, _, _| {
            let mut late = handed(2, 90, 1, 400, 9_000 * MS);
            late.asked_ns = 41 * MS;
            told.handed.push(late);
        }),
        ("two held it at once", "LeaseOverlap", |told, _, _| {
            told.handed
                .push(handed(1, 55, 0, 190, DUE_NS - MS + 1_000_000));
            told.handed.last_mut().unwrap().deadline_ns = DUE_NS + 1;
        }),
        (
            "one lease came to two consumers",
            "TwoHolders",
            |told, _, _| {
                let mut again = told.handed[1].clone();
                (again.consumer, again.resumed) = ("c61".into(), true);
                told.handed.push(again);
            },
        ),
        ("it never came", "NeverDelivered", |told, _, _| {
            told.handed.remove(1);
        }),
        ("nobody ended it", "Lost", |told, _, _| {
            told.ops.remove(7);
        }),
        ("a dead letter was acked", "EndedTwice", |_, dead, _| {
            dead.insert(id(1), LAST_ATTEMPT);
        }),
        (
            "the counts do not add up",
            "CountsDiffer",
            |_, _, counts| {
                counts.created += 1;
            },
        ),
        (
            "the counts are not what clients know",
            "CountsUnknown",
            |_, _, counts| {
                counts.created -= 2;
                counts.done -= 2;
            },
        ),
        (
            "a client was told what cannot be",
            "absurd",
            |told, _, _| {
                told.absurd.push("absurd".into());
            },
        ),
    ];
    for (what, rule, spoil) in cases {
        let said = spoiled(spoil);
        assert!(said.contains(rule), "{what}: {said:?}");
    }
}
