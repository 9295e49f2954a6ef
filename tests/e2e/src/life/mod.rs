//! The whole life of many tasks under faults: producers create, consumers of
//! all kinds take leases and end them in all ways, leaders are killed; then
//! everything that anybody was told is laid beside what became of the tasks.
//!
//! | file | what |
//! |---|---|
//! | `conversation` | one `Consume` stream |
//! | `worker` | a consumer with habits, good and bad |
//! | `history` | what all consumers saw and were told |
//! | `judge` | the rules, applied to the history |

pub mod conversation;
pub mod history;
pub mod judge;
pub mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use z4_proto::generated::admin::{
    GetNamespaceStatsRequest, NamespaceSettings, NamespaceStats, UpdateNamespaceRequest,
    VerifyClusterRequest,
};
use z4_proto::generated::collection::{ListTasksRequest, Task, TaskState};

use crate::client::{option, Client, Refused};
use crate::cluster::Cluster;
use crate::load::Load;
use crate::wait;
use history::History;
use judge::Verdict;
use worker::{Habit, Worker};

/// Failures that make a task a dead letter here.
pub const ATTEMPTS: u32 = 4;
/// Length of the leases.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// How long the last tasks may take to end when the faults are over.
const SETTLE: Duration = Duration::from_secs(90);

/// What to do.
pub struct Plan {
    /// For how long creates are made and things break.
    pub length: Duration,
    /// How often the leader is killed.
    pub kill_every: Duration,
    /// How many consumers there are; their habits go round.
    pub consumers: usize,
    /// How many producers there are.
    pub producers: usize,
    /// Pause of a producer between two creates.
    pub pause: Duration,
    /// Draws the consumers' whims.
    pub seed: u64,
}

/// What was seen.
#[derive(Debug)]
pub struct Outcome {
    /// Creates that were acknowledged.
    pub created: usize,
    /// Times that the leader was killed.
    pub kills: usize,
    /// What the rules say of it; see [`Verdict::broken`].
    pub verdict: Verdict,
    /// The namespace at the end.
    pub stats: NamespaceStats,
    /// From the end of the faults until no task was waiting or leased.
    pub settled_after: Duration,
    /// The state hash that all members agree on.
    pub state_hash: String,
}

/// Runs a plan on a cluster of three; everything is checked, and what is broken
/// is in the verdict.
///
/// # Panics
/// When the cluster does not come back from a fault, when tasks do not end
/// within 90 s after the faults, or when the members' states differ.
pub fn run(cluster: &mut Cluster, namespace: &str, plan: &Plan) -> Outcome {
    let clients = cluster.clients();
    settings(&clients, namespace);
    let (calm, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let history = History::default();
    let workers: Vec<Worker> = (0..plan.consumers)
        .map(|n| {
            let habit = Habit::ALL[n % Habit::ALL.len()];
            let signals = (Arc::clone(&calm), Arc::clone(&stop));
            Worker::start(n, habit, &clients, namespace, &history, signals, plan.seed)
        })
        .collect();
    let load = Load::start(&clients, namespace, plan.producers, plan.pause);
    let (start, mut kills) = (Instant::now(), 0);
    while start.elapsed() < plan.length {
        let next = plan.kill_every * (kills as u32 + 1);
        if next >= plan.length {
            thread::sleep(plan.length.saturating_sub(start.elapsed()));
            break;
        }
        thread::sleep(next.saturating_sub(start.elapsed()));
        let leader = cluster.wait_leader();
        cluster.peers[leader].kill();
        kills += 1;
        // Long enough that another leads before it is back.
        thread::sleep(Duration::from_millis(1_000));
        cluster.start_missing();
    }
    let told = load.finish();
    calm.store(true, Ordering::Relaxed);
    let settled = Instant::now();
    let stats = wait::until("every task ends", SETTLE, || {
        let stats = anywhere(&clients, |client| stats(client, namespace))?;
        let counts = stats.get_counts();
        let open = counts.get_pending() + counts.get_leased();
        wait::check(open == 0, || format!("{open} are open: {counts:?}"))?;
        Ok(stats)
    });
    let settled_after = settled.elapsed();
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join();
    }
    let dead = wait::until("the dead letters are listed", SETTLE, || {
        anywhere(&clients, |client| dead_letters(client, namespace))
    });
    let verdict = judge::judge(&history, &told, &dead);
    Outcome {
        created: told.acked.len(),
        kills,
        verdict,
        stats,
        settled_after,
        state_hash: verify(&clients),
    }
}

