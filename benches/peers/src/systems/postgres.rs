//! PostgreSQL: one server, every commit synced, a table of tasks with an index on the
//! due time. Nothing is replicated.

use std::fs;
use std::os::unix::fs::{chown, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::spawn_local;
use tokio_postgres::{Client, NoTls, Statement};

use crate::inside::Inside;
use crate::servers::{free_ports, until, Servers};
use crate::system::{text, version_of, Answer, Creator, System, Taker};
use crate::work::Lanes;

const START_LIMIT: Duration = Duration::from_secs(20);
/// Connections that take tasks; together they hold as many as may be inside.
const TAKERS: usize = 8;
/// How long one of them waits when nothing is due.
const PAUSE: Duration = Duration::from_millis(2);

/// One server.
pub struct Postgres {
    options: String,
    client: Client,
}

/// The folder of Debian's programs.
fn programs() -> Result<PathBuf, String> {
    let all = fs::read_dir("/usr/lib/postgresql").map_err(text)?.flatten();
    let mut found: Vec<_> = all.map(|version| version.path().join("bin")).collect();
    found.sort();
    found
        .pop()
        .ok_or_else(|| "no version is installed".to_owned())
}

/// The user and group that may run it here: root must not, so then it is Debian's own.
fn user(folder: &Path) -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let all = fs::read_to_string("/etc/passwd").map_err(text)?;
    let line = all.lines().find_map(|line| line.strip_prefix("postgres:"));
    let mut numbers = line.into_iter().flat_map(|line| line.split(':').skip(1));
    let mut number = || numbers.next().and_then(|number| number.parse().ok());
    let (Some(user), Some(group)) = (number(), number()) else {
        return Err("there is no user postgres, and root must not run it".to_owned());
    };
    let owned = fs::metadata(folder).map_err(text)?;
    if owned.uid() != user {
        chown(folder, Some(user), Some(group)).map_err(text)?;
    }
    Ok(Some((user, group)))
}

fn command(program: &str, user: Option<(u32, u32)>) -> Result<Command, String> {
    let mut command = Command::new(programs()?.join(program));
    command.current_dir("/");
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    Ok(command)
}

async fn connect(options: &str) -> Result<Client, String> {
    let (client, connection) = tokio_postgres::connect(options, NoTls)
        .await
        .map_err(text)?;
    spawn_local(async move {
        // Its callers are told the same error.
        let _ = connection.await;
    });
    Ok(client)
}

struct Inserts {
    client: Rc<Client>,
    one: Statement,
    batch: Statement,
}

impl Creator for Inserts {
    fn create(&self, body: Vec<u8>) -> Answer {
        let (client, one) = (Rc::clone(&self.client), self.one.clone());
        Box::pin(async move {
            let done = client.execute(&one, &[&body]).await;
            done.map(drop).map_err(text)
        })
    }

    fn create_batch(&self, bodies: Vec<Vec<u8>>) -> Option<Answer> {
        let (client, batch) = (Rc::clone(&self.client), self.batch.clone());
        Some(Box::pin(async move {
            let done = client.execute(&batch, &[&bodies]).await;
            done.map(drop).map_err(text)
        }))
    }
}

struct Take {
    client: Client,
    select: Statement,
    delete: Statement,
    most: i64,
}

impl Take {
    /// One transaction: the due tasks that nobody holds, and their end.
    async fn once(&self, inside: &Inside) -> Result<usize, tokio_postgres::Error> {
        self.client.batch_execute("BEGIN").await?;
        let rows = self.client.query(&self.select, &[&self.most]).await?;
        if !rows.is_empty() {
            let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            self.client.execute(&self.delete, &[&ids]).await?;
        }
        self.client.batch_execute("COMMIT").await?;
        rows.iter().for_each(|row| inside.taken(row.get(1)));
        Ok(rows.len())
    }
}

impl System for Postgres {
    const NAME: &'static str = "postgres";
    const SETUP: &'static str =
        "1 server, nothing replicated; every commit synced; SKIP LOCKED on a table";
    // The inserts of one connection are committed one after the other.
    const LANES: Lanes = Lanes::Callers(32);

