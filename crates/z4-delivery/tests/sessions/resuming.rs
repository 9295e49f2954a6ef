//! A consumer that comes back is handed what the log says that it has, and nothing that
//! an earlier session of it gives back meanwhile.

use super::*;
use z4_core::command::{Extend, ExtendLeases, HeldLeases, LeaseRefs, ResumeLeases};

/// A session that gives back the one lease of consumer `c`, and what it proposes for
/// that. The consumer has left it since.
fn giving_back(bench: &mut Bench) -> (Key, Vec<Wanted>) {
    let session = bench.named(1);
    bench.create(1);
    let keys = delivered(&bench.run());
    bench.happened(session, SessionInput::Said(Said::Drain));
    let left = keys.clone();
    bench.happened(
        session,
        SessionInput::Delivered(Delivered {
            left,
            ..Delivered::default()
        }),
    );
    let wanted = bench.turn();
    assert!(matches!(commands(&wanted)[..], [Command::ReleaseTasks(_)]));
    bench.happened(session, SessionInput::Gone);
    assert!(commands(&bench.turn()).is_empty());
    (keys[0], wanted)
}

/// Two ways in which consumer `c` asks for what it has.
fn ways() -> [Method; 2] {
    let call = Taking {
        tasks: 2,
        wait_ns: SECOND_NS,
        patience_ns: 10 * SECOND_NS,
        resume: true,
    };
    [consume(true), Method::Take(call)]
}

/// The consumer comes back; what its session proposes.
fn comes_back(bench: &mut Bench, method: Method) -> Vec<Wanted> {
    let session = bench.open(2, "c", method);
    bench.turn();
    let leases = bench.leases_of("c");
    bench.found(session, leases);
    let wanted = bench.turn();
    assert!(delivered(&wanted).is_empty(), "the log was not asked");
    assert!(matches!(commands(&wanted)[..], [Command::ResumeLeases(_)]));
    wanted
}

#[test]
fn what_was_resumed_first_stays_with_its_consumer() {
    for method in ways() {
        let mut bench = Bench::new(1);
        let (key, releases) = giving_back(&mut bench);
        let resumes = comes_back(&mut bench, method);
        bench.apply_all(resumes);
        assert_eq!(delivered(&bench.turn()), [key]);
        bench.apply_all(releases);
        assert_eq!(bench.leases_of("c").len(), 1, "it holds it still");
    }
}

#[test]
fn what_was_given_back_first_is_not_handed_out() {
    for method in ways() {
        let mut bench = Bench::new(2);
        // No leader here grants it anew.
        bench.become_leader(1);
        let (key, releases) = giving_back(&mut bench);
        let resumes = comes_back(&mut bench, method);
        bench.become_leader(2);
        bench.apply_all(releases);
        bench.apply_all(resumes);
        let wanted = bench.turn();
        assert!(!delivered(&wanted).contains(&key), "{wanted:?}");
        let hello = |output: &Wanted| match output {
            Output::Session(_, Told::Hello { resumed }) => Some(*resumed),
            _ => None,
        };
        let hello: Vec<_> = wanted.iter().filter_map(hello).collect();
        let is_stream = matches!(method, Method::Consume { .. });
        assert_eq!(hello, vec![0; usize::from(is_stream)]);
        assert!(bench.leases_of("c").is_empty());
    }
}

#[test]
fn who_cannot_resume_is_told_so() {
    for method in ways() {
        for is_unknown in [false, true] {
            let mut bench = Bench::new(1);
            giving_back(&mut bench);
            let wanted = comes_back(&mut bench, method);
            let failure = match is_unknown {
                true => Failure::Unknown("no answer"),
                false => Failure::NotDone("no leader"),
            };
            bench.step(Input::Proposed(ticket(&wanted), Err(failure)));
            let wanted = bench.turn();
            assert!(matches!(ends(&wanted)[..], [End::Failed(_)]), "{wanted:?}");
        }
    }
}

#[test]
fn a_jump_of_the_log_while_leases_are_resumed_makes_their_session_look_again() {
    for method in ways() {
        let mut bench = Bench::new(1);
        giving_back(&mut bench);
        let resumes = comes_back(&mut bench, method);
        bench.jump();
        bench.apply_all(resumes);
        let wanted = bench.turn();
        assert!(delivered(&wanted).is_empty(), "{wanted:?}");
        assert!(wanted.iter().any(|o| matches!(o, Output::Find { .. })));
        let leases = bench.leases_of("c");
        bench.found(SessionId(2), leases);
        let resumes = bench.turn();
        bench.apply_all(resumes);
        assert_eq!(delivered(&bench.turn()).len(), 1);
    }
}

/// Turns until the session has ended, as a client that reads and says nothing would let
/// it. How it ended.
fn ended(bench: &mut Bench, session: SessionId) -> End<&'static str> {
    for _ in 0..60 {
        for output in bench.run() {
            match output {
                Output::Session(of, Told::Flush) if of == session => {
                    bench.happened(session, SessionInput::Flushed);
                }
                Output::Session(of, Told::Close(end)) if of == session => return end,
                Output::Find { session, whose, .. } => {
                    let leases = find(bench.machine.state(), &space(), &whose).unwrap();
                    bench.found(session, leases);
                }
                _ => {}
            }
        }
    }
    panic!("it does not end");
}

