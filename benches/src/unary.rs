//! `create --mode unary`: callers with one create in flight each.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use z4_e2e::client::{option, Refused};
use z4_e2e::{create, Client};
use z4_proto::generated::collection::CreateTaskRequest;

use crate::tally::Tally;

/// How long one create may take.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Keeps `callers` creates in flight for a while, spread over the clients.
///
/// Callers live on the completion queues' threads: a thread each would measure
/// the scheduler.
#[must_use]
pub fn run(clients: &[Client], callers: usize, length: Duration, payload_bytes: usize) -> Tally {
    let request = create("load-unary", vec![b'x'; payload_bytes]);
    let start = Instant::now();
    let (done, results) = mpsc::channel();
    for n in 0..callers {
        let client = clients[n % clients.len()].clone();
        let (request, done) = (request.clone(), done.clone());
        clients[n % clients.len()].collection.spawn(async move {
            let _ = done.send(caller(client, request, start + length).await);
        });
    }
    drop(done);
    let mut total = Tally::default();
    results.iter().for_each(|tally| total.append(tally));
    total.length = start.elapsed();
    total
}

async fn caller(client: Client, request: CreateTaskRequest, end: Instant) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < end {
        let start = Instant::now();
        let call = client
            .collection
            .create_task_async_opt(&request, option(CALL_LIMIT));
        let answer = match call {
            Ok(receiver) => receiver.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => tally.latency.push(start.elapsed()),
            Err(error) => tally.refuse(&Refused::from(error).code.to_string()),
        }
    }
    tally
}
