//! What may happen to a task by itself goes by what it carries.

use super::*;

#[test]
fn tasks_of_a_batch_that_was_not_answered_have_their_own_labels() {
    // Labels 5 and 6 in one create; the first never came to anybody, and may die.
    let batch = |told: &mut Told, stands: Standing, then: Call| {
        for (label, ttl_ms) in [(5, 10), (6, 0)] {
            let spec = Spec {
                ttl_ms,
                ..told.specs[&3]
            };
            told.specs.insert(label, spec);
        }
        let mut create = create(5, 10, 20, End::Unknown);
        if let Call::Create { labels, .. } = &mut create.call {
            labels.push(6);
        }
        told.handed.push(handed(6, 80, 1, 100, 30 * MS));
        told.ops.extend([
            create,
            op(Call::Get(id(6)), 110, 120, End::Stands(stands)),
            op(then, 130, 140, End::Done),
        ]);
    };
    let said = spoiled(|told, _, counts| {
        let ack = Call::Lease(Act::Ack, id(6), 80);
        batch(told, Standing::Leased, ack);
        (counts.created, counts.done) = (5, 3);
    });
    assert_eq!(said, "");
    let said = spoiled(|told, _, counts| {
        batch(told, Standing::Dead, Call::Purge(id(6)));
        (counts.created, counts.purged) = (5, 1);
    });
    assert!(said.contains("NotLinearizable"), "{said}");
}
