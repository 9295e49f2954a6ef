//! Changes of tasks that wait, against consumers that take them, at different
//! peers: for each task one of the two wins, and both are told which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use grpcio::RpcStatusCode;
use z4_e2e::client::{option, Refused};
use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::life::stats;
use z4_e2e::request::instant;
use z4_e2e::{create, wait, Client, Cluster, Edit};
use z4_proto::generated::collection::{
    CancelTaskRequest, ConsumeRequest_oneof_message as Say, ConsumeResponse_oneof_message as Heard,
    CreateTaskRequest, CreateTasksRequest, LeaseOutcome, LeaseRef, LeaseTasksRequest,
    RescheduleTaskRequest, RunTaskRequest, Task,
};

const COUNT: usize = 200;
const LIMIT: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(120);

/// Three peers; clients of the leader, and of two others.
fn three() -> (Cluster, [Client; 3]) {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let others = cluster.others(leader);
    let clients = [leader, others[0], others[1]].map(|n| cluster.peers[n].client());
    (cluster, clients)
}

fn fill(client: &Client, name: &str, tasks: Vec<CreateTaskRequest>) -> Vec<String> {
    let mut request = CreateTasksRequest::new();
    request.set_namespace(name.to_owned());
    request.set_tasks(tasks.into());
    let made = client.collection.create_tasks(&request).unwrap();
    let ids = made.get_tasks().iter().map(|task| task.get_id().to_owned());
    ids.collect()
}

fn cancel(client: &Client, name: &str, id: &str) -> Result<Task, Refused> {
    let mut request = CancelTaskRequest::new();
    request.set_namespace(name.to_owned());
    request.set_task_id(id.to_owned());
    let answer = client.collection.cancel_task_opt(&request, option(LIMIT));
    answer.map_err(Refused::from)
}

fn reschedule(client: &Client, name: &str, id: &str, at: SystemTime) -> Result<Task, Refused> {
    let mut request = RescheduleTaskRequest::new();
    request.set_namespace(name.to_owned());
    request.set_task_id(id.to_owned());
    request.set_deliver_at(create("", "").at(at).take_deliver_at());
    let answer = client
        .collection
        .reschedule_task_opt(&request, option(LIMIT));
    answer.map_err(Refused::from)
}

fn run_now(client: &Client, name: &str, id: &str) -> Result<Task, Refused> {
    let mut request = RunTaskRequest::new();
    request.set_namespace(name.to_owned());
    request.set_task_id(id.to_owned());
    let answer = client.collection.run_task_opt(&request, option(LIMIT));
    answer.map_err(Refused::from)
}

/// Whether a refusal says that a consumer was quicker: it holds the task, and is
/// named, or has done it.
#[track_caller]
fn lost_to(holder: &str, id: &str, refused: &Refused) {
    assert!(refused.message.contains(id), "{refused}");
    match refused.code {
        RpcStatusCode::NOT_FOUND => {}
        RpcStatusCode::FAILED_PRECONDITION => {
            assert!(refused.message.contains(holder), "{refused}");
        }
        _ => panic!("{refused}"),
    }
}

/// Takes and acks everything until it is told to stop; when each task came.
struct Taker {
    stop: Arc<Mutex<bool>>,
    thread: thread::JoinHandle<BTreeMap<String, Vec<SystemTime>>>,
}

