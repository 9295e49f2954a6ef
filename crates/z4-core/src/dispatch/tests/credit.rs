//! Credit is kept to and never lost, whoever leads.

use super::*;
use crate::limits::DISPATCH_RETRY_NS;

#[test]
fn credit_is_never_exceeded_and_comes_back() {
    let mut leader = Leader::new();
    leader.create("a", 1_000, Due::Now);
    leader.report("c", "a", 0, 7);
    assert_eq!(leader.run_for(100 * MS)["c"], 7);
    assert_eq!(leader.run_for(100 * MS), BTreeMap::new());
    // A report that was on its way while tasks were granted changes nothing.
    leader.report("c", "a", 3, 7);
    assert_eq!(leader.run_for(100 * MS), BTreeMap::new());
    leader.report("c", "a", 7, 12);
    assert_eq!(leader.run_for(100 * MS)["c"], 5);
}

#[test]
fn a_failed_proposal_gives_its_room_back() {
    let mut leader = Leader::new();
    leader.create("a", 10, Due::Now);
    leader.report("c", "a", 0, 1);
    for _ in 0..20 {
        let lease = leader.poll().remove(0);
        assert_eq!(room(&lease), 1);
        let (name, takers) = (lease.namespace, lease.takers);
        leader.dispatcher.on_lease_failed(&name, &takers);
        assert_eq!(leader.poll(), vec![], "it rests a while");
        leader.now_ns += DISPATCH_RETRY_NS;
    }
    assert_eq!(leader.run_for(100 * MS)["c"], 1);
}

#[test]
fn a_proposal_that_nobody_answers_for_is_given_up() {
    let mut leader = Leader::new();
    leader.create("a", 10, Due::Now);
    leader.report("c", "a", 0, 1);
    assert_eq!(leader.poll().len(), 1);
    leader.now_ns += MS;
    assert_eq!(leader.poll(), vec![]);
    let lost_at_ns = leader.wake_at_ns.unwrap();
    assert!(lost_at_ns > leader.now_ns + 1_000 * MS);
    leader.now_ns = lost_at_ns;
    let lease = leader.poll().remove(0);
    assert_eq!(leader.grant(lease)["c"], 1);
}

#[test]
fn grants_fewer_than_reserved_leak_nothing() {
    let mut leader = Leader::new();
    leader.report("c", "a", 0, 100);
    let mut got = 0;
    for _ in 0..100 {
        leader.create("a", 1, Due::Now);
        got += leader.run_for(10 * MS)["c"];
    }
    assert_eq!(got, 100);
    let consumer = &leader.dispatcher.consumers["c"];
    assert_eq!((consumer.given, consumer.reserved), (100, 0));
}

#[test]
fn a_command_reserves_no_more_than_it_can_grant() {
    let mut leader = Leader::new();
    leader.create("a", 10, Due::Now);
    for n in 0..100 {
        leader.report(&format!("c{n}"), "a", 0, 1_000);
    }
    let lease = leader.poll().remove(0);
    assert_eq!(lease.takers.len(), 100);
    assert_eq!(room(&lease) as usize, crate::limits::LEASE_COUNT_MAX);
}

#[test]
fn a_peer_that_does_not_lead_proposes_nothing() {
    let mut leader = Leader::new();
    leader.create("a", 5, Due::Now);
    leader.report("c", "a", 0, 10);
    leader.dispatcher.step_down();
    assert_eq!(leader.poll(), vec![]);
    leader.report("c", "a", 0, 10);
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.wake_at_ns, None);
}

#[test]
fn a_new_leader_counts_from_what_was_received() {
    let mut leader = Leader::new();
    leader.create("a", 50, Due::Now);
    leader.report("c", "a", 0, 10);
    assert_eq!(leader.run_for(100 * MS)["c"], 10);
    leader.dispatcher.become_leader(leader.now_ns);
    leader.report("c", "a", 6, 10);
    // Its peer lagged behind; the next report proves it.
    leader.report("c", "a", 10, 10);
    assert_eq!(leader.run_for(100 * MS), BTreeMap::new());
    leader.report("c", "a", 10, 15);
    assert_eq!(leader.run_for(100 * MS)["c"], 5);
}

#[test]
fn a_peer_that_applies_ahead_does_not_cost_credit() {
    let mut leader = Leader::new();
    leader.create("a", 50, Due::Now);
    leader.report("c", "a", 0, 10);
    let lease = leader.poll().remove(0);
    leader.report("c", "a", u64::from(room(&lease)), 10);
    let first = leader.grant(lease)["c"];
    assert_eq!(first + leader.run_for(100 * MS)["c"], 10);
}
