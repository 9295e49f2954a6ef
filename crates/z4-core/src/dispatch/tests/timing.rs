//! When the dispatcher acts: wakes, flights, and the pulse.

use super::*;
use crate::limits::{DISPATCH_COALESCE_NS, DISPATCH_IN_FLIGHT_MAX};

#[test]
fn a_namespace_without_consumers_or_tasks_costs_nothing() {
    let mut leader = Leader::new();
    leader.create("a", 5, Due::Now);
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.wake_at_ns, None, "no consumer");
    leader.report("c", "b", 0, 10);
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.wake_at_ns, None, "no task");
    leader.report("d", "a", 0, 0);
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.wake_at_ns, None, "no room");
}

#[test]
fn a_backlog_older_than_its_first_consumer_is_delivered() {
    let mut leader = Leader::new();
    leader.create("a", 500, Due::Now);
    leader.now_ns += 3_600_000 * MS;
    leader.report("c", "a", 0, 500);
    assert_eq!(leader.run_for(100 * MS)["c"], 500);
}

#[test]
fn wakes_when_the_next_task_is_due_and_not_before() {
    let mut leader = Leader::new();
    leader.report("c", "a", 0, 10);
    let due_at_ns = leader.now_ns + 50 * MS;
    leader.create("a", 1, Due::At(WallTime::from_ns(due_at_ns)));
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.wake_at_ns, Some(due_at_ns));
    let sooner_ns = leader.now_ns + 20 * MS;
    leader.create("a", 1, Due::At(WallTime::from_ns(sooner_ns)));
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.wake_at_ns, Some(sooner_ns));
    leader.now_ns = sooner_ns;
    let lease = leader.poll().remove(0);
    assert_eq!(leader.grant(lease)["c"], 1);
    leader.poll();
    assert_eq!(leader.wake_at_ns, Some(due_at_ns));
}

#[test]
fn a_task_due_during_a_flight_does_not_wait_for_it() {
    let mut leader = Leader::new();
    leader.report("c", "a", 0, 100);
    let start_ns = leader.now_ns;
    for n in 0..6 {
        let at = WallTime::from_ns(start_ns + n * DISPATCH_COALESCE_NS);
        leader.create("a", 1, Due::At(at));
    }
    let mut flying = Vec::new();
    for n in 0..6 {
        leader.now_ns = start_ns + n * DISPATCH_COALESCE_NS;
        flying.extend(leader.poll());
    }
    assert_eq!(
        flying.len(),
        DISPATCH_IN_FLIGHT_MAX,
        "one in each span, to the limit"
    );
    assert!(flying.iter().map(room).sum::<u32>() <= 100, "within credit");
    let granted = |lease| leader.grant(lease).into_values().sum::<u64>();
    let got: u64 = flying.into_iter().map(granted).sum();
    let rest: u64 = leader
        .run_for(10 * DISPATCH_COALESCE_NS)
        .into_values()
        .sum();
    assert_eq!(got + rest, 6);
}

#[test]
fn tasks_that_are_due_together_travel_together() {
    let mut leader = Leader::new();
    leader.report("c", "a", 0, 100);
    leader.create("a", 1, Due::Now);
    assert_eq!(leader.poll().len(), 1);
    leader.create("a", 1, Due::Now);
    assert_eq!(leader.poll(), vec![], "within the span");
    assert_eq!(
        leader.wake_at_ns,
        Some(leader.now_ns + DISPATCH_COALESCE_NS)
    );
    leader.now_ns += DISPATCH_COALESCE_NS;
    assert_eq!(leader.poll().len(), 1);
}

#[test]
fn a_clock_set_back_under_a_proposal_loses_no_task() {
    let mut leader = Leader::new();
    leader.report("c", "a", 0, 10);
    let due_at_ns = leader.now_ns + 100 * MS;
    leader.create("a", 1, Due::At(WallTime::from_ns(due_at_ns)));
    leader.now_ns = due_at_ns;
    let lease = leader.poll().remove(0);
    leader.now_ns -= 50 * MS;
    assert_eq!(leader.grant(lease), BTreeMap::new(), "not due by the stamp");
    leader.now_ns = due_at_ns + MS;
    assert_eq!(leader.run_for(10 * MS)["c"], 1);
}

#[test]
fn the_pulse_beats_at_the_deadline_once_and_again_when_lost() {
    let mut leader = Leader::new();
    leader.create("a", 1, Due::Now);
    leader.report("c", "a", 0, 1);
    assert_eq!(leader.run_for(10 * MS)["c"], 1);
    let deadline_ns = leader.machine.pulse_next_ns().unwrap();
    assert_eq!(leader.poll_all(), vec![]);
    assert_eq!(leader.wake_at_ns, Some(deadline_ns));
    leader.now_ns = deadline_ns;
    assert_eq!(leader.poll_all(), vec![Command::Pulse]);
    leader.now_ns += 999 * MS;
    assert_eq!(leader.poll_all(), vec![], "one in flight");
    leader.now_ns += MS;
    assert_eq!(leader.poll_all(), vec![Command::Pulse], "lost");
    leader.apply(Command::Pulse);
    leader.dispatcher.on_pulse_done();
    leader.poll_all();
    assert_eq!(leader.wake_at_ns, None);
    // The credit of an expired lease is the consumer's to give again.
    leader.report("c", "a", 1, 2);
    assert_eq!(leader.run_for(10 * MS), BTreeMap::new(), "after a while");
    assert_eq!(leader.run_for(2_000 * MS)["c"], 1, "the task comes again");
}
