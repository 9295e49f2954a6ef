//! Workers that keep whole lives of tasks going: each acks what it is given at once, and
//! a task is created for each ack that is confirmed. So the number of tasks stays the
//! same, and the rate is that of whole lives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::{mpsc, oneshot};
use futures::future::{join, select, BoxFuture, Either, Shared};
use futures::{FutureExt, SinkExt, StreamExt};
use grpcio::{CallOption, ClientDuplexReceiver, ClientDuplexSender, WriteFlags};
use z4_e2e::{wait, Client};
use z4_proto::generated::collection::{
    ConsumeCredit, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Say,
    ConsumeResponse, ConsumeResponse_oneof_message as Heard, CreateTaskRequest, LeaseOutcome,
    LeaseRef, TaskStreamResponse,
};

use crate::place::Place;

/// Not measured: until all workers are busy.
const WARM_UP: Duration = Duration::from_secs(3);
/// How often a count that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The workers and their work.
pub struct Crew {
    /// The creates, one for each namespace that is worked in: the workers work in these
    /// in turn.
    pub requests: Vec<CreateTaskRequest>,
    /// Consumers, at the peers in turn.
    pub workers: usize,
    /// Streams that create for them, at the peers in turn.
    pub creators: usize,
    /// Tasks that each worker holds at most.
    pub in_flight: u32,
}

/// A signal that many wait for.
struct Signal {
    tell: Option<oneshot::Sender<()>>,
    told: Told,
}

/// Ready when the signal was given.
pub type Told = Shared<BoxFuture<'static, ()>>;

/// A sender that gives a signal when it is dropped, and the signal.
pub fn signal() -> (oneshot::Sender<()>, Told) {
    let (tell, told) = oneshot::channel::<()>();
    (tell, told.map(|_| ()).boxed().shared())
}

impl Signal {
    fn new() -> Self {
        let (tell, told) = signal();
        Self {
            tell: Some(tell),
            told,
        }
    }

    fn give(&mut self) {
        drop(self.tell.take());
    }
}

/// The result of the workers.
#[derive(Default)]
struct Counts {
    created: AtomicU64,
    delivered: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
}

/// A rate of whole lives.
pub struct Lives {
    /// Lives that ended while it was measured.
    pub done: u64,
    /// The cycles of a second.
    pub per_s: f64,
    /// Processor time of all peers for each, in microseconds, where it is known.
    pub cpu_us: Option<f64>,
}

/// The work of all workers from their start to their end.
#[derive(Clone, Copy, Debug)]
pub struct Sum {
    /// Creates that were acknowledged.
    pub created: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Acks that were confirmed.
    pub done: u64,
    /// Creates and acks that were refused, and workers that were broken off.
    pub refused: u64,
}

/// Workers that are at work.
pub struct Working {
    counts: Arc<Counts>,
    no_more: Signal,
    stop: Signal,
    workers_end: std::sync::mpsc::Receiver<()>,
    creators_end: std::sync::mpsc::Receiver<()>,
}

