//! The room in which a run takes place: namespaces of its own for network,
//! mounts and processes. All that a run makes (bridge, namespaces of the peers,
//! file systems, processes) ends with the room, however the run ends, and two
//! rooms know nothing of each other.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::exit;
use crate::fault::clock;
use crate::shell;

/// The switches of `unshare`: killing it kills everything in the room.
const ROOM: [&str; 6] = [
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];
/// What a run calls, and the Debian package that has it.
const TOOLS: [(&str, &str); 8] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("prlimit", "util-linux"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("ldb", "rocksdb-tools"),
    ("sst_dump", "rocksdb-tools"),
];
/// How long a run that was told to stop may take to leave.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// Whether a room can be had here.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn possible() -> Result<(), String> {
    for (tool, package) in TOOLS {
        if shell::run("which", &[tool]).is_err() {
            return Err(format!("{tool} is missing: apt-get install {package}"));
        }
    }
    if clock::library().is_none() {
        return Err("libfaketime is missing: apt-get install libfaketime".into());
    }
    let fuse = File::options().read(true).write(true).open("/dev/fuse");
    fuse.map_err(|e| format!("no FUSE here, run as root where it is allowed: /dev/fuse: {e}"))?;
    let mut probe = ROOM.to_vec();
    probe.extend(["ip", "link", "add", "probe", "type", "bridge"]);
    shell::run("unshare", &probe)
        .map(|_| ())
        .map_err(|why| format!("no namespaces here, run as root where they are allowed: {why}"))
}

/// Runs this program with these arguments in a room, until it ends or this
/// process is told to stop; the exit code.
///
/// # Errors
/// When the room cannot be entered.
pub fn run_inside(arguments: &[String], folder: &Path) -> Result<i32, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|e| format!("no handler for signals: {e}"))?;
    }
    let own = std::env::current_exe().map_err(|e| format!("the path of this program: {e}"))?;
    // The input of the run is a pipe that nobody writes to: its end tells the
    // run that this process is gone, in whatever way.
    let mut child = Command::new("unshare")
        .args(ROOM)
        .arg(own)
        .args(arguments)
        .arg("--inside")
        .arg(folder)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| format!("unshare does not start: {e}"))?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.code().unwrap_or(exit::BROKEN)),
            Ok(None) if stop.load(Ordering::Relaxed) => return Ok(leave(&mut child)),
            Ok(None) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(format!("waiting for the run: {error}")),
        }
    }
}

fn leave(child: &mut Child) -> i32 {
    drop(child.stdin.take());
    let end = Instant::now() + LEAVE_LIMIT;
    while Instant::now() < end {
        if let Ok(Some(_)) = child.try_wait() {
            return exit::INTERRUPTED;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
    exit::INTERRUPTED
}

/// Ends this process, the first of the room and so the room, when the one
/// outside is gone.
pub fn end_with_the_outside() {
    thread::spawn(|| {
        // Nothing is ever written: this returns at the end only.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(exit::INTERRUPTED);
    });
}
