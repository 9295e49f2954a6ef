//! Leases that are proposed before their tasks are due.

use super::riders::Riding;
use super::*;
use crate::command::{Grant, SetNamespace};
use crate::limits::{DISPATCH_AHEAD_MS, DISPATCH_AHEAD_START_NS, DISPATCH_COALESCE_NS};
use crate::settings::NamespacePatch;
use crate::state::RateLimit;

const START_MS: u64 = DISPATCH_AHEAD_START_NS / MS;

impl Riding {
    /// Creates a task that is due so long from now, in milliseconds. When that is.
    fn create_in(&mut self, after_ms: u64) -> u64 {
        let due_at_ns = self.leader.now_ns + after_ms * MS;
        let due = Due::At(WallTime::from_ns(due_at_ns));
        self.leader.create("a", 1, due);
        due_at_ns
    }

    /// Lets time pass until the dispatcher wants to be asked, and asks.
    fn turn_at_wake(&mut self) -> Vec<LeaseTasks> {
        self.leader.now_ns = self.leader.wake_at_ns.expect("a task is due some time");
        self.turn()
    }

    fn apply(&mut self, lease: &LeaseTasks) -> Vec<Grant> {
        match self.leader.apply(Command::LeaseTasks(lease.clone())) {
            Outcome::Leased { grants, .. } => grants,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lease_is_there_when_its_task_is_due_and_takes_the_next_along() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 100);
    let first_ns = riding.create_in(50);
    let second_ns = riding.create_in(50 - START_MS + DISPATCH_AHEAD_MS);
    let third_ns = riding.create_in(50 + DISPATCH_AHEAD_MS);
    assert_eq!(riding.turn(), vec![]);
    assert_eq!(riding.leader.wake_at_ns, Some(first_ns - START_MS * MS));
    let leases = riding.turn_at_wake();
    assert_eq!(leases.len(), 1);
    let grants = riding.apply(&leases[0]);
    let due: Vec<u64> = grants.iter().map(|grant| grant.due_at_ns).collect();
    assert_eq!(due, [first_ns, second_ns]);
    let lease_ns = crate::limits::LEASE_MS_DEFAULT * MS;
    let until: Vec<u64> = grants.iter().map(|grant| grant.deadline_ns).collect();
    assert_eq!(
        until,
        [first_ns + lease_ns, second_ns + lease_ns],
        "from the due time"
    );
    assert_eq!(riding.turn(), vec![]);
    assert_eq!(riding.turn_at_wake(), vec![], "it looks what is left");
    assert_eq!(riding.leader.wake_at_ns, Some(third_ns - START_MS * MS));
}

#[test]
fn who_delivers_at_once_is_given_nothing_ahead() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 100);
    let due_at_ns = riding.create_in(50);
    assert_eq!(riding.leader.poll(), vec![]);
    assert_eq!(riding.leader.wake_at_ns, Some(due_at_ns));
    riding.leader.now_ns = due_at_ns;
    assert_eq!(riding.leader.poll()[0].ahead_ms, 0);
}

#[test]
fn a_rate_and_a_consumer_without_room_to_spare_wait_for_the_due_time() {
    let rated = NamespacePatch {
        rate: Some(RateLimit::per_s(1_000)),
        ..NamespacePatch::default()
    };
    for (room, patch) in [(100, Some(rated)), (1, None)] {
        let mut riding = Riding::new();
        if let Some(patch) = patch {
            let namespace = space("a");
            let set = SetNamespace { namespace, patch };
            riding.leader.apply(Command::SetNamespace(set));
        }
        riding.leader.report("c", "a", 0, room);
        let due_at_ns = riding.create_in(50);
        riding.turn();
        assert_eq!(riding.turn_at_wake(), vec![], "it is too early");
        assert_eq!(riding.leader.wake_at_ns, Some(due_at_ns));
        let leases = riding.turn_at_wake();
        assert_eq!(riding.apply(&leases[0]).len(), 1);
    }
}

#[test]
fn what_a_lease_ahead_left_is_leased_when_it_is_due() {
    let mut riding = Riding::new();
    // Half of the room is for one command, and half of that for what is not due yet.
    riding.leader.report("c", "a", 0, 4);
    let due: Vec<u64> = [50, 51, 52]
        .into_iter()
        .map(|ms| riding.create_in(ms))
        .collect();
    riding.leader.report("c", "a", 0, 8);
    riding.turn();
    let leases = riding.turn_at_wake();
    assert_eq!(riding.apply(&leases[0]).len(), 1);
    assert_eq!(riding.turn(), vec![]);
    assert_eq!(
        riding.turn_at_wake(),
        vec![],
        "no second one for the same span"
    );
    assert_eq!(riding.leader.wake_at_ns, Some(due[1]));
}

#[test]
fn a_full_flight_waits_for_the_due_time() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 1_000);
    riding.turn();
    for _ in 0..crate::limits::DISPATCH_IN_FLIGHT_MAX - 1 {
        riding.leader.create("a", 1, Due::Now);
        riding.leader.now_ns += DISPATCH_COALESCE_NS;
        assert_eq!(riding.turn().len(), 1);
    }
    assert_eq!(riding.riders.iter().count(), 1, "the last place is offered");
    riding.create_in(START_MS - 1);
    riding.leader.now_ns += DISPATCH_COALESCE_NS;
    assert_eq!(riding.turn(), vec![]);
}

#[test]
fn a_command_that_names_whom_a_rider_names_is_not_taken_for_it() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 4);
    riding.turn();
    let rider = riding.riders.iter().next().expect("one is offered").clone();
    riding.create_in(START_MS);
    riding.leader.report("c", "a", 0, 6);
    let leases = riding.turn();
    assert_eq!(leases[0].takers, rider.takers);
    riding.apply(&leases[0]);
    riding.leader.report("c", "a", 1, 1);
    riding.turn();
    assert_eq!(riding.riders.iter().count(), 0, "it takes no more");
}
