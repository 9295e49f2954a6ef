//! Tasks changed, listed and explained over a real port.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use crate::support::client::Client;
use grpcio::RpcStatusCode as S;
use protobuf::well_known_types::{Duration, Timestamp};
use support::propose::{apply, kill, lease};
use support::{eventually, Peer, SnapshotsOfTest};
use z4_core::command::{LeaseRefs, NamespacePatch, SetNamespace};
use z4_core::{Command, Namespace, Outcome, TaskId};
use z4_proto::generated::collection::{
    CancelTaskRequest, CreateTaskRequest, CreateTasksRequest, DeathReason, ExplainTaskRequest,
    ExplainTaskResponse, ListTasksRequest, PurgeTasksRequest, ReasonKind, RedriveTasksRequest,
    RescheduleTaskRequest, RunTaskRequest, Task, TaskState,
};

fn started() -> (Peer, Client) {
    let peer = Peer::bootstrapped("a", &SnapshotsOfTest::default());
    let client = peer.client();
    (peer, client)
}

/// A batch of tasks; those with a time are due then.
fn batch(count: usize, due_s: i64) -> CreateTasksRequest {
    let mut request = CreateTasksRequest::default();
    request.set_namespace("n".into());
    for place in 0..count {
        let mut task = CreateTaskRequest::default();
        task.set_payload(place.to_string().into_bytes());
        if due_s > 0 {
            task.set_deliver_at(seconds(due_s));
        }
        request.mut_tasks().push(task);
    }
    request
}

fn create(client: &Client, count: usize, due_s: i64) -> Vec<String> {
    let created = client.collection().create_tasks(&batch(count, due_s));
    let tasks = created.unwrap().take_tasks().into_iter();
    tasks.map(|mut task| task.take_id()).collect()
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp {
        seconds,
        ..Timestamp::default()
    }
}

const FAR_S: i64 = 4_000_000_000;

fn cancel(client: &Client, id: &str) -> grpcio::Result<Task> {
    let mut request = CancelTaskRequest::default();
    request.set_namespace("n".into());
    request.set_task_id(id.into());
    client.collection().cancel_task(&request)
}

fn run(client: &Client, id: &str) -> grpcio::Result<Task> {
    let mut request = RunTaskRequest::default();
    request.set_namespace("n".into());
    request.set_task_id(id.into());
    client.collection().run_task(&request)
}

fn reschedule(
    client: &Client,
    id: &str,
    change: impl FnOnce(&mut RescheduleTaskRequest),
) -> grpcio::Result<Task> {
    let mut request = RescheduleTaskRequest::default();
    request.set_namespace("n".into());
    request.set_task_id(id.into());
    change(&mut request);
    client.collection().reschedule_task(&request)
}

fn explain(client: &Client, id: &str) -> ExplainTaskResponse {
    let mut request = ExplainTaskRequest::default();
    request.set_namespace("n".into());
    request.set_task_id(id.into());
    client.collection().explain_task(&request).unwrap()
}

fn list(change: impl FnOnce(&mut ListTasksRequest)) -> ListTasksRequest {
    let mut request = ListTasksRequest::default();
    request.set_namespace("n".into());
    change(&mut request);
    request
}

/// All pages of a listing.
fn pages(client: &Client, mut request: ListTasksRequest) -> Vec<Vec<Task>> {
    let mut pages = Vec::new();
    loop {
        let mut page = client.collection().list_tasks(&request).unwrap();
        pages.push(page.take_tasks().into_vec());
        if page.get_next_page_token().is_empty() {
            return pages;
        }
        request.set_page_token(page.take_next_page_token());
    }
}

fn ids(tasks: &[Task]) -> Vec<String> {
    tasks.iter().map(|task| task.get_id().to_owned()).collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: grpcio::Result<T>, code: S, text: &str) {
    match result {
        Err(grpcio::Error::RpcFailure(status)) => {
            assert_eq!(status.code(), code, "{}", status.message());
            assert!(status.message().contains(text), "{}", status.message());
        }
        other => panic!("{other:?}, not {code:?} {text}"),
    }
}

fn patch(peer: &Peer, change: impl FnOnce(&mut NamespacePatch)) {
    let mut patch = NamespacePatch::default();
    change(&mut patch);
    let set = Command::SetNamespace(SetNamespace {
        namespace: Namespace::new("n").unwrap(),
        patch,
    });
    let outcome = apply(peer, set);
    assert!(
        matches!(outcome, Outcome::NamespaceSet { .. }),
        "{outcome:?}"
    );
}