impl Crew {
    /// Starts the work.
    #[must_use]
    pub fn start(&self, clients: &[Client]) -> Working {
        let counts = Arc::<Counts>::default();
        let (no_more, stop) = (Signal::new(), Signal::new());
        let (worker_ended, workers_end) = std::sync::mpsc::channel();
        let (creator_ended, creators_end) = std::sync::mpsc::channel();
        let requests: Arc<[CreateTaskRequest]> = self.requests.clone().into();
        let mut ends = Vec::new();
        for n in 0..self.creators {
            let (tell, ended) = mpsc::unbounded();
            ends.push(tell);
            let (client, spawner) = (clients[n % clients.len()].clone(), &clients[0]);
            let (requests, counts) = (Arc::clone(&requests), Arc::clone(&counts));
            let (no_more, stopped) = (no_more.told.clone(), stop.told.clone());
            let creator_ended = creator_ended.clone();
            spawner.collection.spawn(async move {
                let made = creator(&client, requests, ended, &counts, no_more, stopped).await;
                count_failure(&counts, &made);
                drop(creator_ended);
            });
        }
        for n in 0..self.workers {
            let client = clients[n % clients.len()].clone();
            let work = Work {
                which: n % requests.len(),
                namespace: requests[n % requests.len()].get_namespace().to_owned(),
                in_flight: self.in_flight,
                ends: ends[n % ends.len()].clone(),
            };
            let (counts, stopped) = (Arc::clone(&counts), stop.told.clone());
            let (worker_ended, spawner) = (worker_ended.clone(), client.collection.clone());
            spawner.spawn(async move {
                let worked = worker(&client, work, &counts, stopped).await;
                count_failure(&counts, &worked);
                drop(worker_ended);
            });
        }
        Working {
            counts,
            no_more,
            stop,
            workers_end,
            creators_end,
        }
    }
}

