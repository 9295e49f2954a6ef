//! What storage costs: log append, apply, due scan, snapshot.
//!
//! `cargo bench -p z4-bench --bench storage`. `Z4_BENCH_CONSUMED_MAX` lowers the
//! largest number of consumed tasks before the due scan is measured (default
//! 10,000,000, which takes a few minutes to consume).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use prometheus::Registry;
use raft::eraftpb::{Entry, HardState};
use slog::{o, Discard, Logger};
use tempfile::TempDir;
use z4_consensus::log::{LogStore, LogWrite, Position};
use z4_consensus::machine::{Committed, Flusher, StateMachine};
use z4_core::command::{CreateTasks, LeaseRefs, LeaseTasks, NewTask, Taker};
use z4_core::limits::{ACK_COUNT_MAX, LEASE_COUNT_MAX};
use z4_core::{Command, Namespace, Outcome};
use z4_proto::command::encode_command;
use z4_storage::{Metrics, RaftLog, RocksState, Store, StoreOptions, TaskMachine};

const PAYLOAD_LEN: usize = 100;
/// Tasks of one create command, and commands of one entry, where tasks are only
/// a means.
const CREATE_COUNT: usize = 1_000;
/// The state is flushed after so many entries, as the flusher would.
const FLUSH_ENTRY_COUNT: u64 = 400;

/// On the disk of the build, for /tmp may be memory.
fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn metrics() -> Metrics {
    Metrics::new(&Registry::new()).unwrap()
}

/// A machine on disk, driven as by consensus, without a log.
struct Bench {
    machine: TaskMachine<RocksState>,
    flusher: Flusher,
    index: u64,
    _store: Store,
    _dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = directory();
        let mut store = Store::open(StoreOptions {
            db_dir: dir.path().join("db"),
            peer_dir: dir.path().join("peer"),
            peer_id: "bench".into(),
            open_files_max: z4_storage::limits::OPEN_FILES_MAX,
            logger: Logger::root(Discard, o!()),
            metrics: metrics(),
        })
        .unwrap();
        store.bootstrap([1; 16], "127.0.0.1:1").unwrap();
        let applied = store.applied().clone();
        let machine = TaskMachine::open(store.state(), applied, Box::new(|_| ())).unwrap();
        Self {
            flusher: machine.flusher(),
            machine,
            index: 1,
            _store: store,
            _dir: dir,
        }
    }

    fn entry(&mut self, commands: &[Command]) -> Committed {
        self.index += 1;
        Committed {
            position: Position {
                index: self.index,
                term: 1,
            },
            stamp_ns: self.index * 1_000_000,
            commands: commands.iter().map(encode_command).collect(),
            membership: None,
        }
    }

    fn apply(&mut self, entry: Committed) -> Vec<Outcome> {
        let index = entry.position.index;
        let mut replies = self.machine.apply(vec![entry]).unwrap();
        if index.is_multiple_of(FLUSH_ENTRY_COUNT) {
            (self.flusher)().unwrap();
        }
        replies.pop().unwrap()
    }

    fn create(&mut self, count: usize) {
        for start in (0..count).step_by(CREATE_COUNT) {
            let entry = self.entry(&[create(CREATE_COUNT.min(count - start))]);
            self.apply(entry);
        }
    }

    /// Creates tasks, leases and acks them all.
    fn consume(&mut self, count: u64) {
        let leases = ACK_COUNT_MAX / LEASE_COUNT_MAX;
        let round = (leases * LEASE_COUNT_MAX) as u64;
        for start in (0..count).step_by(round as usize) {
            let tasks = round.min(count - start) as usize;
            self.create(tasks);
            let entry = self.entry(&vec![lease(LEASE_COUNT_MAX as u32); leases]);
            let granted = self.apply(entry);
            let entry = self.entry(&[ack(&granted)]);
            self.apply(entry);
        }
    }
}

fn create(count: usize) -> Command {
    let task = NewTask {
        payload: vec![7; PAYLOAD_LEN],
        ..NewTask::default()
    };
    Command::CreateTasks(CreateTasks {
        namespace: Namespace::new("bench").unwrap(),
        request_id: String::new(),
        tasks: vec![task; count],
    })
}

fn lease(room: u32) -> Command {
    Command::LeaseTasks(LeaseTasks {
        namespace: Namespace::new("bench").unwrap(),
        takers: vec![Taker {
            consumer: "c".into(),
            room,
        }],
        lease_ms: 3_600_000,
        ahead_ms: 0,
    })
}

