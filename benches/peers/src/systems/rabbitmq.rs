//! RabbitMQ: three nodes in one cluster, a quorum queue, persistent messages,
//! publisher confirms. Acks of consumers are not answered by this protocol.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use crate::inside::Inside;
use crate::servers::{free_ports, until, Servers};
use crate::system::{text, version_of, Answer, Creator, System, Taker};
use crate::work::Lanes;

const START_LIMIT: Duration = Duration::from_secs(90);
/// Debian's own start script changes to another user; these do not.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";
const NODES: [&str; 3] = ["peer1@localhost", "peer2@localhost", "peer3@localhost"];

/// A cluster, and a connection to its first node, where queues are led.
pub struct RabbitMq {
    uri: String,
    connection: Connection,
    channel: Channel,
}

async fn connect(uri: &str) -> Result<Connection, String> {
    let properties = ConnectionProperties::default();
    Connection::connect(uri, properties).await.map_err(text)
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    let kind = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), kind);
    arguments.insert("x-quorum-initial-group-size".into(), AMQPValue::LongInt(3));
    arguments
}

struct Confirmed {
    channel: Channel,
    queue: String,
}

impl Creator for Confirmed {
    fn create(&self, body: Vec<u8>) -> Answer {
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        Box::pin(async move {
            let options = BasicPublishOptions::default();
            let persistent = BasicProperties::default().with_delivery_mode(2);
            let confirm =
                channel.basic_publish("".into(), queue.into(), options, &body, persistent);
            match confirm.await.map_err(text)?.await.map_err(text)? {
                confirmation if confirmation.is_ack() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
    }
}

/// What all programs of RabbitMQ need to know to find one another here.
fn environment(command: &mut Command, folder: &Path, epmd: u16) {
    command
        .env("HOME", folder)
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_CTL_ERL_ARGS", "-start_epmd false")
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null");
}

fn start_node(servers: &mut Servers, folder: &Path, epmd: u16, name: &str) -> Result<u16, String> {
    let [port, dist] = free_ports()?;
    let own = folder.join(name);
    fs::create_dir(&own).map_err(text)?;
    let mut config = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\n\
         cluster_formation.peer_discovery_backend = classic_config\n\
         cluster_formation.randomized_startup_delay_range.min = 0\n\
         cluster_formation.randomized_startup_delay_range.max = 2\n\
         queue_master_locator = client-local\n\
         disk_free_limit.absolute = 50MB\n"
    );
    for (n, node) in NODES.iter().enumerate() {
        config += &format!(
            "cluster_formation.classic_config.nodes.{} = {node}\n",
            n + 1
        );
    }
    fs::write(own.join("rabbitmq.conf"), config).map_err(text)?;
    fs::write(own.join("plugins"), "[].\n").map_err(text)?;
    let mut command = Command::new(format!("{PROGRAMS}/rabbitmq-server"));
    environment(&mut command, folder, epmd);
    command
        .env("RABBITMQ_NODENAME", name)
        .env("RABBITMQ_DIST_PORT", dist.to_string())
        .env("RABBITMQ_CONFIG_FILE", own.join("rabbitmq"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", own.join("plugins"))
        .env("RABBITMQ_MNESIA_BASE", own.join("data"))
        .env("RABBITMQ_LOG_BASE", own.join("log"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", own.join("config"))
        .env("RABBITMQ_PID_FILE", own.join("pid"))
        // Schedulers that spin when idle would take the two cores from the others.
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "+sbwt none +sbwtdcpu none +sbwtdio none -start_epmd false \
             -kernel inet_dist_use_interface {127,0,0,1}",
        );
    servers.start(name, command)?;
    Ok(port)
}

/// Waits until all nodes are in one cluster.
fn all_there(folder: &Path, epmd: u16) -> Command {
    let mut command = Command::new(format!("{PROGRAMS}/rabbitmqctl"));
    environment(&mut command, folder, epmd);
    command.args(["-n", NODES[0], "await_online_nodes", "3", "--timeout", "60"]);
    command
}

impl RabbitMq {
    async fn confirmed(&self, connection: &Connection, queue: &str) -> Result<Confirmed, String> {
        let channel = connection.create_channel().await.map_err(text)?;
        let select = channel.confirm_select(ConfirmSelectOptions::default());
        select.await.map_err(text)?;
        Ok(Confirmed {
            channel,
            queue: queue.to_owned(),
        })
    }
}

impl System for RabbitMq {
    const NAME: &'static str = "rabbitmq";
    const SETUP: &'static str =
        "3 nodes, quorum queue, persistent, publisher confirms; acks are not confirmed";
    const HAS_BATCHES: bool = false;

    fn version() -> Result<String, String> {
        let format = ["-W", "-f", "RabbitMQ ${Version}\n", "rabbitmq-server"];
        version_of("dpkg-query", &format)
    }

    async fn start(servers: &mut Servers, folder: &Path) -> Result<Self, String> {
        let cookie = folder.join(".erlang.cookie");
        fs::write(&cookie, "peers").map_err(text)?;
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).map_err(text)?;
        // The nodes would start one by themselves, and leave it behind.
        let [epmd] = free_ports()?;
        let mut command = Command::new("epmd");
        command.args(["-address", "127.0.0.1", "-port", &epmd.to_string()]);
        servers.start("epmd", command)?;
        let reach = async || TcpStream::connect(("127.0.0.1", epmd)).await.map(drop);
        until(servers, START_LIMIT, async || reach().await.map_err(text)).await?;
        let mut ports = Vec::new();
        for name in NODES {
            ports.push(start_node(servers, folder, epmd, name)?);
        }
        let end = Instant::now() + START_LIMIT;
        // The first tries come before the node that is asked.
        while let Err(why) = servers.run("rabbitmqctl", all_there(folder, epmd)).await {
            servers.check()?;
            if Instant::now() > end {
                return Err(why);
            }
        }
        for port in &ports {
            let uri = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
            until(servers, START_LIMIT, async || connect(&uri).await).await?;
        }
        let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", ports[0]);
        let connection = connect(&uri).await?;
        let channel = connection.create_channel().await.map_err(text)?;
        Ok(Self {
            uri,
            connection,
            channel,
        })
    }

    async fn make_queue(&self, queue: &str) -> Result<(), String> {
        let options = QueueDeclareOptions::durable();
        let declare = self.channel.queue_declare(queue.into(), options, quorum());
        declare.await.map(drop).map_err(text)
    }

    async fn creators(&self, queue: &str, lanes: Lanes) -> Result<Vec<Rc<dyn Creator>>, String> {
        let count = match lanes {
            Lanes::One => 1,
            Lanes::Callers(count) => count,
        };
        let mut creators: Vec<Rc<dyn Creator>> = Vec::new();
        for _ in 0..count {
            creators.push(Rc::new(self.confirmed(&self.connection, queue).await?));
        }
        Ok(creators)
    }

    async fn taker(&self, queue: &str, room: usize, inside: Rc<Inside>) -> Result<Taker, String> {
        let connection = connect(&self.uri).await?;
        let channel = connection.create_channel().await.map_err(text)?;
        let room = u16::try_from(room).map_err(text)?;
        let qos = channel.basic_qos(room, BasicQosOptions::default());
        qos.await.map_err(text)?;
        let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume(queue.into(), "taker".into(), options, table);
        let mut consumer = consumer.await.map_err(text)?;
        let take = async move {
            while let Some(delivery) = consumer.next().await {
                let delivery = match delivery {
                    Ok(delivery) => delivery,
                    Err(error) => return inside.failed(text(error)),
                };
                match delivery.ack(BasicAckOptions::default()).await {
                    Ok(_) => inside.taken(&delivery.data),
                    Err(error) => inside.failed(text(error)),
                }
            }
        };
        Ok(Taker {
            tasks: vec![spawn_local(take)],
            closing: Some(Box::pin(async move {
                // The count that follows tells whether all acks arrived.
                let _ = connection.close(200, "done".into()).await;
            })),
        })
    }

    async fn count(&self, queue: &str) -> Result<u64, String> {
        let options = QueueDeclareOptions::durable().passive();
        let declare = self.channel.queue_declare(queue.into(), options, quorum());
        Ok(u64::from(declare.await.map_err(text)?.message_count()))
    }

    async fn remove_queue(&self, queue: &str) -> Result<(), String> {
        let options = QueueDeleteOptions::default();
        let delete = self.channel.queue_delete(queue.into(), options);
        delete.await.map(drop).map_err(text)
    }
}
