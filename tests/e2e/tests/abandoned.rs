//! Callers of LeaseTasks that leave just as they are granted a task: nothing is
//! stuck, and no failure is counted.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use futures::executor::block_on;
use protobuf::well_known_types::Duration as Span;
use z4_e2e::client::option;
use z4_e2e::{create, wait, Client, Cluster};
use z4_proto::generated::collection::{
    AckTasksRequest, Delivery, LeaseOutcome, LeaseRef, LeaseTasksRequest,
};

const NAME: &str = "abandoned";
const ROUNDS: u64 = 300;
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than the test: what is stuck stays so.
const LEASE_SECONDS: i64 = 1_800;

fn ask(consumer_id: &str, tasks: u32, wait_seconds: i64) -> LeaseTasksRequest {
    let seconds = |seconds| {
        let mut span = Span::new();
        span.set_seconds(seconds);
        span
    };
    let mut ask = LeaseTasksRequest::new();
    ask.set_namespace(NAME.to_owned());
    ask.set_consumer_id(consumer_id.to_owned());
    ask.set_max_tasks(tasks);
    ask.set_lease(seconds(LEASE_SECONDS));
    ask.set_wait(seconds(wait_seconds));
    ask
}

fn lease(client: &Client, ask: &LeaseTasksRequest) -> Vec<Delivery> {
    let answer = client.collection.lease_tasks_opt(ask, option(LIMIT));
    answer.unwrap().take_deliveries().into_vec()
}

fn task_id(delivery: &Delivery) -> String {
    delivery.get_task().get_id().to_owned()
}

/// Ends tasks that were in hand, none of them after a failure.
fn ack(client: &Client, deliveries: &[Delivery], left: &mut BTreeSet<String>) {
    let mut acks = AckTasksRequest::new();
    acks.set_namespace(NAME.to_owned());
    for delivery in deliveries {
        assert_eq!(delivery.get_attempt(), 1, "a failure was counted");
        assert!(left.remove(&task_id(delivery)), "it came twice");
        let mut lease = LeaseRef::new();
        lease.set_task_id(task_id(delivery));
        lease.set_lease_token(delivery.get_lease_token());
        acks.mut_leases().push(lease);
    }
    let answer = client.collection.ack_tasks_opt(&acks, option(LIMIT));
    for result in answer.unwrap().get_results() {
        let outcome = result.get_outcome();
        assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_DONE, "{result:?}");
    }
}

#[test]
fn what_abandoned_calls_were_granted_is_not_stuck_and_has_not_failed() {
    let mut cluster = Cluster::three();
    cluster.wait_leader();
    let clients: Vec<Client> = cluster.peers.iter().map(|peer| peer.client()).collect();
    let (mut made, mut got) = (BTreeSet::new(), 0);
    for round in 0..ROUNDS {
        let client = &clients[round as usize % clients.len()];
        let ask = ask(&format!("gone-{round}"), 1, 30);
        let call = client.collection.lease_tasks_async_opt(&ask, option(LIMIT));
        let mut call = call.unwrap();
        // The call is in line before the task is there, or just not.
        thread::sleep(Duration::from_millis(round % 4));
        let making = create(NAME, round.to_string().as_str());
        let making = client
            .collection
            .create_task_async_opt(&making, option(LIMIT))
            .unwrap();
        thread::sleep(Duration::from_micros(round * 7_919 % 9_000));
        call.cancel();
        made.insert(block_on(making).unwrap().mut_task().take_id());
        if let Ok(mut answer) = block_on(call) {
            let deliveries = answer.take_deliveries();
            got += deliveries.len();
            ack(client, &deliveries, &mut made);
        }
    }
    let missed = made.len();
    println!("{got} answers were in time, {missed} were not");
    assert!(missed > 15, "few calls were abandoned in time");

    // What the peers could know of is there for anybody.
    wait::until("the tasks that were given back", LIMIT, || {
        let back = lease(&clients[0], &ask("another", 1_024, 0));
        if back.is_empty() {
            return Ok(());
        }
        ack(&clients[0], &back, &mut made);
        Err("there were some".to_owned())
    });
    // An answer that had left when its caller left is there for its consumer.
    let lost = made.len();
    println!("{lost} answers were lost on their way");
    assert!(lost * 2 <= missed, "what was granted is not given back");
    for round in 0..ROUNDS {
        let mut again = ask(&format!("gone-{round}"), 1, 0);
        again.set_resume(true);
        let resumed = lease(&clients[0], &again);
        assert!(resumed.iter().all(Delivery::get_resumed));
        if !resumed.is_empty() {
            ack(&clients[0], &resumed, &mut made);
        }
    }
    assert_eq!(made, BTreeSet::new(), "stuck");
}

/// The entry of a lease that is decided only after its caller was answered.
#[test]
fn what_is_leased_after_the_caller_was_answered_is_given_back() {
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let client = cluster.peers[leader].client();
    let made = client.create(&create(NAME, "late")).unwrap();
    let mut left = BTreeSet::from([made.get_task().get_id().to_owned()]);
    for n in cluster.others(leader) {
        cluster.peers[n].pause();
    }
    let short = option(Duration::from_millis(400));
    let asked = client
        .collection
        .lease_tasks_opt(&ask("hasty", 1, 0), short);
    let error = asked.expect_err("no quorum, no lease").to_string();
    for n in cluster.others(leader) {
        cluster.peers[n].resume();
    }
    assert!(error.contains("retry"), "{error}");
    wait::until("the task for another consumer", LIMIT, || {
        let came = lease(&client, &ask("patient", 1, 0));
        wait::check(!came.is_empty(), || "it is leased".to_owned())?;
        ack(&client, &came, &mut left);
        Ok(())
    });
    assert_eq!(left, BTreeSet::new());
}
