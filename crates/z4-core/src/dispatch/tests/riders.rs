//! Leases that ride with new tasks: one entry creates and grants.

use super::*;
use crate::limits::{DISPATCH_COALESCE_NS, DISPATCH_IN_FLIGHT_MAX};

/// A leader whose dispatcher offers riders and leases ahead, and the table that riders
/// wait in.
pub(super) struct Riding {
    pub(super) leader: Leader,
    pub(super) riders: Riders,
}

impl Riding {
    pub(super) fn new() -> Self {
        Self {
            leader: Leader::new(),
            riders: Riders::default(),
        }
    }

    /// A turn: the commands that it proposes.
    pub(super) fn turn(&mut self) -> Vec<LeaseTasks> {
        let (leader, riders) = (&mut self.leader, &mut self.riders);
        let state = leader.machine.state();
        let recall = |namespace: &Namespace| riders.recall(namespace);
        let poll = leader
            .dispatcher
            .poll_offering(leader.now_ns, state, recall);
        let poll = poll.unwrap();
        assert!(poll.wake_at_ns.is_none_or(|at_ns| at_ns > leader.now_ns));
        leader.wake_at_ns = poll.wake_at_ns;
        for lease in poll.riders {
            riders.offer(1, lease);
        }
        let lease = |command| match command {
            Command::LeaseTasks(lease) => Some(lease),
            _ => None,
        };
        poll.commands.into_iter().filter_map(lease).collect()
    }

    /// Creates tasks in one entry with the rider of their namespace, if there is one. How
    /// many it granted; `None`: there was none.
    fn create(&mut self, count: usize, due: Due) -> Option<usize> {
        let rider = self.riders.take(&space("a"), 1);
        let mut commands = vec![creation("a", count, due)];
        commands.extend(rider.clone().map(Command::LeaseTasks));
        let outcomes = self.leader.apply_entry(commands);
        rider.map(|_| match &outcomes[1] {
            Outcome::Leased { grants, .. } => grants.len(),
            other => panic!("{other:?}"),
        })
    }
}

#[test]
fn tasks_that_are_due_at_once_are_granted_in_their_own_entry() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 100);
    assert_eq!(riding.turn(), vec![]);
    for _ in 0..10 {
        assert_eq!(riding.create(3, Due::Now), Some(3));
        // Nothing is left to be leased by a command of its own, and no time passes
        // between two riders.
        assert_eq!(riding.turn(), vec![]);
    }
    assert_eq!(riding.leader.dispatcher.consumers(&space("a")).room, 70);
}

#[test]
fn what_a_rider_does_not_take_is_leased_by_a_command() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 8);
    riding.turn();
    // A rider has half of the room.
    assert_eq!(riding.create(6, Due::Now), Some(4));
    let leases = riding.turn();
    assert_eq!(leases.len(), 1);
    let got = riding.leader.grant(leases[0].clone());
    assert_eq!(got["c"], 2);
}

#[test]
fn a_task_without_a_rider_gets_the_room_that_riders_hold() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 1);
    riding.turn();
    let later = Due::AfterSeconds(1);
    riding.leader.apply(creation("a", 1, later));
    assert_eq!(riding.turn(), vec![]);
    riding.leader.now_ns += 1_001 * MS;
    let leases = riding.turn();
    assert_eq!(leases.len(), 1, "the rider was recalled for it");
    assert_eq!(riding.riders.take(&space("a"), 1), None);
    assert_eq!(riding.leader.grant(leases[0].clone())["c"], 1);
}

#[test]
fn a_later_task_of_the_same_entry_is_not_forgotten() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 10);
    riding.turn();
    let rider = riding.riders.take(&space("a"), 1).unwrap();
    let later = creation("a", 1, Due::AfterSeconds(1));
    let commands = vec![
        creation("a", 1, Due::Now),
        later,
        Command::LeaseTasks(rider),
    ];
    riding.leader.apply_entry(commands);
    assert_eq!(riding.turn(), vec![]);
    riding.leader.now_ns += 1_001 * MS;
    assert_eq!(riding.turn().len(), 1);
}

