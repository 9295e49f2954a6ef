#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::command::{CreateTasks, Due, LeaseTasks, NewTask, Outcome};
use crate::task::WallTime;
use crate::{invariants, Machine, MemState};

const MS: u64 = 1_000_000;

/// A leader in one thread: a machine, a dispatcher, and the commands between.
struct Leader {
    machine: Machine<MemState>,
    dispatcher: Dispatcher,
    index: u64,
    now_ns: u64,
    wake_at_ns: Option<u64>,
}

impl Leader {
    fn new() -> Self {
        let mut dispatcher = Dispatcher::new();
        dispatcher.become_leader(1);
        Self {
            machine: Machine::open(MemState::new()).unwrap(),
            dispatcher,
            index: 0,
            now_ns: 1_000 * MS,
            wake_at_ns: None,
        }
    }

    /// Polls at the time it is and returns the lease commands.
    fn poll(&mut self) -> Vec<LeaseTasks> {
        let poll = self.poll_all();
        let lease = |command| match command {
            Command::LeaseTasks(lease) => Some(lease),
            _ => None,
        };
        poll.into_iter().filter_map(lease).collect()
    }

    fn poll_all(&mut self) -> Vec<Command> {
        let poll = self.dispatcher.poll(self.now_ns, self.machine.state());
        let poll = poll.unwrap();
        if let Some(wake) = poll.wake_at_ns {
            assert!(wake > self.now_ns, "a wake in the past spins");
        }
        self.wake_at_ns = poll.wake_at_ns;
        poll.commands
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let mut events = Vec::new();
        let stamp_ns = self.now_ns.max(self.machine.stamp_ns() + 1);
        let outcomes = self
            .machine
            .apply_entry(self.index, stamp_ns, vec![command], &mut events);
        invariants::check(self.machine.state()).unwrap();
        for event in &events {
            self.dispatcher.on_event(event);
        }
        let deadline_ns = self.machine.lease_deadline_next_ns();
        self.dispatcher.set_lease_deadline(deadline_ns);
        outcomes.unwrap().remove(0)
    }

    fn create(&mut self, name: &str, count: usize, due: Due) {
        let task = NewTask {
            due,
            ..NewTask::default()
        };
        let create = CreateTasks {
            namespace: space(name),
            request_id: String::new(),
            tasks: vec![task; count],
        };
        let outcome = self.apply(Command::CreateTasks(create));
        assert!(matches!(outcome, Outcome::Created(_)), "{outcome:?}");
    }

    fn report(&mut self, consumer: &str, name: &str, received: u64, allowed: u64) {
        self.dispatcher.consumer_report(ConsumerReport {
            consumer: consumer.into(),
            namespace: space(name),
            received_total: received,
            allowed_total: allowed,
            lease_ms: 0,
        });
    }

    /// Applies a lease command; how many each taker got.
    fn grant(&mut self, lease: LeaseTasks) -> BTreeMap<String, u64> {
        let mut got = BTreeMap::new();
        let outcome = self.apply(Command::LeaseTasks(lease));
        let Outcome::Leased { grants, .. } = outcome else {
            panic!("{outcome:?}");
        };
        for grant in grants {
            *got.entry(grant.consumer).or_default() += 1;
        }
        got
    }

    /// Polls and applies until nothing is to be done within `ns`.
    fn run_for(&mut self, ns: u64) -> BTreeMap<String, u64> {
        let end_ns = self.now_ns + ns;
        let mut total = BTreeMap::new();
        loop {
            for lease in self.poll() {
                for (name, count) in self.grant(lease) {
                    *total.entry(name).or_default() += count;
                }
            }
            match self.wake_at_ns.filter(|wake| *wake <= end_ns) {
                Some(wake) if self.now_ns < wake => self.now_ns = wake,
                // What was applied may have changed the wake.
                _ if self.poll_is_idle() => break,
                _ => {}
            }
        }
        self.now_ns = end_ns;
        total
    }

    fn poll_is_idle(&mut self) -> bool {
        let poll = self.dispatcher.wakes.first().map(|(at, _)| *at);
        poll.is_none_or(|at| at > self.now_ns + 10 * MS)
    }
}

fn space(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

fn room(lease: &LeaseTasks) -> u32 {
    lease.takers.iter().map(|taker| taker.room).sum()
}

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
        let at = WallTime::from_ns(start_ns + n * MS);
        leader.create("a", 1, Due::At(at));
    }
    let mut flying = Vec::new();
    for n in 0..6 {
        leader.now_ns = start_ns + n * MS;
        flying.extend(leader.poll());
    }
    assert_eq!(
        flying.len(),
        IN_FLIGHT_MAX,
        "each millisecond one, to the limit"
    );
    assert!(flying.iter().map(room).sum::<u32>() <= 100, "within credit");
    let granted = |lease| leader.grant(lease).into_values().sum::<u64>();
    let got: u64 = flying.into_iter().map(granted).sum();
    let rest: u64 = leader.run_for(10 * MS).into_values().sum();
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
    assert_eq!(leader.wake_at_ns, Some(leader.now_ns + COALESCE_NS));
    leader.now_ns += COALESCE_NS;
    assert_eq!(leader.poll().len(), 1);
}

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
        leader.now_ns += RETRY_NS;
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
    let deadline_ns = leader.machine.lease_deadline_next_ns().unwrap();
    assert_eq!(leader.poll_all(), vec![]);
    assert_eq!(leader.wake_at_ns, Some(deadline_ns));
    leader.now_ns = deadline_ns;
    assert_eq!(leader.poll_all(), vec![Command::ExpireLeases]);
    leader.now_ns += 999 * MS;
    assert_eq!(leader.poll_all(), vec![], "one in flight");
    leader.now_ns += MS;
    assert_eq!(leader.poll_all(), vec![Command::ExpireLeases], "lost");
    leader.apply(Command::ExpireLeases);
    leader.dispatcher.on_expire_done();
    leader.poll_all();
    assert_eq!(leader.wake_at_ns, None);
    // The credit of an expired lease is the consumer's to give again.
    leader.report("c", "a", 1, 2);
    assert_eq!(leader.run_for(10 * MS)["c"], 1, "the task comes again");
}