    fn version() -> Result<String, String> {
        let program = programs()?.join("postgres");
        version_of(&program.to_string_lossy(), &["--version"])
    }

    async fn start(servers: &mut Servers, folder: &Path) -> Result<Self, String> {
        let user = user(folder)?;
        let data = folder.join("data");
        let mut init = command("initdb", user)?;
        init.args([
            "-A",
            "trust",
            "-U",
            "peers",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
        ]);
        let output = init.arg(&data).output().map_err(text)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let [port] = free_ports()?;
        let mut server = command("postgres", user)?;
        server.arg("-D").arg(&data).arg("-k").arg(folder);
        server.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        for setting in ["fsync=on", "synchronous_commit=on", "max_connections=200"] {
            server.args(["-c", setting]);
        }
        // At once, but with its shared memory given back.
        servers.start_ended_by("postgres", server, Signal::QUIT)?;
        let options = format!("host=127.0.0.1 port={port} user=peers dbname=postgres");
        let client = until(servers, START_LIMIT, async || connect(&options).await).await?;
        Ok(Self { options, client })
    }

    async fn make_queue(&self, queue: &str) -> Result<(), String> {
        let make = format!(
            "CREATE TABLE \"{queue}\" (id bigserial PRIMARY KEY, \
             due_at timestamptz NOT NULL DEFAULT now(), body bytea NOT NULL); \
             CREATE INDEX ON \"{queue}\" (due_at)"
        );
        self.client.batch_execute(&make).await.map_err(text)
    }

    async fn creators(&self, queue: &str, lanes: Lanes) -> Result<Vec<Rc<dyn Creator>>, String> {
        let count = match lanes {
            Lanes::One => 1,
            Lanes::Callers(count) => count,
        };
        let one = format!("INSERT INTO \"{queue}\" (body) VALUES ($1)");
        let batch = format!("INSERT INTO \"{queue}\" (body) SELECT unnest($1::bytea[])");
        let mut creators: Vec<Rc<dyn Creator>> = Vec::new();
        for _ in 0..count {
            let client = Rc::new(connect(&self.options).await?);
            creators.push(Rc::new(Inserts {
                one: client.prepare(&one).await.map_err(text)?,
                batch: client.prepare(&batch).await.map_err(text)?,
                client,
            }));
        }
        Ok(creators)
    }

    async fn taker(&self, queue: &str, room: usize, inside: Rc<Inside>) -> Result<Taker, String> {
        let select = format!(
            "SELECT id, body FROM \"{queue}\" WHERE due_at <= now() \
             ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED"
        );
        let delete = format!("DELETE FROM \"{queue}\" WHERE id = ANY($1)");
        let mut tasks = Vec::new();
        for _ in 0..TAKERS {
            let client = connect(&self.options).await?;
            let take = Take {
                select: client.prepare(&select).await.map_err(text)?,
                delete: client.prepare(&delete).await.map_err(text)?,
                most: i64::try_from(room.div_ceil(TAKERS)).map_err(text)?,
                client,
            };
            let inside = Rc::clone(&inside);
            tasks.push(spawn_local(async move {
                loop {
                    match take.once(&inside).await {
                        Ok(0) => tokio::time::sleep(PAUSE).await,
                        Ok(_) => {}
                        Err(error) => return inside.failed(text(error)),
                    }
                }
            }));
        }
        Ok(Taker {
            tasks,
            closing: None,
        })
    }

    async fn count(&self, queue: &str) -> Result<u64, String> {
        let count = format!("SELECT count(*) FROM \"{queue}\"");
        let row = self.client.query_one(&count, &[]).await.map_err(text)?;
        u64::try_from(row.get::<_, i64>(0)).map_err(text)
    }

    async fn remove_queue(&self, queue: &str) -> Result<(), String> {
        let remove = format!("DROP TABLE \"{queue}\"");
        self.client.batch_execute(&remove).await.map_err(text)
    }
}
