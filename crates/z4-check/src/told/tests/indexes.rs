//! What log indexes tell of the order of things.

use super::*;

/// A create of task 5 under this log index.
fn made(index: u64, invoked_ms: u64) -> Op {
    let id = TaskId::new(index, index, 0);
    create(5, invoked_ms, invoked_ms + 5, End::Made(vec![id]))
}

/// Task 5 is made like that, and cancelled.
fn one_more(told: &mut Told, counts: &mut NamespaceCounts, index: u64, invoked_ms: u64) {
    let id = TaskId::new(index, index, 0);
    told.specs.insert(5, told.specs[&3]);
    told.ops.push(made(index, invoked_ms));
    let cancel = Call::Cancel(id);
    told.ops.push(op(cancel, 900, 910, End::Done));
    (counts.created, counts.cancelled) = (5, 2);
}

#[test]
fn a_grant_after_a_removal_is_known_by_its_token() {
    // Task 2 was cancelled at 40 ms; the consumer's stream is older than that.
    let judged = |token, made_ms| {
        spoiled(move |told, _, counts| {
            one_more(told, counts, 1_000, made_ms);
            told.handed.push(handed(2, token, 1, 2_000, 45 * MS));
        })
    };
    let said = judged(1_001, 41);
    assert!(said.contains("AfterEnd"), "{said}");
    // It may have been granted before the create, and so before the cancel.
    assert_eq!(judged(999, 41), "");
    // Asked for before the cancel was answered: its index may be the lower one.
    assert_eq!(judged(1_001, 39), "");
}

#[test]
fn creates_that_were_asked_later_have_higher_indexes() {
    let judged =
        |index, made_ms| spoiled(move |told, _, counts| one_more(told, counts, index, made_ms));
    // The others were answered at 20 ms, under indexes up to 4.
    assert_eq!(judged(5, 21), "");
    let said = judged(0, 21);
    assert!(said.contains("IndexFell"), "{said}");
    assert_eq!(judged(0, 19), "");
    // Token 50 came to somebody at 100 ms.
    let said = judged(49, 101);
    assert!(said.contains("IndexFell"), "{said}");
    assert_eq!(judged(71, 201), "");
}

#[test]
fn a_create_without_an_answer_comes_after_what_was_answered() {
    let said = spoiled(|told, _, counts| {
        one_more(told, counts, 1_000, 5);
        // It is the last that was asked for, and its task has index 3.
        told.ops[5].invoked_ns = 15 * MS;
    });
    assert!(said.contains("IndexFell"), "{said}");
}
