//! The same at every peer of three, and while the leader goes.

use super::*;
use crate::dead::{purge, redrive};

/// Three peers; the first leads.
fn three() -> (Vec<Peer>, Vec<Client>) {
    let snapshots = SnapshotsOfTest::default();
    let peers = vec![
        Peer::bootstrapped("a", &snapshots),
        Peer::waiting("b", &snapshots),
        Peer::waiting("c", &snapshots),
    ];
    let clients: Vec<Client> = peers.iter().map(Peer::client).collect();
    for (id, peer) in ["b", "c"].into_iter().zip(&peers[1..]) {
        clients[0].add_member(id, &peer.peer_address).unwrap();
    }
    (peers, clients)
}

#[test]
fn every_peer_does_it_and_every_peer_sees_it() {
    let (peers, clients) = three();
    for at in 0..3 {
        let (here, there) = (&clients[at], &clients[(at + 1) % 3]);
        let created = here.collection().create_tasks(&batch(4, FAR_S)).unwrap();
        let leader = if at == 0 { "" } else { &peers[0].peer_address };
        assert_eq!(created.get_forwarded_to(), leader);
        let id = |place: usize| created.get_tasks()[place].get_id();
        // Acknowledged at one peer, seen at once at the next.
        let due = |task: Task| task.get_due_at().get_seconds();
        reschedule(there, id(0), |r| r.set_deliver_at(seconds(FAR_S + 1))).unwrap();
        assert_eq!(due(here.get("n", id(0)).unwrap()), FAR_S + 1);
        cancel(here, id(1)).unwrap();
        assert!(there.get("n", id(1)).is_err());
        let listed = ids(&pages(there, list(|_| ())).concat());
        assert!(listed.contains(&id(0).to_owned()) && !listed.contains(&id(1).to_owned()));
        run(there, id(2)).unwrap();
        let dead = kill(&peers[0], "n", 1);
        assert_eq!(dead[0].to_string(), id(2));
        let one = |r: &mut RedriveTasksRequest| r.set_limit(1);
        assert_eq!(redrive(here, one).unwrap(), (1, false));
        assert_eq!(kill(&peers[0], "n", 1).len(), 1);
        assert_eq!(purge(there, |_| ()).unwrap(), (1, false));
        let left = explain(here, id(3));
        assert_eq!(left.get_task().get_id(), id(3));
    }
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn cancels_tell_the_truth_when_the_leader_goes() {
    let (mut peers, clients) = three();
    let all = create(&clients[1], 3_000, FAR_S);
    let request = |id: &str| {
        let mut request = CancelTaskRequest::default();
        request.set_namespace("n".into());
        request.set_task_id(id.into());
        request
    };
    // The leader goes while many are under way at the others.
    let mut asked = Vec::new();
    for (place, id) in all.iter().enumerate() {
        let collection = clients[1 + place % 2].collection();
        asked.push((id, collection.cancel_task_async(&request(id)).unwrap()));
    }
    let first = futures::executor::block_on(asked.remove(0).1).unwrap();
    assert_eq!(first.get_id(), all[0]);
    peers.remove(0).stop();
    let mut gone = Vec::new();
    for (id, answer) in asked {
        match futures::executor::block_on(answer) {
            Ok(was) => {
                assert_eq!(was.get_id(), id);
                gone.push(id);
            }
            // Nobody else touches them: each was there, so none was not found.
            Err(grpcio::Error::RpcFailure(status)) => {
                let code = status.code();
                assert!(
                    code == S::UNKNOWN || code == S::UNAVAILABLE,
                    "{id}: {status:?}"
                );
            }
            Err(other) => panic!("{other}"),
        }
    }
    let left = ids(&pages(&clients[2], list(|r| r.set_page_size(1_000))).concat());
    assert!(gone.iter().all(|id| !left.contains(id)), "said to be gone");
    peers.into_iter().for_each(Peer::stop);
}

#[test]
fn consumers_anywhere_count_in_explanations() {
    use futures::{SinkExt, StreamExt};
    use z4_proto::generated::admin::GetNamespaceStatsRequest;
    use z4_proto::generated::collection::ConsumeRequest;

    let (peers, clients) = three();
    let later = create(&clients[0], 1, FAR_S).remove(0);
    let explained = |at: usize, id: &str| {
        let reasons = explain(&clients[at], id).take_reasons().into_iter();
        let told: Vec<_> = reasons.map(|r| (r.get_kind(), r.get_count())).collect();
        told
    };
    // A consumer of a follower that takes one task at a time.
    let (mut sender, mut receiver) = clients[1].collection().consume().unwrap();
    let mut opening = ConsumeRequest::default();
    opening.mut_open().set_namespace("n".into());
    opening.mut_open().set_consumer_id("worker".into());
    opening.mut_open().mut_credit().set_max_in_flight(1);
    let opened = sender.send((opening, grpcio::WriteFlags::default()));
    futures::executor::block_on(opened).unwrap();
    use ReasonKind as K;
    for at in 0..3 {
        eventually("the leader knows of it", || {
            explained(at, &later) == [(K::REASON_KIND_NOT_DUE, 0)]
        });
    }
    let mut request = GetNamespaceStatsRequest::default();
    request.set_name("n".into());
    let stats = || clients[2].admin().get_namespace_stats(&request).unwrap();
    assert_eq!(
        (stats().get_consumers(), stats().get_consumer_room()),
        (1, 1)
    );
    let due = create(&clients[2], 2, 0);
    for expected in ["consuming", "delivery"] {
        let message = futures::executor::block_on(receiver.next());
        let message = message.unwrap().unwrap();
        assert_eq!(message.has_delivery(), expected == "delivery");
    }
    // The follower may have applied the lease before the leader has counted it.
    for at in 0..3 {
        assert_eq!(explained(at, &due[0]), [(K::REASON_KIND_LEASED, 0)]);
        eventually("its credit is used up", || {
            explained(at, &due[1]) == [(K::REASON_KIND_NO_CREDIT, 1)]
        });
    }
    assert_eq!(
        (stats().get_consumers(), stats().get_consumer_room()),
        (1, 0)
    );
    let held = explain(&clients[0], &due[0]);
    let message = held.get_reasons()[0].get_message();
    assert!(message.starts_with("consumer worker holds it"), "{message}");
    drop((sender, receiver));
    eventually("it is gone", || {
        explained(2, &later).first() == Some(&(K::REASON_KIND_NO_CONSUMER, 0))
    });
    peers.into_iter().for_each(Peer::stop);
}