#[test]
fn who_closes_while_leases_are_resumed_gives_them_back() {
    let mut bench = Bench::new(1);
    giving_back(&mut bench);
    let resumes = comes_back(&mut bench, consume(true));
    bench.happened(SessionId(2), SessionInput::HalfClosed);
    bench.apply_all(resumes);
    assert!(delivered(&bench.turn()).is_empty());
    assert_eq!(ended(&mut bench, SessionId(2)), End::Done);
    assert!(bench.leases_of("c").is_empty());
}

#[test]
fn a_late_grant_to_the_session_before_is_resumed_like_all_it_had() {
    let mut bench = Bench::new(1);
    bench.named(1);
    bench.turn();
    let session = bench.open(2, "c", consume(true));
    bench.create(1);
    bench.apply(Command::LeaseTasks(LeaseTasks {
        namespace: space(),
        takers: vec![Taker {
            consumer: "c~1.b.1".into(),
            room: 1,
        }],
        lease_ms: 0,
        ahead_ms: 0,
    }));
    bench.happened(SessionId(1), SessionInput::Gone);
    bench.turn();
    let leases = bench.leases_of("c");
    bench.found(session, leases.clone());
    let resumes = bench.turn();
    bench.apply_all(resumes);
    let wanted = bench.turn();
    assert_eq!(delivered(&wanted), [leases[0].key()]);
    bench.sent(session, &[leases[0].key()]);
    bench.happened(session, SessionInput::HalfClosed);
    assert_eq!(ended(&mut bench, session), End::Done);
    assert!(
        bench.leases_of("c").is_empty(),
        "given back in its own name"
    );
}

#[test]
fn what_ends_before_its_session_hears_that_it_is_resumed_is_not_handed_out() {
    for method in ways() {
        let mut bench = Bench::new(1);
        let (key, _) = giving_back(&mut bench);
        let resumes = comes_back(&mut bench, method);
        let outcome = bench.apply(commands(&resumes)[0].clone());
        bench.apply(Command::AckTasks(LeaseRefs {
            namespace: space(),
            leases: vec![key],
        }));
        answered(&mut bench, &resumes, outcome);
        assert!(delivered(&bench.turn()).is_empty());
        assert_eq!(bench.sessions.lease_count(), 0);
    }
}

/// The first proposal is answered.
fn answered(bench: &mut Bench, wanted: &[Wanted], outcome: Outcome) {
    let settled = Settled {
        outcome,
        maybe_before: false,
    };
    bench.step(Input::Proposed(ticket(wanted), Ok(settled)));
}

#[test]
fn what_is_resumed_lasts_until_the_log_says() {
    let mut bench = Bench::new(1);
    let (key, _) = giving_back(&mut bench);
    let resumes = comes_back(&mut bench, consume(true));
    let extend = Extend {
        id: key.0,
        token: key.1,
        lease_ms: 100_000,
    };
    bench.apply(Command::ExtendLeases(ExtendLeases {
        namespace: space(),
        extends: vec![extend],
    }));
    bench.apply_all(resumes);
    let deadline_ns = bench.leases_of("c")[0].deadline_ns;
    let wanted = bench.turn();
    let deliveries = wanted.iter().find_map(|output| match output {
        Output::Session(_, Told::Deliver(deliveries)) => Some(deliveries),
        _ => None,
    });
    let delivery = &deliveries.unwrap()[0];
    assert_eq!(delivery.grant.deadline_ns, deadline_ns);
    assert!(delivery.is_resumed);
}

#[test]
fn a_lease_that_was_resumed_elsewhere_takes_room_and_stays_when_its_session_closes() {
    let mut bench = Bench::new(1);
    let session = bench.named(1);
    bench.create(1);
    let keys = delivered(&bench.run());
    bench.sent(session, &keys);
    let resumes = comes_back(&mut bench, ways()[1]);
    bench.apply_all(resumes);
    assert_eq!(delivered(&bench.turn()), keys);
    assert_eq!(bench.sessions.lease_count(), 1, "its client works on it");
    bench.happened(session, SessionInput::HalfClosed);
    assert_eq!(ended(&mut bench, session), End::Done);
    assert_eq!(bench.leases_of("c").len(), 1, "the call has it");
}

#[test]
fn what_ended_while_it_was_looked_for_after_a_jump_counts_no_more() {
    let mut bench = Bench::new(1);
    let session = bench.named(1);
    bench.create(1);
    let keys = delivered(&bench.run());
    bench.sent(session, &keys);
    bench.jump();
    let wanted = bench.turn();
    assert!(wanted.iter().any(|o| matches!(o, Output::Find { .. })));
    let leases = bench.leases_of("c");
    bench.apply(Command::AckTasks(LeaseRefs {
        namespace: space(),
        leases: keys,
    }));
    bench.found(session, leases);
    bench.turn();
    assert_eq!(bench.sessions.lease_count(), 0);
}

