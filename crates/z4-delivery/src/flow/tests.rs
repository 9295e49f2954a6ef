use super::*;
use z4_core::task::LeaseToken;
use z4_core::TaskId;

const SECOND: u64 = 1_000_000_000;

fn grant(n: u32, bytes: u64) -> Grant {
    Grant {
        consumer: "c~1.x.1".into(),
        id: TaskId::new(1, 1, n),
        token: LeaseToken(9),
        deadline_ns: 30 * SECOND,
        due_at_ns: 1,
        attempt: 1,
        deliveries: 1,
        bytes,
    }
}

fn key(n: u32) -> Key {
    (TaskId::new(1, 1, n), LeaseToken(9))
}

/// Delivers what fits at a time; how many that are.
fn deliver(flow: &mut Flow, wall_ns: u64) -> usize {
    let mut delivered = 0;
    loop {
        let next = flow.next(wall_ns);
        if next.is_empty() {
            return delivered;
        }
        delivered += next.len();
        for delivery in next {
            let key = (delivery.grant.id, delivery.grant.token);
            assert!(flow.ledger.move_to(&key, Place::InHand).is_some());
        }
    }
}

/// A flow that was granted `count` tasks of so many bytes, gave back what it must and
/// delivered what fits; how many it delivered and gave back.
fn flow(in_flight_max: u64, bytes_max: u64, count: u32, bytes: u64) -> (Flow, usize, usize) {
    let mut flow = Flow::new(in_flight_max, bytes_max);
    for n in 0..count {
        assert!(flow.granted(grant(n, bytes), true, false, (0, u64::MAX)));
    }
    let given_back = flow.surplus(0).len();
    let delivered = deliver(&mut flow, 0);
    (flow, delivered, given_back)
}

/// How many more the leader may grant.
fn room(flow: &Flow) -> u64 {
    flow.window().saturating_sub(flow.ledger.own())
}

#[test]
fn bytes_hold_back_what_the_leader_granted() {
    let (mut flow, delivered, given_back) = flow(100, 1_000, 50, 100);
    assert_eq!((delivered, given_back), (10, 30), "10 wait");
    assert_eq!(room(&flow), 0, "no more until a lease ends");
    flow.ended(&key(0));
    assert_eq!(deliver(&mut flow, 0), 1);
    assert_eq!(
        room(&flow),
        0,
        "what is on its way back counts until the log has it"
    );
    for n in 20..50 {
        flow.ended(&key(n));
    }
    assert_eq!(room(&flow), 1, "and then there is");
}

#[test]
fn one_task_above_the_bytes_goes_alone() {
    let (mut flow, delivered, given_back) = flow(100, 10, 3, 100);
    assert_eq!((delivered, given_back), (1, 2));
    assert_eq!(room(&flow), 0);
    for n in 0..3 {
        flow.ended(&key(n));
    }
    assert!(flow.granted(grant(7, 100), true, false, (0, u64::MAX)));
    assert!(flow.surplus(0).is_empty());
    assert_eq!(deliver(&mut flow, 0), 1);
}

#[test]
fn less_credit_gives_back_what_waits_and_takes_no_more() {
    let (mut flow, delivered, _) = flow(10, 500, 8, 100);
    assert_eq!(delivered, 5);
    flow.set_credit(Some(2), None);
    assert_eq!(flow.surplus(0).len(), 3);
    assert_eq!((flow.window(), room(&flow)), (2, 0), "of which 5 are used");
    flow.drain();
    assert_eq!(flow.window(), 0);
}

#[test]
fn no_more_go_out_than_the_consumer_takes_however_many_were_granted() {
    let mut flow = Flow::new(2, 1_000);
    (0..5).for_each(|n| assert!(flow.granted(grant(n, 1), true, false, (0, u64::MAX))));
    assert_eq!(flow.surplus(0).len(), 3);
    assert_eq!(deliver(&mut flow, 0), 2);
}

#[test]
fn leases_of_before_take_room_and_come_whatever_the_credit() {
    let mut flow = Flow::new(3, 10);
    for n in 0..5 {
        assert!(flow.granted(grant(n, 100), false, true, (0, u64::MAX)));
        assert!(
            !flow.granted(grant(n, 100), false, true, (0, u64::MAX)),
            "found and told of"
        );
    }
    assert!(flow.surplus(0).is_empty());
    assert_eq!(flow.window(), 0);
    assert_eq!(deliver(&mut flow, 0), 5);
    for n in 0..3 {
        flow.ended(&key(n));
    }
    assert_eq!((flow.window(), flow.ledger.received()), (1, 0));
}

#[test]
fn what_waited_for_half_of_its_lease_is_given_back() {
    let (mut flow, _, _) = flow(5, 100, 2, 100);
    assert_eq!(flow.look_at_ns(), Some(15 * SECOND));
    assert!(flow.surplus(15 * SECOND - 1).is_empty());
    assert_eq!(flow.surplus(15 * SECOND).len(), 1);
    assert_eq!((room(&flow), flow.look_at_ns()), (0, None));
}

#[test]
fn what_was_not_written_waits_again_before_all_others() {
    let mut flow = Flow::new(9, 1_000);
    (0..3).for_each(|n| assert!(flow.granted(grant(n, 1), true, false, (0, u64::MAX))));
    assert_eq!(flow.next(0).len(), 3);
    assert!(flow.granted(grant(3, 1), true, false, (0, u64::MAX)));
    flow.ended(&key(1));
    flow.ledger.put_back(&[key(0), key(1), key(2)]);
    let order: Vec<_> = flow.next(0).iter().map(|d| d.grant.id).collect();
    assert_eq!(order, [key(0).0, key(2).0, key(3).0]);
}

#[test]
fn what_was_not_given_in_time_is_over_with_its_lease() {
    let mut flow = Flow::new(100, 100);
    (0..2).for_each(|n| assert!(flow.granted(grant(n, 100), true, false, (0, u64::MAX))));
    assert_eq!(deliver(&mut flow, 0), 1);
    assert!(flow.surplus(30 * SECOND).is_empty(), "others have it");
    let count = |place| flow.ledger.at(place).count;
    assert_eq!((count(Place::Waiting), count(Place::Over)), (0, 1));
    assert_eq!(flow.ledger.own(), 2, "until the log says that it ended");
}