#[test]
fn a_batch_is_all_or_nothing_and_once() {
    let (peer, client) = started();
    let mut request = batch(500, FAR_S);
    request.set_request_id("r".into());
    request.mut_tasks()[7].mut_priority().value = 0;
    request.mut_tasks()[7].set_max_attempts(3);
    request.mut_tasks()[7].set_ttl(Duration {
        seconds: 5,
        ..Duration::default()
    });
    let first = client.collection().create_tasks(&request).unwrap();
    assert_eq!(first.get_forwarded_to(), "");
    assert_eq!(first.get_tasks().len(), 500);
    let again = client.collection().create_tasks(&request).unwrap();
    assert_eq!(first, again, "the same request is the same batch");
    let sixth = client.get("n", first.get_tasks()[7].get_id()).unwrap();
    assert_eq!(sixth.get_payload(), b"7", "in the order of the request");
    assert_eq!((sixth.get_priority(), sixth.get_max_attempts()), (0, 3));
    assert_eq!(sixth.get_ttl().get_seconds(), 5);
    assert_eq!(sixth.get_state(), TaskState::TASK_STATE_SCHEDULED);
    assert_eq!(sixth.get_due_at(), &seconds(FAR_S));
    let eighth = client.get("n", first.get_tasks()[8].get_id()).unwrap();
    assert_eq!(eighth.get_priority(), 5);

    // One bad task, and none is there.
    let mut bad = batch(10, 0);
    bad.mut_tasks()[9].set_tts_seconds(-1);
    refused(
        client.collection().create_tasks(&bad),
        S::INVALID_ARGUMENT,
        "tasks[9].tts_seconds",
    );
    // No room for all, and none is there.
    patch(&peer, |p| p.pending_max = Some(505));
    refused(
        client.collection().create_tasks(&batch(6, 0)),
        S::RESOURCE_EXHAUSTED,
        "505",
    );
    create(&client, 5, 0);
    let all: usize = pages(&client, list(|_| ())).iter().map(Vec::len).sum();
    assert_eq!(all, 505);
    peer.stop();
}

#[test]
fn single_creates_take_the_new_fields() {
    let (peer, client) = started();
    let mut request = CreateTaskRequest::default();
    request.set_namespace("n".into());
    request.mut_priority().value = 9;
    request.set_max_attempts(2);
    let created = client.create(&request).unwrap();
    assert_eq!(created.get_task().get_priority(), 9);
    let read = client.get("n", created.get_task().get_id()).unwrap();
    assert_eq!((read.get_priority(), read.get_max_attempts()), (9, 2));
    assert_eq!(read.get_created_at(), read.get_deliver_at());
    request.mut_priority().value = 10;
    refused(
        client.collection().create_task(&request),
        S::INVALID_ARGUMENT,
        "priority",
    );
    peer.stop();
}

#[test]
fn a_task_that_waits_is_cancelled_and_no_other() {
    let (peer, client) = started();
    let later = create(&client, 1, FAR_S).remove(0);
    let was = cancel(&client, &later).unwrap();
    assert_eq!((was.get_id(), was.get_payload()), (&*later, &b"0"[..]));
    assert_eq!(was.get_state(), TaskState::TASK_STATE_SCHEDULED);
    assert!(client.get("n", &later).is_err());
    refused(cancel(&client, &later), S::NOT_FOUND, &later);

    let held = create(&client, 1, 0).remove(0);
    lease(&peer, "n", "worker~1.0.1", 1);
    refused(
        cancel(&client, &held),
        S::FAILED_PRECONDITION,
        "consumer worker until 20",
    );
    refused(run(&client, &held), S::FAILED_PRECONDITION, "worker");
    let read = client.get("n", &held).unwrap();
    assert_eq!(read.get_consumer_id(), "worker");
    assert_eq!(read.get_state(), TaskState::TASK_STATE_LEASED);

    let dead = create(&client, 1, 0).remove(0);
    kill(&peer, "n", 1);
    refused(
        cancel(&client, &dead),
        S::FAILED_PRECONDITION,
        "RedriveTasks",
    );
    refused(cancel(&client, "zzz"), S::INVALID_ARGUMENT, "task_id");
    let other = TaskId::new(1, 2, 3).to_string();
    refused(cancel(&client, &other), S::NOT_FOUND, &other);
    peer.stop();
}

