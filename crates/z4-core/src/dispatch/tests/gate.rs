//! Pause and limits: nothing is proposed while the gate is shut, and what opens
//! it wakes the dispatcher.

use super::*;
use crate::command::{Grant, HeldLeases, LeaseRefs, NamespacePatch, SetNamespace};
use crate::limits::DISPATCH_COALESCE_NS;
use crate::state::RateLimit;

impl Leader {
    fn set(&mut self, patch: NamespacePatch) {
        let set = Command::SetNamespace(SetNamespace {
            namespace: space("a"),
            patch,
        });
        let outcome = self.apply(set);
        assert!(
            matches!(outcome, Outcome::NamespaceSet { .. }),
            "{outcome:?}"
        );
    }

    fn pause(&mut self, paused: bool) {
        self.set(NamespacePatch {
            paused: Some(paused),
            ..NamespacePatch::default()
        });
    }

    fn limit(&mut self, leased_max: u64) {
        self.set(NamespacePatch {
            leased_max: Some(leased_max),
            ..NamespacePatch::default()
        });
    }

    pub(super) fn rate(&mut self, per_s: u32, burst: u32) {
        self.set(NamespacePatch {
            rate: Some(RateLimit::per_s(per_s)),
            rate_burst: Some(burst),
            ..NamespacePatch::default()
        });
    }

    /// Polls and applies, until nothing is proposed at this time and the next
    /// few spans. No command may be in vain.
    fn drain(&mut self) -> Vec<Grant> {
        let mut all = Vec::new();
        for _ in 0..10 {
            self.catch_up();
            for lease in self.poll() {
                let Outcome::Leased { grants, .. } = self.apply(Command::LeaseTasks(lease)) else {
                    panic!("refused");
                };
                assert!(!grants.is_empty(), "a proposal while the gate was shut");
                all.extend(grants);
            }
            self.now_ns += DISPATCH_COALESCE_NS;
        }
        all
    }

    /// The clock goes on to the last stamp, as a leader's does.
    fn catch_up(&mut self) {
        self.now_ns = self.now_ns.max(self.machine.stamp_ns());
    }

    /// When it wakes for something else than the pulse.
    fn lease_wake(&self) -> Option<u64> {
        self.dispatcher.wakes.first().map(|(at_ns, _)| *at_ns)
    }

    fn assert_shut(&mut self) {
        assert_eq!(self.poll(), vec![]);
        assert_eq!(self.lease_wake(), None, "it waits for an event");
        // Nothing that is no reason to open it wakes it either.
        self.create("a", 1, Due::Now);
        self.report("late", "a", 0, 5);
        assert_eq!(self.poll(), vec![]);
        assert_eq!(self.lease_wake(), None);
        self.dispatcher.consumer_gone("late");
    }
}

fn refs(grants: &[Grant]) -> LeaseRefs {
    LeaseRefs {
        namespace: space("a"),
        leases: grants.iter().map(|grant| (grant.id, grant.token)).collect(),
    }
}

#[test]
fn a_paused_namespace_is_left_alone_until_it_goes_on() {
    let mut leader = Leader::new();
    leader.create("a", 5, Due::Now);
    leader.pause(true);
    leader.report("c", "a", 0, 100);
    leader.assert_shut();
    // A setting that has nothing to do with it makes it look once more.
    leader.limit(50);
    leader.assert_shut();
    leader.pause(false);
    assert_eq!(leader.drain().len(), 7);
}

#[test]
fn a_pause_comes_between_a_proposal_and_its_apply() {
    let mut leader = Leader::new();
    leader.create("a", 5, Due::Now);
    leader.report("c", "a", 0, 100);
    let lease = leader.poll().remove(0);
    leader.pause(true);
    assert_eq!(leader.grant(lease), BTreeMap::new());
    leader.now_ns += DISPATCH_COALESCE_NS;
    leader.assert_shut();
    leader.pause(false);
    assert_eq!(leader.drain().len(), 6, "the room came back");
}

#[test]
fn a_new_leader_finds_the_gate_shut_too() {
    let mut leader = Leader::new();
    leader.create("a", 5, Due::Now);
    leader.pause(true);
    leader.dispatcher.become_leader(leader.now_ns);
    leader.report("c", "a", 0, 100);
    leader.assert_shut();
    leader.pause(false);
    assert_eq!(leader.drain().len(), 6);
}

#[test]
fn the_limit_on_leases_is_kept_and_each_end_lets_one_more_through() {
    let mut leader = Leader::new();
    leader.create("a", 20, Due::Now);
    leader.limit(3);
    leader.report("c", "a", 0, 100);
    let mut held = leader.drain();
    assert_eq!(held.len(), 3);
    leader.assert_shut();
    // Each way in which a lease ends.
    let first = held.remove(0);
    leader.apply(Command::AckTasks(refs(&[first])));
    held.extend(leader.drain());
    assert_eq!(held.len(), 3);
    leader.assert_shut();
    let second = held.remove(0);
    leader.apply(Command::ReleaseTasks(HeldLeases::of_anybody(refs(&[
        second,
    ]))));
    held.extend(leader.drain());
    assert_eq!(held.len(), 3);
    leader.assert_shut();
    leader.now_ns = leader.machine.pulse_next_ns().unwrap();
    leader.apply(Command::Pulse);
    let after = leader.drain();
    assert!((1..=3).contains(&after.len()), "{}", after.len());
    leader.limit(10);
    assert_eq!(leader.drain().len() + 3, 10);
    leader.assert_shut();
}

