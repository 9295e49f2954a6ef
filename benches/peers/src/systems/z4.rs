//! z4: three peers, release binaries, every commit synced by a quorum.
//!
//! Creates have no request id, because what the others are given has none either.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use grpcio::{CallOption, Channel, ChannelBuilder, EnvBuilder, Environment};
use z4_proto::admin::{
    DeleteNamespaceRequest, GetClusterInfoRequest, GetNamespaceStatsRequest, PeerRole,
};
use z4_proto::admin_grpc::AdminClient;
use z4_proto::collection::{CreateTaskRequest, CreateTasksRequest};
use z4_proto::collection_grpc::CollectionClient;

use super::z4_streams::{consume, Stream};
use crate::inside::Inside;
use crate::servers::{free_ports, until, Servers};
use crate::system::{text, version_of, Answer, Creator, System, Taker};
use crate::work::Lanes;

const START_LIMIT: Duration = Duration::from_secs(20);
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Three peers, and the one that leads.
pub struct Z4 {
    environment: Arc<Environment>,
    leader: String,
    admin: AdminClient,
}

fn option() -> CallOption {
    CallOption::default().timeout(CALL_LIMIT)
}

/// A create of a task that is due at once.
pub fn create(namespace: &str, body: Vec<u8>) -> CreateTaskRequest {
    let mut request = CreateTaskRequest::new();
    request.set_namespace(namespace.to_owned());
    request.set_payload(body);
    request
}

/// Where the binaries are, as the environment says.
fn binary(name: &str) -> Result<String, String> {
    let folder = std::env::var("Z4_BIN_DIR");
    let folder = folder.map_err(|_| "set Z4_BIN_DIR to the folder of z4-server and z4t")?;
    Ok(format!("{folder}/{name}"))
}

fn channel(environment: &Arc<Environment>, address: &str) -> Channel {
    ChannelBuilder::new(Arc::clone(environment))
        .use_local_subchannel_pool(true)
        .connect(address)
}

struct Calls {
    client: CollectionClient,
    namespace: String,
}

impl Creator for Calls {
    fn create(&self, body: Vec<u8>) -> Answer {
        let request = create(&self.namespace, body);
        let call = self.client.create_task_async_opt(&request, option());
        Box::pin(async move { call.map_err(text)?.await.map(drop).map_err(text) })
    }
}

/// One stream of creates; batches go by single calls.
struct One {
    calls: Calls,
    stream: Stream,
}

impl Creator for One {
    fn create(&self, body: Vec<u8>) -> Answer {
        self.stream.create(create(&self.calls.namespace, body))
    }

    fn create_batch(&self, bodies: Vec<Vec<u8>>) -> Option<Answer> {
        let mut request = CreateTasksRequest::new();
        request.set_namespace(self.calls.namespace.clone());
        let tasks = bodies.into_iter().map(|body| create("", body));
        request.set_tasks(tasks.collect());
        let call = self.calls.client.create_tasks_async_opt(&request, option());
        Some(Box::pin(async move {
            call.map_err(text)?.await.map(drop).map_err(text)
        }))
    }
}

fn start_peers(servers: &mut Servers, folder: &Path) -> Result<Vec<(u16, u16)>, String> {
    let mut peers = Vec::new();
    for n in 1..=3 {
        let [service, peer, lane, metrics] = free_ports()?;
        // 0 in the environment measures without lanes.
        let lane = std::env::var("Z4_PEER_LANE_PORT").unwrap_or_else(|_| lane.to_string());
        let mut command = Command::new(binary("z4-server")?);
        let data = folder.join(format!("peer{n}"));
        std::fs::create_dir(&data).map_err(text)?;
        command
            .env("Z4_PEER_ID", format!("peer{n}"))
            .env(
                "Z4_BOOTSTRAP_CLUSTER",
                if n == 1 { "true" } else { "false" },
            )
            .env("Z4_BIND_ADDR", "127.0.0.1")
            .env("Z4_SERVICE_PORT", service.to_string())
            .env("Z4_PEER_PORT", peer.to_string())
            .env("Z4_PEER_LANE_PORT", lane)
            .env("Z4_METRICS_PORT", metrics.to_string())
            .env("Z4_PEER_ADVERTISE_ADDR", format!("127.0.0.1:{peer}"))
            .env("Z4_DB_DATA_DIR", data.join("data"))
            .env("Z4_PEER_DATA_DIR", data.join("peer"));
        servers.start(&format!("peer{n}"), command)?;
        peers.push((service, peer));
    }
    Ok(peers)
}

