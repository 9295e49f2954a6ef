//! The client crate over the kill of a leader: nothing lost, nothing made twice,
//! leases extended while handlers run, a clean end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use futures::executor::block_on;
use z4_client::{
    Client, Consumer, Delivery, Failure, NewTask, Producer, ProducerOptions, SettingsPatch,
};
use z4_e2e::{wait, Cluster};

const LIMIT: Duration = Duration::from_secs(60);
const COUNT: usize = 2_000;
const LEASE: Duration = Duration::from_secs(2);

fn connect(cluster: &Cluster) -> Client {
    let addresses = cluster.peers.iter().map(|p| p.service_address());
    let addresses: Vec<String> = addresses.collect();
    let options = z4_e2e::tls::options(&addresses);
    block_on(Client::connect(addresses, options)).unwrap()
}

/// Ready after a while, without holding up other handlers.
async fn sleep(span: Duration) {
    let (wake, woken) = oneshot::channel();
    thread::spawn(move || {
        thread::sleep(span);
        // The handler may have been dropped.
        let _ = wake.send(());
    });
    let _ = woken.await;
}

#[test]
fn producer_and_consumer_over_the_kill_of_the_leader() {
    let mut cluster = Cluster::three();
    let client = connect(&cluster);
    let patch = SettingsPatch {
        backoff_min: Some(Duration::from_millis(50)),
        backoff_max: Some(Duration::from_millis(200)),
        ..SettingsPatch::default()
    };
    block_on(client.update_namespace("crate", &patch)).unwrap();

    let handled = Arc::new(Mutex::new(BTreeSet::new()));
    let consumer = Consumer::builder("crate")
        .consumer_id("worker")
        .max_in_flight(64)
        .lease(LEASE)
        .build(&client);
    let shutdown = consumer.shutdown();
    let seen = Arc::clone(&handled);
    let consuming = thread::spawn(move || {
        let handler = |delivery: Delivery| {
            let seen = Arc::clone(&seen);
            async move {
                let number: usize = String::from_utf8(delivery.task.payload)
                    .map_err(Failure::permanent)?
                    .parse()
                    .map_err(Failure::permanent)?;
                if number % 10 == 3 && delivery.attempt == 1 {
                    return Err(Failure::new("not at the first try"));
                }
                if number % 500 == 7 {
                    // Longer than a lease: it is extended meanwhile.
                    sleep(2 * LEASE).await;
                }
                seen.lock().unwrap().insert(number);
                Ok(())
            }
        };
        block_on(consumer.run(handler)).unwrap()
    });

    let producing = {
        let client = connect(&cluster);
        thread::spawn(move || {
            block_on(async {
                let producer = Producer::new(&client, ProducerOptions::default());
                let mut sent = Vec::new();
                for number in 0..COUNT {
                    sent.push(
                        producer
                            .send(NewTask::new("crate", number.to_string()))
                            .await,
                    );
                    if number % 20 == 0 {
                        thread::sleep(Duration::from_millis(10));
                    }
                }
                let mut ids = BTreeSet::new();
                for task in sent {
                    ids.insert(task.await.unwrap().id);
                }
                ids
            })
        })
    };
    wait::until("some are handled", LIMIT, || {
        let have = handled.lock().unwrap().len();
        wait::check(have > 200, || format!("{have} are"))
    });
    let leader = cluster.wait_leader();
    cluster.peers[leader].kill();
    let ids = producing.join().unwrap();
    assert_eq!(ids.len(), COUNT, "each create is one task");
    wait::until("all are handled", LIMIT, || {
        let have = handled.lock().unwrap().len();
        wait::check(have == COUNT, || format!("{have} are"))
    });
    shutdown.begin();
    let summary = consuming.join().unwrap();
    cluster.start_missing();

    let counts = wait::until("all are done", LIMIT, || {
        let counts = block_on(client.namespace("crate")).map_err(|e| e.to_string())?;
        let counts = counts.counts;
        wait::check(counts.done == COUNT as u64, || format!("{counts:?}"))?;
        Ok(counts)
    });
    println!("{summary:?}, {counts:?}");
    assert_eq!(
        (counts.created, counts.dead),
        (COUNT as u64, 0),
        "{counts:?}"
    );
    assert!(counts.failures >= COUNT as u64 / 10, "{counts:?}");
    // What is not confirmed was in flight when the leader died.
    let told = summary.acked + summary.uncertain + summary.lost;
    assert!(told >= COUNT as u64, "{summary:?}");
    assert!(summary.acked >= COUNT as u64 - 200, "{summary:?}");
    let verified = block_on(client.verify()).unwrap();
    assert!(verified.ok, "{verified:?}");
}
