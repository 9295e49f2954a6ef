//! Tasks that were leased ahead: a session holds them until they are due by the clock of
//! the leader.

use z4_core::command::Due;
use z4_core::task::WallTime;

use super::*;

const AHEAD_NS: u64 = 12 * MS_NS;

impl Bench {
    /// Creates a task that is due a little later, and leases it at once to a consumer. When
    /// it is due.
    fn lease_ahead(&mut self, consumer: &str) -> u64 {
        let due_at_ns = self.now.wall_ns + AHEAD_NS;
        let task = NewTask {
            due: Due::At(WallTime::from_ns(due_at_ns)),
            ..NewTask::default()
        };
        self.apply(Command::CreateTasks(CreateTasks {
            namespace: space(),
            request_id: String::new(),
            tasks: vec![task],
        }));
        let outcome = self.apply(Command::LeaseTasks(LeaseTasks {
            namespace: space(),
            takers: vec![Taker {
                consumer: consumer.to_owned(),
                room: 2,
            }],
            lease_ms: 0,
            ahead_ms: 16,
        }));
        assert!(matches!(outcome, Outcome::Leased { grants, .. } if grants.len() == 1));
        due_at_ns
    }

    fn whole_turn(&mut self) -> Turn<&'static str> {
        self.sessions.turn(self.now, self.machine.state()).unwrap()
    }

    fn hear(&mut self, leader: u64, term: u64, at_ns: u64) {
        self.step(Input::LeaderClock(ClockReading {
            leader,
            term,
            at_ns,
        }));
    }
}

#[test]
fn the_leader_delivers_by_its_own_clock() {
    let mut bench = Bench::new(1);
    bench.open(1, "c", consume(false));
    bench.turn();
    bench.lease_ahead("c~1.b.1");
    let turn = bench.whole_turn();
    let [Output::Session(_, Told::Expect(expected))] = &turn.outputs[..] else {
        panic!("{:?}", turn.outputs);
    };
    assert_eq!(expected.len(), 1, "its body may be read");
    assert_eq!(turn.awaits_clock_ns, None);
    let wait_ns = turn.wake_after_ns.unwrap();
    assert!(wait_ns <= AHEAD_NS);
    bench.pass(AHEAD_NS - 1);
    assert_eq!(delivered(&bench.turn()), []);
    bench.pass(1);
    assert_eq!(delivered(&bench.turn()).len(), 1);
}

#[test]
fn a_follower_delivers_by_the_clock_of_its_leader_and_by_no_other() {
    let mut bench = Bench::new(2);
    bench.open(1, "c", consume(false));
    bench.turn();
    let due_at_ns = bench.lease_ahead("c~1.b.1");
    // Its own clock is ahead.
    bench.pass(SECOND_NS);
    bench.hear(3, 1, due_at_ns);
    bench.hear(2, 2, due_at_ns);
    bench.hear(2, 1, due_at_ns - 1);
    let turn = bench.whole_turn();
    assert_eq!(delivered(&turn.outputs), []);
    assert_eq!(turn.awaits_clock_ns, Some(due_at_ns));
    bench.hear(2, 1, due_at_ns);
    let turn = bench.whole_turn();
    assert_eq!(delivered(&turn.outputs).len(), 1);
    assert_eq!(turn.awaits_clock_ns, None);
}

#[test]
fn a_follower_delivers_by_a_stamp_of_the_log() {
    let mut bench = Bench::new(2);
    bench.open(1, "c", consume(false));
    bench.turn();
    bench.lease_ahead("c~1.b.1");
    assert_eq!(delivered(&bench.turn()), []);
    bench.pass(AHEAD_NS);
    assert_eq!(delivered(&bench.turn()), []);
    // The log of the bench stamps by its clock.
    bench.apply(Command::Mark { id: 7 });
    assert_eq!(delivered(&bench.turn()).len(), 1);
}

#[test]
fn the_leader_says_when_a_task_is_due_that_another_peer_holds() {
    let mut bench = Bench::new(1);
    let due_at_ns = bench.lease_ahead("c~3.x.1");
    let turn = bench.whole_turn();
    assert_eq!(turn.outputs, []);
    assert_eq!(turn.wake_after_ns, Some(AHEAD_NS));
    bench.pass(AHEAD_NS);
    let told = Output::TellClock {
        to: 3,
        term: 1,
        at_ns: due_at_ns,
    };
    assert_eq!(bench.turn(), [told]);
    assert_eq!(bench.turn(), [], "once");
}

#[test]
fn what_a_consumer_leaves_behind_ahead_of_its_time_waits_for_it() {
    let mut bench = Bench::new(1);
    let session = bench.open(1, "c", consume(false));
    bench.turn();
    let due_at_ns = bench.lease_ahead("c~1.b.1");
    bench.turn();
    bench.happened(session, SessionInput::Gone);
    let wanted = bench.turn();
    let [Command::ReleaseTasks(refs)] = commands(&wanted)[..] else {
        panic!("{wanted:?}");
    };
    let outcome = bench.apply(Command::ReleaseTasks(refs.clone()));
    let Outcome::Ended { results, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(
        results,
        [Ok(z4_core::command::Ended::Waiting { due_at_ns })]
    );
}

#[test]
fn who_drains_gives_back_what_is_not_due() {
    let mut bench = Bench::new(1);
    let session = bench.open(1, "c", consume(false));
    bench.turn();
    bench.lease_ahead("c~1.b.1");
    bench.turn();
    bench.happened(session, SessionInput::Said(Said::Drain));
    let wanted = bench.turn();
    assert!(matches!(commands(&wanted)[..], [Command::ReleaseTasks(_)]));
    bench.pass(AHEAD_NS);
    assert_eq!(delivered(&bench.turn()), []);
}

#[test]
fn a_call_that_asks_for_what_it_holds_has_nothing_ahead_of_its_time() {
    for is_due in [false, true] {
        let mut bench = Bench::new(1);
        bench.lease_ahead("c~1.x.1");
        if is_due {
            bench.pass(AHEAD_NS);
        }
        let taking = Taking {
            tasks: 2,
            wait_ns: 0,
            patience_ns: SECOND_NS,
            resume: true,
        };
        let session = bench.open(1, "c", Method::Take(taking));
        bench.turn();
        let leases = bench.leases_of("c");
        bench.found(session, leases);
        let resumes = bench.turn();
        assert_eq!(commands(&resumes).len(), usize::from(is_due));
        bench.apply_all(resumes);
        let wanted = bench.turn();
        assert_eq!(delivered(&wanted).len(), usize::from(is_due));
        assert_eq!(commands(&wanted).len(), 0);
        bench.pass(SECOND_NS);
        let looks = bench.turn();
        let again = matches!(looks[..], [Output::Find { .. }]);
        assert_eq!(again, !is_due, "it looks again: {looks:?}");
    }
}