async fn z4t(arguments: &[&str]) -> Result<(), String> {
    let output = tokio::process::Command::new(binary("z4t")?)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(text)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

impl System for Z4 {
    const NAME: &'static str = "z4";
    const SETUP: &'static str = "3 peers, Raft, every commit synced by a quorum";

    fn version() -> Result<String, String> {
        version_of(&binary("z4-server")?, &["--version"])
    }

    async fn start(servers: &mut Servers, folder: &Path) -> Result<Self, String> {
        let peers = start_peers(servers, folder)?;
        let first = format!("127.0.0.1:{}", peers[0].0);
        let first = first.as_str();
        until(servers, START_LIMIT, async || {
            z4t(&["-t", first, "health"]).await
        })
        .await?;
        for (n, (service, peer)) in peers.iter().enumerate().skip(1) {
            let (service, peer) = (format!("127.0.0.1:{service}"), format!("127.0.0.1:{peer}"));
            let service = service.as_str();
            until(servers, START_LIMIT, async || {
                z4t(&["-t", service, "info"]).await
            })
            .await?;
            let id = format!("peer{}", n + 1);
            z4t(&["-t", first, "-p", &peer, "-id", &id, "add-peer"]).await?;
        }
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        for (service, _) in peers {
            let address = format!("127.0.0.1:{service}");
            let admin = AdminClient::new(channel(&environment, &address));
            let info = admin.get_cluster_info_async_opt(&GetClusterInfoRequest::new(), option());
            let info = info.map_err(text)?.await.map_err(text)?;
            if info.get_role() == PeerRole::PEER_ROLE_LEADER {
                return Ok(Self {
                    environment,
                    leader: address,
                    admin,
                });
            }
        }
        Err("no peer says that it leads".to_owned())
    }

    // A namespace appears with its first task.
    async fn make_queue(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn creators(&self, queue: &str, lanes: Lanes) -> Result<Vec<Rc<dyn Creator>>, String> {
        let client = CollectionClient::new(channel(&self.environment, &self.leader));
        let calls = Calls {
            client: client.clone(),
            namespace: queue.to_owned(),
        };
        Ok(match lanes {
            Lanes::One => {
                let stream = Stream::open(&client)?;
                vec![Rc::new(One { calls, stream })]
            }
            // Calls of HTTP/2 share a connection.
            Lanes::Callers(_) => vec![Rc::new(calls)],
        })
    }

    async fn taker(&self, queue: &str, room: usize, inside: Rc<Inside>) -> Result<Taker, String> {
        let client = CollectionClient::new(channel(&self.environment, &self.leader));
        consume(client, queue, room, inside)
    }

    async fn count(&self, queue: &str) -> Result<u64, String> {
        let mut request = GetNamespaceStatsRequest::new();
        request.set_name(queue.to_owned());
        let stats = self.admin.get_namespace_stats_async_opt(&request, option());
        let stats = stats.map_err(text)?.await.map_err(text)?;
        let counts = stats.get_counts();
        Ok(counts.get_pending() + counts.get_leased() + counts.get_dead())
    }

    async fn remove_queue(&self, queue: &str) -> Result<(), String> {
        let mut request = DeleteNamespaceRequest::new();
        request.set_name(queue.to_owned());
        let answer = self.admin.delete_namespace_async_opt(&request, option());
        answer.map_err(text)?.await.map(drop).map_err(text)
    }
}
