//! Peers that know each other by name: one comes back under its name with another
//! IP address.
//!
//! Each process sees a file of its own in the place of `/etc/hosts`, in a mount
//! namespace of its own.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use z4_e2e::command::{z4t, Finished};
use z4_e2e::{wait, Peer, PeerSpec};

const LIMIT: Duration = Duration::from_secs(30);
/// gRPC left to itself resolves a name again after 30 s, and 22 s were the least
/// that was seen.
const BACK_LIMIT: Duration = Duration::from_secs(15);

/// Whether this process may make mount namespaces; when not, it says that nothing
/// is tested, and in CI that is a failure.
fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"])
        .output();
    let why = match tried {
        Ok(done) if done.status.success() => return true,
        Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        Err(why) => why.to_string(),
    };
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    assert!(!in_ci, "no mount namespace (run as root): {why}");
    let _ = writeln!(
        std::io::stderr(),
        "NOTHING TESTED: names need a mount namespace (run as root): {why}"
    );
    false
}

/// A peer known by name, at an IP address of its own.
struct Named {
    peer: Peer,
    ip: String,
    child: Option<Child>,
}

impl Named {
    fn new(n: usize) -> Self {
        let id = format!("peer{n}");
        let spec = match n {
            1 => PeerSpec::bootstrap(&id),
            _ => PeerSpec::waiting(&id),
        };
        Self {
            peer: Peer::new(spec),
            ip: format!("127.0.7.{n}"),
            child: None,
        }
    }

    fn line(&self) -> String {
        format!("{} {}.z4.test\n", self.ip, self.peer.spec.id)
    }

    fn at(&self, host: &str, address: &str) -> String {
        let port = address.rsplit(':').next().unwrap();
        format!("{host}:{port}")
    }

    fn advertised(&self) -> String {
        let host = format!("{}.z4.test", self.peer.spec.id);
        self.at(&host, &self.peer.peer_address())
    }

    fn start(&mut self, hosts: &Path) {
        let plain = self.peer.command();
        let mut command = Command::new("unshare");
        let script = r#"mount --bind "$0" /etc/hosts && exec "$1""#;
        command.args(["--mount", "sh", "-c", script]).arg(hosts);
        command.arg(plain.get_program());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .env("Z4_BIND_ADDR", &self.ip)
            .env("Z4_PEER_ADVERTISE_ADDR", self.advertised());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn z4t(&self, arguments: &[&str]) -> Finished {
        let target = self.at(&self.ip, &self.peer.service_address());
        z4t(&[&["-t", &target, "--timeout", "3s"], arguments].concat())
    }

    fn wait_healthy(&self, limit: Duration) {
        let target = self.at(&self.ip, &self.peer.service_address());
        wait::until("it knows a leader", limit, || {
            // Whoever makes the cluster knows the first admin, and the others know it from it.
            if self.peer.spec.bootstrap {
                self.peer.spec.admit_at(&target)?;
            }
            let done = self.z4t(&["health"]);
            wait::check(done.code == 0, || format!("{}: {done:?}", self.ip))
        });
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.stop();
    }
}

fn write_hosts(path: &Path, peers: &[Named]) {
    let lines: String = peers.iter().map(Named::line).collect();
    // In place: what is mounted is the file itself.
    fs::write(path, format!("127.0.0.1 localhost\n{lines}")).unwrap();
}

#[test]
fn a_peer_that_comes_back_under_its_name_with_another_ip_is_found() {
    if !can_mount() {
        return;
    }
    let folder = TempDir::with_prefix("z4-names-").unwrap();
    let hosts: PathBuf = folder.path().join("hosts");
    let mut peers: Vec<Named> = (1..=3).map(Named::new).collect();
    write_hosts(&hosts, &peers);
    peers.iter_mut().for_each(|peer| peer.start(&hosts));
    peers[0].wait_healthy(LIMIT);
    for n in 1..3 {
        let (id, address) = (peers[n].peer.spec.id.clone(), peers[n].advertised());
        wait::until("it is added", LIMIT, || {
            let arguments = ["add-peer", "-p", &address, "--id", &id, "--timeout", "30s"];
            let target = peers[0].at(&peers[0].ip, &peers[0].peer.service_address());
            let done = z4t(&[&["-t", &target][..], &arguments].concat());
            let is_there = done.code == 0 || done.stderr.contains("member already");
            wait::check(is_there, || format!("{done:?}"))
        });
        peers[n].wait_healthy(LIMIT);
    }
    for round in 0..2 {
        peers[2].stop();
        peers[2].ip = format!("127.0.7.{}", 30 + round);
        write_hosts(&hosts, &peers);
        peers[2].start(&hosts);
        peers[2].wait_healthy(BACK_LIMIT);
        let made = peers[2].z4t(&["create", "names", "x"]);
        assert_eq!(made.code, 0, "{made:?}");
    }
}