#[test]
fn what_is_on_its_way_is_not_given_twice() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 10);
    riding.turn();
    let taken = riding.riders.take(&space("a"), 1).unwrap();
    // Tasks without a rider are due meanwhile.
    let mut leases = Vec::new();
    for _ in 0..DISPATCH_IN_FLIGHT_MAX {
        riding.leader.create("a", 20, Due::Now);
        leases.extend(riding.turn());
        riding.leader.now_ns += DISPATCH_COALESCE_NS;
    }
    let reserved = leases.iter().chain([&taken]).map(room).sum::<u32>();
    assert!(reserved <= 10, "{reserved}");
    let mut on_its_way: Vec<_> = leases.into_iter().chain([taken]).collect();
    let mut got = 0;
    while !on_its_way.is_empty() {
        for lease in on_its_way {
            got += riding.leader.grant(lease)["c"];
        }
        riding.leader.now_ns += DISPATCH_COALESCE_NS;
        on_its_way = riding.turn();
    }
    assert_eq!(got, 10);
}

#[test]
fn riders_of_who_left_or_takes_less_are_recalled() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 10);
    riding.turn();
    riding.leader.report("c", "a", 0, 2);
    riding.turn();
    let rider = riding.riders.take(&space("a"), 1);
    // Half of the room that is left.
    assert_eq!(rider.map(|lease| room(&lease)), Some(1));

    riding.leader.report("d", "a", 0, 10);
    riding.turn();
    let names_d = |riders: &Riders| {
        let mut takers = riders.iter().flat_map(|lease| &lease.takers);
        takers.any(|taker| taker.consumer == "d")
    };
    assert!(names_d(&riding.riders));
    riding.leader.dispatcher.consumer_gone("d");
    riding.turn();
    assert!(!names_d(&riding.riders));
}

#[test]
fn a_rider_that_failed_gives_its_room_back() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 1);
    for _ in 0..20 {
        riding.turn();
        let rider = riding.riders.take(&space("a"), 1).unwrap();
        let (name, takers) = (rider.namespace, rider.takers);
        riding.leader.dispatcher.on_lease_failed(&name, &takers);
        riding.leader.now_ns += 1_000 * MS;
    }
    riding.turn();
    assert_eq!(riding.create(1, Due::Now), Some(1));
}

#[test]
fn a_leader_that_steps_down_offers_nothing_more() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 10);
    riding.turn();
    assert_eq!(riding.riders.take(&space("a"), 2), None, "of another term");
    riding.leader.dispatcher.step_down();
    riding.riders.clear();
    riding.leader.dispatcher.become_leader(1);
    riding.turn();
    assert_eq!(riding.riders.take(&space("a"), 1), None);
    riding.leader.report("c", "a", 0, 10);
    riding.turn();
    assert_eq!(riding.create(1, Due::Now), Some(1));
}

#[test]
fn leases_ride_again_once_the_rate_lets_them() {
    let mut riding = Riding::new();
    riding.leader.rate(10, 1);
    riding.leader.report("c", "a", 0, 10);
    riding.turn();
    assert_eq!(riding.create(2, Due::Now), Some(1));
    // The other one waits for the rate, and goes by a command.
    assert_eq!(riding.turn(), vec![]);
    riding.leader.now_ns += 101 * MS;
    let lease = riding.turn().remove(0);
    assert_eq!(riding.leader.grant(lease)["c"], 1);
    riding.turn();
    riding.leader.now_ns += 1_000 * MS;
    riding.turn();
    assert_eq!(riding.create(1, Due::Now), Some(1));
}

#[test]
fn grants_of_an_older_leader_are_counted_while_riders_wait() {
    let mut riding = Riding::new();
    riding.leader.report("c", "a", 0, 8);
    riding.turn();
    // Its peer has applied six grants meanwhile that this leader does not know of.
    riding.leader.report("c", "a", 6, 8);
    riding.turn();
    let mut riders = Vec::new();
    while let Some(rider) = riding.riders.take(&space("a"), 1) {
        riders.push(rider);
    }
    let reserved: u32 = riders.iter().map(room).sum();
    assert!((1..=2).contains(&reserved), "{reserved}");
}
