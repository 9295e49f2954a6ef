//! Leases: tokens, deadlines, and how they are dealt.

use super::*;
use z4_core::command::{HeldLeases, ResumeLeases};

#[test]
fn a_late_ack_with_an_old_token_changes_nothing() {
    let mut store = Store::new();
    store.create("a", Due::Now);
    let first = store.lease("a", 1).remove(0);
    store.now_ns = first.deadline_ns;
    store.apply(Command::Pulse);
    assert_eq!(store.lease("a", 1), vec![], "it comes again after a while");
    store.now_ns += 2 * SECOND_NS;
    let second = store.lease("a", 1).remove(0);
    assert_eq!((second.id, second.attempt), (first.id, 2));
    let (_, status) = find_task(store.machine.state(), &space("a"), first.id)
        .unwrap()
        .unwrap();
    assert_eq!(status.unwrap().failures, 1);
    assert!(second.token > first.token);
    assert!(!store.ack("a", &first), "the old token");
    assert!(store.exists("a", first.id));
    assert!(store.ack("a", &second), "the new token");
    assert!(!store.exists("a", first.id));
    assert!(!store.ack("a", &second), "an ack is final");
}

#[test]
fn an_ack_at_the_deadline_is_refused_without_a_pulse_too() {
    let mut store = Store::new();
    store.create("a", Due::Now);
    let grant = store.lease("a", 1).remove(0);
    store.now_ns = grant.deadline_ns;
    assert!(!store.ack("a", &grant));
    store.now_ns = START_NS;
    assert!(!store.ack("a", &grant), "a clock set back revives no lease");
    assert_eq!(store.lease("a", 1), vec![], "leased until the pulse");
    store.apply(Command::Pulse);
    store.now_ns = grant.deadline_ns + 2 * SECOND_NS;
    assert_eq!(store.lease("a", 1)[0].id, grant.id);
}

#[test]
fn a_lease_counts_from_its_grant_not_from_the_creation() {
    let mut store = Store::new();
    store.create("a", Due::Now);
    store.now_ns += 3_600 * SECOND_NS;
    let grant = store.lease("a", 1).remove(0);
    let lease_ns = limits::LEASE_MS_DEFAULT * 1_000_000;
    assert_eq!(grant.deadline_ns, store.now_ns + lease_ns);
    assert_eq!(store.apply(Command::Pulse), Outcome::Pulsed { count: 0 });
    assert!(store.ack("a", &grant));
}

#[test]
fn a_released_task_comes_again_without_a_failure() {
    let mut store = Store::new();
    let made = store.create("a", Due::Now);
    let grant = store.lease("a", 1).remove(0);
    let release = Command::ReleaseTasks(HeldLeases::of_anybody(refs("a", &[&grant, &grant])));
    let back = Ended::Waiting {
        due_at_ns: START_NS,
    };
    let outcome = Outcome::Ended {
        stamp_ns: START_NS,
        results: vec![Ok(back), Err(LeaseLost::Expired)],
    };
    assert_eq!(store.apply(release), outcome);
    let (_, status) = find_task(store.machine.state(), &space("a"), made.id)
        .unwrap()
        .unwrap();
    let status = status.unwrap();
    assert_eq!((status.deliveries, status.failures), (1, 0));
    let again = store.lease("a", 1).remove(0);
    assert_eq!((again.id, again.attempt), (made.id, 1));
    assert_eq!(again.deliveries, 2);
    assert_eq!(again.due_at_ns, grant.due_at_ns);
}

#[test]
fn tasks_are_dealt_one_each_in_turn() {
    let mut store = Store::new();
    store.apply(create("a", "", vec![task(Due::Now); 7]));
    let ask = lease("a", &[("c", 1), ("d", 3), ("e", 2)]);
    let Outcome::Leased { grants, more } = store.apply(ask) else {
        panic!("refused");
    };
    let order: Vec<_> = grants.iter().map(|grant| grant.consumer.as_str()).collect();
    assert_eq!(order, ["c", "d", "e", "d", "e", "d"]);
    assert!(more, "one is left");
    let Outcome::Leased { more, .. } = store.apply(lease("a", &[("c", 1)])) else {
        panic!("refused");
    };
    assert!(!more, "none is left");
}

#[test]
fn one_command_hands_out_no_more_than_its_limit() {
    let mut store = Store::new();
    let count = limits::LEASE_COUNT_MAX + 1;
    store.apply(create("a", "", vec![task(Due::Now); count]));
    let Outcome::Leased { grants, more } = store.apply(lease("a", &[("c", u32::MAX)])) else {
        panic!("refused");
    };
    assert_eq!((grants.len(), more), (limits::LEASE_COUNT_MAX, true));
    store.now_ns = grants[0].deadline_ns;
    store.apply(lease("a", &[("c", u32::MAX)]));
    let expired = store.apply(Command::Pulse);
    let full = limits::PULSE_COUNT_MAX as u32;
    assert_eq!(expired, Outcome::Pulsed { count: full });
}

#[test]
fn what_another_session_has_resumed_is_not_given_back_by_the_one_before() {
    let mut store = Store::new();
    store.create("a", Due::Now);
    let grant = store.lease("a", 1).remove(0);
    let held = |consumer: &str| HeldLeases {
        refs: refs("a", &[&grant]),
        consumer: consumer.into(),
    };
    let ended = |store: &mut Store, command| match store.apply(command) {
        Outcome::Ended { results, .. } => results[0],
        other => panic!("{other:?}"),
    };
    store.now_ns += 1;
    let resume = |from: &str, by: &str| {
        Command::ResumeLeases(ResumeLeases {
            held: held(from),
            by: by.into(),
        })
    };
    let (first, later) = (&*grant.consumer, "later");
    let resumed = store.apply(resume(first, later));
    let outcome = Outcome::Extended {
        stamp_ns: store.now_ns,
        results: vec![Ok(grant.deadline_ns)],
    };
    assert_eq!(resumed, outcome, "the deadline stays");
    assert_eq!(store.apply(resume(first, later)), outcome, "a repeat");
    // A session between the two, whose command was under way for long.
    let outcome = Outcome::Extended {
        stamp_ns: store.now_ns,
        results: vec![Err(LeaseLost::Taken)],
    };
    assert_eq!(store.apply(resume(first, "between")), outcome);
    for command in [Command::ReleaseTasks, Command::ReturnTasks] {
        let lost = ended(&mut store, command(held(&grant.consumer)));
        assert_eq!(lost, Err(LeaseLost::Taken));
    }
    let back = ended(&mut store, Command::ReturnTasks(held("later")));
    assert!(matches!(back, Ok(Ended::Waiting { .. })), "{back:?}");
    // A lease that was given back first is not resumed any more.
    let late = store.apply(resume(later, "still later"));
    let outcome = Outcome::Extended {
        stamp_ns: store.now_ns,
        results: vec![Err(LeaseLost::Expired)],
    };
    assert_eq!(late, outcome);
    for (from, by) in [(later, ""), ("", later)] {
        let nobody = store.apply(resume(from, by));
        assert!(matches!(nobody, Outcome::Refused(_)), "{nobody:?}");
    }
}
