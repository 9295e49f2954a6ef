//! Namespaces bound what is done in them: pause, limits, rate. How they go is in
//! `deletion`.

mod deletion;

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;
use z4_e2e::client::{option, Refused};
use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::life::stats;
use z4_e2e::{create, wait, Client, Cluster, Reader};
use z4_proto::generated::admin::{
    GetNamespaceRequest, Namespace, NamespaceSettings, PauseNamespaceRequest,
    ResumeNamespaceRequest, TaskCounts, UpdateNamespaceRequest,
};
use z4_proto::generated::collection::{
    ConsumeRequest_oneof_message as Say, ConsumeResponse_oneof_message as Heard,
    CreateTasksRequest, Delivery, LeaseOutcome, LeaseRef,
};

const LIMIT: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(120);
/// How long nothing may come before it is said that nothing comes.
const QUIET: Duration = Duration::from_millis(700);

fn set(client: &Client, name: &str, change: impl FnOnce(&mut NamespaceSettings)) {
    let mut request = UpdateNamespaceRequest::new();
    request.set_name(name.to_owned());
    change(request.mut_settings());
    let answer = client.admin.update_namespace_opt(&request, option(LIMIT));
    answer.unwrap();
}

fn pause(client: &Client, name: &str) -> Namespace {
    let mut request = PauseNamespaceRequest::new();
    request.set_name(name.to_owned());
    client.admin.pause_namespace(&request).unwrap()
}

fn resume(client: &Client, name: &str) -> Namespace {
    let mut request = ResumeNamespaceRequest::new();
    request.set_name(name.to_owned());
    client.admin.resume_namespace(&request).unwrap()
}

fn find(client: &Client, name: &str) -> Result<Namespace, Refused> {
    let mut request = GetNamespaceRequest::new();
    request.set_name(name.to_owned());
    client.admin.get_namespace(&request).map_err(Refused::from)
}

fn counts(client: &Client, name: &str) -> TaskCounts {
    stats(client, name).unwrap().get_counts().clone()
}

/// A batch of tasks that are due.
fn fill(client: &Client, name: &str, count: usize) -> Result<(), Refused> {
    let mut request = CreateTasksRequest::new();
    request.set_namespace(name.to_owned());
    request.set_tasks((0..count).map(|n| create("", format!("{n}"))).collect());
    let made = client.collection.create_tasks_opt(&request, option(LIMIT));
    made.map(|_| ()).map_err(Refused::from)
}

fn lease_ref(delivery: &Delivery) -> LeaseRef {
    let mut lease = LeaseRef::new();
    lease.set_task_id(delivery.get_task().get_id().to_owned());
    lease.set_lease_token(delivery.get_lease_token());
    lease
}

/// All deliveries until none came for a while.
fn deliveries(conversation: &mut Conversation, quiet: Duration) -> Vec<Delivery> {
    let mut came = Vec::new();
    loop {
        match conversation.listen(quiet) {
            Listened::Heard(Heard::delivery(delivery)) => came.push(delivery),
            Listened::Heard(_) => {}
            Listened::Nothing => return came,
            Listened::Ended => panic!("the stream ended"),
        }
    }
}

