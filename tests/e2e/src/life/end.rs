//! The end of a round: no faults, no new tasks. Every task ends within a bound,
//! the counts add up, and all members hold one state.

use std::time::{Duration, Instant};

use z4_check::told::{Dead, Death, Fate};
use z4_core::state::NamespaceCounts;
use z4_proto::generated::admin::{
    GetNamespaceStatsRequest, NamespaceSettings, NamespaceStats, UpdateNamespaceRequest,
    VerifyClusterRequest,
};
use z4_proto::generated::collection::{ListTasksRequest, Task, TaskState};

use super::record::Record;
use super::work::calls;
use crate::client::{option, Client, Refused, CALL_LIMIT};
use crate::wait;

/// How long the last tasks may take to end: the latest due time that a producer
/// gives, the longest lease, and a way back from what was before.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
/// How long a call may be repeated.
const ASK_LIMIT: Duration = Duration::from_secs(30);

/// Short waits, so that every way of a task is gone often.
///
/// # Errors
/// When no peer takes the settings.
pub fn furnish(clients: &[Client], namespace: &str) -> Result<(), String> {
    let mut settings = NamespaceSettings::new();
    settings.set_backoff_min(calls::span(Duration::from_millis(50)));
    settings.set_backoff_max(calls::span(Duration::from_millis(400)));
    let mut request = UpdateNamespaceRequest::new();
    request.set_name(namespace.to_owned());
    request.set_settings(settings);
    anywhere(clients, |client| {
        let limit = option(Duration::from_secs(5));
        client.admin.update_namespace_opt(&request, limit)
    })
    .map(|_| ())
}

/// Waits until no task waits or is held; how long that took, and the counts.
///
/// # Errors
/// What is left after the bound.
pub fn drain(clients: &[Client], namespace: &str) -> Result<(Duration, NamespaceCounts), String> {
    let start = Instant::now();
    let counts = wait::within(DRAIN_LIMIT, || {
        let mut stats = anywhere(clients, |client| stats(client, namespace))?;
        let counts = stats.take_counts();
        let open = counts.get_pending() + counts.get_leased();
        wait::check(open == 0, || {
            format!(
                "{open} tasks are open {DRAIN_LIMIT:?} after the last fault: {stats:?} {counts:?}"
            )
        })?;
        Ok(counts)
    })?;
    let counts = NamespaceCounts {
        created: counts.get_created(),
        pending: counts.get_pending(),
        leased: counts.get_leased(),
        done: counts.get_done(),
        dead: counts.get_dead(),
        cancelled: counts.get_cancelled(),
        purged: counts.get_purged(),
        ..NamespaceCounts::default()
    };
    Ok((start.elapsed(), counts))
}

/// The dead letters of a namespace; what each carries is recorded.
///
/// # Errors
/// When no peer lists them, or one is none that anybody made.
pub fn dead(clients: &[Client], namespace: &str, record: &Record) -> Result<Dead, String> {
    let listed = anywhere(clients, |client| dead_letters(client, namespace))?;
    let read = |task: &Task| {
        let (_, label) = Fate::read(task.get_payload())?;
        let death = Death {
            reason: calls::death_reason(task)?,
            failures: task.get_failures(),
        };
        let id = task.get_id().parse().ok()?;
        record.told().listed.push((id, label));
        Some((id, death))
    };
    let read = |task| read(task).ok_or_else(|| format!("nobody made {task:?}"));
    listed.iter().map(read).collect()
}

/// What a peer says of a namespace.
///
/// # Errors
/// The status of the peer.
pub fn stats(client: &Client, namespace: &str) -> grpcio::Result<NamespaceStats> {
    let mut request = GetNamespaceStatsRequest::new();
    request.set_name(namespace.to_owned());
    let limit = option(CALL_LIMIT);
    client.admin.get_namespace_stats_opt(&request, limit)
}

/// All dead letters of a namespace, page by page.
fn dead_letters(client: &Client, namespace: &str) -> grpcio::Result<Vec<Task>> {
    let mut all = Vec::new();
    let mut request = ListTasksRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_state(TaskState::TASK_STATE_DEAD);
    request.set_with_body(true);
    loop {
        let limit = option(CALL_LIMIT);
        let mut page = client.collection.list_tasks_opt(&request, limit)?;
        all.extend(page.take_tasks());
        if page.get_next_page_token().is_empty() {
            return Ok(all);
        }
        request.set_page_token(page.take_next_page_token());
    }
}

/// The one state hash of all members, with no invariant broken.
///
/// # Errors
/// What the members say.
pub fn verify(clients: &[Client]) -> Result<String, String> {
    let response = wait::within(ASK_LIMIT, || {
        let response = anywhere(clients, |client| {
            let limit = option(Duration::from_secs(20));
            let request = VerifyClusterRequest::new();
            client.admin.verify_cluster_opt(&request, limit)
        })?;
        // A member that is behind may not be there yet.
        let errors = response.get_members().iter().map(|m| m.get_error());
        let silent: Vec<_> = errors.filter(|error| !error.is_empty()).collect();
        wait::check(silent.is_empty(), || silent.join("; "))?;
        Ok(response)
    })
    .map_err(|why| format!("the members do not verify their states: {why}"))?;
    wait::check(response.get_ok(), || {
        format!("the states are not one and sound: {response:?}")
    })?;
    let first = response.get_members().first();
    Ok(first.map_or_else(String::new, |m| m.get_state_hash().to_owned()))
}

/// The first answer that a client gets, in turn and again.
fn anywhere<T>(
    clients: &[Client],
    ask: impl Fn(&Client) -> grpcio::Result<T>,
) -> Result<T, String> {
    wait::within(ASK_LIMIT, || {
        let mut why = String::new();
        for client in clients {
            match ask(client) {
                Ok(answer) => return Ok(answer),
                Err(error) => why = Refused::from(error).to_string(),
            }
        }
        Err(why)
    })
}
