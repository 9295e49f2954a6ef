//! The order of due tasks, and batches that are made whole, once, or not at all.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, SystemTime};

use grpcio::RpcStatusCode;
use z4_e2e::client::{may_retry, option, Refused};
use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::life::stats;
use z4_e2e::{create, Client, Cluster, Edit};
use z4_proto::generated::admin::{
    PauseNamespaceRequest, ResumeNamespaceRequest, UpdateNamespaceRequest,
};
use z4_proto::generated::collection::{
    ConsumeRequest_oneof_message as Say, ConsumeResponse_oneof_message as Heard, CreateTaskRequest,
    CreateTasksRequest, LeaseRef, ListTasksRequest,
};

const LIMIT: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(120);

fn batch(name: &str, request_id: &str, tasks: Vec<CreateTaskRequest>) -> CreateTasksRequest {
    let mut request = CreateTasksRequest::new();
    request.set_namespace(name.to_owned());
    request.set_request_id(request_id.to_owned());
    request.set_tasks(tasks.into());
    request
}

fn make(client: &Client, request: &CreateTasksRequest) -> Result<Vec<String>, Refused> {
    let limit = option(Duration::from_secs(5));
    let made = client.collection.create_tasks_opt(request, limit)?;
    let ids = made.get_tasks().iter().map(|task| task.get_id().to_owned());
    Ok(ids.collect())
}

/// All that a single consumer is handed, in this order, until `count` came.
fn order(client: &Client, name: &str, in_flight: u32, count: usize) -> Vec<String> {
    let mut consumer = Conversation::open(client, name, "one", in_flight, LEASE).unwrap();
    let end = std::time::Instant::now() + LIMIT;
    let mut came = Vec::new();
    while came.len() < count {
        assert!(std::time::Instant::now() < end, "{} came", came.len());
        match consumer.listen(Duration::from_millis(100)) {
            Listened::Heard(Heard::delivery(delivery)) => {
                let mut lease = LeaseRef::new();
                lease.set_task_id(delivery.get_task().get_id().to_owned());
                lease.set_lease_token(delivery.get_lease_token());
                assert!(consumer.say(Say::ack(lease)));
                came.push(delivery.get_task().get_id().to_owned());
            }
            Listened::Ended => panic!("the stream ended"),
            _ => {}
        }
    }
    came
}

/// Tasks of a paused namespace; their ids in the order in which they must come.
fn criss_cross(client: &Client, name: &str, count: usize, begin: SystemTime) -> Vec<String> {
    let mut update = UpdateNamespaceRequest::new();
    update.set_name(name.to_owned());
    client.admin.update_namespace(&update).unwrap();
    let mut pause = PauseNamespaceRequest::new();
    pause.set_name(name.to_owned());
    client.admin.pause_namespace(&pause).unwrap();
    // Each has its own due time; time, priority and order of creation go
    // criss-cross.
    let mut keys = Vec::new();
    let tasks = (0..count).map(|n| {
        let at = begin + Duration::from_millis((n * 7_919 % count) as u64 * 5);
        let priority = (n * 31 % 11) as u32;
        let mut task = create("", n.to_string()).at(at);
        // One in eleven does not say: 5.
        if priority < 10 {
            task.mut_priority().set_value(priority);
        }
        let priority = if priority < 10 { priority } else { 5 };
        keys.push((9 - priority, at, n));
        task
    });
    let ids = make(client, &batch(name, "", tasks.collect())).unwrap();
    keys.sort_unstable();
    keys.iter().map(|(_, _, n)| ids[*n].clone()).collect()
}

#[test]
fn higher_priority_first_then_by_due_time() {
    const COUNT: usize = 300;
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let begin = SystemTime::now() + Duration::from_secs(4);
    let consumers = [("singly", 1), ("few", 7), ("all", 1_000)];
    let expected = consumers.map(|(name, _)| criss_cross(&client, name, COUNT, begin));
    assert!(SystemTime::now() < begin, "too slow: some were made late");
    let all_due = begin + Duration::from_millis(5 * COUNT as u64);
    if let Ok(left) = all_due.duration_since(SystemTime::now()) {
        thread::sleep(left);
    }
    for ((name, in_flight), expected) in consumers.into_iter().zip(expected) {
        let mut resume = ResumeNamespaceRequest::new();
        resume.set_name(name.to_owned());
        client.admin.resume_namespace(&resume).unwrap();
        assert_eq!(order(&client, name, in_flight, COUNT), expected, "{name}");
    }
}

/// A time that is over when the task is made is the time at which it is made.
#[test]
fn what_comes_late_does_not_jump_the_queue() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let first = client.create(&create("late", "now")).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3_600);
    let second = client
        .create(&create("late", "before").at(long_ago))
        .unwrap();
    let late = client.get("late", second.get_task().get_id()).unwrap();
    assert!(late.has_created_at(), "{late:?}");
    assert_eq!(late.get_due_at(), late.get_created_at(), "{late:?}");
    let expected = [first.get_task().get_id(), late.get_id()];
    assert_eq!(order(&client, "late", 1, 2), expected);
}

