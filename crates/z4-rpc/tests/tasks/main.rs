//! Tasks changed, listed and explained over a real port.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod cluster;
mod creates;
mod dead;
mod explain;
mod lists;

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