fn count_failure(counts: &Counts, outcome: &grpcio::Result<()>) {
    if outcome.is_err() {
        counts.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Working {
    /// The work so far.
    #[must_use]
    pub fn sum(&self) -> Sum {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Sum {
            created: of(&self.counts.created),
            delivered: of(&self.counts.delivered),
            done: of(&self.counts.done),
            refused: of(&self.counts.refused),
        }
    }

    /// The rate of so long a time, once all workers are busy.
    #[must_use]
    pub fn measure(&self, place: &Place, length: Duration) -> Lives {
        thread::sleep(WARM_UP);
        let (start, before, cpu) = (Instant::now(), self.sum().done, place.cpu_time());
        thread::sleep(length);
        let (length, done) = (start.elapsed(), self.sum().done - before);
        let spent = cpu.zip(place.cpu_time()).map(|(cpu, now)| now - cpu);
        Lives {
            done,
            per_s: done as f64 / length.as_secs_f64(),
            cpu_us: spent.map(|spent| spent.as_secs_f64() * 1e6 / done.max(1) as f64),
        }
    }

    /// Waits until so many lives have ended.
    ///
    /// # Errors
    /// When none ends within `silence`.
    pub fn wait_done(&self, count: u64, silence: Duration) -> Result<(), String> {
        let mut last = (self.sum().done, Instant::now());
        while last.0 < count {
            thread::sleep(LOOK);
            let now = self.sum();
            if now.done > last.0 {
                last = (now.done, Instant::now());
            } else if last.1.elapsed() > silence {
                return Err(format!("nothing ended within {silence:?}: {now:?}"));
            }
        }
        Ok(())
    }

    /// Breaks all work off.
    pub fn stop(mut self) -> Sum {
        self.end()
    }

    fn end(&mut self) -> Sum {
        self.no_more.give();
        self.stop.give();
        for ends in [&self.workers_end, &self.creators_end] {
            // An error says that the last one has ended.
            let _: Result<(), _> = ends.recv();
        }
        self.sum()
    }

    /// Creates no more, has the workers finish all that is there, `inside` tasks before
    /// they began, and audits: none may be lost, and none may come twice.
    ///
    /// # Errors
    /// When a task is missing after `limit`, one came twice, or something was refused.
    pub fn finish(mut self, inside: u64, limit: Duration) -> Result<Sum, String> {
        self.no_more.give();
        let _ = self.creators_end.recv_timeout(limit);
        // Time up is no error here: the audit says what is missing.
        let _ = wait::within(limit, || {
            let sum = self.sum();
            wait::check(sum.done >= inside + sum.created, String::new)
        });
        // A task that comes twice comes soon after.
        thread::sleep(20 * LOOK);
        let sum = self.end();
        let all = inside + sum.created;
        match sum.done == all && sum.delivered == all && sum.refused == 0 {
            true => Ok(sum),
            false => Err(format!("of {all} tasks: {sum:?}")),
        }
    }
}

/// The work of one worker.
struct Work {
    /// The number of the create that makes a task of its namespace.
    which: usize,
    namespace: String,
    in_flight: u32,
    ends: mpsc::UnboundedSender<usize>,
}

async fn worker(client: &Client, work: Work, counts: &Counts, stopped: Told) -> grpcio::Result<()> {
    let (mut speak, listen) = client.collection.consume_opt(CallOption::default())?;
    let mut credit = ConsumeCredit::new();
    credit.set_max_in_flight(work.in_flight);
    let mut open = ConsumeOpen::new();
    open.set_namespace(work.namespace.clone());
    open.set_credit(credit);
    let first = (say(Say::open(open)), WriteFlags::default());
    speak.send(first).await?;
    let (acks, to_ack) = mpsc::unbounded();
    join(
        hear(listen, acks, work, counts, stopped),
        send_acks(speak, to_ack),
    )
    .await;
    Ok(())
}

fn say(what: Say) -> ConsumeRequest {
    let mut message = ConsumeRequest::new();
    message.message = Some(what);
    message
}

async fn hear(
    mut listen: ClientDuplexReceiver<ConsumeResponse>,
    acks: mpsc::UnboundedSender<LeaseRef>,
    work: Work,
    counts: &Counts,
    mut stopped: Told,
) {
    while let Either::Left((Some(Ok(message)), _)) = select(listen.next(), &mut stopped).await {
        match message.message {
            Some(Heard::delivery(delivery)) => {
                counts.delivered.fetch_add(1, Ordering::Relaxed);
                let mut lease = LeaseRef::new();
                lease.set_task_id(delivery.get_task().get_id().to_owned());
                lease.set_lease_token(delivery.get_lease_token());
                // Fails when the other half has ended.
                let _ = acks.unbounded_send(lease);
            }
            Some(Heard::result(result)) => {
                if result.get_outcome() == LeaseOutcome::LEASE_OUTCOME_DONE {
                    counts.done.fetch_add(1, Ordering::Relaxed);
                    // Fails when nothing is created any more.
                    let _ = work.ends.unbounded_send(work.which);
                } else {
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }
    // The receiver does not cancel its call when it is dropped.
    listen.cancel();
}

async fn send_acks(
    mut speak: ClientDuplexSender<ConsumeRequest>,
    mut acks: mpsc::UnboundedReceiver<LeaseRef>,
) {
    while let Some(lease) = acks.next().await {
        let message = (say(Say::ack(lease)), WriteFlags::default());
        if speak.send(message).await.is_err() {
            return;
        }
    }
}

async fn creator(
    client: &Client,
    requests: Arc<[CreateTaskRequest]>,
    ended: mpsc::UnboundedReceiver<usize>,
    counts: &Counts,
    no_more: Told,
    stopped: Told,
) -> grpcio::Result<()> {
    let (create, created) = client.collection.create_task_stream()?;
    join(
        send_creates(create, &requests, ended, no_more),
        count_created(created, counts, stopped),
    )
    .await;
    Ok(())
}

async fn send_creates(
    mut create: ClientDuplexSender<CreateTaskRequest>,
    requests: &[CreateTaskRequest],
    mut ended: mpsc::UnboundedReceiver<usize>,
    mut no_more: Told,
) {
    while let Either::Left((Some(which), _)) = select(ended.next(), &mut no_more).await {
        let message = (requests[which].clone(), WriteFlags::default());
        if create.send(message).await.is_err() {
            return;
        }
    }
    // Fails when the stream has ended already.
    let _ = create.close().await;
}

async fn count_created(
    mut created: ClientDuplexReceiver<TaskStreamResponse>,
    counts: &Counts,
    mut stopped: Told,
) {
    while let Either::Left((Some(Ok(answer)), _)) = select(created.next(), &mut stopped).await {
        let counter = match answer.get_status() {
            0 => &counts.created,
            _ => &counts.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    created.cancel();
}