#[test]
fn what_is_not_due_does_not_go_before_what_is() {
    let cluster = Cluster::single();
    let client = cluster.peers[0].client();
    let mut later = create("", "later").at(SystemTime::now() + Duration::from_secs(2));
    later.mut_priority().set_value(9);
    let mut low = create("", "low");
    low.mut_priority().set_value(0);
    let ids = make(&client, &batch("times", "", vec![later, low])).unwrap();
    let came = order(&client, "times", 1, 2);
    assert_eq!(came, [&ids[1], &ids[0]].map(Clone::clone));
}

#[test]
fn a_bad_task_leaves_none_of_its_batch() {
    let cluster = Cluster::of(2, &[]);
    let clients = cluster.clients();
    let good = || create("", "x");
    let bad = |change: fn(&mut CreateTaskRequest)| {
        let mut task = good();
        change(&mut task);
        task
    };
    for client in &clients {
        for (field, task) in [
            ("priority", bad(|t| t.mut_priority().set_value(10))),
            ("payload", bad(|t| t.set_payload(vec![0; (1 << 20) + 1]))),
            ("tts_seconds", bad(|t| t.set_tts_seconds(-1))),
            ("namespace", bad(|t| t.set_namespace("other".to_owned()))),
            ("request_id", bad(|t| t.set_request_id("mine".to_owned()))),
        ] {
            let mut tasks: Vec<_> = (0..50).map(|_| good()).collect();
            tasks.push(task);
            let refused = make(client, &batch("whole", "r", tasks)).expect_err(field);
            assert_eq!(refused.code, RpcStatusCode::INVALID_ARGUMENT, "{refused}");
            let named = refused.message.contains(&format!("tasks[50].{field}"));
            assert!(named, "{field}: {refused}");
        }
        let gone = stats(client, "whole").expect_err("nothing made it");
        assert_eq!(Refused::from(gone).code, RpcStatusCode::NOT_FOUND);
    }
    // The request id was not used up; other content is refused from then on.
    let made = make(&clients[0], &batch("whole", "r", vec![good(), good()])).unwrap();
    let again = make(&clients[1], &batch("whole", "r", vec![good(), good()])).unwrap();
    assert_eq!(made, again);
    let other = make(&clients[1], &batch("whole", "r", vec![good()]));
    let refused = other.expect_err("other content");
    assert_eq!(refused.code, RpcStatusCode::ALREADY_EXISTS, "{refused}");
    let counts = stats(&clients[0], "whole").unwrap();
    assert_eq!(counts.get_counts().get_created(), 2, "{counts:?}");
}

/// Asks, wherever an answer comes from, until it is made.
fn make_anywhere(clients: &[Client], first: usize, request: &CreateTasksRequest) -> Vec<String> {
    let end = std::time::Instant::now() + LIMIT;
    for n in first.. {
        match make(&clients[n % clients.len()], request) {
            Ok(ids) => return ids,
            Err(refused) => {
                assert!(may_retry(refused.code), "{refused}");
                assert!(std::time::Instant::now() < end, "{refused}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    unreachable!("there is always a next peer")
}

#[test]
fn a_batch_that_is_repeated_after_the_leader_died_is_made_once() {
    const ROUNDS: usize = 3;
    const BATCHES: usize = 6;
    const COUNT: usize = 100;
    let mut cluster = Cluster::three();
    let clients = cluster.clients();
    let mut all = Vec::new();
    for round in 0..ROUNDS {
        let leader = cluster.wait_leader();
        let known = batch("once", &format!("{round} before"), numbered(COUNT));
        let before = make(&clients[leader], &known).unwrap();
        // Several are on their way while it dies; whoever asks may be told
        // nothing, and asks again.
        let threads: Vec<_> = (0..BATCHES)
            .map(|n| {
                let clients = clients.clone();
                let request = batch("once", &format!("{round} {n}"), numbered(COUNT));
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(4 * n as u64));
                    make_anywhere(&clients, leader + n % 2, &request)
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(12));
        cluster.peers[leader].kill();
        let made = threads.into_iter().map(|t| t.join().unwrap());
        all.extend(made.collect::<Vec<_>>());
        let again = make_anywhere(&clients, leader + 1, &known);
        assert_eq!(again, before, "it was acknowledged before");
        all.push(again);
        cluster.start_missing();
    }
    let ids: BTreeSet<&String> = all.iter().flatten().collect();
    let count = ROUNDS * (BATCHES + 1) * COUNT;
    assert_eq!(ids.len(), count, "no two batches share a task");
    let there = listed(&clients[0], "once");
    assert_eq!(
        there.iter().collect::<BTreeSet<_>>(),
        ids,
        "and no task is more"
    );
}

fn numbered(count: usize) -> Vec<CreateTaskRequest> {
    (0..count).map(|n| create("", n.to_string())).collect()
}

fn listed(client: &Client, name: &str) -> Vec<String> {
    let mut request = ListTasksRequest::new();
    request.set_namespace(name.to_owned());
    request.set_page_size(1_000);
    let mut ids = Vec::new();
    loop {
        let mut page = client.collection.list_tasks(&request).unwrap();
        ids.extend(page.get_tasks().iter().map(|task| task.get_id().to_owned()));
        if page.get_next_page_token().is_empty() {
            return ids;
        }
        request.set_page_token(page.take_next_page_token());
    }
}
