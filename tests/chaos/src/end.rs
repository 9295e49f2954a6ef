//! The end of a round: no faults, no new tasks. Every task ends within a bound,
//! the counts add up, and all members hold one state.

use std::time::{Duration, Instant};

use z4_core::state::NamespaceCounts;
use z4_core::TaskId;
use z4_e2e::client::{option, Client, Refused};
use z4_e2e::{life, wait};
use z4_proto::generated::admin::{
    NamespaceSettings, NamespaceStats, UpdateNamespaceRequest, VerifyClusterRequest,
};

use crate::load::calls;
use crate::record::Fate;

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
        let mut stats = stats(clients, namespace)?;
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

fn stats(clients: &[Client], namespace: &str) -> Result<NamespaceStats, String> {
    anywhere(clients, |client| life::stats(client, namespace))
}

/// The dead letters of a namespace, and what each carries.
///
/// # Errors
/// When no peer lists them, or one is none that anybody made.
pub fn dead(clients: &[Client], namespace: &str) -> Result<Vec<(TaskId, u64)>, String> {
    let listed = anywhere(clients, |client| life::dead_letters(client, namespace))?;
    let read = |task: &z4_proto::generated::collection::Task| {
        let carried = Fate::read(task.get_payload());
        let read = task.get_id().parse().ok().zip(carried);
        let read = read.map(|(id, (_, label))| (id, label));
        read.ok_or_else(|| format!("nobody made {task:?}"))
    };
    listed.iter().map(read).collect()
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
