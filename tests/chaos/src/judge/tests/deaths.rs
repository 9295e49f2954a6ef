//! Which tasks may be dead letters.

use super::*;

/// Task 4, and it alone, is a dead letter.
fn with_spec(fate: Fate, ttl_ms: u64) -> String {
    spoiled(|told, _, _| {
        let spec = told.specs.get_mut(&4).unwrap();
        (spec.fate, spec.ttl_ms) = (fate, ttl_ms);
    })
}

#[test]
fn a_task_without_limit_and_time_to_live_does_not_die() {
    for (fate, ttl_ms) in [(Fate::Poison, 0), (Fate::Hopeless, 0), (Fate::Good, 9)] {
        assert_eq!(with_spec(fate, ttl_ms), "", "{fate:?}, {ttl_ms}");
    }
    let said = with_spec(Fate::Good, 0);
    assert!(said.contains("is a dead letter and has neither"), "{said}");
    assert!(said.contains("died and has neither"), "{said}");
}

#[test]
fn a_death_is_found_also_when_the_task_is_not_there_any_more() {
    let said = spoiled(|told, dead, counts| {
        dead.clear();
        told.specs.get_mut(&4).unwrap().fate = Fate::Good;
        told.ops.push(op(Call::Purge(id(4)), 220, 230, End::Done));
        (counts.dead, counts.purged) = (0, 1);
    });
    assert!(said.contains("died and has neither"), "{said}");
}

#[test]
fn whose_create_was_not_answered_is_known_by_a_list() {
    let said = spoiled(|told, dead, counts| {
        told.ops.remove(6);
        told.handed.remove(0);
        told.listed.push((id(3), 3));
        dead.insert(id(3));
        (counts.dead, counts.done) = (2, 1);
    });
    assert!(said.contains("is a dead letter and has neither"), "{said}");
}
