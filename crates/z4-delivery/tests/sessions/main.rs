//! Sessions of one peer with a machine, step by step. What many of them do together
//! under faults is the simulator's to show.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ahead;
mod clock;
mod leaving;
mod resuming;

use std::cell::Cell;

use z4_core::command::{CreateTasks, Grant, LeaseTasks, NewTask, Taker};
use z4_core::state::{Row, RowKey, StateError};
use z4_core::{Command, Machine, MemState, Namespace, Outcome, View};
use z4_delivery::endings::{Ask, Ending, Item};
use z4_delivery::*;

const MS_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000 * MS_NS;

type Wanted = Output<&'static str>;

/// A peer that leads, or follows peer 2. Its log applies what it is told to.
struct Bench {
    machine: Machine<MemState>,
    sessions: Sessions<&'static str>,
    now: Now,
    index: u64,
}

impl Bench {
    fn new(leader: u64) -> Self {
        let mut bench = Self {
            machine: Machine::open(MemState::new()).unwrap(),
            sessions: Sessions::new("b"),
            now: Now {
                wall_ns: 1_000 * SECOND_NS,
                monotonic_ns: 0,
            },
            index: 0,
        };
        bench.become_leader(leader);
        bench
    }

    fn become_leader(&mut self, leader: u64) {
        let leadership = Leadership {
            raft_id: 1,
            leader,
            term: 1,
            is_ready_here: leader == 1,
            goes_by_clock: leader == 1,
        };
        self.step(Input::Leadership(leadership));
    }

    /// The live leases of a consumer, as the log has them.
    fn leases_of(&self, consumer_id: &str) -> Vec<Grant> {
        let whose = Whose::Consumer(consumer_id.into());
        find(self.machine.state(), &space(), &whose).unwrap()
    }

    fn step(&mut self, input: Input<&'static str>) {
        self.sessions.step(input, self.now);
    }

    fn happened(&mut self, session: SessionId, input: SessionInput<&'static str>) {
        self.step(Input::Session(session, input));
    }

    fn turn(&mut self) -> Vec<Wanted> {
        self.sessions
            .turn(self.now, self.machine.state())
            .unwrap()
            .outputs
    }

    fn pass(&mut self, ns: u64) {
        self.now.wall_ns += ns;
        self.now.monotonic_ns += ns;
    }

    /// Applies a command, and tells of it.
    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let mut events = Vec::new();
        let stamp_ns = self.now.wall_ns.max(self.machine.stamp_ns() + 1);
        let outcomes = self
            .machine
            .apply_entry(self.index, stamp_ns, vec![command], &mut events);
        self.step(Input::Applied(AppliedEvents {
            events,
            stamp_ns,
            pulse_next_ns: self.machine.pulse_next_ns(),
            is_jump: false,
        }));
        outcomes.unwrap().remove(0)
    }

    /// A snapshot takes the place of entries, whose events nobody tells.
    fn jump(&mut self) {
        self.step(Input::Applied(AppliedEvents {
            is_jump: true,
            stamp_ns: self.machine.stamp_ns(),
            ..AppliedEvents::default()
        }));
    }

    /// Applies what was proposed, and answers; gives all else.
    fn apply_all(&mut self, wanted: Vec<Wanted>) -> Vec<Wanted> {
        let mut others = Vec::new();
        for output in wanted {
            match output {
                Output::Propose {
                    ticket, command, ..
                } => {
                    let outcome = self.apply(command);
                    let result = Ok(Settled {
                        outcome,
                        maybe_before: false,
                    });
                    self.step(Input::Proposed(ticket, result));
                }
                other => others.push(other),
            }
        }
        others
    }

    /// Turns, and applies what is proposed, until nothing is; gives all else.
    fn run(&mut self) -> Vec<Wanted> {
        let mut all = Vec::new();
        for _ in 0..20 {
            let wanted = self.turn();
            all.extend(self.apply_all(wanted));
            self.pass(4 * MS_NS);
        }
        all
    }

    fn create(&mut self, count: usize) {
        let create = CreateTasks {
            namespace: space(),
            request_id: String::new(),
            tasks: vec![NewTask::default(); count],
        };
        self.apply(Command::CreateTasks(create));
    }

    fn open(&mut self, number: u64, consumer_id: &str, method: Method) -> SessionId {
        let session = SessionId(number);
        let open = Open {
            namespace: space(),
            consumer_id: consumer_id.into(),
            lease_ms: 0,
            method,
        };
        self.happened(session, SessionInput::Open(open));
        session
    }

    /// A session with a name, open.
    fn named(&mut self, number: u64) -> SessionId {
        let session = self.open(number, "c", consume(true));
        let wanted = self.turn();
        assert!(wanted.iter().any(|o| matches!(o, Output::Find { .. })));
        self.found(session, Vec::new());
        session
    }

    fn found(&mut self, session: SessionId, leases: Vec<Grant>) {
        self.happened(session, SessionInput::Found(Ok(leases)));
    }

    fn sent(&mut self, session: SessionId, keys: &[Key]) {
        let delivered = Delivered {
            sent: keys.to_vec(),
            ..Delivered::default()
        };
        self.happened(session, SessionInput::Delivered(delivered));
    }

    fn ack(&mut self, session: SessionId, key: Key) {
        let item = Item {
            task_id: key.0.to_string(),
            deadline_ns: None,
            ask: Ask::Ack(key),
        };
        self.happened(session, SessionInput::Said(Said::Ask(item)));
    }
}

