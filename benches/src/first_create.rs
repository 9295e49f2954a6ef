//! How long after a fault the first create is acknowledged.
//!
//! Producers that were at work may sit in a call of before the fault, so they
//! do not show it. New creates are sent at a steady pace, not waiting for those
//! before them: the measure is as fine as the pace, and a call that a peer
//! holds or drops does not hide the next.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;
use z4_e2e::client::{option, Refused};
use z4_e2e::load::Acked;
use z4_e2e::{create, Client, Created, Edit};

/// Time between two creates sent to one peer.
const PACE: Duration = Duration::from_millis(10);
/// How long one of them is waited for.
const CALL_LIMIT: Duration = Duration::from_secs(3);

/// What was measured, and the creates that were made for it.
pub struct First {
    /// From the fault to the first acknowledgement.
    pub gap: Duration,
    /// Creates that were acknowledged.
    pub acked: Vec<Acked>,
    /// Request ids of the others; they may exist.
    pub unknown: Vec<String>,
}

/// Sends creates to all `clients` until one is acknowledged, then waits for
/// the outcome of the others. The fault was at `fault` and is over: whatever is
/// sent from now on is sent after it.
///
/// # Panics
/// When none is acknowledged within `limit`, or one is refused for good.
#[must_use]
pub fn after(fault: Instant, clients: &[Client], namespace: &str, limit: Duration) -> First {
    let (done, outcomes) = mpsc::channel();
    let mut sent = 0_usize;
    let mut results: Vec<(String, Result<Created, Refused>)> = Vec::new();
    let mut gap = None;
    while gap.is_none() {
        assert!(
            fault.elapsed() < limit,
            "no create was acknowledged within {limit:?}; last: {:?}",
            results.last()
        );
        for (by, client) in clients.iter().enumerate() {
            send(
                client,
                by,
                format!("{namespace}-first-{sent}"),
                namespace,
                &done,
            );
            sent += 1;
        }
        thread::sleep(PACE);
        results.extend(outcomes.try_iter());
        let acked = results
            .iter()
            .filter_map(|(_, outcome)| outcome.as_ref().ok());
        gap = acked
            .map(|created| created.acked_at)
            .min()
            .map(|at| at - fault);
    }
    drop(done);
    results.extend(outcomes.iter());
    let mut first = First {
        gap: gap.unwrap_or(limit),
        acked: Vec::new(),
        unknown: Vec::new(),
    };
    for (request_id, outcome) in results {
        match outcome {
            Ok(created) => first.acked.push(Acked {
                request_id,
                created,
            }),
            Err(refused) => {
                let code = refused.code;
                let wrong = [RpcStatusCode::INTERNAL, RpcStatusCode::INVALID_ARGUMENT];
                assert!(
                    !wrong.contains(&code),
                    "{request_id} was refused: {refused}"
                );
                first.unknown.push(request_id);
            }
        }
    }
    first
}

type Outcome = (String, Result<Created, Refused>);

fn send(
    client: &Client,
    by: usize,
    request_id: String,
    namespace: &str,
    done: &mpsc::Sender<Outcome>,
) {
    let request = create(namespace, request_id.as_bytes()).id(&request_id);
    let (peer, done) = (client.clone(), done.clone());
    client.collection.spawn(async move {
        let sent_at = Instant::now();
        let call = peer
            .collection
            .create_task_async_opt(&request, option(CALL_LIMIT));
        let answer = match call {
            Ok(receiver) => receiver.await,
            Err(error) => Err(error),
        };
        let outcome = answer.map_err(Refused::from).map(|answer| Created {
            task_id: answer.get_task().get_id().to_owned(),
            by,
            sent_at,
            acked_at: Instant::now(),
            tries: 1,
        });
        let _ = done.send((request_id, outcome));
    });
}