#[test]
fn a_paused_namespace_takes_creates_and_delivers_nothing() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let clients = cluster.clients();
    let follower = &clients[cluster.others(leader)[0]];
    let mut consumers = [0, 1, 2].map(|n| {
        let name = format!("c{n}");
        Conversation::open(&clients[n], "stop", &name, 100, LEASE).unwrap()
    });
    let old = Reader::open(follower, "stop");
    // The stream is there before the namespace is.
    fill(follower, "stop", 1).unwrap();
    wait::until("the first task comes", LIMIT, || {
        let came: usize = consumers
            .iter_mut()
            .map(|c| deliveries(c, Duration::from_millis(20)).len())
            .sum();
        wait::check(came + old.count() == 1, || format!("{came}"))
    });
    let before = old.count();
    let paused = pause(follower, "stop");
    assert!(paused.has_paused_at());
    fill(&clients[leader], "stop", 60).unwrap();
    for consumer in &mut consumers {
        assert_eq!(deliveries(consumer, QUIET).len(), 0);
    }
    assert_eq!(old.count(), before);
    let now = counts(follower, "stop");
    assert_eq!((now.get_created(), now.get_pending()), (61, 60));
    // A new leader and a new consumer know it too.
    cluster.peers[leader].kill();
    let new = cluster.wait_leader();
    cluster.peers[leader].start();
    let mut late = Conversation::open(&clients[new], "stop", "late", 100, LEASE).unwrap();
    assert_eq!(deliveries(&mut late, QUIET).len(), 0);
    let again = find(&clients[new], "stop").unwrap();
    assert_eq!(again.get_paused_at(), paused.get_paused_at(), "since then");
    let resumed = resume(&clients[new], "stop");
    assert!(!resumed.has_paused_at());
    wait::until("everything is handed out", LIMIT, || {
        let now = counts(&clients[new], "stop");
        wait::check(now.get_pending() == 0, || format!("{now:?}"))
    });
}

#[test]
fn a_full_namespace_refuses_creates_and_says_when_to_come_again() {
    let cluster = Cluster::of(2, &[]);
    let clients = cluster.clients();
    set(&clients[0], "few", |s| s.set_pending_max(10));
    set(&clients[0], "small", |s| s.set_bytes_max(1_000));
    let refused = |client: &Client, name: &str, request: &_, limit: &str| {
        let error = client.collection.create_task(request).expect_err(limit);
        let grpcio::Error::RpcFailure(status) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(status.code(), RpcStatusCode::RESOURCE_EXHAUSTED, "{error}");
        assert!(status.message().contains(name), "{error}");
        assert!(status.message().contains(limit), "{error}");
        let details = String::from_utf8_lossy(status.details()).into_owned();
        assert!(details.contains("google.rpc.RetryInfo"), "{details:?}");
    };
    for client in &clients {
        let now = counts(client, "few").get_pending();
        fill(client, "few", 10 - now as usize).unwrap_or_else(|e| assert_eq!(now, 10, "{e}"));
        refused(client, "few", &create("few", "x"), "pending_max");
        // A batch goes in as a whole or not at all.
        let lease = lease_one(client, "few");
        let batch = fill(client, "few", 2).expect_err("one of the two has no room");
        assert_eq!(batch.code, RpcStatusCode::RESOURCE_EXHAUSTED, "{batch}");
        assert_eq!(counts(client, "few").get_pending(), 9);
        client.create(&create("few", "x")).expect("there is room");
        // What comes back is not turned away.
        let mut nack = z4_proto::generated::collection::ReleaseTasksRequest::new();
        nack.set_namespace("few".to_owned());
        nack.mut_leases().push(lease_ref(&lease));
        let results = client.collection.release_tasks(&nack).unwrap();
        let outcome = results.get_results()[0].get_outcome();
        assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_WAITING);
        assert_eq!(counts(client, "few").get_pending(), 11);
        refused(client, "few", &create("few", "x"), "pending_max");
        ack_one(client, "few");
    }
    for client in &clients {
        if counts(client, "small").get_bytes() == 0 {
            client.create(&create("small", vec![7; 600])).unwrap();
        }
        refused(client, "small", &create("small", vec![7; 401]), "bytes_max");
        // It is tasks that count, not what was refused.
        assert_eq!(counts(client, "small").get_bytes(), 600);
    }
    clients[1].create(&create("small", vec![7; 400])).unwrap();
    ack_one(&clients[0], "small");
    clients[1].create(&create("small", vec![7; 500])).unwrap();
}

fn lease_one(client: &Client, name: &str) -> Delivery {
    let mut request = z4_proto::generated::collection::LeaseTasksRequest::new();
    request.set_namespace(name.to_owned());
    request.set_lease(z4_e2e::life::work::calls::span(LEASE));
    let mut answer = client.collection.lease_tasks(&request).unwrap();
    answer.take_deliveries().pop().expect("a task is due")
}

