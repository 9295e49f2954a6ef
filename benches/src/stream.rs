//! `create --mode stream`: many creates in flight on one CreateTaskStream.

use std::collections::VecDeque;
use std::sync::{mpsc, Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc as tokens;
use futures::{SinkExt, StreamExt};
use grpcio::{ClientDuplexReceiver, ClientDuplexSender, WriteFlags};
use z4_e2e::client::Refused;
use z4_e2e::{create, Client};
use z4_proto::generated::collection::{CreateTaskRequest, TaskStreamResponse};

use crate::tally::Tally;

/// When the creates that are in flight were sent, oldest in front: answers come
/// in the order of requests.
type SentAt = Arc<Mutex<VecDeque<Instant>>>;

fn lock(sent_at: &SentAt) -> MutexGuard<'_, VecDeque<Instant>> {
    sent_at.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps one stream busy at each client for a while, with `window` creates in
/// flight on each.
#[must_use]
pub fn run(clients: &[Client], window: usize, length: Duration, payload_bytes: usize) -> Tally {
    let request = create("load-stream", vec![b'x'; payload_bytes]);
    let end = Instant::now() + length;
    run_with(clients, window, || {
        let request = request.clone();
        std::iter::from_fn(move || (Instant::now() < end).then(|| request.clone()))
    })
}

/// Sends on one stream at each client what `requests` gives for it; all
/// answers.
pub fn run_with<I>(clients: &[Client], window: usize, mut requests: impl FnMut() -> I) -> Tally
where
    I: Iterator<Item = CreateTaskRequest> + Send + 'static,
{
    let start = Instant::now();
    let (done, results) = mpsc::channel();
    for client in clients {
        let (requests, done, peer) = (requests(), done.clone(), client.clone());
        client.collection.spawn(async move {
            let _ = done.send(one(peer, window, requests).await);
        });
    }
    drop(done);
    let mut total = Tally::default();
    results.iter().for_each(|tally| total.append(tally));
    total.length = start.elapsed();
    total
}

async fn one(
    client: Client,
    window: usize,
    requests: impl Iterator<Item = CreateTaskRequest>,
) -> Tally {
    let mut tally = Tally::default();
    let (sender, receiver) = match client.collection.create_task_stream() {
        Ok(stream) => stream,
        Err(error) => {
            tally.refuse(&Refused::from(error).code.to_string());
            return tally;
        }
    };
    let sent_at = SentAt::default();
    let (free, freed) = tokens::unbounded();
    let send = send(sender, requests, window, freed, &sent_at);
    let receive = receive(receiver, free, &sent_at, &mut tally);
    futures::future::join(send, receive).await;
    // What was sent and not answered when the stream broke.
    let left = lock(&sent_at).len();
    (0..left).for_each(|_| tally.refuse("unanswered"));
    tally
}

async fn send(
    mut sender: ClientDuplexSender<CreateTaskRequest>,
    requests: impl Iterator<Item = CreateTaskRequest>,
    window: usize,
    mut freed: tokens::UnboundedReceiver<()>,
    sent_at: &SentAt,
) {
    let mut room = window;
    for request in requests {
        while let Ok(()) = freed.try_recv() {
            room += 1;
        }
        if room == 0 {
            match freed.next().await {
                Some(()) => room = 1,
                None => return,
            }
        }
        // gRPC may hold back what is marked so until something unmarked
        // follows: the last for which there is room must not be.
        let flags = WriteFlags::default().buffer_hint(room > 1);
        room -= 1;
        lock(sent_at).push_back(Instant::now());
        if sender.send((request, flags)).await.is_err() {
            return;
        }
    }
    let _ = sender.close().await;
}

async fn receive(
    mut receiver: ClientDuplexReceiver<TaskStreamResponse>,
    free: tokens::UnboundedSender<()>,
    sent_at: &SentAt,
    tally: &mut Tally,
) {
    while let Some(answer) = receiver.next().await {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let code = Refused::from(error).code;
                tally.refuse(&format!("stream_ended_{code}"));
                return;
            }
        };
        let sent = lock(sent_at).pop_front();
        match (answer.get_status(), sent) {
            (0, Some(sent)) => tally.latency.push(sent.elapsed()),
            (0, None) => tally.refuse("answer_without_request"),
            (status, _) => tally.refuse(&format!("status_{status}")),
        }
        let _ = free.unbounded_send(());
    }
}
