//! How sessions end, and what becomes of leases whose consumer leaves or comes back.

use super::*;
use z4_core::command::{HeldLeases, LeaseRefs};

#[test]
fn who_closes_is_told_so_when_nothing_can_be_on_its_way() {
    let mut bench = Bench::new(1);
    let session = bench.named(1);
    bench.create(1);
    let keys = delivered(&bench.run());
    bench.sent(session, &keys);
    // The leader has proposed one more.
    bench.create(1);
    let on_its_way = bench.turn();
    assert!(matches!(
        commands(&on_its_way)[..],
        [Command::LeaseTasks(_)]
    ));
    bench.happened(session, SessionInput::HalfClosed);
    let wanted = bench.turn();
    assert!(
        matches!(wanted[..], [Output::Session(_, Told::Withdraw)]),
        "perhaps it is gone"
    );
    bench.pass(limits::HALF_CLOSE_GRACE_NS);
    assert!(matches!(
        bench.turn()[..],
        [Output::Session(_, Told::Flush)]
    ));
    bench.happened(session, SessionInput::Flushed);
    let given_back = bench.turn();
    assert!(matches!(
        commands(&given_back)[..],
        [Command::ReturnTasks(_)]
    ));
    bench.apply_all(given_back);
    let fence = bench.turn();
    assert!(matches!(commands(&fence)[..], [Command::ReleaseTasks(_)]));
    assert!(ends(&fence).is_empty());
    // In the order of the log: what was on its way, and then the fence.
    assert!(bench.apply_all(on_its_way).is_empty());
    bench.apply_all(fence);
    let wanted = bench.turn();
    assert!(ends(&wanted).is_empty(), "{wanted:?}");
    assert!(wanted.iter().any(|o| matches!(o, Output::Find { .. })));
    bench.found(session, Vec::new());
    bench.apply_all(wanted);
    let wanted = bench.run();
    assert_eq!(ends(&wanted), [&End::Done]);
    assert_eq!(bench.sessions.lease_count(), 0);
}

#[test]
fn the_connection_of_a_consumer_breaks_and_what_it_was_not_given_goes_to_others() {
    for (is_named, is_told) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut bench = Bench::new(1);
        let session = match is_named {
            true => bench.named(1),
            false => bench.open(1, "auto-1", consume(false)),
        };
        bench.create(2);
        let keys = delivered(&bench.run());
        bench.sent(session, &keys[..1]);
        let delivered = Delivered {
            left: keys[1..].to_vec(),
            ..Delivered::default()
        };
        // The shell may have let go before it looked at them.
        if is_told {
            bench.happened(session, SessionInput::Delivered(delivered));
        }
        bench.happened(session, SessionInput::Gone);
        let wanted = bench.turn();
        // The consumer may come back for what it has in hand; else that runs out.
        let [Command::ReleaseTasks(held)] = commands(&wanted)[..] else {
            panic!("{wanted:?}");
        };
        assert_eq!(held.refs.leases, keys[1..]);
        assert!(held.consumer.ends_with("~1.b.1"));
        assert!(bench.sessions.is_empty());
    }
}

#[test]
fn a_drained_session_waits_for_the_last_word_of_its_client() {
    let mut bench = Bench::new(1);
    let session = bench.named(1);
    bench.create(1);
    let keys = delivered(&bench.run());
    bench.sent(session, &keys);
    let said = Said::Drain;
    bench.happened(session, SessionInput::Said(said));
    let told = |output| matches!(output, Output::Session(_, Told::Withdraw | Told::Taken));
    let wanted = bench.run();
    assert!(wanted.len() == 2 && wanted.into_iter().all(told));
    bench.pass(40 * SECOND_NS);
    bench.apply(Command::Pulse);
    assert!(
        bench.run().is_empty(),
        "the client works still, and is to be told"
    );
    bench.ack(session, keys[0]);
    let wanted = bench.run();
    let lost = |output: &Wanted| matches!(ending(output), Some(Ending::Lost(_)));
    assert!(wanted.iter().any(lost));
    assert!(wanted
        .iter()
        .any(|o| matches!(o, Output::Session(_, Told::Flush))));
}

#[test]
fn a_peer_that_stops_ends_all_sessions_and_opens_none() {
    let mut bench = Bench::new(1);
    bench.named(1);
    bench.step(Input::Stop);
    bench.open(2, "d", Method::Stream);
    assert_eq!(ends(&bench.turn()), [&End::Stopping, &End::Stopping]);
}

#[test]
fn an_ack_in_doubt_of_a_lease_of_before_is_not_taken_for_done() {
    for is_own in [true, false] {
        let mut bench = Bench::new(1);
        let mut session = bench.named(1);
        bench.create(1);
        let keys = delivered(&bench.run());
        bench.sent(session, &keys);
        if !is_own {
            // The consumer comes back. What it said before may be on its way: the lease
            // was given back, and others have done the task.
            bench.happened(session, SessionInput::Gone);
            session = bench.open(2, "c", consume(true));
            bench.turn();
            let leases = bench.leases_of("c");
            bench.found(session, leases);
            let resumes = bench.turn();
            bench.apply_all(resumes);
            assert_eq!(delivered(&bench.turn()), keys);
            bench.sent(session, &keys);
        }
        bench.ack(session, keys[0]);
        let wanted = bench.turn();
        let outcome = Outcome::Ended {
            stamp_ns: bench.machine.stamp_ns(),
            results: vec![Err(z4_core::command::LeaseLost::Gone)],
        };
        let settled = Settled {
            outcome,
            maybe_before: true,
        };
        bench.step(Input::Proposed(ticket(&wanted), Ok(settled)));
        let wanted = bench.turn();
        let answers: Vec<_> = wanted.iter().filter_map(ending).collect();
        let done = Ending::Over(z4_core::command::Ended::Done);
        let expected = if is_own { done } else { Ending::Uncertain };
        assert_eq!(answers, [&expected]);
    }
}

#[test]
fn what_is_granted_late_to_a_client_that_drained_goes_to_others() {
    for leaves in [true, false] {
        let mut bench = Bench::new(1);
        let session = bench.named(1);
        bench.create(1);
        let keys = delivered(&bench.run());
        let consumer = bench.leases_of("c").remove(0).consumer;
        bench.sent(session, &keys);
        bench.happened(session, SessionInput::Said(Said::Drain));
        bench.ack(session, keys[0]);
        let wanted = bench.turn();
        if leaves {
            bench.happened(session, SessionInput::Gone);
        }
        // The lease was on its way before the leader heard of the drain.
        bench.create(1);
        let outcome = bench.apply(Command::LeaseTasks(LeaseTasks {
            namespace: space(),
            takers: vec![Taker { consumer, room: 1 }],
            lease_ms: 0,
            ahead_ms: 0,
        }));
        let Outcome::Leased { grants, .. } = outcome else {
            panic!("{outcome:?}");
        };
        let wanted = [wanted, bench.turn()].concat();
        let release = HeldLeases {
            refs: LeaseRefs {
                namespace: space(),
                leases: vec![grants[0].key()],
            },
            consumer: grants[0].consumer.clone(),
        };
        assert!(commands(&wanted).contains(&&Command::ReleaseTasks(release)));
    }
}