/// Every way to end a lease, by itself: none may leave the gate shut.
#[test]
fn nothing_ends_a_lease_without_a_word() {
    let ends: [fn(&mut Leader, Grant); 4] = [
        |leader, grant| drop(leader.apply(Command::AckTasks(refs(&[grant])))),
        |leader, grant| {
            drop(
                leader.apply(Command::ReleaseTasks(HeldLeases::of_anybody(refs(&[
                    grant,
                ])))),
            )
        },
        |leader, grant| {
            let nack = crate::command::Nack {
                id: grant.id,
                token: grant.token,
                delay_ms: None,
                error: String::new(),
                permanent: true,
            };
            drop(leader.apply(Command::NackTasks(crate::command::NackTasks {
                namespace: space("a"),
                nacks: vec![nack],
            })));
        },
        |leader, grant| {
            leader.now_ns = grant.deadline_ns;
            drop(leader.apply(Command::Pulse));
        },
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let mut leader = Leader::new();
        leader.create("a", 5, Due::Now);
        leader.limit(1);
        leader.report("c", "a", 0, 100);
        let grant = leader.drain().remove(0);
        leader.assert_shut();
        end(&mut leader, grant);
        assert_eq!(leader.drain().len(), 1, "end {n}");
    }
}

#[test]
fn the_dispatcher_sleeps_until_the_next_token() {
    let mut leader = Leader::new();
    leader.create("a", 100, Due::Now);
    leader.rate(10, 2);
    leader.report("c", "a", 0, 1_000);
    leader.catch_up();
    let lease = leader.poll().remove(0);
    assert_eq!(leader.grant(lease)["c"], 2);
    let token_ns = leader.machine.stamp_ns() + 100 * MS;
    leader.now_ns += DISPATCH_COALESCE_NS;
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.lease_wake(), Some(token_ns));
    // Neither tasks nor consumers bring it forward.
    leader.create("a", 1, Due::Now);
    leader.report("d", "a", 0, 5);
    leader.now_ns = token_ns - 1;
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.wake_at_ns, Some(token_ns));
    leader.now_ns = token_ns;
    assert_eq!(leader.poll().len(), 1);
}

#[test]
fn over_a_while_the_rate_is_used_and_no_proposal_is_in_vain() {
    let mut leader = Leader::new();
    leader.create("a", 500, Due::Now);
    leader.rate(50, 5);
    leader.report("c", "a", 0, 1_000);
    let start_ns = leader.now_ns;
    let (mut got, mut commands) = (0, 0);
    while leader.now_ns < start_ns + 4_000 * MS {
        leader.catch_up();
        for lease in leader.poll() {
            commands += 1;
            let count: u64 = leader.grant(lease).into_values().sum();
            assert!(count > 0, "in vain");
            got += count;
        }
        // What was applied may have changed the wake.
        let wake_ns = leader.lease_wake().unwrap();
        leader.now_ns = wake_ns.max(leader.now_ns + 1);
    }
    assert_eq!(got, 5 + 4 * 50 - 1);
    assert!(commands <= got, "{commands} commands for {got}");
}

#[test]
fn a_faster_rate_does_not_wait_for_the_slow_one() {
    let mut leader = Leader::new();
    leader.create("a", 100, Due::Now);
    leader.rate(1, 1);
    leader.report("c", "a", 0, 1_000);
    assert_eq!(leader.drain().len(), 1);
    assert!(leader.lease_wake().unwrap() >= leader.now_ns + 900 * MS);
    leader.rate(100, 1);
    leader.poll();
    assert!(leader.lease_wake().unwrap() <= leader.now_ns + 10 * MS);
    leader.rate(0, 0);
    assert_eq!(leader.drain().len(), 99);
}

#[test]
fn a_namespace_in_deletion_is_left_alone_and_its_name_is_free_after() {
    let mut leader = Leader::new();
    leader.create("a", 5, Due::Now);
    leader.report("c", "a", 0, 100);
    leader.apply(Command::DeleteNamespace(space("a")));
    assert_eq!(leader.poll(), vec![]);
    assert_eq!(leader.lease_wake(), None);
    assert_eq!(leader.poll_all(), vec![], "one pulse is in flight");
    leader.apply(Command::Pulse);
    leader.dispatcher.on_pulse_done();
    assert_eq!(leader.machine.namespaces().count(), 0);
    leader.create("a", 2, Due::Now);
    assert_eq!(leader.drain().len(), 2);
}
