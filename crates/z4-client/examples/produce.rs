//! Creates tasks on one stream and prints their ids.
//!
//! ```sh
//! cargo run -p z4-client --example produce -- 127.0.0.1:6355 mails 1000
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use futures::executor::block_on;
use z4_client::{Client, Error, NewTask, Options, Producer, ProducerOptions};

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let addresses = args.next().unwrap_or_else(|| "127.0.0.1:6355".to_owned());
    let namespace = args.next().unwrap_or_else(|| "mails".to_owned());
    let count: u32 = args.next().and_then(|n| n.parse().ok()).unwrap_or(10);
    block_on(async {
        let client = Client::connect(addresses.split(','), Options::default()).await?;
        let producer = Producer::new(&client, ProducerOptions::default());
        let mut sent = VecDeque::new();
        for n in 0..count {
            let task = NewTask::new(&namespace, format!("mail {n}"))
                .after(Duration::from_secs(1))
                .metadata("number", n.to_string());
            sent.push_back(producer.send(task).await);
            // Answers are taken as we go, so that memory stays small.
            if sent.len() > 10_000 {
                if let Some(oldest) = sent.pop_front() {
                    println!("{}", oldest.await?.id);
                }
            }
        }
        for task in sent {
            println!("{}", task.await?.id);
        }
        Ok(())
    })
}