#[test]
fn of_a_cancel_and_a_lease_exactly_one_wins() {
    let (peer, client) = started();
    let (mut cancelled, mut leased) = (0, 0);
    for round in 0..120 {
        let id = create(&client, 1, 0).remove(0);
        let (won, held) = std::thread::scope(|scope| {
            let canceller = scope.spawn(|| cancel(&client, &id));
            if round % 2 == 0 {
                std::thread::sleep(std::time::Duration::from_micros(40 * round));
            }
            let held = lease(&peer, "n", "w~1.0.1", 1);
            (canceller.join().unwrap(), held)
        });
        match won {
            Ok(_) => {
                assert_eq!(held, [], "cancelled, and leased all the same");
                assert!(client.get("n", &id).is_err());
                cancelled += 1;
            }
            Err(_) => {
                assert_eq!(held.len(), 1, "neither cancelled nor leased");
                refused(won, S::FAILED_PRECONDITION, "consumer w");
                let refs = LeaseRefs {
                    namespace: Namespace::new("n").unwrap(),
                    leases: held,
                };
                apply(&peer, Command::AckTasks(refs));
                leased += 1;
            }
        }
    }
    // That both happen is a matter of luck; that each counts once is not.
    let counts = {
        let mut request = z4_proto::generated::admin::GetNamespaceRequest::default();
        request.set_name("n".into());
        client
            .admin()
            .get_namespace(&request)
            .unwrap()
            .take_counts()
    };
    assert_eq!(
        (counts.get_cancelled(), counts.get_done()),
        (cancelled, leased)
    );
    assert_eq!((counts.get_created(), counts.get_pending()), (120, 0));
    peer.stop();
}

#[test]
fn a_task_is_moved_and_shows_where_to() {
    let (peer, client) = started();
    let id = create(&client, 1, FAR_S).remove(0);
    let moved = reschedule(&client, &id, |r| r.set_deliver_at(seconds(FAR_S - 9))).unwrap();
    assert_eq!(moved.get_deliver_at(), &seconds(FAR_S - 9));
    assert_eq!(moved.get_due_at(), &seconds(FAR_S - 9));
    assert_eq!(client.get("n", &id).unwrap(), moved);
    // Nothing is due before, and the task is after.
    assert_eq!(lease(&peer, "n", "w", 9), []);
    let due = run(&client, &id).unwrap();
    assert!(due.get_deliver_at().get_seconds() < FAR_S - 9);
    let held = lease(&peer, "n", "w", 9);
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].0.to_string(), id);

    let id = create(&client, 1, FAR_S).remove(0);
    let half = Duration {
        nanos: 500_000_000,
        ..Duration::default()
    };
    let created_s = client.get("n", &id).unwrap().get_created_at().get_seconds();
    let soon = reschedule(&client, &id, |r| r.set_tts(half)).unwrap();
    let wait_s = soon.get_due_at().get_seconds() - created_s;
    assert!((1..60).contains(&wait_s), "{wait_s}");
    refused(
        reschedule(&client, &id, |_| ()),
        S::INVALID_ARGUMENT,
        "deliver_at",
    );
    refused(
        reschedule(&client, &id, |r| r.mut_tts().seconds = -1),
        S::INVALID_ARGUMENT,
        "tts",
    );
    refused(
        reschedule(&client, &id, |r| r.mut_deliver_at().nanos = -1),
        S::INVALID_ARGUMENT,
        "deliver_at.nanos",
    );
    peer.stop();
}