fn ack_one(client: &Client, name: &str) {
    let delivery = lease_one(client, name);
    let mut request = z4_proto::generated::collection::AckTasksRequest::new();
    request.set_namespace(name.to_owned());
    request.mut_leases().push(lease_ref(&delivery));
    let results = client.collection.ack_tasks(&request).unwrap();
    let outcome = results.get_results()[0].get_outcome();
    assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_DONE);
}

#[test]
fn the_rate_holds_over_several_seconds_and_all_consumers() {
    const PER_S: u32 = 40;
    const BURST: u32 = 15;
    let cluster = Cluster::three();
    let clients = cluster.clients();
    set(&clients[0], "slow", |s| {
        s.set_rate_per_s(PER_S);
        s.set_rate_burst(BURST);
    });
    fill(&clients[0], "slow", 2_000).unwrap();
    // Longer quiet than the burst needs: no more than the burst is saved up.
    thread::sleep(Duration::from_millis(1_500));
    let start = Instant::now();
    let end = start + Duration::from_secs(5);
    let threads: Vec<_> = (0..3)
        .map(|n| {
            let client = clients[n].clone();
            thread::spawn(move || {
                let name = format!("c{n}");
                let mut consumer =
                    Conversation::open(&client, "slow", &name, 1_000, LEASE).unwrap();
                let mut came = Vec::new();
                while Instant::now() < end {
                    if let Listened::Heard(Heard::delivery(delivery)) =
                        consumer.listen(Duration::from_millis(20))
                    {
                        came.push(start.elapsed());
                        consumer.say(Say::ack(lease_ref(&delivery)));
                    }
                }
                came
            })
        })
        .collect();
    let mut came: Vec<Duration> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    came.sort_unstable();
    let may = |after: Duration| f64::from(BURST) + f64::from(PER_S) * after.as_secs_f64();
    for (n, after) in (1..).zip(&came) {
        assert!(
            f64::from(n) <= may(*after) + 1.0,
            "{n} came after {after:?}"
        );
    }
    let wanted = may(Duration::from_secs(5));
    assert!(
        came.len() as f64 > wanted / 2.0,
        "{} of {wanted}",
        came.len()
    );
}

#[test]
fn no_more_leases_live_than_may() {
    let cluster = Cluster::of(2, &[]);
    let clients = cluster.clients();
    set(&clients[0], "tight", |s| s.set_leased_max(7));
    fill(&clients[0], "tight", 40).unwrap();
    let mut one = Conversation::open(&clients[0], "tight", "one", 100, LEASE).unwrap();
    let mut two = Conversation::open(&clients[1], "tight", "two", 100, LEASE).unwrap();
    let mut held: HashSet<String> = HashSet::new();
    let mut done = 0;
    let end = Instant::now() + LIMIT;
    let mut waiting: Vec<Delivery> = Vec::new();
    while done < 40 {
        assert!(Instant::now() < end, "{done} are done");
        for consumer in [&mut one, &mut two] {
            match consumer.listen(Duration::from_millis(5)) {
                Listened::Heard(Heard::delivery(delivery)) => {
                    let id = delivery.get_task().get_id().to_owned();
                    assert!(held.insert(id), "{delivery:?} came twice");
                    waiting.push(delivery);
                }
                Listened::Heard(Heard::result(result)) => {
                    assert_eq!(result.get_outcome(), LeaseOutcome::LEASE_OUTCOME_DONE);
                }
                Listened::Ended => panic!("the stream ended"),
                _ => {}
            }
        }
        assert!(waiting.len() <= 7, "{} are held", waiting.len());
        let now = counts(&clients[0], "tight");
        assert!(now.get_leased() <= 7, "{now:?}");
        // Only when as many are held as may be is one given back.
        if waiting.len() == 7.min(40 - done) {
            let delivery = waiting.remove(0);
            one.say(Say::ack(lease_ref(&delivery)));
            done += 1;
        }
    }
    let mut more = deliveries(&mut one, QUIET);
    more.extend(deliveries(&mut two, QUIET));
    assert!(more.is_empty(), "{more:?}");
    assert_eq!(held.len(), 40);
}
