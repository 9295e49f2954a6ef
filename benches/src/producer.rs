//! `create --mode producer`: the producer of `z4-client`, as programs use it. To
//! set beside `--mode stream`, which is the bare call.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::stream::FuturesUnordered;
use futures::{pin_mut, select, FutureExt, StreamExt};
use z4_client::{Client, Error, NewTask, Options, Producer, ProducerOptions, Task};

use crate::tally::Tally;

/// Keeps one producer busy at each address for a while, with `window` creates in
/// flight each. Unlike the bare stream, each create has a request id.
#[must_use]
pub fn run(addresses: &[String], window: usize, length: Duration, payload_bytes: usize) -> Tally {
    let start = Instant::now();
    let (done, results) = mpsc::channel();
    for address in addresses {
        let (done, address) = (done.clone(), address.clone());
        let task = NewTask::new("load-producer", vec![b'x'; payload_bytes]);
        thread::spawn(move || {
            let _ = done.send(block_on(one(address, window, start + length, task)));
        });
    }
    drop(done);
    let mut total = Tally::default();
    results.iter().for_each(|tally| total.append(tally));
    total.length = start.elapsed();
    total
}

async fn one(address: String, window: usize, end: Instant, task: NewTask) -> Tally {
    let mut tally = Tally::default();
    let client = match Client::connect([address], Options::default()).await {
        Ok(client) => client,
        Err(error) => {
            tally.refuse(&format!("{:?}", error.kind()));
            return tally;
        }
    };
    let options = ProducerOptions {
        max_in_flight: window,
        ..ProducerOptions::default()
    };
    let producer = Producer::new(&client, options);
    let mut answers = FuturesUnordered::new();
    while Instant::now() < end {
        let sent_at = Instant::now();
        let send = producer.send(task.clone()).fuse();
        pin_mut!(send);
        // Answers are taken while there is no room for another.
        loop {
            select! {
                sent = send => {
                    answers.push(sent.map(move |answer| (sent_at, answer)));
                    break;
                }
                (sent_at, answer) = answers.select_next_some() => {
                    note(&mut tally, sent_at, &answer);
                }
            }
        }
    }
    while let Some((sent_at, answer)) = answers.next().await {
        note(&mut tally, sent_at, &answer);
    }
    tally
}

fn note(tally: &mut Tally, sent_at: Instant, answer: &Result<Task, Error>) {
    match answer {
        Ok(_) => tally.latency.push(sent_at.elapsed()),
        Err(error) => tally.refuse(&format!("{:?}", error.kind())),
    }
}
