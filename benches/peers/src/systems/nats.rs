//! NATS JetStream: three servers, a stream with three replicas in files. A commit is
//! acknowledged when a quorum has written it; it is synced later, every two minutes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use async_nats::jetstream::consumer::{pull, AckPolicy};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context};
use async_nats::Client;
use futures::StreamExt;
use tokio::task::spawn_local;

use crate::inside::Inside;
use crate::servers::{free_ports, until, Servers};
use crate::system::{text, version_of, Answer, Creator, System, Taker};
use crate::work::Lanes;

const START_LIMIT: Duration = Duration::from_secs(30);

/// Three servers.
pub struct Nats {
    addresses: Vec<String>,
    context: Context,
}

struct Acked {
    context: Context,
    queue: String,
}

impl Creator for Acked {
    fn create(&self, body: Vec<u8>) -> Answer {
        let (context, queue) = (self.context.clone(), self.queue.clone());
        Box::pin(async move {
            let answer = context.publish(queue, body.into()).await.map_err(text)?;
            answer.await.map(drop).map_err(text)
        })
    }
}

fn config(queue: &str) -> Config {
    Config {
        name: queue.to_owned(),
        subjects: vec![queue.to_owned()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        num_replicas: 3,
        ..Config::default()
    }
}

impl Nats {
    /// A connection to the server that leads a stream.
    async fn leader(&self, queue: &str) -> Result<Client, String> {
        let stream = self.context.get_stream(queue).await.map_err(text)?;
        let cluster = stream.cached_info().cluster.as_ref();
        let leader = cluster.and_then(|cluster| cluster.leader.as_deref());
        let number: Option<usize> = leader.and_then(|name| name.strip_prefix('n')?.parse().ok());
        let address = number.and_then(|n| self.addresses.get(n));
        let address = address.ok_or_else(|| format!("the stream has no leader: {leader:?}"))?;
        async_nats::connect(address).await.map_err(text)
    }
}

impl System for Nats {
    const NAME: &'static str = "nats";
    const SETUP: &'static str =
        "3 servers, JetStream R3 in files, acks answered; not synced on commit";
    const HAS_BATCHES: bool = false;

    fn version() -> Result<String, String> {
        version_of("nats-server", &["--version"])
    }

    async fn start(servers: &mut Servers, folder: &Path) -> Result<Self, String> {
        let routes: [u16; 3] = free_ports()?;
        let urls = routes
            .map(|port| format!("nats-route://127.0.0.1:{port}"))
            .join(", ");
        let mut addresses = Vec::new();
        for (n, route) in routes.iter().enumerate() {
            let [port] = free_ports()?;
            let store = folder.join(format!("n{n}"));
            let config = format!(
                "server_name: n{n}\nlisten: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: \"{}\" }}\n\
                 cluster {{ name: peers, listen: \"127.0.0.1:{route}\", routes: [{urls}] }}\n",
                store.display()
            );
            let path = folder.join(format!("n{n}.conf"));
            fs::write(&path, config).map_err(text)?;
            let mut command = Command::new("nats-server");
            command.arg("-c").arg(path);
            servers.start(&format!("n{n}"), command)?;
            addresses.push(format!("127.0.0.1:{port}"));
        }
        let connect = async || async_nats::connect(&addresses[0]).await.map_err(text);
        let client = until(servers, START_LIMIT, connect).await?;
        let context = jetstream::new(client);
        // The first stream is made when the servers have found one another.
        let first = async || context.create_stream(config("first")).await.map_err(text);
        until(servers, START_LIMIT, first).await?;
        context.delete_stream("first").await.map_err(text)?;
        Ok(Self { addresses, context })
    }

    async fn make_queue(&self, queue: &str) -> Result<(), String> {
        let stream = self.context.create_stream(config(queue)).await;
        stream.map(drop).map_err(text)
    }

    async fn creators(&self, queue: &str, lanes: Lanes) -> Result<Vec<Rc<dyn Creator>>, String> {
        // Requests of one connection do not wait for one another: callers share it.
        let (Lanes::One | Lanes::Callers(_)) = lanes;
        let context = jetstream::new(self.leader(queue).await?);
        Ok(vec![Rc::new(Acked {
            context,
            queue: queue.to_owned(),
        })])
    }

    async fn taker(&self, queue: &str, room: usize, inside: Rc<Inside>) -> Result<Taker, String> {
        let client = self.leader(queue).await?;
        let stream = jetstream::new(client.clone()).get_stream(queue).await;
        let stream = stream.map_err(text)?;
        let consumer = stream.create_consumer(pull::Config {
            durable_name: Some("taker".to_owned()),
            ack_policy: AckPolicy::Explicit,
            max_ack_pending: i64::try_from(room).map_err(text)?,
            ..pull::Config::default()
        });
        let consumer = consumer.await.map_err(text)?;
        let messages = consumer.stream().max_messages_per_batch(room).messages();
        let mut messages = messages.await.map_err(text)?;
        let take = async move {
            while let Some(message) = messages.next().await {
                let message = match message {
                    Ok(message) => message.message,
                    Err(error) => return inside.failed(text(error)),
                };
                let Some(reply) = message.reply else {
                    return inside.failed("a message came without a reply subject".to_owned());
                };
                // An ack as a request is answered. The crate's `double_ack` does the
                // same with a subscription for each, which costs two messages more.
                let (client, inside) = (client.clone(), Rc::clone(&inside));
                spawn_local(async move {
                    match client.request(reply, "+ACK".into()).await {
                        Ok(_) => inside.taken(&message.payload),
                        Err(error) => inside.failed(text(error)),
                    }
                });
            }
        };
        Ok(Taker {
            tasks: vec![spawn_local(take)],
            closing: None,
        })
    }

    async fn count(&self, queue: &str) -> Result<u64, String> {
        let stream = self.context.get_stream(queue).await.map_err(text)?;
        Ok(stream.cached_info().state.messages)
    }

    async fn remove_queue(&self, queue: &str) -> Result<(), String> {
        self.context
            .delete_stream(queue)
            .await
            .map(drop)
            .map_err(text)
    }
}
