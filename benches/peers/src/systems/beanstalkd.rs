//! beanstalkd: one server, its binlog synced at every write. Nothing is replicated.
//! The protocol is lines of text; this file speaks as much of it as is needed.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, Mutex};
use tokio::task::{spawn_local, JoinHandle};

use crate::inside::Inside;
use crate::servers::{free_ports, until, Servers};
use crate::system::{text, version_of, Answer, Creator, System, Taker};
use crate::work::Lanes;

const START_LIMIT: Duration = Duration::from_secs(20);
/// Connections that take tasks, one each: a reserve that waits holds up what follows.
const TAKERS: usize = 8;

/// One server.
pub struct Beanstalkd {
    address: String,
    connection: Mutex<Connection>,
}

struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Connection {
    async fn open(address: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        let (reader, writer) = stream.into_split();
        let reader = BufReader::new(reader);
        Ok(Self { reader, writer })
    }

    /// The next line of the server, without its end.
    async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line).await.map_err(text)? {
            0 => Err("the server hung up".to_owned()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Sends `what`; the line that answers it has to begin with `wanted`.
    async fn ask(&mut self, what: &str, wanted: &str) -> Result<String, String> {
        self.writer.write_all(what.as_bytes()).await.map_err(text)?;
        self.expect(wanted).await
    }

    async fn expect(&mut self, wanted: &str) -> Result<String, String> {
        let line = self.line().await?;
        match line.starts_with(wanted) {
            true => Ok(line),
            false => Err(format!("instead of {wanted} came {line}")),
        }
    }

    /// The bytes that a line announced, and the end of their line.
    async fn bytes(&mut self, line: &str) -> Result<Vec<u8>, String> {
        let length = line.rsplit(' ').next().and_then(|word| word.parse().ok());
        let length: usize = length.ok_or_else(|| format!("no length in {line}"))?;
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes).await.map_err(text)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

type Reply = oneshot::Sender<Result<(), String>>;

/// Puts of one connection, pipelined; answers come in their order.
struct Puts {
    puts: mpsc::UnboundedSender<(Vec<u8>, Reply)>,
    task: JoinHandle<()>,
}

impl Drop for Puts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Puts {
    async fn open(address: &str, queue: &str) -> Result<Self, String> {
        let mut connection = Connection::open(address).await?;
        connection.ask(&format!("use {queue}\r\n"), "USING").await?;
        let (puts, to_send) = mpsc::unbounded_channel();
        let task = spawn_local(run_puts(connection, to_send));
        Ok(Self { puts, task })
    }
}

impl Creator for Puts {
    fn create(&self, body: Vec<u8>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let sent = self.puts.send((body, reply));
        Box::pin(async move {
            sent.map_err(|_| "the connection has ended".to_owned())?;
            answer
                .await
                .unwrap_or_else(|_| Err("the connection has ended".to_owned()))
        })
    }
}

/// Writes what is there in one go, and reads answers meanwhile.
async fn run_puts(connection: Connection, mut puts: mpsc::UnboundedReceiver<(Vec<u8>, Reply)>) {
    let Connection { reader, mut writer } = connection;
    let mut lines = reader.lines();
    let mut waiting: VecDeque<Reply> = VecDeque::new();
    let mut buffer = Vec::new();
    loop {
        tokio::select! {
            Some((body, reply)) = puts.recv() => {
                let mut next = Some((body, reply));
                while let Some((body, reply)) = next.take() {
                    // Priority, delay, and a minute to run.
                    buffer.extend_from_slice(format!("put 5 0 60 {}\r\n", body.len()).as_bytes());
                    buffer.extend_from_slice(&body);
                    buffer.extend_from_slice(b"\r\n");
                    waiting.push_back(reply);
                    next = puts.try_recv().ok();
                }
                if writer.write_all(&buffer).await.is_err() {
                    return;
                }
                buffer.clear();
            }
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return };
                let answer = match line.starts_with("INSERTED") {
                    true => Ok(()),
                    false => Err(line),
                };
                if let Some(reply) = waiting.pop_front() {
                    // Nobody waits any more after the end of the run.
                    let _ = reply.send(answer);
                }
            }
        }
    }
}

/// Reserves and deletes, one at a time, the next reserve with each delete.
async fn take(mut connection: Connection, inside: &Inside) -> Result<(), String> {
    let mut line = connection.ask("reserve\r\n", "RESERVED").await?;
    loop {
        let body = connection.bytes(&line).await?;
        let id = line.split(' ').nth(1).unwrap_or_default();
        let next = format!("delete {id}\r\nreserve\r\n");
        connection.ask(&next, "DELETED").await?;
        inside.taken(&body);
        line = connection.expect("RESERVED").await?;
    }
}

impl System for Beanstalkd {
    const NAME: &'static str = "beanstalkd";
    const SETUP: &'static str = "1 server, nothing replicated; binlog synced at every write";
    const HAS_BATCHES: bool = false;

    fn version() -> Result<String, String> {
        version_of("beanstalkd", &["-v"])
    }

    async fn start(servers: &mut Servers, folder: &Path) -> Result<Self, String> {
        let [port] = free_ports()?;
        let mut command = Command::new("beanstalkd");
        command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-f", "0", "-b"]);
        servers.start("beanstalkd", {
            command.arg(folder);
            command
        })?;
        let address = format!("127.0.0.1:{port}");
        let connect = async || Connection::open(&address).await;
        let connection = Mutex::new(until(servers, START_LIMIT, connect).await?);
        Ok(Self {
            address,
            connection,
        })
    }

    // A tube appears with its first job.
    async fn make_queue(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn creators(&self, queue: &str, lanes: Lanes) -> Result<Vec<Rc<dyn Creator>>, String> {
        let count = match lanes {
            Lanes::One => 1,
            Lanes::Callers(count) => count,
        };
        let mut creators: Vec<Rc<dyn Creator>> = Vec::new();
        for _ in 0..count {
            creators.push(Rc::new(Puts::open(&self.address, queue).await?));
        }
        Ok(creators)
    }

    async fn taker(&self, queue: &str, _: usize, inside: Rc<Inside>) -> Result<Taker, String> {
        let mut tasks = Vec::new();
        for _ in 0..TAKERS {
            let mut connection = Connection::open(&self.address).await?;
            connection
                .ask(&format!("watch {queue}\r\n"), "WATCHING")
                .await?;
            connection.ask("ignore default\r\n", "WATCHING").await?;
            let inside = Rc::clone(&inside);
            tasks.push(spawn_local(async move {
                if let Err(error) = take(connection, &inside).await {
                    inside.failed(error);
                }
            }));
        }
        Ok(Taker {
            tasks,
            closing: None,
        })
    }

    async fn count(&self, queue: &str) -> Result<u64, String> {
        let mut connection = self.connection.lock().await;
        let what = format!("stats-tube {queue}\r\n");
        connection
            .writer
            .write_all(what.as_bytes())
            .await
            .map_err(text)?;
        let line = connection.line().await?;
        // A tube that is empty and that nobody uses is gone.
        if line == "NOT_FOUND" {
            return Ok(0);
        }
        let stats = connection.bytes(&line).await?;
        let stats = String::from_utf8_lossy(&stats);
        let names = ["current-jobs-ready: ", "current-jobs-reserved: "];
        let counts = names.iter().flat_map(|name| {
            let line = stats.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|number| number.parse::<u64>().ok())
        });
        Ok(counts.sum())
    }

    // The protocol has no such thing: jobs of a work without consumers stay.
    async fn remove_queue(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}
