//! A disk that changes what it was given: a bit of a follower's raft log, or of
//! the rows of its task state, or the end of its log is cut off. It must be
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
use crate::tables::{self, Table};

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

/// Rows of a table that are worth damaging, in bytes.
const ROWS_LEAST: u64 = 8 * 1024;
/// How often a state may be replaced by a snapshot before its damage is found.
const TRIES: usize = 3;

fn flip_log(stage: &mut Stage<'_>) -> Result<Done, String> {
    damage(stage, log, |stage, place| {
        let at = stage.rng.gen_range(0..place.len - TAIL);
        flip(&place.path, at, 1 << stage.rng.gen_range(0..8))
    })
}

/// All of the log file's second half: more than a crash can tear off.
fn cut_log(stage: &mut Stage<'_>) -> Result<Done, String> {
    damage(stage, log, |_, place| {
        let file = fs::OpenOptions::new().write(true).open(&place.path);
        let cut = file.and_then(|file| file.set_len(place.len / 2));
        cut.map_err(|e| format!("{}: {e}", place.path.display()))
    })
}

fn flip_table(stage: &mut Stage<'_>) -> Result<Done, String> {
    damage(stage, rows, |stage, place| {
        let at = stage.rng.gen_range(0..place.len);
        flip(&place.path, at, 1 << stage.rng.gen_range(0..8))
    })
}

/// A file, and how many of its bytes matter, from its beginning.
struct Place {
    path: PathBuf,
    len: u64,
}

/// The longest file of the raft log.
fn log(data: &Path) -> Result<Place, String> {
    let folder = data.join("peer/log");
    let paths = fs::read_dir(&folder).into_iter().flatten().flatten();
    let paths = paths.map(|file| file.path());
    let logs = paths.filter(|path| path.extension().is_some_and(|e| e == "log"));
    let sized = logs.filter_map(|path| {
        let len = fs::metadata(&path).ok()?.len();
        Some(Place { path, len })
    });
    // A file that was begun a moment ago has nothing to damage.
    let longest = sized.max_by_key(|place| place.len);
    let longest = longest.filter(|place| place.len >= 2 * TAIL);
    longest.ok_or_else(|| format!("no log of {} bytes in {}", 2 * TAIL, folder.display()))
}

/// The rows of the longest table of the task state: a flipped bit must be found
/// there, and is looked for nowhere else.
fn rows(data: &Path) -> Result<Place, String> {
    let Table { path, rows_bytes } = tables::longest(&data.join("db"))?;
    wait::check(rows_bytes >= ROWS_LEAST, || {
        format!("{} has {rows_bytes} bytes of rows", path.display())
    })?;
    let len = rows_bytes;
    Ok(Place { path, len })
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

type Find = fn(&Path) -> Result<Place, String>;
type Harm = fn(&mut Stage<'_>, &Place) -> Result<(), String>;

fn damage(stage: &mut Stage<'_>, find: Find, harm: Harm) -> Result<Done, String> {
    for _ in 0..TRIES {
        let n = stage.follower()?;
        let from_ns = stage.now_ns();
        let data = stage.cluster.peers[n].data();
        // What is there to damage may be gone when the peer has been killed.
        let place = wait::within(LIMIT, || {
            find(&data)?;
            stage.cluster.peers[n].kill();
            let place = find(&data);
            if place.is_err() {
                stage.cluster.peers[n].start(false)?;
            }
            place
        })?;
        harm(stage, &place)?;
        let Some(said) = find_out(stage, n, &place)? else {
            continue;
        };
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
        return Ok(Done::from_start(from_ns, Some(said)));
    }
    Err(format!(
        "{TRIES} peers were given a snapshot before they had read what was damaged; nothing was shown"
    ))
}

/// Starts the damaged peer, and has it read all it has; what it said when it
/// gave up. `None` when its leader had it replace what was damaged before.
fn find_out(stage: &mut Stage<'_>, n: usize, place: &Place) -> Result<Option<String>, String> {
    stage.cluster.peers[n].may_end = true;
    let from = stage.cluster.peers[n].log_len();
    stage.cluster.peers[n].start(false)?;
    let id = stage.cluster.peers[n].id();
    let db = stage.cluster.peers[n].data().join("db");
    let of_state = place.path.starts_with(&db);
    wait::within(LIMIT, || {
        if stage.cluster.peers[n].ended().is_some() {
            let said = stage.cluster.peers[n].log_from(from);
            return Ok(Some(short(&said)));
        }
        if of_state && !place.path.starts_with(tables::state(&db)?) {
            stage.cluster.peers[n].may_end = false;
            return Ok(None);
        }
        // What nobody reads is not found: the comparison of states reads all.
        let leader = stage.cluster.leader()?;
        let admin = &stage.cluster.peers[leader].client().admin;
        let request = VerifyClusterRequest::new();
        let _ = admin.verify_cluster_opt(&request, option(Duration::from_secs(5)));
        let where_to = place.path.display();
        Err(format!("{id} serves from a damaged disk: {where_to}"))
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