fn ack(granted: &[Outcome]) -> Command {
    let leases = granted
        .iter()
        .flat_map(|outcome| match outcome {
            Outcome::Leased { grants, .. } => grants.as_slice(),
            other => panic!("not leased: {other:?}"),
        })
        .map(|g| (g.id, g.token))
        .collect();
    Command::AckTasks(LeaseRefs {
        namespace: Namespace::new("bench").unwrap(),
        leases,
    })
}

fn log_append(c: &mut Criterion) {
    let mut group = c.benchmark_group("log_append_sync");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    for count in [1u64, 64, 1_024] {
        let dir = directory();
        let log = RaftLog::open(dir.path(), metrics()).unwrap();
        let mut next = 1;
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                let entries = (next..next + count)
                    .map(|index| Entry {
                        index,
                        term: 1,
                        data: vec![7; 256].into(),
                        ..Entry::default()
                    })
                    .collect();
                next += count;
                log.write(&LogWrite {
                    entries,
                    hard_state: Some(HardState {
                        term: 1,
                        commit: next - 1,
                        ..HardState::default()
                    }),
                    sync: true,
                })
                .unwrap();
                if next % (1 << 16) < count {
                    let last = log.last().unwrap();
                    log.cut_through(last).unwrap();
                }
            });
        });
    }
    group.finish();
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    let tasks = LEASE_COUNT_MAX as u64;
    group.throughput(Throughput::Elements(tasks));
    let mut bench = Bench::new();
    // One task a command: as single callers write them, packed in one entry.
    let singles = vec![create(1); LEASE_COUNT_MAX];
    group.bench_function("create", |b| {
        b.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                let entry = bench.entry(&singles);
                let started = Instant::now();
                black_box(bench.apply(entry));
                took += started.elapsed();
            }
            took
        });
    });
    let mut bench = Bench::new();
    group.bench_function("lease_and_ack", |b| {
        b.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                bench.create(LEASE_COUNT_MAX);
                let entry = bench.entry(&[lease(LEASE_COUNT_MAX as u32)]);
                let started = Instant::now();
                let granted = bench.apply(entry);
                took += started.elapsed();
                let entry = bench.entry(&[ack(&granted)]);
                let started = Instant::now();
                black_box(bench.apply(entry));
                took += started.elapsed();
            }
            took
        });
    });
    group.finish();
}

/// The lease of a few tasks at the head of a queue whose rows before it were
/// consumed: the scan must not meet what is left of them.
fn due_scan(c: &mut Criterion) {
    const ROOM: u32 = 100;
    let most = std::env::var("Z4_BENCH_CONSUMED_MAX")
        .ok()
        .map_or(10_000_000, |v| v.parse().expect("a number of tasks"));
    let mut group = c.benchmark_group("due_scan_after_consumed");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3))
        .throughput(Throughput::Elements(u64::from(ROOM)));
    let mut bench = Bench::new();
    let mut consumed = 0u64;
    for target in [0, 1_000_000, 10_000_000] {
        let target = most.min(target);
        if target < consumed || (target == consumed && target > 0) {
            continue;
        }
        let (started, count) = (Instant::now(), target - consumed);
        bench.consume(count);
        consumed = target;
        if count > 0 {
            let seconds = started.elapsed().as_secs_f64();
            println!(
                "consumed {count} tasks in {seconds:.1} s: {:.0}/s created, leased and acked",
                count as f64 / seconds
            );
        }
        group.bench_function(BenchmarkId::from_parameter(consumed), |b| {
            b.iter_custom(|rounds| {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    bench.create(ROOM as usize);
                    let entry = bench.entry(&[lease(ROOM)]);
                    let started = Instant::now();
                    let granted = bench.apply(entry);
                    took += started.elapsed();
                    let entry = bench.entry(&[ack(&granted)]);
                    bench.apply(entry);
                }
                took
            });
        });
    }
    group.finish();
}

fn snapshot(c: &mut Criterion) {
    const TASKS: usize = 1_000_000;
    let mut group = c.benchmark_group("snapshot");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(4));
    let mut bench = Bench::new();
    bench.create(TASKS);
    group.bench_function("checkpoint_of_1000000_tasks", |b| {
        b.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                // A little to flush, as under load.
                bench.create(CREATE_COUNT);
                let started = Instant::now();
                let made = bench.machine.checkpoint().unwrap();
                took += started.elapsed();
                bench.machine.drop_snapshot(made.position);
            }
            took
        });
    });
    group.finish();
}

criterion_group!(benches, log_append, apply, due_scan, snapshot);
criterion_main!(benches);