#[test]
fn lists_are_whole_in_order_and_filtered() {
    let (peer, client) = started();
    refused(
        client.collection().list_tasks(&list(|_| ())),
        S::NOT_FOUND,
        "namespace n",
    );
    create(&client, 20, 0);
    let dead = kill(&peer, "n", 6);
    lease(&peer, "n", "w~1.0.1", 4);
    let later = create(&client, 15, FAR_S);
    let whole = pages(&client, list(|_| ())).concat();
    assert_eq!(whole.len(), 35);
    assert!(ids(&whole).windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(ids(&whole[20..]), later);
    assert!(whole.iter().all(|task| task.get_payload().is_empty()));
    assert!(whole.iter().all(|task| task.get_size_bytes() > 0));
    for size in [1, 7, 34, 35] {
        let paged = pages(&client, list(|r| r.set_page_size(size)));
        assert!(paged.iter().all(|page| page.len() <= size as usize));
        assert_eq!(paged.concat(), whole, "{size} a page");
    }
    let of = |state| pages(&client, list(|r| r.set_state(state))).concat();
    let killed = of(TaskState::TASK_STATE_DEAD);
    let dead: Vec<_> = dead.iter().map(TaskId::to_string).collect();
    assert_eq!(ids(&killed), dead);
    assert_eq!(killed[0].get_last_error(), "boom");
    assert_eq!(of(TaskState::TASK_STATE_LEASED).len(), 4);
    assert_eq!(of(TaskState::TASK_STATE_SCHEDULED).len(), 25);
    let due = list(|r| {
        r.set_from(seconds(FAR_S));
        r.set_with_body(true);
        r.set_page_size(4);
    });
    let due = pages(&client, due).concat();
    assert_eq!(ids(&due), later);
    assert_eq!(due[14].get_payload(), b"14");

    let token = |page_token: &str| list(|r| r.set_page_token(page_token.into()));
    for garbage in ["x", "00", &"f".repeat(5_000)] {
        let answer = client.collection().list_tasks(&token(garbage));
        refused(answer, S::INVALID_ARGUMENT, "page_token");
    }
    let mut page = client
        .collection()
        .list_tasks(&list(|r| r.set_page_size(3)))
        .unwrap();
    let other = list(|r| {
        r.set_state(TaskState::TASK_STATE_DEAD);
        r.set_page_token(page.take_next_page_token());
    });
    let answer = client.collection().list_tasks(&other);
    refused(answer, S::INVALID_ARGUMENT, "page_token");
    let answer = client
        .collection()
        .list_tasks(&list(|r| r.set_page_size(1_001)));
    refused(answer, S::INVALID_ARGUMENT, "page_size");
    peer.stop();
}

#[test]
fn no_page_is_too_large_for_a_message() {
    let (peer, client) = started();
    // Labels that take more room on the wire than they count: one page's worth
    // of tasks is more than a message. Then large payloads.
    for _ in 0..4 {
        let mut request = batch(250, FAR_S);
        for task in request.mut_tasks().iter_mut() {
            let labels = (0..1_000).map(|label| (label.to_string(), String::new()));
            task.set_metadata(labels.collect());
        }
        client.collection().create_tasks(&request).unwrap();
    }
    for _ in 0..2 {
        let mut request = batch(7, FAR_S);
        for task in request.mut_tasks().iter_mut() {
            task.set_payload(vec![7; 1 << 20]);
        }
        client.collection().create_tasks(&request).unwrap();
    }
    let everything = list(|r| {
        r.set_with_body(true);
        r.set_page_size(1_000);
    });
    let whole = pages(&client, everything).concat();
    assert_eq!(whole.len(), 1_014);
    assert!(ids(&whole).windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(whole[999].get_metadata().len(), 1_000);
    assert_eq!(whole[1_013].get_payload().len(), 1 << 20);
    peer.stop();
}

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

fn redrive(
    client: &Client,
    change: impl FnOnce(&mut RedriveTasksRequest),
) -> grpcio::Result<(u64, bool)> {
    let mut request = RedriveTasksRequest::default();
    request.set_namespace("n".into());
    change(&mut request);
    let done = client.collection().redrive_tasks(&request)?;
    Ok((done.get_redriven(), done.get_more()))
}

fn purge(
    client: &Client,
    change: impl FnOnce(&mut PurgeTasksRequest),
) -> grpcio::Result<(u64, bool)> {
    let mut request = PurgeTasksRequest::default();
    request.set_namespace("n".into());
    change(&mut request);
    let done = client.collection().purge_tasks(&request)?;
    Ok((done.get_purged(), done.get_more()))
}

#[test]
fn dead_letters_by_id() {
    let (peer, client) = started();
    create(&client, 5, 0);
    let dead: Vec<_> = kill(&peer, "n", 4).iter().map(TaskId::to_string).collect();
    let waiting = create(&client, 1, FAR_S).remove(0);
    // Others are passed over.
    let some = vec![waiting.clone(), dead[0].clone(), dead[1].clone()];
    let done = redrive(&client, |r| r.set_task_ids(some.clone().into())).unwrap();
    assert_eq!(done, (2, false));
    let back = client.get("n", &dead[0]).unwrap();
    assert_eq!(back.get_state(), TaskState::TASK_STATE_SCHEDULED);
    assert_eq!((back.get_failures(), back.get_attempt()), (0, 1));
    // None of them is dead any more.
    refused(
        redrive(&client, |r| r.set_task_ids(some.into())),
        S::FAILED_PRECONDITION,
        "no dead letter",
    );
    let kept = redrive(&client, |r| {
        r.set_task_ids(vec![dead[2].clone()].into());
        r.set_keep_attempts(true);
    });
    assert_eq!(kept.unwrap(), (1, false));
    assert_eq!(client.get("n", &dead[2]).unwrap().get_failures(), 1);
    let last = |r: &mut PurgeTasksRequest| r.set_task_ids(vec![dead[3].clone()].into());
    assert_eq!(purge(&client, last).unwrap(), (1, false));
    refused(purge(&client, last), S::NOT_FOUND, &dead[3]);
    refused(
        purge(&client, |r| r.set_task_ids(vec!["x".into()].into())),
        S::INVALID_ARGUMENT,
        "task_ids[0]",
    );
    peer.stop();
}

#[test]
fn dead_letters_by_filter_in_parts() {
    let (peer, client) = started();
    // Three parts and a bit.
    create(&client, 3_100, 0);
    for _ in 0..4 {
        kill(&peer, "n", 1_000);
    }
    assert_eq!(redrive(&client, |r| r.set_limit(7)).unwrap(), (7, true));
    let old = purge(&client, |r| {
        r.set_reason(DeathReason::DEATH_REASON_TTL);
    });
    assert_eq!(old.unwrap(), (0, false));
    let before = purge(&client, |r| r.set_to(seconds(1_000)));
    assert_eq!(before.unwrap(), (0, false));
    assert_eq!(
        purge(&client, |r| r.set_limit(1_030)).unwrap(),
        (1_030, true)
    );
    // Oldest first.
    let left = pages(&client, list(|r| r.set_state(TaskState::TASK_STATE_DEAD))).concat();
    assert_eq!(left.len(), 3_100 - 1_037);
    // No room for all of them.
    patch(&peer, |p| p.pending_max = Some(1_507));
    assert_eq!(redrive(&client, |_| ()).unwrap(), (1_500, true));
    refused(
        redrive(&client, |_| ()),
        S::RESOURCE_EXHAUSTED,
        "pending_max",
    );
    assert_eq!(purge(&client, |r| r.set_limit(500)).unwrap(), (500, true));
    assert_eq!(purge(&client, |_| ()).unwrap(), (63, false));
    let left = pages(&client, list(|r| r.set_state(TaskState::TASK_STATE_DEAD))).concat();
    assert_eq!(left, []);
    let mut elsewhere = PurgeTasksRequest::default();
    elsewhere.set_namespace("m".into());
    let answer = client.collection().purge_tasks(&elsewhere);
    refused(answer, S::NOT_FOUND, "namespace m");
    peer.stop();
}

#[test]
fn a_task_that_does_not_run_is_explained() {
    let (peer, client) = started();
    let kinds = |id: &str| {
        let reasons = explain(&client, id).take_reasons().into_iter();
        let kinds: Vec<_> = reasons.map(|reason| reason.get_kind()).collect();
        kinds
    };
    use ReasonKind as K;
    let later = create(&client, 1, FAR_S).remove(0);
    let due = create(&client, 3, 0);
    let explained = explain(&client, &later);
    assert_eq!(explained.get_task().get_id(), later);
    assert_eq!(
        kinds(&later),
        [K::REASON_KIND_NO_CONSUMER, K::REASON_KIND_NOT_DUE]
    );
    let not_due = &explained.get_reasons()[1];
    assert_eq!(not_due.get_until(), &seconds(FAR_S));
    assert!(not_due.get_message().contains(" d "), "{not_due:?}");
    assert_eq!(
        kinds(&due[2]),
        [K::REASON_KIND_NO_CONSUMER, K::REASON_KIND_BEHIND]
    );
    let behind = explain(&client, &due[2]);
    assert_eq!(behind.get_reasons()[1].get_count(), 2);
    patch(&peer, |p| {
        p.rate_per_s = Some(1);
        p.rate_burst = Some(1);
    });
    assert_eq!(lease(&peer, "n", "w~1.0.1", 9).len(), 1);
    assert_eq!(kinds(&due[0]), [K::REASON_KIND_LEASED]);
    patch(&peer, |p| {
        p.paused = Some(true);
        p.leased_max = Some(1);
        p.rate_per_s = Some(0);
    });
    assert_eq!(
        kinds(&due[1]),
        [
            K::REASON_KIND_PAUSED,
            K::REASON_KIND_NO_CONSUMER,
            K::REASON_KIND_LEASED_MAX,
        ]
    );
    patch(&peer, |p| {
        p.paused = Some(false);
        p.leased_max = Some(0);
    });
    let dead = kill(&peer, "n", 1).remove(0).to_string();
    assert_eq!(kinds(&dead), [K::REASON_KIND_DEAD]);
    let message = explain(&client, &dead).get_reasons()[0]
        .get_message()
        .to_owned();
    assert!(message.contains("boom"), "{message}");
    cancel(&client, &later).unwrap();
    let mut request = ExplainTaskRequest::default();
    request.set_namespace("n".into());
    request.set_task_id(later);
    let answer = client.collection().explain_task(&request);
    refused(answer, S::NOT_FOUND, "task_id");
    peer.stop();
}
