//! A disk that changes what it was given: a bit of a follower's raft log, or of a
//! table file of its task state, or the end of its log is cut off. It must be
//! found by checksum, the peer must refuse to serve from it, at every start, and
//! say how to heal; then it is healed that way.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng;
use z4_e2e::client::option;
use z4_e2e::wait;
use z4_proto::generated::admin::VerifyClusterRequest;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "flipped bit in the log",
        weight: 2,
        run: flip_log,
    },
    Kind {
        name: "log cut off",
        weight: 1,
        run: cut_log,
    },
    Kind {
        name: "flipped bit in a table",
        weight: 2,
        run: flip_table,
    },
];

/// How long a peer may take to find the damage.
const LIMIT: Duration = Duration::from_secs(40);
/// What a peer says that is to be healed.
const REMEDY: &str = "add it anew with empty directories";
/// Bytes at the end of a log file that are left alone by a flip: damage there
/// cannot be told from a write that a crash tore, and loses what was never
/// acknowledged only when the bound beside the log agrees.
const TAIL: u64 = 40 * 1024;

/// Bytes at the end of a table file that are left alone by a flip: what counts
/// the table's entries for statistics. RocksDB reads it at the start, goes on
/// without it when it is damaged, and nothing that is stored hangs on it.
const TABLE_TAIL: u64 = 3 * 1024;

fn flip_log(stage: &mut Stage<'_>) -> Result<Done, String> {
    damage(stage, "peer/log", "log", 2 * TAIL, |stage, path, len| {
        let at = stage.rng.gen_range(0..len - TAIL);
        flip(path, at, 1 << stage.rng.gen_range(0..8))
    })
}

/// All of the log file's second half: more than a crash can tear off.
fn cut_log(stage: &mut Stage<'_>) -> Result<Done, String> {
    damage(stage, "peer/log", "log", 2 * TAIL, |_, path, len| {
        let file = fs::OpenOptions::new().write(true).open(path);
        let cut = file.and_then(|file| file.set_len(len / 2));
        cut.map_err(|e| format!("{}: {e}", path.display()))
    })
}

fn flip_table(stage: &mut Stage<'_>) -> Result<Done, String> {
    damage(stage, "db", "sst", 4 * TABLE_TAIL, |stage, path, len| {
        let at = stage.rng.gen_range(0..len - TABLE_TAIL);
        flip(path, at, 1 << stage.rng.gen_range(0..8))
    })
}

fn flip(path: &Path, at: u64, bit: u8) -> Result<(), String> {
    let at = usize::try_from(at).unwrap_or(0);
    let change = |mut bytes: Vec<u8>| {
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= bit;
        }
        fs::write(path, bytes)
    };
    let done = fs::read(path).and_then(change);
    done.map_err(|e| format!("{}: {e}", path.display()))
}

type Harm = fn(&mut Stage<'_>, &Path, u64) -> Result<(), String>;

fn damage(
    stage: &mut Stage<'_>,
    folder: &str,
    kind: &str,
    least: u64,
    harm: Harm,
) -> Result<Done, String> {
    let n = stage.follower()?;
    let from_ns = stage.now_ns();
    let folder = stage.cluster.peers[n].data().join(folder);
    // A file that was begun a moment ago has nothing to damage, and may be begun
    // while the peer is killed.
    let found = || {
        let found = largest(&folder, kind).filter(|(_, len)| *len >= least);
        found.ok_or_else(|| format!("no {kind} file of {least} bytes in {}", folder.display()))
    };
    let (path, len) = wait::within(LIMIT, || {
        found()?;
        stage.cluster.peers[n].kill();
        if found().is_err() {
            stage.cluster.peers[n].start(false)?;
        }
        found()
    })?;
    harm(stage, &path, len)?;
    let said = find_out(stage, n)?;
    // However often it is started: it does not serve.
    stage.cluster.peers[n].start(false)?;
    let again = wait_refused(stage, n)?;
    if !again.contains(REMEDY) {
        let id = stage.cluster.peers[n].id();
        return Err(format!("{id} is damaged and says no remedy: {again}"));
    }
    stage.cluster.remove(n, None)?;
    stage.cluster.peers[n].erase()?;
    stage.cluster.join(n)?;
    Ok(Done::from_start(from_ns, Some(said)))
}

/// Starts the damaged peer, and has it read all it has; what it said when it
/// gave up.
fn find_out(stage: &mut Stage<'_>, n: usize) -> Result<String, String> {
    stage.cluster.peers[n].may_end = true;
    let from = stage.cluster.peers[n].log_len();
    stage.cluster.peers[n].start(false)?;
    let id = stage.cluster.peers[n].id();
    wait::within(LIMIT, || {
        if stage.cluster.peers[n].ended().is_some() {
            let said = stage.cluster.peers[n].log_from(from);
            return Ok(short(&said));
        }
        // What nobody reads is not found: the comparison of states reads all.
        let leader = stage.cluster.leader()?;
        let admin = &stage.cluster.peers[leader].client().admin;
        let request = VerifyClusterRequest::new();
        let _ = admin.verify_cluster_opt(&request, option(Duration::from_secs(5)));
        Err(format!("{id} serves from a damaged disk"))
    })
}

fn wait_refused(stage: &mut Stage<'_>, n: usize) -> Result<String, String> {
    let from = stage.cluster.peers[n].log_len();
    let id = stage.cluster.peers[n].id();
    wait::within(LIMIT, || match stage.cluster.peers[n].ended() {
        Some(_) => Ok(()),
        None => Err(format!("{id} starts again on a damaged disk")),
    })?;
    // The reason stands in the log of the start before, when this one was quick.
    let before = from.saturating_sub(4_096);
    Ok(stage.cluster.peers[n].log_from(before))
}

/// Why it refused, out of the line that says it.
fn short(log: &str) -> String {
    let told = log.lines().rev().find(|line| line.contains(REMEDY));
    let Some(told) = told else {
        return log.lines().next_back().unwrap_or("no word").to_owned();
    };
    let end = told.find("; remove this peer").unwrap_or(told.len());
    let told = &told[..end];
    let from = told.rfind("is quarantined: ").map_or(0, |at| at + 16);
    told[from..].chars().take(120).collect()
}

/// The longest file of a kind in a folder and those below it.
fn largest(folder: &Path, kind: &str) -> Option<(PathBuf, u64)> {
    let paths = fs::read_dir(folder).ok()?.flatten().map(|f| f.path());
    let sized = paths.filter_map(|path| {
        if path.is_dir() {
            return largest(&path, kind);
        }
        let fits = path.extension().is_some_and(|e| e == kind);
        let len = fs::metadata(&path).ok()?.len();
        fits.then_some((path, len))
    });
    sized.max_by_key(|(_, len)| *len)
}
