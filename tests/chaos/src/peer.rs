//! One peer: a place on disk, a namespace, and the process there, if it runs.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use z4_e2e::client::Client;
use z4_e2e::{binaries, command};
use z4_faultfs::{Lost, Volume};

use crate::net;
use crate::shell;

/// A peer.
pub struct Peer {
    /// Its place in the network.
    pub n: usize,
    /// Whether the cluster has it as a member, as far as the runner knows.
    pub member: bool,
    /// Whether it may end by itself just now, because a fault makes it.
    pub may_end: bool,
    /// The limits on open files of the next start, `SOFT:HARD`; those of the run
    /// unless given.
    pub descriptors_max: Option<&'static str>,
    /// More variables for the next start.
    pub variables: Vec<(String, String)>,
    folder: PathBuf,
    child: Option<Child>,
    is_paused: bool,
    client: Client,
    volume: Volume,
}

/// How long a sync takes on a disk that is well: as on a good one of a server.
const SYNC_TIME: Duration = Duration::from_micros(500);

impl Peer {
    /// The peer of a place, with a disk of so many bytes; nothing runs yet.
    ///
    /// # Errors
    /// When its folder cannot be made, or its disk not be mounted.
    pub fn new(n: usize, run: &Path, disk_bytes: u64) -> Result<Self, String> {
        let folder = run.join(format!("peer{}", n + 1));
        let data = folder.join("data");
        fs::create_dir_all(&data).map_err(|e| format!("a folder: {e}"))?;
        let volume = Volume::mount(&data, disk_bytes);
        let volume = volume.map_err(|e| format!("no disk at {}: {e}", data.display()))?;
        volume.sync_time(SYNC_TIME);
        Ok(Self {
            n,
            member: false,
            may_end: false,
            descriptors_max: None,
            variables: Vec::new(),
            folder,
            child: None,
            is_paused: false,
            client: Client::new(&net::service_address(n)),
            volume,
        })
    }

    /// `Z4_PEER_ID`.
    pub fn id(&self) -> String {
        format!("peer{}", self.n + 1)
    }

    /// A client of its services; it lives through restarts.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where both data folders are.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Its log, over all starts.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Starts the process and returns at once. The first of a run makes the
    /// cluster.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&mut self, bootstrap: bool) -> Result<(), String> {
        let mut open = OpenOptions::new();
        let log = open.create(true).append(true).open(self.log_path());
        let log = log.map_err(|e| format!("the log of {}: {e}", self.id()))?;
        let again = log.try_clone().map_err(|e| e.to_string())?;
        let mut command = command::clean(Path::new("nsenter"));
        command.arg(format!("--net=/run/netns/{}", net::namespace(self.n)));
        if let Some(limits) = self.descriptors_max {
            command.arg("prlimit").arg(format!("--nofile={limits}"));
        }
        command
            .arg(binaries::find("z4-server"))
            .current_dir(&self.folder)
            .env("Z4_PEER_ID", self.id())
            // The addresses are of a namespace that nobody else reaches.
            .env("Z4_INSECURE", "true")
            .env("Z4_DB_DATA_DIR", self.data().join("db"))
            .env("Z4_PEER_DATA_DIR", self.data().join("peer"))
            .env("Z4_SERVICE_PORT", net::SERVICE_PORT.to_string())
            .env("Z4_PEER_PORT", net::PEER_PORT.to_string())
            .env("Z4_PEER_LANE_PORT", net::LANE_PORT.to_string())
            .env("Z4_METRICS_PORT", net::METRICS_PORT.to_string())
            .env("Z4_PEER_ADVERTISE_ADDR", net::peer_address(self.n))
            .env("Z4_BOOTSTRAP_CLUSTER", bootstrap.to_string())
            // Short, so that those who come back late need a snapshot.
            .env("Z4_LOG_KEEP_ENTRIES", "200")
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(again)
            .stderr(log);
        self.is_paused = false;
        self.child = Some(spawn(command)?);
        Ok(())
    }

    /// Whether the process is there; a paused one is.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.as_mut().map(Child::try_wait), Some(Ok(None)))
    }

    /// Whether it runs and is not paused.
    pub fn is_awake(&mut self) -> bool {
        !self.is_paused && self.is_running()
    }

    /// Its exit status when it ended without being asked to; it is told once.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// The process id, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kill -9 without waiting for the end.
    pub fn kill_soon(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
    }

    /// Kill -9.
    pub fn kill(&mut self) {
        self.kill_soon();
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// SIGTERM, and its status at the end.
    ///
    /// # Errors
    /// When it runs on after `limit`; it is killed then.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        self.signal("TERM")?;
        let Some(mut child) = self.child.take() else {
            return Err(format!("{} does not run", self.id()));
        };
        if let Some(status) = command::wait(&mut child, limit) {
            return Ok(status);
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("{} runs {limit:?} after SIGTERM", self.id()))
    }

    /// Its disk.
    pub fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Its disk is well again.
    pub fn mend_disk(&self) {
        self.volume.sync_time(SYNC_TIME);
        self.volume.fail_sync(None);
    }

    /// The power fails: the process is gone, and with it what was not synced.
    pub fn lose_power(&mut self, rng: &mut StdRng) -> Lost {
        self.kill();
        self.volume.lose_power(rng)
    }

    /// SIGSTOP: it is there and does nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&mut self) -> Result<(), String> {
        self.signal("STOP")?;
        self.is_paused = true;
        Ok(())
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&mut self) -> Result<(), String> {
        self.is_paused = false;
        self.signal("CONT")
    }

    /// Whether it is stopped by SIGSTOP, as the system sees it.
    pub fn is_stopped(&self) -> bool {
        let pid = self.pid().unwrap_or(0);
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        text.lines().any(|line| line.starts_with("State:\tT"))
    }

    /// Resident memory in whole MiB; 0 when it does not run.
    pub fn memory_mib(&self) -> u64 {
        self.memory_kib() / 1024
    }

    /// Resident memory in KiB, as the system tells it; 0 when it does not run.
    pub fn memory_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Threads; 0 when it does not run.
    pub fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    /// A number that the system tells of the process; 0 when it does not run.
    fn status(&self, name: &str) -> u64 {
        let pid = self.pid().unwrap_or(0);
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.unwrap_or(0)
    }

    /// Open descriptors; 0 when it does not run.
    pub fn descriptors(&self) -> usize {
        let pid = self.pid().unwrap_or(0);
        fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
    }

    fn signal(&self, name: &str) -> Result<(), String> {
        let pid = self
            .pid()
            .ok_or_else(|| format!("{} does not run", self.id()))?;
        // The standard library sends SIGKILL only; every shell sends the rest.
        shell::run("sh", &["-c", &format!("kill -{name} {pid}")]).map(|_| ())
    }

    /// Erases the data: it is a new peer at the next start.
    ///
    /// # Errors
    /// When it runs, or a file cannot be removed.
    pub fn erase(&mut self) -> Result<(), String> {
        if self.is_running() {
            return Err(format!("{} runs", self.id()));
        }
        for folder in [self.data().join("db"), self.data().join("peer")] {
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            }
        }
        Ok(())
    }

    /// What it wrote to its log beyond the first `from` bytes.
    pub fn log_from(&self, from: u64) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        let from = usize::try_from(from).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// Bytes in its log.
    pub fn log_len(&self) -> u64 {
        fs::metadata(self.log_path()).map_or(0, |meta| meta.len())
    }

    /// The last lines of its log.
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log_from(0);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

fn spawn(mut command: Command) -> Result<Child, String> {
    command.spawn().map_err(|e| format!("{command:?}: {e}"))
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}
