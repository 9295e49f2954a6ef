//! `lateness`: tasks at random times, each measured when it comes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::{select, Either};
use futures::StreamExt;
use z4_check::delivery::{Created, Deliveries};
use z4_check::Rule;
use z4_core::TaskId;
use z4_e2e::request::instant;
use z4_e2e::{create, peer, Client, Edit};
use z4_proto::generated::collection::StreamTasksRequest;

use crate::crew::{signal, Told};
use crate::place::Place;
use crate::random::Random;
use crate::report::Report;
use crate::stats::Times;
use crate::stream;

/// Creates in flight while the tasks are made.
const WINDOW: usize = 512;

/// What to measure.
pub struct Plan {
    /// The namespaces of the tasks and of the streams, both in turn.
    pub namespaces: Vec<String>,
    /// How many tasks.
    pub tasks: usize,
    /// Over how long their times are spread.
    pub over: Duration,
    /// How long before the first of them the creates start.
    pub lead: Duration,
    /// How many streams read them, over the peers in turn.
    pub streams: usize,
    /// Seed of the times.
    pub seed: u64,
    /// How long after the last due time a task is waited for.
    pub grace: Duration,
}

/// A task as it came: its number and time, and when it came.
type Came = (usize, SystemTime, SystemTime);

/// The namespace of a run that has one of its own.
#[must_use]
pub fn own_namespace(seed: u64) -> Vec<String> {
    vec![format!("lateness-{seed:x}")]
}

/// Creates the tasks, reads them, and compares.
///
/// # Errors
/// When no peer leads, or the creates were not all acknowledged before the
/// first was due: the figures would not be what they seem.
pub fn run(place: &Place, plan: &Plan) -> Result<Report, String> {
    let namespace = |n: usize| plan.namespaces[n % plan.namespaces.len()].as_str();
    let leader = place.leader()?;
    let seen = Arc::new(Seen::default());
    let readers = place.clients(1);
    // The next measurement must not have to do with these streams.
    let (_stop, stopped) = signal();
    for n in 0..plan.streams.max(1) {
        let client = &readers[n % readers.len()];
        read(client, namespace(n), &seen, stopped.clone());
    }
    let mut random = Random::new(plan.seed);
    let first_due = SystemTime::now() + plan.lead;
    let due: Vec<SystemTime> = (0..plan.tasks)
        .map(|_| first_due + random.below(plan.over))
        .collect();
    let requests: Vec<_> = due
        .iter()
        .enumerate()
        .map(|(n, at)| create(namespace(n), (n as u64).to_be_bytes().to_vec()).at(*at))
        .collect();
    let writer: Vec<Client> = place
        .clients(1)
        .into_iter()
        .filter(|c| c.address == leader)
        .collect();
    let mut requests = Some(requests.into_iter());
    let made = stream::run_with(&writer, WINDOW, || requests.take().into_iter().flatten());
    if made.latency.len() != plan.tasks {
        let acked = made.latency.len();
        return Err(format!(
            "{acked} of {} creates acknowledged: {:?}",
            plan.tasks, made.refused
        ));
    }
    let spare = first_due.duration_since(SystemTime::now()).map_err(|_| {
        format!(
            "creates took {:?}, beyond the first due time: give a longer --lead-seconds",
            made.length
        )
    })?;
    let cpu = (place.cpu_time(), peer::cpu_time(std::process::id()));
    let start = Instant::now();
    wait(&seen, plan.tasks, spare + plan.over + plan.grace);
    let took = start.elapsed();
    let mut report = Report::default();
    report.add("tasks", plan.tasks).add("seed", plan.seed);
    report.add_rounded("create_rate_per_s", made.rate());
    let came = seen.came.lock().unwrap_or_else(PoisonError::into_inner);
    compare(&due, &came, &mut report);
    drop(came);
    let errors = seen.errors.lock().unwrap_or_else(PoisonError::into_inner);
    report.add("streams_that_ended", errors.len());
    let own = peer::cpu_time(std::process::id()) - cpu.1;
    report.add_rounded(
        "client_cpu_percent",
        100.0 * own.as_secs_f64() / took.as_secs_f64(),
    );
    if let (Some(before), Some(after)) = (cpu.0, place.cpu_time()) {
        let us = (after - before).as_secs_f64() * 1e6 / plan.tasks.max(1) as f64;
        report.add_rounded("cpu_us_per_delivered_task_all_peers", us);
    }
    Ok(report)
}

#[derive(Default)]
struct Seen {
    came: Mutex<Vec<Came>>,
    count: AtomicUsize,
    errors: Mutex<Vec<String>>,
}

/// Reads on the completion queue's own thread: no hand-over between threads is
/// measured.
fn read(client: &Client, namespace: &str, seen: &Arc<Seen>, mut stopped: Told) {
    let mut request = StreamTasksRequest::new();
    request.set_namespace(namespace.to_owned());
    let (peer, seen) = (client.clone(), Arc::clone(seen));
    client.collection.spawn(async move {
        let fail = |error: String| {
            let mut errors = seen.errors.lock().unwrap_or_else(PoisonError::into_inner);
            errors.push(error);
        };
        let mut stream = match peer.collection.get_task_stream(&request) {
            Ok(stream) => stream,
            Err(error) => return fail(error.to_string()),
        };
        while let Either::Left((Some(task), _)) = select(stream.next(), &mut stopped).await {
            let at = SystemTime::now();
            let task = match task {
                Ok(task) => task,
                Err(error) => return fail(error.to_string()),
            };
            let number = task.get_payload().try_into().map(u64::from_be_bytes);
            let came = (
                number.unwrap_or(u64::MAX) as usize,
                instant(task.get_deliver_at()),
                at,
            );
            let mut all = seen.came.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(came);
            drop(all);
            seen.count.fetch_add(1, Ordering::Relaxed);
        }
        // The receiver does not cancel its call when it is dropped.
        stream.cancel();
    });
}

fn wait(seen: &Seen, tasks: usize, limit: Duration) {
    let end = Instant::now() + limit;
    while seen.count.load(Ordering::Relaxed) < tasks && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    // A task that comes twice comes soon after.
    thread::sleep(Duration::from_millis(500));
}

fn compare(due: &[SystemTime], came: &[Came], report: &mut Report) {
    let mut seen = Deliveries::default();
    let mut late = Times::default();
    // A number stands for the id of its task.
    let id = |number: usize| TaskId::new(number as u64, 1, 0);
    for (number, at) in due.iter().enumerate() {
        let created = Created {
            due_ns: since_1970_ns(*at),
            acked: true,
            may_vanish: false,
        };
        seen.created(id(number), created);
    }
    for ((number, deliver_at, at), count) in came.iter().zip(1..) {
        // A task under another time than was asked is not that task.
        let is_asked = due.get(*number) == Some(deliver_at);
        let number = if is_asked { *number } else { usize::MAX };
        seen.streamed(id(number), count, since_1970_ns(*at));
        if let (true, Ok(lateness)) = (is_asked, at.duration_since(*deliver_at)) {
            late.push(lateness);
        }
    }
    let found = seen.check(u64::MAX, 0);
    report
        .add("early", found.count(Rule::Early))
        .add("missing", found.count(Rule::NeverDelivered))
        .add("twice", found.count(Rule::AfterEnd))
        .add("foreign", found.strangers);
    late.report("lateness", report);
}

fn since_1970_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}