/// The ticket of the first proposal among what is wanted.
fn ticket(wanted: &[Wanted]) -> Ticket {
    let ticket = wanted.iter().find_map(|output| match output {
        Output::Propose { ticket, .. } => Some(*ticket),
        _ => None,
    });
    ticket.unwrap()
}

/// The commands among what is wanted.
fn commands(wanted: &[Wanted]) -> Vec<&Command> {
    let commands = wanted.iter().filter_map(|output| match output {
        Output::Propose { command, .. } => Some(command),
        _ => None,
    });
    commands.collect()
}

fn space() -> Namespace {
    Namespace::new("n").unwrap()
}

fn consume(is_named: bool) -> Method {
    Method::Consume {
        in_flight_max: 10,
        bytes_max: 1 << 20,
        is_named,
    }
}

fn take(wait_ns: u64) -> Method {
    Method::Take(Taking {
        tasks: 2,
        wait_ns,
        patience_ns: 10 * SECOND_NS,
        resume: false,
    })
}

fn delivered(wanted: &[Wanted]) -> Vec<Key> {
    let of = |output: &Wanted| match output {
        Output::Session(_, Told::Deliver(deliveries)) => {
            deliveries.iter().map(Delivery::key).collect()
        }
        _ => Vec::new(),
    };
    wanted.iter().flat_map(of).collect()
}

fn ends(wanted: &[Wanted]) -> Vec<&End<&'static str>> {
    let ends = wanted.iter().filter_map(|output| match output {
        Output::Session(_, Told::Close(end)) => Some(end),
        _ => None,
    });
    ends.collect()
}

fn ending(wanted: &Wanted) -> Option<&Ending> {
    match wanted {
        Output::Session(_, Told::Answer(answer)) => Some(&answer.ending),
        _ => None,
    }
}

fn reports(wanted: &[Wanted]) -> Vec<(u64, u64)> {
    let of = |output: &Wanted| match output {
        Output::Report {
            report: Report::There(report),
            ..
        } => Some((report.received_total, report.allowed_total)),
        _ => None,
    };
    wanted.iter().filter_map(of).collect()
}

#[test]
fn a_lease_leaves_the_count_when_the_log_says_that_it_ended_whoever_ended_it() {
    let mut bench = Bench::new(1);
    let session = bench.named(1);
    bench.create(3);
    let keys = delivered(&bench.run());
    assert_eq!(keys.len(), 3);
    bench.sent(session, &keys);
    assert_eq!(bench.sessions.lease_count(), 3);
    // By the client, by a call elsewhere, by time.
    bench.ack(session, keys[0]);
    let answers = bench.run();
    let done = |output: &Wanted| matches!(ending(output), Some(Ending::Over(_)));
    assert_eq!(answers.iter().filter(|output| done(output)).count(), 1);
    bench.apply(Command::AckTasks(z4_core::command::LeaseRefs {
        namespace: space(),
        leases: vec![keys[1]],
    }));
    assert_eq!(bench.sessions.lease_count(), 1);
    bench.pass(40 * SECOND_NS);
    bench.apply(Command::Pulse);
    assert_eq!(bench.sessions.lease_count(), 0);
}

#[test]
fn a_leader_is_told_again_when_the_way_to_it_broke() {
    let mut bench = Bench::new(2);
    bench.named(1);
    assert_eq!(reports(&bench.turn()), [(0, 10)]);
    let reported = |is_told| Input::Reported {
        consumer: "c~1.b.1".into(),
        is_told,
    };
    bench.step(reported(true));
    assert_eq!(reports(&bench.turn()), [], "it knows");
    bench.step(Input::ReportsLost(3));
    assert_eq!(reports(&bench.turn()), [], "that was another");
    bench.step(Input::ReportsLost(2));
    assert_eq!(reports(&bench.turn()), [(0, 10)]);
    // One that did not arrive comes again after a while.
    bench.step(reported(false));
    assert_eq!(reports(&bench.turn()), []);
    bench.pass(limits::REPORT_RETRY_NS);
    assert_eq!(reports(&bench.turn()), [(0, 10)]);
}

