//! `cycle`: create, deliver, ack, round and round, while so many due tasks wait.
//!
//! Each worker acks what it is given at once, and creates a task for each ack
//! that is confirmed: the number of tasks stays the same, and the rate is that
//! of whole lives of tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::{mpsc, oneshot};
use futures::future::{join4, select, BoxFuture, Either, Shared};
use futures::{FutureExt, SinkExt, StreamExt};
use grpcio::{CallOption, ClientDuplexReceiver, ClientDuplexSender, WriteFlags};
use z4_e2e::{create, Client};
use z4_proto::generated::collection::{
    ConsumeCredit, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Say,
    ConsumeResponse, ConsumeResponse_oneof_message as Heard, CreateTaskRequest, LeaseOutcome,
    LeaseRef, TaskStreamResponse,
};

use crate::place::Place;
use crate::report::Report;
use crate::stream;

/// Not measured: until all workers are busy.
const WARM_UP: Duration = Duration::from_secs(3);

/// What to measure.
pub struct Plan {
    /// Due tasks that wait, for each rate that is measured.
    pub backlogs: Vec<usize>,
    /// For how long each.
    pub length: Duration,
    /// Workers, at the peers in turn.
    pub workers: usize,
    /// Tasks that each holds at most.
    pub in_flight: u32,
    /// Bytes of each task.
    pub payload_bytes: usize,
}

/// Ready when the workers are to stop.
type Stopped = Shared<BoxFuture<'static, ()>>;

/// What the workers did.
#[derive(Default)]
struct Counts {
    created: AtomicU64,
    delivered: AtomicU64,
    done: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Measures.
///
/// # Errors
/// When nothing was done, or something was refused.
pub fn run(place: &Place, plan: &Plan) -> Result<Report, String> {
    let mut report = Report::default();
    let mut rates = Vec::new();
    for backlog in &plan.backlogs {
        let (part, rate) = one(place, plan, *backlog)?;
        report.add_part(&format!("backlog_{backlog}"), part);
        rates.push(rate);
    }
    if let [first, .., last] = rates[..] {
        report.add_rounded("last_to_first", last / first);
    }
    Ok(report)
}

fn one(place: &Place, plan: &Plan, backlog: usize) -> Result<(Report, f64), String> {
    let namespace = format!("cycle-{backlog}");
    let request = create(&namespace, vec![b'x'; plan.payload_bytes]);
    let clients = place.clients(2);
    let streams = clients.len();
    let mut nth = 0;
    let filled = stream::run_with(&clients, 1_024, || {
        let share = backlog / streams + usize::from(nth < backlog % streams);
        nth += 1;
        std::iter::repeat_n(request.clone(), share)
    });
    if filled.latency.len() != backlog {
        return Err(format!("of {backlog} tasks: {:?}", filled.refused));
    }
    let rested = rest(place);
    let counts = Arc::<Counts>::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.map(|_| ()).boxed().shared();
    let (ended, ends) = std::sync::mpsc::channel();
    for n in 0..plan.workers {
        let client = clients[n % clients.len()].clone();
        let (request, counts, in_flight) = (request.clone(), Arc::clone(&counts), plan.in_flight);
        let spawner = client.collection.clone();
        let (stopped, ended) = (stopped.clone(), ended.clone());
        spawner.spawn(async move {
            let worked = worker(&client, request, in_flight, &counts, stopped).await;
            if worked.is_err() {
                counts.refused.fetch_add(1, Ordering::Relaxed);
            }
            drop(ended);
        });
    }
    drop(ended);
    thread::sleep(WARM_UP);
    let (start, before, cpu) = (Instant::now(), counts.done(), place.cpu_time());
    thread::sleep(plan.length);
    let (length, done) = (start.elapsed(), counts.done() - before);
    let spent = cpu.zip(place.cpu_time()).map(|(cpu, now)| now - cpu);
    // The next rate must not have to do with these.
    drop(stop);
    let _: Result<(), _> = ends.recv();
    let rate = done as f64 / length.as_secs_f64();
    let mut report = Report::default();
    report
        .add("done", done)
        .add_rounded("cycles_per_s", rate)
        .add_rounded("filled_per_s", filled.rate())
        .add_rounded("rested_s", rested.as_secs_f64());
    if let Some(spent) = spent {
        let us = spent.as_secs_f64() * 1e6 / done.max(1) as f64;
        report.add_rounded("cpu_us_per_cycle_all_peers", us);
    }
    let refused = counts.refused.load(Ordering::Relaxed);
    report.add("refused", refused);
    if done == 0 || refused > 0 {
        return Err(format!("{done} done, {refused} refused or broken off"));
    }
    Ok((report, rate))
}

/// Waits until the peers have done what filling left them to do, at most a
/// minute: the compaction of what is written in one go is not part of a cycle.
fn rest(place: &Place) -> Duration {
    const LOOK: Duration = Duration::from_secs(1);
    let start = Instant::now();
    while let Some(before) = place.cpu_time() {
        thread::sleep(LOOK);
        let busy = place.cpu_time().unwrap_or_default() - before;
        if busy < LOOK / 10 || start.elapsed() > Duration::from_secs(60) {
            break;
        }
    }
    start.elapsed()
}

async fn worker(
    client: &Client,
    request: CreateTaskRequest,
    in_flight: u32,
    counts: &Counts,
    stopped: Stopped,
) -> grpcio::Result<()> {
    let (mut speak, listen) = client.collection.consume_opt(CallOption::default())?;
    let (create, created) = client.collection.create_task_stream()?;
    let mut credit = ConsumeCredit::new();
    credit.set_max_in_flight(in_flight);
    let mut open = ConsumeOpen::new();
    open.set_namespace(request.get_namespace().to_owned());
    open.set_credit(credit);
    let first = (say(Say::open(open)), WriteFlags::default());
    speak.send(first).await?;
    let (acks, to_ack) = mpsc::unbounded();
    let (ends, ended) = mpsc::unbounded();
    join4(
        hear(listen, acks, ends, counts, stopped.clone()),
        send_acks(speak, to_ack),
        send_creates(create, request, ended),
        count_created(created, counts, stopped),
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
    ends: mpsc::UnboundedSender<()>,
    counts: &Counts,
    mut stopped: Stopped,
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
                    let _ = ends.unbounded_send(());
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

async fn send_creates(
    mut create: ClientDuplexSender<CreateTaskRequest>,
    request: CreateTaskRequest,
    mut ends: mpsc::UnboundedReceiver<()>,
) {
    while let Some(()) = ends.next().await {
        let message = (request.clone(), WriteFlags::default());
        if create.send(message).await.is_err() {
            return;
        }
    }
}

async fn count_created(
    mut created: ClientDuplexReceiver<TaskStreamResponse>,
    counts: &Counts,
    mut stopped: Stopped,
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
