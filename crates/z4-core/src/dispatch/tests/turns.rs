//! Consumers have turns.

use super::*;

#[test]
fn single_tasks_go_round() {
    let mut leader = Leader::new();
    for consumer in ["c", "d", "e"] {
        leader.report(consumer, "a", 0, 1_000);
    }
    let mut got: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..300 {
        leader.create("a", 1, Due::Now);
        for (name, count) in leader.run_for(10 * MS) {
            *got.entry(name).or_default() += count;
        }
    }
    assert_eq!(got.values().copied().collect::<Vec<_>>(), [100, 100, 100]);
}

#[test]
fn a_backlog_is_shared_evenly() {
    let mut leader = Leader::new();
    leader.create("a", 3_000, Due::Now);
    for consumer in ["c", "d", "e"] {
        leader.report(consumer, "a", 0, 1_000);
    }
    let got = leader.run_for(1_000 * MS);
    assert_eq!(
        got.values().copied().collect::<Vec<_>>(),
        [1_000, 1_000, 1_000]
    );
}

#[test]
fn more_consumers_than_one_command_names_all_have_turns() {
    let mut leader = Leader::new();
    let count = limits_plus_half();
    leader.create("a", count, Due::Now);
    for n in 0..count {
        leader.report(&format!("c{n}"), "a", 0, 1);
    }
    let got = leader.run_for(1_000 * MS);
    assert_eq!(got.len(), count);
    assert!(got.values().all(|count| *count == 1));
}

fn limits_plus_half() -> usize {
    crate::limits::LEASE_TAKERS_MAX * 3 / 2
}

#[test]
fn different_lengths_of_leases_both_have_turns() {
    let mut leader = Leader::new();
    leader.create("a", 20, Due::Now);
    for (consumer, lease_ms) in [("c", 1_000), ("d", 2_000)] {
        leader.dispatcher.consumer_report(ConsumerReport {
            consumer: consumer.into(),
            namespace: space("a"),
            received_total: 0,
            allowed_total: 10,
            lease_ms,
        });
    }
    let got = leader.run_for(1_000 * MS);
    assert_eq!(got.values().copied().collect::<Vec<_>>(), [10, 10]);
}

#[test]
fn a_consumer_that_left_is_not_named_again() {
    let mut leader = Leader::new();
    leader.create("a", 5_000, Due::Now);
    leader.report("c", "a", 0, 10);
    leader.report("d", "a", 0, 10);
    let lease = leader.poll().remove(0);
    leader.dispatcher.consumer_gone("c");
    assert!(leader.grant(lease)["c"] > 0, "what was on its way comes");
    assert!(!leader.run_for(100 * MS).contains_key("c"));
    leader.dispatcher.consumer_gone("d");
    leader.dispatcher.consumer_gone("d");
    assert!(leader.dispatcher.queues.is_empty());
    assert!(leader.dispatcher.wakes.is_empty());
}