#[test]
fn what_a_call_was_answered_with_is_not_given_back_after_a_jump() {
    let mut bench = Bench::new(1);
    let (key, _) = giving_back(&mut bench);
    let resumes = comes_back(&mut bench, ways()[1]);
    bench.apply_all(resumes);
    assert_eq!(delivered(&bench.turn()), [key]);
    bench.jump();
    for output in bench.turn() {
        if let Output::Find { session, whose, .. } = output {
            let leases = find(bench.machine.state(), &space(), &whose).unwrap();
            bench.found(session, leases);
        }
    }
    bench.sent(SessionId(2), &[key]);
    bench.happened(SessionId(2), SessionInput::Gone);
    let wanted = bench.turn();
    assert!(commands(&wanted).is_empty(), "{wanted:?}");
}

/// The log gives the lease of consumer `c` to this session.
fn resumed_by(bench: &mut Bench, by: &str) {
    let lease = bench.leases_of("c").remove(0);
    bench.apply(Command::ResumeLeases(ResumeLeases {
        held: HeldLeases {
            refs: LeaseRefs {
                namespace: space(),
                leases: vec![lease.key()],
            },
            consumer: lease.consumer,
        },
        by: by.into(),
    }));
}

#[test]
fn what_a_client_has_in_hand_takes_room_however_often_it_is_resumed_elsewhere() {
    let mut bench = Bench::new(1);
    let session = bench.named(1);
    bench.create(1);
    let keys = delivered(&bench.run());
    bench.sent(session, &keys);
    for by in ["c~2.x.1+", "c~3.x.1+"] {
        resumed_by(&mut bench, by);
        assert_eq!(bench.sessions.lease_count(), 1);
    }
    // A jump over the event tells the same.
    bench.jump();
    bench.turn();
    let leases = bench.leases_of("c");
    bench.found(session, leases);
    bench.turn();
    assert_eq!(bench.sessions.lease_count(), 1);
    bench.apply(Command::AckTasks(LeaseRefs {
        namespace: space(),
        leases: keys,
    }));
    assert_eq!(bench.sessions.lease_count(), 0);
}

#[test]
fn what_another_session_resumes_before_the_answer_comes_is_not_handed_out() {
    for method in ways() {
        let mut bench = Bench::new(1);
        giving_back(&mut bench);
        let resumes = comes_back(&mut bench, method);
        let outcome = bench.apply(commands(&resumes)[0].clone());
        resumed_by(&mut bench, "c~2.x.1+");
        answered(&mut bench, &resumes, outcome);
        assert!(delivered(&bench.turn()).is_empty());
        assert_eq!(bench.sessions.lease_count(), 0);
    }
}

#[test]
fn what_was_on_its_way_and_is_resumed_elsewhere_is_left_to_that_session() {
    let mut bench = Bench::new(1);
    let session = bench.named(1);
    bench.create(1);
    let keys = delivered(&bench.run());
    resumed_by(&mut bench, "c~2.x.1+");
    let left = Delivered {
        left: keys,
        ..Delivered::default()
    };
    bench.happened(session, SessionInput::Delivered(left));
    let wanted = bench.run();
    assert!(delivered(&wanted).is_empty(), "{wanted:?}");
    assert_eq!(bench.sessions.lease_count(), 0);
}

#[test]
fn what_another_session_has_resumed_meanwhile_is_looked_for_again_for_a_while() {
    for method in ways() {
        for is_late in [false, true] {
            let mut bench = Bench::new(1);
            let (key, _) = giving_back(&mut bench);
            let resumes = comes_back(&mut bench, method);
            resumed_by(&mut bench, "c~2.x.1+");
            if is_late {
                bench.pass(10 * SECOND_NS);
            }
            bench.apply_all(resumes);
            let wanted = bench.turn();
            assert!(!delivered(&wanted).contains(&key), "{wanted:?}");
            let looks = wanted.iter().any(|o| matches!(o, Output::Find { .. }));
            assert_eq!(looks, !is_late);
            if looks {
                let leases = bench.leases_of("c");
                bench.found(SessionId(2), leases);
                let resumes = bench.turn();
                bench.apply_all(resumes);
                assert_eq!(delivered(&bench.turn()), [key]);
            }
        }
    }
}

#[test]
fn what_is_resumed_elsewhere_while_it_is_looked_for_takes_room_if_it_is_in_hand() {
    for is_in_hand in [false, true] {
        let mut bench = Bench::new(1);
        let session = bench.named(1);
        bench.create(1);
        let keys = delivered(&bench.run());
        if is_in_hand {
            bench.sent(session, &keys);
        }
        bench.jump();
        bench.turn();
        let leases = bench.leases_of("c");
        if !is_in_hand {
            let left = Delivered {
                left: keys,
                ..Delivered::default()
            };
            bench.happened(session, SessionInput::Delivered(left));
        }
        resumed_by(&mut bench, "c~2.x.1+");
        bench.found(session, leases);
        bench.turn();
        assert_eq!(bench.sessions.lease_count(), usize::from(is_in_hand));
    }
}
