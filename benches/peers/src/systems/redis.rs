//! Redis: one server, the append-only file synced before each answer, streams with a
//! consumer group. Nothing is replicated.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use redis::{AsyncConnectionConfig, Client};
use tokio::task::spawn_local;

use crate::inside::Inside;
use crate::servers::{free_ports, until, Servers};
use crate::system::{text, version_of, Answer, Creator, System, Taker};
use crate::work::Lanes;

const START_LIMIT: Duration = Duration::from_secs(20);
const GROUP: &str = "takers";

/// One server.
pub struct Redis {
    client: Client,
    connection: MultiplexedConnection,
}

struct Adds {
    connection: MultiplexedConnection,
    queue: String,
}

impl Creator for Adds {
    fn create(&self, body: Vec<u8>) -> Answer {
        let (mut connection, queue) = (self.connection.clone(), self.queue.clone());
        Box::pin(async move {
            let mut add = redis::cmd("XADD");
            add.arg(queue).arg("*").arg("b").arg(body);
            add.query_async::<()>(&mut connection).await.map_err(text)
        })
    }

    fn create_batch(&self, bodies: Vec<Vec<u8>>) -> Option<Answer> {
        let mut connection = self.connection.clone();
        let mut batch = redis::pipe();
        batch.atomic();
        for body in bodies {
            let add = batch.cmd("XADD").arg(&self.queue).arg("*");
            add.arg("b").arg(body).ignore();
        }
        Some(Box::pin(async move {
            batch.query_async::<()>(&mut connection).await.map_err(text)
        }))
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, String> {
    // Half a second, as the crate has it, is less than a reader blocks.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.map_err(text)
}

/// What is acknowledged leaves the stream too, as it leaves the other systems.
async fn acknowledge(
    mut connection: MultiplexedConnection,
    queue: String,
    tasks: Vec<(String, Vec<u8>)>,
    inside: Rc<Inside>,
) {
    let ids: Vec<&str> = tasks.iter().map(|(id, _)| id.as_str()).collect();
    let mut end = redis::pipe();
    end.atomic().cmd("XACK").arg(&queue).arg(GROUP).arg(&ids);
    end.cmd("XDEL").arg(&queue).arg(&ids);
    match end.query_async::<(usize, usize)>(&mut connection).await {
        Ok(ended) if ended == (ids.len(), ids.len()) => {
            tasks.iter().for_each(|(_, body)| inside.taken(body));
        }
        Ok(ended) => inside.failed(format!("of {} acks: {ended:?}", ids.len())),
        Err(error) => inside.failed(text(error)),
    }
}

impl System for Redis {
    const NAME: &'static str = "redis";
    const SETUP: &'static str =
        "1 server, nothing replicated; append-only file synced before each answer; streams";

    fn version() -> Result<String, String> {
        version_of("redis-server", &["--version"])
    }

    async fn start(servers: &mut Servers, folder: &Path) -> Result<Self, String> {
        let [port] = free_ports()?;
        let mut command = Command::new("redis-server");
        command
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
            ])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--dir"])
            .arg(folder);
        servers.start("redis", command)?;
        let client = Client::open(format!("redis://127.0.0.1:{port}")).map_err(text)?;
        let connection = until(servers, START_LIMIT, async || connect(&client).await).await?;
        Ok(Self { client, connection })
    }

    async fn make_queue(&self, queue: &str) -> Result<(), String> {
        let mut create = redis::cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(queue)
            .arg(GROUP)
            .arg("0")
            .arg("MKSTREAM");
        let mut connection = self.connection.clone();
        create
            .query_async::<()>(&mut connection)
            .await
            .map_err(text)
    }

    async fn creators(&self, queue: &str, lanes: Lanes) -> Result<Vec<Rc<dyn Creator>>, String> {
        let count = match lanes {
            Lanes::One => 1,
            Lanes::Callers(count) => count,
        };
        let mut creators: Vec<Rc<dyn Creator>> = Vec::new();
        for _ in 0..count {
            creators.push(Rc::new(Adds {
                connection: connect(&self.client).await?,
                queue: queue.to_owned(),
            }));
        }
        Ok(creators)
    }

    async fn taker(&self, queue: &str, room: usize, inside: Rc<Inside>) -> Result<Taker, String> {
        let mut reader = connect(&self.client).await?;
        let acks = connect(&self.client).await?;
        let queue = queue.to_owned();
        let take = async move {
            let mut read = redis::cmd("XREADGROUP");
            read.arg("GROUP")
                .arg(GROUP)
                .arg("taker")
                .arg("COUNT")
                .arg(room);
            read.arg("BLOCK").arg(0).arg("STREAMS").arg(&queue).arg(">");
            loop {
                let reply = read.query_async::<StreamReadReply>(&mut reader).await;
                let reply = match reply {
                    Ok(reply) => reply,
                    Err(error) => return inside.failed(text(error)),
                };
                let found = reply.keys.into_iter().flat_map(|key| key.ids);
                let tasks = found.map(|task| {
                    let body = task.get("b").unwrap_or_default();
                    (task.id, body)
                });
                let (tasks, acks) = (tasks.collect(), acks.clone());
                spawn_local(acknowledge(acks, queue.clone(), tasks, Rc::clone(&inside)));
            }
        };
        Ok(Taker {
            tasks: vec![spawn_local(take)],
            closing: None,
        })
    }

    async fn count(&self, queue: &str) -> Result<u64, String> {
        let mut connection = self.connection.clone();
        let mut length = redis::cmd("XLEN");
        length.arg(queue);
        length.query_async(&mut connection).await.map_err(text)
    }

    async fn remove_queue(&self, queue: &str) -> Result<(), String> {
        let mut connection = self.connection.clone();
        let mut remove = redis::cmd("DEL");
        remove.arg(queue);
        remove
            .query_async::<()>(&mut connection)
            .await
            .map_err(text)
    }
}
