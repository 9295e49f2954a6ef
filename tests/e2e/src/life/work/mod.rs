//! Clients of all kinds at work on one namespace. Each of them records what it
//! asked and what it was told, and knows "done" or "unknown", never "surely
//! not done" by silence.
//!
//! | file | who |
//! |---|---|
//! | `producer`, `consumer`, `leaser`, `undertaker` | clients that speak the protocol themselves: they do what no good client does |
//! | `maker`, `taker` | programs of the client crate, as people write them |
//! | `bulk`, `pace` | producers of batches, and the pace that they work at |
//! | `calls`, `said` | what answers mean |

mod bulk;
pub mod calls;
mod consumer;
mod leaser;
mod maker;
pub mod pace;
mod producer;
mod said;
mod taker;
mod undertaker;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use z4_core::TaskId;

use self::pace::Pace;
use super::record::Record;
use crate::client::Client;

/// Length of the leases that consumers ask for.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// How long a lease lasts at most: that of a consumer that extends it.
pub const LEASE_MAX: Duration = Duration::from_millis(3_000);
/// Tasks of late that others may read, cancel, redrive.
const RECENT: usize = 400;

/// How many clients of each kind there are.
#[derive(Debug, Clone)]
pub struct Crew {
    /// Producers, each with one call in flight.
    pub producers: usize,
    /// The pause of a producer between two calls, in milliseconds.
    pub pause_ms: Range<u64>,
    /// Consumers on streams.
    pub consumers: usize,
    /// Consumers without a stream.
    pub leasers: usize,
    /// Producers that are programs of the client crate, and as many consumers.
    pub of_crate: usize,
    /// Clients that look after dead letters.
    pub undertakers: usize,
    /// Consumers on streams that have no bad habits, and hold more.
    pub steady: usize,
    /// The pace of producers of batches, who are as many as it says; `None`: there
    /// are none.
    pub bulk: Option<Arc<Pace>>,
}

impl Default for Crew {
    fn default() -> Self {
        Self {
            producers: 8,
            pause_ms: 5..40,
            consumers: 6,
            leasers: 3,
            of_crate: 2,
            undertakers: 1,
            steady: 0,
            bulk: None,
        }
    }
}

/// How many tasks of each round are known to anybody who wants to do something
/// to one.
#[derive(Debug, Default)]
struct Recent {
    ids: Vec<TaskId>,
    next: usize,
}

/// The places of the members, as the runner knows them.
pub type Places = Arc<Mutex<Vec<usize>>>;

/// The ways to the peers of a cluster.
#[derive(Clone)]
pub struct Ways {
    /// A client of each peer.
    pub clients: Vec<Client>,
    /// The same through a proxy that cuts connections now and then.
    pub risky: Vec<Client>,
    /// Who of them is a member; when nobody is known to be, all are.
    pub members: Places,
}

/// What all clients of a round share. Clones share it.
#[derive(Clone)]
pub struct Scene {
    ways: Arc<Ways>,
    pause_ms: Range<u64>,
    /// Where the tasks are.
    pub namespace: String,
    /// What everybody is told.
    pub record: Record,
    recent: Arc<Mutex<Recent>>,
    label: Arc<AtomicU64>,
    produces: Arc<AtomicBool>,
    is_wild: Arc<AtomicBool>,
    works: Arc<AtomicBool>,
}

impl Scene {
    /// A client of a member by chance; one in four goes through a proxy. Some go
    /// to whoever is there: to one that was removed, or that nobody knows yet.
    fn client(&self, rng: &mut StdRng) -> &Client {
        let clients = if rng.gen_ratio(1, 4) {
            &self.ways.risky
        } else {
            &self.ways.clients
        };
        let members = self
            .ways
            .members
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if members.is_empty() || rng.gen_ratio(1, 30) {
            return &clients[rng.gen_range(0..clients.len())];
        }
        &clients[members[rng.gen_range(0..members.len())]]
    }

