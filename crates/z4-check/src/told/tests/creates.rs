//! What a create may have made, by how it ended.

use super::*;

#[test]
fn a_create_that_was_refused_made_nothing() {
    let refuse = |told: &mut Told| {
        told.ops[5].end = End::Refused("full".into());
    };
    // Task 3 was delivered.
    let said = spoiled(|told, _, _| refuse(told));
    assert!(said.contains("MadeThoughRefused"), "{said}");
    // Nobody sees it but in a list.
    let hide = |told: &mut Told, counts: &mut NamespaceCounts| {
        told.ops.remove(6);
        told.handed.remove(0);
        counts.created -= 1;
        counts.done -= 1;
    };
    let said = spoiled(|told, _, counts| {
        refuse(told);
        hide(told, counts);
    });
    assert_eq!(said, "");
    let said = spoiled(|told, _, counts| {
        refuse(told);
        hide(told, counts);
        told.listed.push((id(3), 3));
    });
    assert!(said.contains("MadeThoughRefused"), "{said}");
}

#[test]
fn a_task_of_two_creates_is_found_wherever_they_are_judged() {
    for other in 2..=4 {
        let said = spoiled(|told, _, _| {
            let mut again = told.handed[1].clone();
            again.label = other;
            told.handed.push(again);
        });
        assert!(said.contains("MadeTwice"), "{other}: {said}");
    }
}
