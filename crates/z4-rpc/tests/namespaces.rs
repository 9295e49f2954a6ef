//! Namespaces over a real port: settings, pausing, deleting, stats.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use crate::support::client::Client;
use futures::executor::block_on;
use futures::StreamExt;
use grpcio::RpcStatusCode as S;
use protobuf::well_known_types::{Duration, Timestamp};
use support::propose::{kill, lease};
use support::{eventually, Peer, SnapshotsOfTest};
use z4_proto::generated::admin::{
    DeleteNamespaceRequest, GetNamespaceRequest, GetNamespaceStatsRequest, ListNamespacesRequest,
    Namespace, NamespaceStats, PauseNamespaceRequest, ResumeNamespaceRequest,
    UpdateNamespaceRequest,
};
use z4_proto::generated::collection::CreateTaskRequest;

fn started() -> (Peer, Client) {
    let peer = Peer::bootstrapped("a", &SnapshotsOfTest::default());
    let client = peer.client();
    (peer, client)
}

fn create(client: &Client, namespace: &str, due_s: i64) -> grpcio::Result<String> {
    let mut request = CreateTaskRequest::default();
    request.set_namespace(namespace.into());
    if due_s > 0 {
        request.set_deliver_at(Timestamp {
            seconds: due_s,
            ..Timestamp::default()
        });
    }
    let mut created = client.collection().create_task(&request)?;
    Ok(created.take_task().take_id())
}

fn get(client: &Client, name: &str) -> grpcio::Result<Namespace> {
    let mut request = GetNamespaceRequest::default();
    request.set_name(name.into());
    client.admin().get_namespace(&request)
}

fn update(
    client: &Client,
    name: &str,
    change: impl FnOnce(&mut UpdateNamespaceRequest),
) -> grpcio::Result<Namespace> {
    let mut request = UpdateNamespaceRequest::default();
    request.set_name(name.into());
    change(&mut request);
    client.admin().update_namespace(&request)
}

fn pause(client: &Client, name: &str) -> grpcio::Result<Namespace> {
    let mut request = PauseNamespaceRequest::default();
    request.set_name(name.into());
    client.admin().pause_namespace(&request)
}

fn resume(client: &Client, name: &str) -> grpcio::Result<Namespace> {
    let mut request = ResumeNamespaceRequest::default();
    request.set_name(name.into());
    client.admin().resume_namespace(&request)
}

fn delete(client: &Client, name: &str) -> grpcio::Result<u64> {
    let mut request = DeleteNamespaceRequest::default();
    request.set_name(name.into());
    Ok(client.admin().delete_namespace(&request)?.get_remaining())
}

