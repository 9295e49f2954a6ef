//! etcd: three members, a put for each task. Nobody takes tasks from it.

use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use etcd_client::{Client, DeleteOptions, GetOptions, Txn, TxnOp};

use crate::inside::Inside;
use crate::servers::{free_ports, until, Servers};
use crate::system::{text, version_of, Answer, Creator, System, Taker};
use crate::work::Lanes;

const START_LIMIT: Duration = Duration::from_secs(30);

/// Three members, and the one that leads.
pub struct Etcd {
    leader: String,
    client: Client,
}

struct Puts {
    client: Client,
    queue: String,
}

/// The key of a task: its queue and its numbers.
fn key(queue: &str, body: &[u8]) -> Vec<u8> {
    let numbers = body.get(..16).unwrap_or_default();
    [queue.as_bytes(), b"/", numbers].concat()
}

impl Creator for Puts {
    fn create(&self, body: Vec<u8>) -> Answer {
        let mut client = self.client.clone();
        let key = key(&self.queue, &body);
        Box::pin(async move { client.put(key, body, None).await.map(drop).map_err(text) })
    }

    fn create_batch(&self, bodies: Vec<Vec<u8>>) -> Option<Answer> {
        let mut client = self.client.clone();
        let put = |body: Vec<u8>| TxnOp::put(key(&self.queue, &body), body, None);
        let puts: Vec<_> = bodies.into_iter().map(put).collect();
        Some(Box::pin(async move {
            let answer = client.txn(Txn::new().and_then(puts)).await;
            answer.map(drop).map_err(text)
        }))
    }
}

async fn connect(address: &str) -> Result<Client, String> {
    Client::connect([address], None).await.map_err(text)
}

impl System for Etcd {
    const NAME: &'static str = "etcd";
    const SETUP: &'static str = "3 members, Raft, every commit synced by a quorum; puts only";
    const HAS_CONSUMERS: bool = false;

    fn version() -> Result<String, String> {
        version_of("etcd", &["--version"])
    }

    async fn start(servers: &mut Servers, folder: &Path) -> Result<Self, String> {
        let peers: [u16; 3] = free_ports()?;
        let clients: [u16; 3] = free_ports()?;
        let members = [0, 1, 2].map(|n| format!("m{n}=http://127.0.0.1:{}", peers[n]));
        for n in 0..3 {
            let (peer, client) = (peers[n], clients[n]);
            let (peer, client) = (
                format!("http://127.0.0.1:{peer}"),
                format!("http://127.0.0.1:{client}"),
            );
            let mut command = Command::new("etcd");
            command
                .arg(format!("--name=m{n}"))
                .arg(format!(
                    "--data-dir={}",
                    folder.join(format!("m{n}")).display()
                ))
                .arg(format!("--listen-peer-urls={peer}"))
                .arg(format!("--initial-advertise-peer-urls={peer}"))
                .arg(format!("--listen-client-urls={client}"))
                .arg(format!("--advertise-client-urls={client}"))
                .arg(format!("--initial-cluster={}", members.join(",")))
                .args(["--initial-cluster-state=new", "--log-level=warn"])
                .arg("--quota-backend-bytes=8589934592");
            servers.start(&format!("m{n}"), command)?;
        }
        let addresses = clients.map(|port| format!("127.0.0.1:{port}"));
        // One of them says of itself that it leads, once there is a leader.
        let leader = async || {
            for address in &addresses {
                let mut client = connect(address).await?;
                let status = client.status().await.map_err(text)?;
                let own = status.header().map(|header| header.member_id());
                if own == Some(status.leader()) {
                    return Ok((address.clone(), client));
                }
            }
            Err("no member leads".to_owned())
        };
        let (leader, client) = until(servers, START_LIMIT, leader).await?;
        Ok(Self { leader, client })
    }

    // A key needs no place to be made before.
    async fn make_queue(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn creators(&self, queue: &str, lanes: Lanes) -> Result<Vec<Rc<dyn Creator>>, String> {
        // Calls of HTTP/2 share a connection: callers share it too.
        let (Lanes::One | Lanes::Callers(_)) = lanes;
        Ok(vec![Rc::new(Puts {
            client: connect(&self.leader).await?,
            queue: queue.to_owned(),
        })])
    }

    async fn taker(&self, _: &str, _: usize, _: Rc<Inside>) -> Result<Taker, String> {
        Err("etcd has no consumers".to_owned())
    }

    async fn count(&self, queue: &str) -> Result<u64, String> {
        let options = GetOptions::new().with_prefix().with_count_only();
        let mut client = self.client.clone();
        let found = client.get(format!("{queue}/"), Some(options)).await;
        let count = found.map_err(text)?.count();
        u64::try_from(count).map_err(text)
    }

    async fn remove_queue(&self, queue: &str) -> Result<(), String> {
        let options = DeleteOptions::new().with_prefix();
        let mut client = self.client.clone();
        let answer = client.delete(format!("{queue}/"), Some(options)).await;
        answer.map(drop).map_err(text)
    }
}