impl Taker {
    fn start(client: &Client, name: &str, in_flight: u32) -> Self {
        let stop = Arc::new(Mutex::new(false));
        let is_stopped = Arc::clone(&stop);
        let mut stream = Conversation::open(client, name, "taker", in_flight, LEASE).unwrap();
        let thread = thread::spawn(move || {
            let mut came: BTreeMap<String, Vec<SystemTime>> = BTreeMap::new();
            while !*is_stopped.lock().unwrap() {
                match stream.listen(Duration::from_millis(20)) {
                    Listened::Heard(Heard::delivery(delivery)) => {
                        let id = delivery.get_task().get_id().to_owned();
                        let mut lease = LeaseRef::new();
                        lease.set_task_id(id.clone());
                        lease.set_lease_token(delivery.get_lease_token());
                        came.entry(id).or_default().push(SystemTime::now());
                        assert!(stream.say(Say::ack(lease)));
                    }
                    Listened::Heard(Heard::result(result)) => {
                        let outcome = result.get_outcome();
                        assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_DONE, "{result:?}");
                    }
                    Listened::Ended => panic!("the stream ended"),
                    _ => {}
                }
            }
            came
        });
        Self { stop, thread }
    }

    /// Waits until nothing waits and nothing is held; all that came, each once.
    #[track_caller]
    fn finish(self, client: &Client, name: &str) -> BTreeMap<String, SystemTime> {
        wait::until("all tasks end", LIMIT, || {
            let now = stats(client, name).map_err(|e| e.to_string())?;
            let counts = now.get_counts();
            let open = counts.get_pending() + counts.get_leased();
            wait::check(open == 0, || format!("{counts:?}"))
        });
        *self.stop.lock().unwrap() = true;
        let came = self.thread.join().expect("the taker does not panic");
        let once = came.into_iter().map(|(id, times)| {
            assert_eq!(times.len(), 1, "{id} came {times:?}");
            (id, times[0])
        });
        once.collect()
    }
}

/// Asks for each task from several threads at once; the answers by id.
fn at_once<T: Send + 'static>(
    ids: &[String],
    ask: impl Fn(&str) -> Result<T, Refused> + Clone + Send + 'static,
) -> BTreeMap<String, Result<T, Refused>> {
    const THREADS: usize = 4;
    let threads: Vec<_> = (0..THREADS)
        .map(|n| {
            let ask = ask.clone();
            let ids: Vec<String> = ids.iter().skip(n).step_by(THREADS).cloned().collect();
            let ask_each = move || {
                let answers = ids.into_iter().map(|id| {
                    let answer = ask(&id);
                    (id, answer)
                });
                answers.collect()
            };
            thread::spawn(ask_each)
        })
        .collect();
    let answers: Vec<Vec<(String, Result<T, Refused>)>> =
        threads.into_iter().map(|t| t.join().unwrap()).collect();
    answers.into_iter().flatten().collect()
}

#[test]
fn cancel_or_lease_each_task_once() {
    let (_cluster, [_, one, two]) = three();
    let (mut cancelled, mut held) = (0, 0);
    // Of the one who lost last: so they stay neck and neck.
    let mut head_start = Duration::ZERO;
    const STEP: Duration = Duration::from_micros(300);
    for _ in 0..COUNT {
        let made = one.create(&create("duel", "x")).unwrap();
        let id = made.get_task().get_id().to_owned();
        let start = Arc::new(Barrier::new(2));
        let (client, name, go) = (two.clone(), id.clone(), Arc::clone(&start));
        let canceller = thread::spawn(move || {
            go.wait();
            cancel(&client, "duel", &name)
        });
        let mut request = LeaseTasksRequest::new();
        request.set_namespace("duel".to_owned());
        request.set_consumer_id("holder".to_owned());
        request.set_lease(z4_e2e::life::work::calls::span(LEASE));
        start.wait();
        thread::sleep(head_start);
        let leased = one.collection.lease_tasks(&request).unwrap();
        let leased: Vec<&str> = leased
            .get_deliveries()
            .iter()
            .map(|delivery| delivery.get_task().get_id())
            .collect();
        match canceller.join().unwrap() {
            Ok(task) => {
                assert_eq!(task.get_id(), id);
                assert_eq!(leased, [""; 0], "it was cancelled");
                cancelled += 1;
                head_start = head_start.saturating_sub(STEP);
            }
            Err(refused) => {
                assert_eq!(
                    refused.code,
                    RpcStatusCode::FAILED_PRECONDITION,
                    "{refused}"
                );
                lost_to("holder", &id, &refused);
                assert_eq!(leased, [&id], "it was not cancelled: {refused}");
                held += 1;
                head_start += STEP;
            }
        }
    }
    println!("{cancelled} cancelled, {held} held");
    let now = stats(&two, "duel").unwrap();
    let counts = now.get_counts();
    let told = (counts.get_cancelled(), counts.get_leased());
    assert_eq!(told, (cancelled, held), "{counts:?}");
    assert!(cancelled > 0 && held > 0, "there was no race");
}

