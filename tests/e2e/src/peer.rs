//! One `z4-server` process: its directories, ports, log, and what is done to
//! it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use z4_tls::Role;

use crate::client::Client;
use crate::ports::Port;
use crate::tls::{self, Own};
use crate::{asked, binaries, command, http, wait};

/// How long a peer may take to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Lines of the log that are shown when a test fails.
const SHOWN_LINES: usize = 60;

/// How a peer is to be started.
#[derive(Debug, Clone, Default)]
pub struct PeerSpec {
    /// `Z4_PEER_ID`.
    pub id: String,
    /// `Z4_BOOTSTRAP_CLUSTER`.
    pub bootstrap: bool,
    /// Its limits on open files, `SOFT:HARD`; those of the test unless given.
    pub descriptors: Option<String>,
    /// The folder of its `z4-server`; that of the programs under test unless given.
    pub programs: Option<PathBuf>,
    /// More variables.
    pub variables: Vec<(String, String)>,
    /// Variables that it is started without.
    pub left_out: Vec<String>,
    /// Speaks TLS on every port.
    pub is_sealed: bool,
    /// Asks who calls.
    pub asks: bool,
}

impl PeerSpec {
    /// A peer that waits to be added.
    #[must_use]
    pub fn waiting(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            is_sealed: tls::is_switched_on(),
            asks: tls::is_switched_on(),
            ..Self::default()
        }
    }

    /// A peer that makes a cluster of its own.
    #[must_use]
    pub fn bootstrap(id: &str) -> Self {
        Self {
            bootstrap: true,
            ..Self::waiting(id)
        }
    }

    /// With one more variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With TLS on every port, and asking nobody who calls.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.is_sealed = true;
        self.unasked()
    }

    /// Has a peer that asks, and is reached there, know the clients of tests.
    ///
    /// # Errors
    /// The peer has no leader yet.
    pub fn admit_at(&self, address: &str) -> Result<(), String> {
        match self.asks {
            true => asked::admit_all(address),
            false => Ok(()),
        }
    }

    /// Asking nobody who calls.
    #[must_use]
    pub fn unasked(mut self) -> Self {
        self.asks = false;
        self
    }

    /// Without one that peers of tests have else.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.left_out.push(name.to_owned());
        self
    }
}

/// A peer: a place on disk and its ports, and the process there, if it runs.
pub struct Peer {
    /// How it is started; change it between two starts.
    pub spec: PeerSpec,
    folder: TempDir,
    service: Port,
    peer: Port,
    lane: Port,
    metrics: Port,
    child: Option<Child>,
    client: Client,
    /// Its certificate, if it speaks TLS.
    own: Option<Own>,
}

impl Peer {
    /// A place for a peer; nothing runs yet.
    #[must_use]
    pub fn new(spec: PeerSpec) -> Self {
        let (service, peer) = (Port::claim(), Port::claim());
        let (lane, metrics) = (Port::claim(), Port::claim());
        if spec.is_sealed {
            for port in [&service, &peer, &lane, &metrics] {
                tls::seal(port.number());
            }
        }
        let client = Client::new(&format!("127.0.0.1:{}", service.number()));
        Self {
            own: spec.is_sealed.then(|| {
                let name = format!("{}-{}", spec.id, service.number());
                tls::shared().pki.files_of(Role::Peer, &spec.id, &name)
            }),
            spec,
            folder: TempDir::with_prefix("z4-e2e-").expect("a folder for a peer"),
            service,
            peer,
            lane,
            metrics,
            child: None,
            client,
        }
    }

    /// A running peer that answers.
    #[must_use]
    #[track_caller]
    pub fn started(spec: PeerSpec) -> Self {
        let mut peer = Self::new(spec);
        peer.start();
        peer.wait_answers();
        peer
    }

    /// The peer that does not run gets another port for peers at its next start.
    ///
    /// # Panics
    /// When it runs.
    pub fn move_address(&mut self) {
        assert!(!self.is_running(), "{} runs", self.spec.id);
        self.peer = Port::claim();
        if self.spec.is_sealed {
            tls::seal(self.peer.number());
        }
    }

    /// The files of its certificate, if it speaks TLS.
    #[must_use]
    pub fn own(&self) -> Option<&Own> {
        self.own.as_ref()
    }

