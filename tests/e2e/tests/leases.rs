//! Leases outlive the leader that granted them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use z4_e2e::life::conversation::{Conversation, Listened};
use z4_e2e::{create, wait, Cluster};
use z4_proto::generated::collection::{
    ConsumeRequest_oneof_message as Say, ConsumeResponse_oneof_message as Heard,
    CreateTasksRequest, LeaseOutcome, LeaseRef,
};

const LIMIT: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(120);

/// Hears deliveries until there are `count`.
fn take(conversation: &mut Conversation, count: usize) -> BTreeSet<(String, u64)> {
    let mut leases = BTreeSet::new();
    let end = Instant::now() + LIMIT;
    while leases.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", leases.len());
        match conversation.listen(Duration::from_millis(200)) {
            Listened::Heard(Heard::delivery(delivery)) => {
                let id = delivery.get_task().get_id().to_owned();
                let fresh = leases.insert((id, delivery.get_lease_token()));
                assert!(fresh, "{delivery:?} came twice on one stream");
            }
            Listened::Ended => panic!("the stream ended"),
            _ => {}
        }
    }
    leases
}

fn lease_ref((id, token): &(String, u64)) -> LeaseRef {
    let mut lease = LeaseRef::new();
    lease.set_task_id(id.clone());
    lease.set_lease_token(*token);
    lease
}

/// Acks all; every one must be confirmed.
fn ack_all(conversation: &mut Conversation, leases: &BTreeSet<(String, u64)>) {
    for lease in leases {
        assert!(conversation.say(Say::ack(lease_ref(lease))));
    }
    let mut open = leases.clone();
    let end = Instant::now() + LIMIT;
    while !open.is_empty() {
        assert!(Instant::now() < end, "{} are not answered", open.len());
        match conversation.listen(Duration::from_millis(200)) {
            Listened::Heard(Heard::result(result)) => {
                let outcome = result.get_outcome();
                assert_eq!(outcome, LeaseOutcome::LEASE_OUTCOME_DONE, "{result:?}");
                let key = (result.get_task_id().to_owned(), result.get_lease_token());
                assert!(open.remove(&key), "{result:?} was answered twice");
            }
            Listened::Ended => panic!("the stream ended"),
            _ => {}
        }
    }
}

fn fill(cluster: &Cluster, namespace: &str, count: usize) {
    let mut request = CreateTasksRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_tasks((0..count).map(|n| create("", format!("{n}"))).collect());
    let clients = cluster.clients();
    let made = clients[0].collection.create_tasks(&request).unwrap();
    assert_eq!(made.get_tasks().len(), count);
}

#[test]
fn ten_thousand_leases_live_through_the_kill_of_the_leader() {
    const COUNT: usize = 10_000;
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let others = cluster.others(leader);
    let client = cluster.peers[others[0]].client();
    let rival_client = cluster.peers[others[1]].client();
    fill(&cluster, "held", COUNT);
    let mut holder = Conversation::open(&client, "held", "holder", COUNT as u32, LEASE).unwrap();
    let leases = take(&mut holder, COUNT);
    // From now on somebody else would take whatever is free.
    let mut rival = Conversation::open(&rival_client, "held", "rival", 1_000, LEASE).unwrap();
    cluster.peers[leader].kill();
    let new = cluster.wait_leader();
    assert_ne!(new, leader);
    ack_all(&mut holder, &leases);
    while let Listened::Heard(heard) = rival.listen(Duration::from_millis(300)) {
        assert!(matches!(heard, Heard::consuming(_)), "{heard:?}");
    }
    let stats = z4_e2e::life::stats(&rival_client, "held").unwrap();
    let counts = stats.get_counts();
    assert_eq!(
        (
            counts.get_created(),
            counts.get_done(),
            counts.get_deliveries()
        ),
        (COUNT as u64, COUNT as u64, COUNT as u64)
    );
}

#[test]
fn a_consumer_comes_back_at_another_peer_and_goes_on() {
    const COUNT: usize = 200;
    let mut cluster = Cluster::three();
    let leader = cluster.wait_leader();
    let clients = cluster.clients();
    fill(&cluster, "moved", COUNT);
    // The peer that has the stream is the one that dies: leader and all.
    let mut holder =
        Conversation::open(&clients[leader], "moved", "holder", COUNT as u32, LEASE).unwrap();
    let leases = take(&mut holder, COUNT);
    cluster.peers[leader].kill();
    assert!(holder.ended().is_err(), "its peer is gone");
    let new = cluster.wait_leader();
    let other = *cluster.others(leader).iter().find(|n| **n != new).unwrap();
    let mut again = wait::until("the consumer comes back", LIMIT, || {
        let opened = Conversation::open(&clients[other], "moved", "holder", COUNT as u32, LEASE);
        let mut again = opened.map_err(|e| e.to_string())?;
        match again.listen(Duration::from_secs(5)) {
            Listened::Heard(Heard::consuming(said)) => {
                assert_eq!(said.get_resumed() as usize, COUNT, "{said:?}");
                Ok(again)
            }
            heard => Err(format!("{heard:?}")),
        }
    });
    assert_eq!(take(&mut again, COUNT), leases, "the same leases");
    ack_all(&mut again, &leases);
}
