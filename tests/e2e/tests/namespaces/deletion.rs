//! A namespace goes as a whole while others are served, and its name is new then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;
use z4_e2e::client::Refused;
use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::{create, wait, Client, Cluster, Reader};
use z4_proto::generated::admin::{
    DeleteNamespaceRequest, PauseNamespaceRequest, UpdateNamespaceRequest,
};
use z4_proto::generated::collection::{
    ConsumeRequest_oneof_message as Say, ConsumeResponse_oneof_message as Heard, Delivery,
    LeaseOutcome, LeaseTasksRequest,
};

use super::{deliveries, fill, find, lease_ref, LEASE, LIMIT, QUIET};

/// Deliveries until there are `count`.
fn take(conversation: &mut Conversation, count: usize) -> Vec<Delivery> {
    let mut came = Vec::new();
    let end = Instant::now() + LIMIT;
    while came.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", came.len());
        match conversation.listen(Duration::from_millis(100)) {
            Listened::Heard(Heard::delivery(delivery)) => came.push(delivery),
            Listened::Ended => panic!("the stream ended"),
            _ => {}
        }
    }
    came
}

/// Creates and takes tasks one by one until told to stop; how long each create
/// and each delivery took.
fn serve(client: Client, stop: Arc<AtomicBool>) -> thread::JoinHandle<Vec<(Duration, Duration)>> {
    thread::spawn(move || {
        let reader = Reader::open(&client, "served");
        let mut took = Vec::new();
        while !stop.load(Ordering::Relaxed) || took.len() < 20 {
            let asked = Instant::now();
            client.create(&create("served", "x")).unwrap();
            let made = asked.elapsed();
            reader.wait_for(took.len() + 1, LIMIT);
            took.push((made, asked.elapsed() - made));
        }
        took
    })
}

#[test]
fn a_large_namespace_goes_while_another_is_served() {
    const COUNT: usize = 20_000;
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let clients = cluster.clients();
    let follower = clients[cluster.others(leader)[0]].clone();
    for _ in 0..COUNT / 5_000 {
        fill(&follower, "large", 5_000).unwrap();
    }
    let mut holder = Conversation::open(&follower, "large", "holder", 5, LEASE).unwrap();
    let held = take(&mut holder, 5);
    let first = held[0].get_task().get_id().to_owned();

    let stop = Arc::new(AtomicBool::new(false));
    let served = serve(follower.clone(), Arc::clone(&stop));
    let mut request = DeleteNamespaceRequest::new();
    request.set_name("large".to_owned());
    let begun = follower.admin.delete_namespace(&request).unwrap();
    assert!(begun.get_remaining() > 0, "{begun:?}");
    // Whoever comes now wants thousands of tasks that are still there.
    let mut hungry = Conversation::open(&clients[leader], "large", "hungry", 1_000, LEASE).unwrap();
    what_goes_is_left_alone(&follower);
    let mut refused = 0;
    wait::until("the namespace goes", LIMIT, || {
        match fill(&follower, "large", 1) {
            Ok(()) => return Ok(()),
            Err(error) if error.code == RpcStatusCode::FAILED_PRECONDITION => {
                assert!(error.message.contains("large"), "{error}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
        Err(format!("{:?}", find(&follower, "large")))
    });
    stop.store(true, Ordering::Relaxed);
    let took = served.join().unwrap();
    let made = took.iter().map(|(made, _)| *made).max().unwrap();
    let came = took.iter().map(|(_, came)| *came).max().unwrap();
    println!(
        "{refused} creates refused, {} served, at most {made:?} and {came:?}",
        took.len()
    );
    assert!(refused > 0, "it was gone at once");
    // In one step it would take longer; a machine that does other things too
    // has been seen to take 0.85 s.
    let bound = Duration::from_secs(3);
    assert!(made < bound && came < bound, "{made:?}, {came:?}");

    // The name is new: one task, and nothing of before.
    let new = find(&follower, "large").unwrap();
    let now = new.get_counts();
    assert_eq!(now.get_created(), 1, "{now:?}");
    assert_eq!(now.get_purged(), 0, "{now:?}");
    assert!(!new.get_deleting());
    let gone = follower.get("large", &first).expect_err("it is removed");
    assert_eq!(gone.code, RpcStatusCode::NOT_FOUND, "{gone}");
    z4_e2e::life::end::verify(&clients).unwrap();
    fill(&follower, "large", 99).unwrap();
    let mut came = consumer_of_a_deleted_namespace(&mut holder, &held);
    came.extend(deliveries(&mut hungry, QUIET));
    came.extend(deliveries(&mut holder, QUIET));
    for delivery in &came {
        let id = delivery.get_task().get_id();
        let task = follower.get("large", id);
        task.unwrap_or_else(|e| panic!("{id} is none of the new ones: {e}"));
    }
    assert_eq!(came.len(), 100, "all of the new ones come");
}

/// A namespace that goes is neither paused nor set, and gives out nothing.
fn what_goes_is_left_alone(client: &Client) {
    let mut pause = PauseNamespaceRequest::new();
    pause.set_name("large".to_owned());
    let mut update = UpdateNamespaceRequest::new();
    update.set_name("large".to_owned());
    update.mut_settings().set_max_attempts(3);
    for answer in [
        client.admin.pause_namespace(&pause),
        client.admin.update_namespace(&update),
    ] {
        let refused = Refused::from(answer.expect_err("it is being deleted"));
        assert_eq!(
            refused.code,
            RpcStatusCode::FAILED_PRECONDITION,
            "{refused}"
        );
        assert!(refused.message.contains("large"), "{refused}");
    }
    let mut lease = LeaseTasksRequest::new();
    lease.set_namespace("large".to_owned());
    lease.set_max_tasks(10);
    if let Ok(answer) = client.collection.lease_tasks(&lease) {
        assert_eq!(answer.get_deliveries().len(), 0, "{answer:?}");
    }
}

/// It holds nothing any more; what it gets meanwhile.
fn consumer_of_a_deleted_namespace(holder: &mut Conversation, held: &[Delivery]) -> Vec<Delivery> {
    for delivery in held {
        assert!(holder.say(Say::ack(lease_ref(delivery))));
    }
    let (mut answered, mut came) = (0, Vec::new());
    let end = Instant::now() + LIMIT;
    while answered < held.len() {
        assert!(Instant::now() < end, "{answered} are answered");
        match holder.listen(Duration::from_millis(100)) {
            Listened::Heard(Heard::result(result)) => {
                let outcome = result.get_outcome();
                assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_GONE, "{result:?}");
                answered += 1;
            }
            Listened::Heard(Heard::delivery(delivery)) => came.push(delivery),
            Listened::Ended => panic!("the stream ended"),
            _ => {}
        }
    }
    came
}
