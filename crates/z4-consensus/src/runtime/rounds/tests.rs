#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver};
use raft::eraftpb::Message;

use super::*;
use crate::counter::{Counter, CounterDisk};
use crate::mem_log::MemLog;
use crate::membership::{Identity, Membership};
use crate::replica;
use crate::runtime::apply_thread::Applier;
use crate::runtime::flush_thread::Pace;
use crate::runtime::prepare;

struct Nowhere;

impl Transport for Nowhere {
    fn send(&mut self, _: Vec<Message>) {}

    fn members(&mut self, _: &Membership) {}
}

/// The rounds of a cluster of one, without threads, and the other ends of its channels.
struct Bench {
    rounds: SharedRounds<MemLog, Counter, Nowhere>,
    notices: Sender<Notice>,
    nudges: Receiver<()>,
    log_jobs: Receiver<LogJob>,
    _apply_jobs: Receiver<ApplyJob<u64>>,
}

impl Bench {
    fn new() -> Self {
        let identity = Identity {
            cluster_id: [3; 16],
            raft_id: 1,
            peer_id: "peer1".into(),
        };
        let applied = Applied {
            position: Position { index: 1, term: 1 },
            membership: Membership::bootstrap(&identity, "peer1:1"),
            stamp_ns: 0,
        };
        let disk = CounterDisk::default();
        disk.durable.lock().unwrap().0 = applied.clone();
        let config = replica::Config {
            raft_id: 1,
            address: String::new(),
            seed: 1,
            log_keep_entries: 20,
        };
        let logger = Logger::root(slog::Discard, slog::o!());
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let log = Arc::new(MemLog::bootstrapped());
        let (handle, pending) = prepare();
        let ((notices_tx, notices), (nudge, nudges)) = (bounded(8), bounded(1));
        let ((log_tx, log_jobs), (apply_tx, apply_jobs)) = (bounded(1), bounded(8));
        let (machine, pace) = (Counter::open(&disk), Pace::new(20));
        let applier = Applier::new(machine, bounded(1).0, pace, metrics.clone(), logger.clone());
        let rounds = Rounds {
            replica: Replica::new(config, log, &applied, &logger).unwrap(),
            transport: Nowhere,
            inbox: Inbox {
                requests: pending.requests,
                news: pending.news,
                notices,
            },
            nudge,
            log: Outbox::new(log_tx),
            apply: Outbox::new(apply_tx),
            applier,
            callers: Vec::new(),
            handle,
            clock: || 1,
            on_removed: None,
            metrics,
            logger,
            moments: Instant::now().into(),
            published: Status::default(),
            space_low: false,
        };
        let bench = Self {
            rounds: Arc::new(Mutex::new(Some(rounds))),
            notices: notices_tx,
            nudges,
            log_jobs,
            _apply_jobs: apply_jobs,
        };
        // The peer votes for itself here, and waits for its disk from then on.
        bench.with(|rounds| rounds.run());
        assert!(bench.log_jobs.try_recv().is_ok());
        bench
    }

    /// Tells whether a round is run here.
    fn runs(&self) -> bool {
        run_here(&self.rounds, (), |_, (), _| ()).is_ok()
    }

    fn with<R>(&self, look: impl FnOnce(&mut Rounds<MemLog, Counter, Nowhere>) -> R) -> R {
        look(lock(&self.rounds).as_mut().unwrap())
    }

    fn cut(&self) {
        self.with(|rounds| {
            let nothing = Position { index: 0, term: 0 };
            assert!(rounds.log.send(LogJob::Cut(nothing)).is_ok());
        });
    }
}

#[test]
fn another_thread_runs_a_round_only_when_nothing_is_before_it() {
    let bench = Bench::new();
    assert!(bench.runs());

    let held = lock(&bench.rounds);
    assert!(!bench.runs(), "a round is under way");
    drop(held);
    assert!(bench.runs());

    bench.notices.send(Notice::Applied(1)).unwrap();
    assert!(!bench.runs(), "something came earlier");
    bench.with(|rounds| rounds.run());
    assert!(bench.runs());

    (0..=limits::OUTBOX_LEN_MAX).for_each(|_| bench.cut());
    assert!(!bench.runs(), "the log is far behind");
    bench.log_jobs.try_recv().unwrap();
    bench.with(|rounds| rounds.push());
    assert!(bench.runs());

    bench.with(|rounds| rounds.handle.stop());
    let sleep = bench.with(|rounds| rounds.run());
    assert!(sleep.is_none(), "nobody can take over");
    assert!(!bench.runs(), "the peer stops");
    lock(&bench.rounds).take();
    assert!(!bench.runs(), "it has stopped");
}

#[test]
fn a_round_of_another_thread_pushes_what_had_no_room() {
    let bench = Bench::new();
    (0..3).for_each(|_| bench.cut());
    for _ in 0..3 {
        assert!(bench.log_jobs.try_recv().is_ok());
        assert!(bench.runs());
    }
    assert!(bench.log_jobs.try_recv().is_err());
}

#[test]
fn the_raft_thread_is_woken_once_when_it_would_sleep_for_too_long() {
    let bench = Bench::new();
    bench.with(|rounds| {
        rounds.moments.sleep_until = Instant::now() + Duration::from_secs(60);
    });
    assert!(bench.runs());
    assert!(bench.nudges.try_recv().is_ok());
    assert!(bench.runs());
    assert!(bench.nudges.try_recv().is_err(), "it knows");
}