fn stats(client: &Client, name: &str) -> grpcio::Result<NamespaceStats> {
    let mut request = GetNamespaceStatsRequest::default();
    request.set_name(name.into());
    client.admin().get_namespace_stats(&request)
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

const FAR_S: i64 = 4_000_000_000;

#[test]
fn namespaces_are_listed_in_pages() {
    let (peer, client) = started();
    let empty = client.admin().list_namespaces(&Default::default()).unwrap();
    assert_eq!(empty.get_namespaces().len(), 0);
    let mut expected: Vec<_> = (0..25).map(|n| format!("ns-{n}")).collect();
    for name in &expected {
        update(&client, name, |_| ()).unwrap();
    }
    expected.sort();
    for size in [0, 1, 7, 25] {
        let mut request = ListNamespacesRequest::default();
        request.set_page_size(size);
        let mut names = Vec::new();
        loop {
            let mut page = client.admin().list_namespaces(&request).unwrap();
            assert!(size == 0 || page.get_namespaces().len() <= size as usize);
            names.extend(
                page.take_namespaces()
                    .into_iter()
                    .map(|mut n| n.take_name()),
            );
            if page.get_next_page_token().is_empty() {
                break;
            }
            request.set_page_token(page.take_next_page_token());
        }
        assert_eq!(names, expected, "{size} a page");
    }
    let mut request = ListNamespacesRequest::default();
    request.set_page_token("7f".into());
    refused(
        client.admin().list_namespaces(&request),
        S::INVALID_ARGUMENT,
        "page_token",
    );
    let mut request = ListNamespacesRequest::default();
    request.set_page_size(1_001);
    refused(
        client.admin().list_namespaces(&request),
        S::INVALID_ARGUMENT,
        "page_size",
    );
    peer.stop();
}

#[test]
fn settings_change_as_the_mask_says() {
    let (peer, client) = started();
    refused(get(&client, "n"), S::NOT_FOUND, "namespace n");
    refused(get(&client, "a b"), S::INVALID_ARGUMENT, "name must");
    create(&client, "n", FAR_S).unwrap();
    let first = get(&client, "n").unwrap();
    assert_eq!(first.get_settings().get_lease().get_seconds(), 30);
    assert_eq!(first.get_settings().get_dedupe_window().get_seconds(), 600);
    assert_eq!(first.get_counts().get_pending(), 1);
    let lease = |seconds| Duration {
        seconds,
        ..Duration::default()
    };
    let changed = update(&client, "n", |r| {
        r.mut_settings().set_lease(lease(7));
        r.mut_settings().set_max_attempts(5);
    });
    let changed = changed.unwrap();
    assert_eq!(changed.get_settings().get_lease().get_seconds(), 7);
    assert_eq!(changed.get_settings().get_max_attempts(), 5);
    assert_eq!(changed, get(&client, "n").unwrap());
    let changed = update(&client, "n", |r| {
        r.set_update_mask(vec!["max_attempts".to_owned()].into());
        r.mut_settings().set_lease(lease(99));
    });
    let changed = changed.unwrap();
    assert_eq!(changed.get_settings().get_lease().get_seconds(), 7);
    assert_eq!(changed.get_settings().get_max_attempts(), 0);
    let changed = update(&client, "n", |r| {
        r.set_update_mask(vec!["*".to_owned()].into());
    });
    assert_eq!(changed.unwrap().get_settings(), first.get_settings());
    refused(
        update(&client, "n", |r| {
            r.set_update_mask(vec!["leese".to_owned()].into())
        }),
        S::INVALID_ARGUMENT,
        "update_mask",
    );
    refused(
        update(&client, "n", |r| {
            r.mut_settings().set_backoff_min(lease(700))
        }),
        S::INVALID_ARGUMENT,
        "backoff_min",
    );
    refused(
        update(&client, "", |_| ()),
        S::INVALID_ARGUMENT,
        "name must",
    );
    peer.stop();
}

#[test]
fn a_paused_namespace_delivers_nothing_until_it_is_resumed() {
    let (peer, client) = started();
    refused(pause(&client, "n"), S::NOT_FOUND, "namespace n");
    refused(resume(&client, "n"), S::NOT_FOUND, "namespace n");
    update(&client, "n", |_| ()).unwrap();
    let paused = pause(&client, "n").unwrap();
    assert!(paused.has_paused_at());
    assert_eq!(pause(&client, "n").unwrap(), paused, "since the first time");
    let mut stream = client.stream("n").unwrap();
    let id = create(&client, "n", 0).unwrap();
    assert_eq!(lease(&peer, "n", "w", 1), []);
    assert!(stats(&client, "n").unwrap().has_paused_at());
    assert!(!resume(&client, "n").unwrap().has_paused_at());
    let task = block_on(stream.next()).unwrap().unwrap();
    assert_eq!(task.get_id(), id);
    peer.stop();
}

#[test]
fn a_deleted_namespace_goes_and_its_name_can_be_used_anew() {
    let (peer, client) = started();
    refused(delete(&client, "n"), S::NOT_FOUND, "namespace n");
    for _ in 0..20 {
        create(&client, "n", 0).unwrap();
    }
    lease(&peer, "n", "w", 5);
    kill(&peer, "n", 5);
    let old = create(&client, "n", FAR_S).unwrap();
    let left = delete(&client, "n").unwrap();
    assert!(left <= 21, "{left}");
    eventually("it is gone", || get(&client, "n").is_err());
    refused(get(&client, "n"), S::NOT_FOUND, "namespace n");
    refused(stats(&client, "n"), S::NOT_FOUND, "namespace n");
    let new = create(&client, "n", FAR_S).unwrap();
    assert!(client.get("n", &old).is_err());
    assert!(client.get("n", &new).is_ok());
    assert_eq!(get(&client, "n").unwrap().get_counts().get_created(), 1);
    peer.stop();
}

#[test]
fn stats_are_counted() {
    let (peer, client) = started();
    refused(stats(&client, "n"), S::NOT_FOUND, "namespace n");
    for priority in [0, 0, 5, 9] {
        let mut request = CreateTaskRequest::default();
        request.set_namespace("n".into());
        request.mut_priority().value = priority;
        client.create(&request).unwrap();
    }
    create(&client, "n", FAR_S).unwrap();
    let seen = stats(&client, "n").unwrap();
    assert_eq!(
        seen.get_pending_by_priority(),
        [1, 0, 0, 0, 2, 0, 0, 0, 0, 2]
    );
    assert!(seen.has_oldest_due_age());
    assert_eq!(seen.get_next_due_at().get_seconds(), FAR_S);
    assert!(!seen.has_last_leased_at());
    assert!(seen.get_created_per_s() > 0.0);
    lease(&peer, "n", "w", 2);
    kill(&peer, "n", 9);
    let seen = stats(&client, "n").unwrap();
    let counts = seen.get_counts();
    assert_eq!(
        (
            counts.get_created(),
            counts.get_pending(),
            counts.get_leased(),
            counts.get_dead()
        ),
        (5, 1, 2, 2)
    );
    assert_eq!((counts.get_deliveries(), counts.get_failures()), (4, 2));
    assert!(seen.has_last_leased_at());
    assert!(!seen.has_oldest_due_age());
    peer.stop();
}