impl Outcome {
    /// Says what is broken, one line each; empty when every promise was kept.
    #[must_use]
    pub fn broken(&self, told: &str) -> Vec<String> {
        let mut broken = self.verdict.broken.clone();
        let counts = self.stats.get_counts();
        let gone = counts.get_done() + counts.get_dead();
        if counts.get_created() != gone {
            broken.push(format!("{told}: created is not done + dead: {counts:?}"));
        }
        if (counts.get_created() as usize) < self.created {
            broken.push(format!("{told}: fewer were created than acknowledged"));
        }
        broken
    }
}

/// Few attempts and short waits, so that every way of a task is gone often.
fn settings(clients: &[Client], namespace: &str) {
    let mut settings = NamespaceSettings::new();
    settings.set_max_attempts(ATTEMPTS);
    settings.set_backoff_min(worker::span(Duration::from_millis(50)));
    settings.set_backoff_max(worker::span(Duration::from_millis(400)));
    let mut request = UpdateNamespaceRequest::new();
    request.set_name(namespace.to_owned());
    request.set_settings(settings);
    wait::until("the namespace is set", SETTLE, || {
        anywhere(clients, |client| {
            let limit = option(crate::client::CALL_LIMIT);
            client.admin.update_namespace_opt(&request, limit)
        })
    });
}

/// The first answer that a client gets.
fn anywhere<T>(
    clients: &[Client],
    ask: impl Fn(&Client) -> grpcio::Result<T>,
) -> Result<T, String> {
    let mut why = String::new();
    for client in clients {
        match ask(client) {
            Ok(answer) => return Ok(answer),
            Err(error) => why = Refused::from(error).to_string(),
        }
    }
    Err(why)
}

/// What a peer says of a namespace.
///
/// # Errors
/// The status of the peer.
pub fn stats(client: &Client, namespace: &str) -> grpcio::Result<NamespaceStats> {
    let mut request = GetNamespaceStatsRequest::new();
    request.set_name(namespace.to_owned());
    let limit = option(crate::client::CALL_LIMIT);
    client.admin.get_namespace_stats_opt(&request, limit)
}

/// All dead letters of a namespace, page by page.
///
/// # Errors
/// The status of the peer.
pub fn dead_letters(client: &Client, namespace: &str) -> grpcio::Result<Vec<Task>> {
    let mut all = Vec::new();
    let mut request = ListTasksRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_state(TaskState::TASK_STATE_DEAD);
    request.set_with_body(true);
    loop {
        let limit = option(crate::client::CALL_LIMIT);
        let mut page = client.collection.list_tasks_opt(&request, limit)?;
        all.extend(page.take_tasks());
        if page.get_next_page_token().is_empty() {
            return Ok(all);
        }
        request.set_page_token(page.take_next_page_token());
    }
}

/// The state hash of all members, which must be one, with no invariant broken.
///
/// # Panics
/// When it is not, or when the members do not answer.
#[must_use]
pub fn verify(clients: &[Client]) -> String {
    let response = wait::until("the members verify their states", SETTLE, || {
        let response = anywhere(clients, |client| {
            let limit = option(Duration::from_secs(60));
            client
                .admin
                .verify_cluster_opt(&VerifyClusterRequest::new(), limit)
        })?;
        // A member that was started a moment ago may not be there yet.
        let errors = response.get_members().iter().map(|m| m.get_error());
        let silent: Vec<_> = errors.filter(|error| !error.is_empty()).collect();
        wait::check(silent.is_empty(), || silent.join("; "))?;
        Ok(response)
    });
    assert!(response.get_ok(), "{response:?}");
    response.get_members()[0].get_state_hash().to_owned()
}

/// Payloads of producers end in a number; what is to become of a task follows
/// from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It can be done.
    Good,
    /// It fails whatever one does.
    Poison,
    /// The first who sees it knows that it can never be done.
    Hopeless,
}

impl Fate {
    /// The fate of a task by its payload.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let text = String::from_utf8_lossy(payload);
        let number = text.rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
        match number.map(|n| n % 50) {
            Some(7 | 31) => Self::Poison,
            Some(19) => Self::Hopeless,
            _ => Self::Good,
        }
    }
}