    /// Two peers that do not run swap their ports for peers.
    ///
    /// # Panics
    /// When one of them runs.
    pub fn swap_addresses(&mut self, other: &mut Self) {
        assert!(!self.is_running(), "{} runs", self.spec.id);
        assert!(!other.is_running(), "{} runs", other.spec.id);
        std::mem::swap(&mut self.peer, &mut other.peer);
    }

    /// Starts the process and returns at once.
    ///
    /// # Panics
    /// When it runs already.
    pub fn start(&mut self) {
        assert!(!self.is_running(), "{} runs already", self.spec.id);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path());
        let log = log.expect("the peer's log file");
        let mut command = self.command();
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the same file again"));
        command.stderr(log);
        self.child = Some(command.spawn().expect("z4-server starts"));
    }

    /// Starts the process and waits for its end: for starts that must fail.
    ///
    /// # Panics
    /// When it still runs after 20 s.
    pub fn run_to_end(&mut self) -> command::Finished {
        assert!(!self.is_running(), "{} runs already", self.spec.id);
        command::run(self.command(), START_LIMIT)
    }

    /// The command of this peer: for a second process in the same place, or
    /// for a change of its settings.
    #[must_use]
    pub fn command(&self) -> Command {
        let server = match &self.spec.programs {
            Some(folder) => binaries::find_in(folder, "z4-server"),
            None => binaries::find("z4-server"),
        };
        let mut command = match &self.spec.descriptors {
            // It becomes the server: the process id stays.
            Some(limits) => {
                let mut command = command::clean(Path::new("prlimit"));
                command.arg(format!("--nofile={limits}")).arg(server);
                command
            }
            None => command::clean(&server),
        };
        command
            .current_dir(self.folder.path())
            .env("Z4_PEER_ID", &self.spec.id)
            .env("Z4_DB_DATA_DIR", self.db_folder())
            .env("Z4_PEER_DATA_DIR", self.peer_folder())
            .env("Z4_SERVICE_PORT", self.service.number().to_string())
            .env("Z4_PEER_PORT", self.peer.number().to_string())
            .env("Z4_PEER_LANE_PORT", self.lane_port())
            .env("Z4_METRICS_PORT", self.metrics.number().to_string())
            .env("Z4_PEER_ADVERTISE_ADDR", self.peer_address())
            .env("Z4_BOOTSTRAP_CLUSTER", self.spec.bootstrap.to_string())
            .envs(
                self.own
                    .iter()
                    .flat_map(|own| tls::shared().pki.variables(own)),
            )
            .envs(self.spec.asks.then(asked::variables).into_iter().flatten())
            .envs(self.spec.variables.iter().cloned());
        for name in &self.spec.left_out {
            command.env_remove(name);
        }
        command
    }

    /// Whether the process is there (a stopped one is).
    pub fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        }
    }

    /// The process id; `None` when it was not started or was waited for.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kill -9, and waits for the end. Does nothing when it does not run.
    pub fn kill(&mut self) {
        self.kill_soon();
        self.reap();
    }

    /// Sends kill -9 and returns at once: to kill several at one time.
    pub fn kill_soon(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
        }
    }

    /// Waits for the end of a process that was sent kill -9.
    pub fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it still runs after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        let mut child = self.child.take().expect("the peer runs");
        match command::wait(&mut child, limit) {
            Some(status) => status,
            None => {
                self.child = Some(child);
                panic!("{} runs {limit:?} after SIGTERM", self.spec.id);
            }
        }
    }

    /// Waits for the end of a process that ends by itself.
    ///
    /// # Panics
    /// When it still runs after `limit`.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("the peer was started");
        match command::wait(&mut child, limit) {
            Some(status) => status,
            None => {
                self.child = Some(child);
                panic!("{} runs after {limit:?}", self.spec.id);
            }
        }
    }

    /// SIGSTOP: the process is there and does nothing.
    pub fn pause(&mut self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&mut self) {
        self.signal("CONT");
    }

    fn signal(&mut self, name: &str) {
        let pid = self.pid().expect("the peer runs");
        // The standard library sends SIGKILL only; every shell sends the rest.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status();
        assert!(sent.is_ok_and(|s| s.success()), "kill -{name} {pid} failed");
    }

    /// Waits until the services answer; it may still wait to be added.
    ///
    /// # Panics
    /// When it ends, or does not answer within 20 s.
    #[track_caller]
    pub fn wait_answers(&mut self) {
        let address = self.service_address();
        let result = wait::within(START_LIMIT, || {
            self.fail_if_ended();
            if self.spec.bootstrap {
                self.spec.admit_at(&address)?;
            }
            self.client.info().map_err(|e| e.to_string())
        });
        if let Err(why) = result {
            panic!("{} does not answer: {why}", self.spec.id);
        }
    }

    /// Waits until it knows a leader, by `/readyz`.
    ///
    /// # Panics
    /// When it ends, or is not ready within 20 s.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let address = self.metrics_address();
        let result = wait::within(START_LIMIT, || {
            self.fail_if_ended();
            let (code, body) = http::get(&address, "/readyz")?;
            wait::check(code == 200, || format!("/readyz says {code} {body}"))
        });
        if let Err(why) = result {
            panic!("{} is not ready: {why}", self.spec.id);
        }
        let address = self.service_address();
        let admitted = wait::within(START_LIMIT, || self.spec.admit_at(&address));
        admitted.expect("the first admin is made");
    }

    #[track_caller]
    fn fail_if_ended(&mut self) {
        let ended = match &mut self.child {
            Some(child) => child.try_wait().ok().flatten(),
            None => panic!("{} was not started", self.spec.id),
        };
        if let Some(status) = ended {
            panic!(
                "{} ended by itself: {status}\n{}",
                self.spec.id,
                self.log_end()
            );
        }
    }

    /// Erases the data: the peer is a new one at the next start.
    ///
    /// # Panics
    /// When it runs.
    pub fn erase(&mut self) {
        assert!(!self.is_running(), "{} runs", self.spec.id);
        for folder in [self.db_folder(), self.peer_folder()] {
            if folder.exists() {
                fs::remove_dir_all(folder).expect("the folder is ours");
            }
        }
    }

    /// A client of this peer; it lives through restarts.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// `host:port` of the services.
    #[must_use]
    pub fn service_address(&self) -> String {
        format!("127.0.0.1:{}", self.service.number())
    }

    /// `host:port` for other peers.
    #[must_use]
    pub fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.peer.number())
    }

    /// `Z4_PEER_LANE_PORT`: a port of its own, or 0 where the environment of this
    /// process says so, to measure without lanes.
    #[must_use]
    pub fn lane_port(&self) -> String {
        match std::env::var("Z4_PEER_LANE_PORT").as_deref() {
            Ok("0") => "0".to_owned(),
            _ => self.lane.number().to_string(),
        }
    }

    /// `host:port` of metrics and health.
    #[must_use]
    pub fn metrics_address(&self) -> String {
        format!("127.0.0.1:{}", self.metrics.number())
    }

    /// The folder that holds both data directories, as text.
    #[must_use]
    pub fn folder_text(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// `Z4_DB_DATA_DIR`.
    #[must_use]
    pub fn db_folder(&self) -> PathBuf {
        self.folder.path().join("db")
    }

    /// `Z4_PEER_DATA_DIR`.
    #[must_use]
    pub fn peer_folder(&self) -> PathBuf {
        self.folder.path().join("peer")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// All that the peer wrote to its output, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    /// Open descriptors of the process; 0 when it does not run.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let pid = self.pid().unwrap_or(0);
        fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
    }

    /// Processor time of the process so far; zero when it does not run.
    #[must_use]
    pub fn cpu_time(&self) -> Duration {
        self.pid().map(cpu_time).unwrap_or_default()
    }
}

/// User and system time of a process, from `/proc`; zero when it is not there.
#[must_use]
pub fn cpu_time(pid: u32) -> Duration {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(Path::new(&path)).unwrap_or_default();
    // The second field, the program's name, may hold anything up to the last
    // parenthesis; the 14th and 15th are the two times in ticks of 10 ms.
    let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |n: usize| {
        fields
            .get(n)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- end of the log of {}\n{}", self.spec.id, self.log_end());
        }
    }
}
