//! The processes of a system: started, measured, and ended by their ids.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

use crate::processes::{self, Process, Usage};
use crate::system::text;

/// How long a process may take to end by itself.
const END_LIMIT: Duration = Duration::from_secs(5);

struct Server {
    name: String,
    child: Child,
    ending: Signal,
}

/// The processes of a system that this program started; ended when dropped.
pub struct Servers {
    folder: PathBuf,
    servers: Vec<Server>,
}

impl Servers {
    /// None yet; their logs go to `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            servers: Vec::new(),
        }
    }

    /// Starts a process; it is killed at the end.
    pub fn start(&mut self, name: &str, command: Command) -> Result<(), String> {
        self.start_ended_by(name, command, Signal::KILL)
    }

    /// Starts a process that is told by `ending` to end.
    pub fn start_ended_by(
        &mut self,
        name: &str,
        mut command: Command,
        ending: Signal,
    ) -> Result<(), String> {
        let log = File::create(self.folder.join(format!("{name}.log"))).map_err(text)?;
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(text)?);
        command.stderr(log);
        // A terminal's Ctrl-C is for this program, which then ends the others.
        command.process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
        let name = name.to_owned();
        self.servers.push(Server {
            name,
            child,
            ending,
        });
        Ok(())
    }

    /// Runs a process to its end; it is killed if this is dropped before.
    ///
    /// # Errors
    /// What it wrote last, when it did not end well.
    pub async fn run(&mut self, name: &str, command: Command) -> Result<(), String> {
        self.start(name, command)?;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Some(mut server) = self.servers.pop() else {
                return Err(format!("{name} is not there"));
            };
            match server.child.try_wait().map_err(text)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.last_words(name, &status.to_string())),
                None => self.servers.push(server),
            }
        }
    }

    /// What a process wrote last, with how it ended.
    fn last_words(&self, name: &str, status: &str) -> String {
        let path = self.folder.join(format!("{name}.log"));
        let log = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let lines = lines[lines.len().saturating_sub(5)..].join(" / ");
        format!("{name} ended with {status}: {lines}")
    }

    /// What all processes have used so far, their children included.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.tree().iter().map(Process::usage).sum()
    }

    /// Processor time of all processes so far, which costs less to find out.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.tree().iter().map(Process::cpu_time).sum()
    }

    /// An error that names the processes that have ended, with the end of their logs.
    pub fn check(&mut self) -> Result<(), String> {
        let mut ended = None;
        for server in &mut self.servers {
            if let Some(status) = server.child.try_wait().map_err(text)? {
                ended = Some((server.name.clone(), status.to_string()));
            }
        }
        match ended {
            Some((name, status)) => Err(self.last_words(&name, &status)),
            None => Ok(()),
        }
    }

    fn tree(&self) -> Vec<Process> {
        let roots: Vec<u32> = self.servers.iter().map(|s| s.child.id()).collect();
        processes::tree(&roots)
    }

    /// Ends all that was started, children of children included.
    pub fn stop(&mut self) {
        let all = self.tree();
        for server in &self.servers {
            signal(server.child.id(), server.ending);
        }
        let limit = Instant::now() + END_LIMIT;
        for mut server in self.servers.drain(..) {
            while let Ok(None) = server.child.try_wait() {
                if Instant::now() > limit {
                    signal(server.child.id(), Signal::KILL);
                    // The kernel ends it; there is nothing else to learn.
                    let _ = server.child.wait();
                    break;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        for process in all {
            if process.is_alive() {
                signal(process.id, Signal::KILL);
            }
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn signal(id: u32, signal: Signal) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // One that has ended meanwhile needs no signal.
        let _ = kill_process(id, signal);
    }
}

/// As many different ports that were free a moment ago.
pub fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
        *port = listener.local_addr().map_err(text)?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Tries again and again until it succeeds; the last error after `limit`, or that a
/// process has ended.
pub async fn until<T>(
    servers: &mut Servers,
    limit: Duration,
    mut what: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    loop {
        match what().await {
            Ok(got) => return Ok(got),
            Err(why) if Instant::now() > end => return Err(why),
            Err(_) => servers.check()?,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
