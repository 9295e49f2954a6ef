//! The tests of the rule which tasks may be dead letters.

use super::*;

/// Task 4, and it alone, is a dead letter, of this spec and by this death.
fn judged(spoil: impl Fn(&mut Spec, &mut Death)) -> String {
    spoiled(|told, dead, _| {
        let spec = told.specs.get_mut(&4).unwrap();
        spoil(spec, dead.get_mut(&id(4)).unwrap());
    })
}

#[test]
fn a_task_dies_by_its_last_attempt_its_age_or_its_consumers_word() {
    assert_eq!(judged(|_, _| {}), "");
    let too_old = judged(|spec, death| {
        (spec.ttl_ms, death.reason) = (9, DeathReason::Ttl);
    });
    assert_eq!(too_old, "");
    for (what, said) in [
        ("no limit", judged(|spec, _| spec.attempts_max = 0)),
        ("early", judged(|_, death| death.failures = 1)),
        ("late", judged(|_, death| death.failures = 3)),
        ("no age", judged(|_, d| d.reason = DeathReason::Ttl)),
        ("unsaid", judged(|_, d| d.reason = DeathReason::Permanent)),
    ] {
        assert!(said.contains("DiedWithoutCause"), "{what}: {said}");
    }
}

#[test]
fn a_consumer_that_gave_a_task_up_may_have_been_heard() {
    let with = |act, end: End| {
        spoiled(move |told, dead, _| {
            told.specs.get_mut(&4).unwrap().fate = Fate::Hopeless;
            dead.get_mut(&id(4)).unwrap().reason = DeathReason::Permanent;
            let last = told.ops.last_mut().unwrap();
            (last.call, last.end) = (Call::Lease(act, id(4), 70), end.clone());
        })
    };
    assert_eq!(with(Act::NackForGood, End::Died), "");
    assert_eq!(with(Act::NackForGood, End::Unknown), "");
    let refused = with(Act::NackForGood, End::Stands(Standing::Held));
    assert!(refused.contains("DiedWithoutCause"), "{refused}");
    let not_for_good = with(Act::Nack, End::Died);
    assert!(not_for_good.contains("DiedWithoutCause"), "{not_for_good}");
}

#[test]
fn a_task_is_not_tried_after_its_last_attempt() {
    let attempt = |n| spoiled(move |told, _, _| told.handed[2].attempt = n);
    assert_eq!(attempt(2), "");
    assert!(attempt(3).contains("DiedTooLate"), "{}", attempt(3));
}

#[test]
fn a_death_is_found_also_when_the_task_is_not_there_any_more() {
    let said = spoiled(|told, dead, counts| {
        dead.clear();
        told.specs.get_mut(&4).unwrap().attempts_max = 0;
        told.ops.push(op(Call::Purge(id(4)), 220, 230, End::Done));
        (counts.dead, counts.purged) = (0, 1);
    });
    assert!(said.contains("died and may not"), "{said}");
}

#[test]
fn whose_create_was_not_answered_is_known_by_a_list() {
    let said = spoiled(|told, dead, counts| {
        told.ops.remove(6);
        told.handed.remove(0);
        told.listed.push((id(3), 3));
        dead.insert(id(3), LAST_ATTEMPT);
        (counts.dead, counts.done) = (2, 1);
    });
    assert!(said.contains("DiedWithoutCause"), "{said}");
}