#[test]
fn cancel_against_a_stream() {
    let (_cluster, [leader, one, two]) = three();
    let taker = Taker::start(&one, "flow", 4);
    let tasks = (0..COUNT).map(|n| create("", n.to_string())).collect();
    let ids = fill(&leader, "flow", tasks);
    let canceller = two.clone();
    let mut answers = at_once(&ids, move |id| cancel(&canceller, "flow", id));
    let came = taker.finish(&two, "flow");
    for id in &ids {
        match answers.remove(id).unwrap() {
            Ok(_) => assert!(!came.contains_key(id), "{id} was cancelled and came"),
            Err(refused) => {
                lost_to("taker", id, &refused);
                assert!(came.contains_key(id), "{id} did not come: {refused}");
            }
        }
    }
    let now = stats(&two, "flow").unwrap();
    let counts = now.get_counts();
    let gone = COUNT - came.len();
    println!("{gone} cancelled, {} came", came.len());
    let told = (counts.get_done() as usize, counts.get_cancelled() as usize);
    assert_eq!(told, (came.len(), gone), "{counts:?}");
    assert_eq!(counts.get_failures(), 0, "{counts:?}");
}

#[test]
fn a_task_that_is_moved_comes_at_its_new_time_and_once() {
    let (_cluster, [leader, one, two]) = three();
    let taker = Taker::start(&one, "moved", 4);
    let tasks = (0..COUNT).map(|n| create("", n.to_string())).collect();
    let ids = fill(&leader, "moved", tasks);
    let mover = two.clone();
    let mut answers = at_once(&ids, move |id| {
        let at = SystemTime::now() + Duration::from_millis(1_500);
        reschedule(&mover, "moved", id, at).map(|task| (at, task))
    });
    let came = taker.finish(&two, "moved");
    let all: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(came.keys().collect::<BTreeSet<_>>(), all, "none is lost");
    let mut moved = 0;
    for id in &ids {
        match answers.remove(id).unwrap() {
            Ok((at, task)) => {
                assert!(came[id] >= at, "{id} came before its new time");
                let due = instant(task.get_due_at());
                assert_eq!(due, at, "{task:?}");
                moved += 1;
            }
            Err(refused) => lost_to("taker", id, &refused),
        }
    }
    println!("{moved} moved");
    let now = stats(&two, "moved").unwrap();
    let counts = now.get_counts();
    let told = (counts.get_done() as usize, counts.get_failures());
    assert_eq!(told, (COUNT, 0), "{counts:?}");
    assert!(moved > 0, "nothing was moved");
}

/// The tasks fall due just when they are made due.
#[test]
fn run_now_against_the_time_itself() {
    let (_cluster, [leader, one, two]) = three();
    let taker = Taker::start(&one, "now", 4);
    let begin = SystemTime::now() + Duration::from_millis(700);
    let at = move |n: usize| begin + Duration::from_millis(5 * n as u64);
    // The last tenth would come in an hour.
    let time = move |n: usize| match n < COUNT - COUNT / 10 {
        true => at(n),
        false => begin + Duration::from_secs(3_600),
    };
    let tasks = (0..COUNT).map(|n| create("", n.to_string()).at(time(n)));
    let ids = fill(&leader, "now", tasks.collect());
    let runner = two.clone();
    let places: BTreeMap<String, usize> = ids.iter().cloned().zip(0..).collect();
    let started = Instant::now();
    let mut answers = at_once(&ids, move |id| {
        if let Ok(left) = at(places[id]).duration_since(SystemTime::now()) {
            thread::sleep(left);
        }
        run_now(&runner, "now", id)
    });
    let came = taker.finish(&two, "now");
    assert!(started.elapsed() < LIMIT, "nobody waited an hour");
    assert_eq!(came.len(), COUNT, "none is lost");
    let mut moved = 0;
    for id in &ids {
        match answers.remove(id).unwrap() {
            Ok(_) => moved += 1,
            Err(refused) => lost_to("taker", id, &refused),
        }
    }
    println!("{moved} were run, the others had come");
    assert!(moved >= COUNT / 10, "{moved} were run");
    let now = stats(&two, "now").unwrap();
    let counts = now.get_counts();
    let told = (counts.get_done() as usize, counts.get_failures());
    assert_eq!(told, (COUNT, 0), "{counts:?}");
}
