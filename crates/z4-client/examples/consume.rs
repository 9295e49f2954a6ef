//! Prints tasks as they fall due; each third one fails at its first try.
//!
//! ```sh
//! cargo run -p z4-client --example consume -- 127.0.0.1:6355 mails 1000
//! ```

use std::sync::atomic::{AtomicU32, Ordering};

use futures::executor::block_on;
use z4_client::{Client, Consumer, Delivery, Error, Failure, Options};

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let addresses = args.next().unwrap_or_else(|| "127.0.0.1:6355".to_owned());
    let namespace = args.next().unwrap_or_else(|| "mails".to_owned());
    let count: u32 = args.next().and_then(|n| n.parse().ok()).unwrap_or(10);
    block_on(async {
        let client = Client::connect(addresses.split(','), Options::default()).await?;
        let consumer = Consumer::builder(namespace).max_in_flight(8).build(&client);
        let shutdown = consumer.shutdown();
        let (seen, done) = (AtomicU32::new(0), AtomicU32::new(0));
        let handler = |delivery: Delivery| {
            let (seen, done, shutdown) = (&seen, &done, shutdown.clone());
            async move {
                let number = seen.fetch_add(1, Ordering::Relaxed);
                if delivery.attempt == 1 && number % 3 == 2 {
                    return Err(Failure::new("not at the first try"));
                }
                let text = String::from_utf8(delivery.task.payload)?;
                println!("{} (try {}): {text}", delivery.task.id, delivery.attempt);
                if done.fetch_add(1, Ordering::Relaxed) + 1 >= count {
                    shutdown.begin();
                }
                Ok(())
            }
        };
        let summary = consumer.run(handler).await?;
        eprintln!("{summary:?}");
        Ok(())
    })
}