#[test]
fn a_call_has_what_the_log_granted_it_and_what_comes_later_goes_back() {
    let mut bench = Bench::new(1);
    bench.create(3);
    let session = bench.open(1, "c", take(0));
    let wanted = bench.turn();
    assert!(matches!(commands(&wanted)[..], [Command::LeaseTasks(_)]));
    let answer = {
        bench.apply_all(wanted);
        bench.turn()
    };
    let keys = delivered(&answer);
    assert_eq!(keys.len(), 2);
    bench.sent(session, &keys);
    bench.happened(session, SessionInput::Gone);
    bench.run();
    assert_eq!((bench.sessions.lease_count(), bench.sessions.len()), (0, 0));
    // One that left before its lease was decided.
    let session = bench.open(2, "d", take(0));
    let wanted = bench.turn();
    bench.happened(session, SessionInput::Gone);
    bench.turn();
    bench.apply_all(wanted);
    let wanted = bench.turn();
    assert!(matches!(commands(&wanted)[..], [Command::ReleaseTasks(_)]));
}

#[test]
fn a_call_that_waits_is_answered_by_what_falls_due_or_with_nothing() {
    let mut bench = Bench::new(1);
    let session = bench.open(1, "c", take(SECOND_NS));
    let wanted = bench.turn();
    assert!(wanted.is_empty(), "it stands in line");
    assert!(bench.run().is_empty());
    bench.pass(SECOND_NS);
    let wanted = bench.turn();
    assert!(
        matches!(&wanted[..], [Output::Session(_, Told::Deliver(deliveries))] if deliveries.is_empty())
    );
    bench.happened(session, SessionInput::Gone);

    bench.open(2, "c", take(SECOND_NS));
    bench.turn();
    bench.create(1);
    assert_eq!(delivered(&bench.run()).len(), 1);
}

#[test]
fn a_call_has_what_is_due_however_short_it_waits_and_however_long_a_commit_takes() {
    let mut bench = Bench::new(1);
    bench.create(2);
    bench.open(1, "c", take(MS_NS));
    let wanted = bench.turn();
    assert!(matches!(commands(&wanted)[..], [Command::LeaseTasks(_)]));
    bench.pass(5 * MS_NS);
    assert!(bench.turn().is_empty(), "its answer is on its way");
    bench.apply_all(wanted);
    assert_eq!(delivered(&bench.turn()).len(), 2);
}

/// A state that may be read only after it was said whether anybody awaits tasks.
struct Watched<'a> {
    state: &'a MemState,
    was_said: &'a Cell<bool>,
    reads: &'a Cell<u32>,
}

impl Watched<'_> {
    fn read(&self) {
        assert!(
            self.was_said.get(),
            "a task that comes now would wake nobody"
        );
        self.reads.set(self.reads.get() + 1);
    }
}

impl View for Watched<'_> {
    fn get(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.read();
        self.state.get(key)
    }

    fn scan(
        &self,
        from: &RowKey,
        to: &RowKey,
        visit: &mut dyn FnMut(RowKey, Row) -> bool,
    ) -> Result<(), StateError> {
        self.read();
        self.state.scan(from, to, visit)
    }
}

#[test]
fn a_turn_says_who_awaits_tasks_before_it_looks_into_the_state() {
    let mut bench = Bench::new(1);
    let (was_said, reads) = (Cell::new(false), Cell::new(0));
    bench.named(1);
    for _ in 0..5 {
        was_said.set(false);
        let view = Watched {
            state: bench.machine.state(),
            was_said: &was_said,
            reads: &reads,
        };
        let say = |awaits_due: bool| {
            assert!(awaits_due, "a session is there");
            was_said.set(true);
            None
        };
        let turn = bench
            .sessions
            .turn_shared(bench.now, &view, say, |_| Vec::new())
            .unwrap();
        bench.apply_all(turn.outputs);
    }
    assert!(reads.get() > 0, "no turn looked into the state");
}

#[test]
fn a_session_that_missed_events_looks_for_its_leases() {
    let mut bench = Bench::new(1);
    let session = bench.named(1);
    bench.create(2);
    let keys = delivered(&bench.run());
    bench.sent(session, &keys);
    bench.step(Input::Applied(AppliedEvents {
        is_jump: true,
        ..AppliedEvents::default()
    }));
    let wanted = bench.turn();
    assert!(wanted.iter().any(|o| matches!(o, Output::Find { .. })));
    // One of them ended meanwhile, unheard of; and one was granted.
    let whose = Whose::Consumer("c".into());
    let mut leases = find(bench.machine.state(), &space(), &whose).unwrap();
    assert_eq!(leases.len(), 2);
    let kept = (leases[0].id, leases[0].token);
    leases[1].id = z4_core::TaskId::new(7, 7, 7);
    let new = (leases[1].id, leases[1].token);
    bench.found(session, leases);
    assert_eq!(delivered(&bench.turn()), [new]);
    assert_eq!(bench.sessions.lease_count(), 2);
    assert!(keys.contains(&kept));
}