    /// The addresses of all peers for a program of the client crate: every second one
    /// has those of the proxy.
    fn addresses(&self, client: u32) -> Vec<String> {
        let ways = match client.is_multiple_of(2) {
            true => &self.ways.clients,
            false => &self.ways.risky,
        };
        ways.iter().map(|client| client.address.clone()).collect()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: TaskId) {
        let mut recent = self.recent();
        if recent.ids.len() < RECENT {
            recent.ids.push(id);
            return;
        }
        let at = recent.next % RECENT;
        recent.ids[at] = id;
        recent.next += 1;
    }

    /// A task of late, by chance.
    fn some_task(&self, rng: &mut StdRng) -> Option<TaskId> {
        let recent = self.recent();
        let len = recent.ids.len();
        (len > 0).then(|| recent.ids[rng.gen_range(0..len)])
    }

    fn next_label(&self) -> u64 {
        self.label.fetch_add(1, Ordering::Relaxed)
    }

    fn produces(&self) -> bool {
        self.produces.load(Ordering::Relaxed)
    }

    /// Whether bad habits are in order still.
    fn is_wild(&self) -> bool {
        self.is_wild.load(Ordering::Relaxed)
    }

    fn works(&self) -> bool {
        self.works.load(Ordering::Relaxed)
    }
}

/// Clients at work.
pub struct Work {
    scene: Scene,
    producers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
}

impl Work {
    /// Starts all clients of a round.
    #[must_use]
    pub fn start(ways: &Ways, namespace: &str, record: &Record, crew: &Crew, seed: u64) -> Self {
        let scene = Scene {
            ways: Arc::new(ways.clone()),
            pause_ms: crew.pause_ms.clone(),
            namespace: namespace.to_owned(),
            record: record.clone(),
            recent: Arc::default(),
            label: Arc::new(AtomicU64::new(1)),
            produces: Arc::new(AtomicBool::new(true)),
            is_wild: Arc::new(AtomicBool::new(true)),
            works: Arc::new(AtomicBool::new(true)),
        };
        let mut number = 0;
        let mut start = |run: fn(Scene, u32, StdRng), count: usize| {
            let one = |_| {
                let (scene, client) = (scene.clone(), number);
                number += 1;
                let rng = StdRng::seed_from_u64(seed ^ u64::from(number).rotate_left(32));
                thread::spawn(move || run(scene, client, rng))
            };
            (0..count).map(one).collect::<Vec<_>>()
        };
        let mut producers = start(producer::run, crew.producers);
        producers.extend(start(undertaker::run, crew.undertakers));
        producers.extend(start(maker::run, crew.of_crate));
        let mut consumers = start(consumer::run, crew.consumers);
        consumers.extend(start(leaser::run, crew.leasers));
        consumers.extend(start(taker::run, crew.of_crate));
        consumers.extend(start(consumer::run_steadily, crew.steady));
        for (pace, n) in crew
            .bulk
            .iter()
            .flat_map(|p| (0..p.producers()).map(move |n| (p, n)))
        {
            let (scene, client, pace) = (scene.clone(), number, Arc::clone(pace));
            number += 1;
            let rng = StdRng::seed_from_u64(seed ^ u64::from(number).rotate_left(32));
            producers.push(thread::spawn(move || {
                bulk::run(&scene, client, rng, &pace, n)
            }));
        }
        Self {
            scene,
            producers,
            consumers,
        }
    }

    /// No more tasks are made, and consumers do good work only.
    pub fn calm(&mut self) {
        self.scene.produces.store(false, Ordering::Relaxed);
        self.scene.is_wild.store(false, Ordering::Relaxed);
        for producer in self.producers.drain(..) {
            if producer.join().is_err() {
                self.scene.record.absurd("a producer panicked".into());
            }
        }
    }

    /// Everybody leaves.
    pub fn finish(mut self) {
        self.calm();
        self.scene.works.store(false, Ordering::Relaxed);
        for consumer in self.consumers.drain(..) {
            if consumer.join().is_err() {
                self.scene.record.absurd("a consumer panicked".into());
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.scene.produces.store(false, Ordering::Relaxed);
        self.scene.works.store(false, Ordering::Relaxed);
    }
}
