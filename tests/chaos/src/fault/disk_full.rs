//! A disk that fills up: what is left of a peer's volume is taken by somebody
//! else's file, and given back later.
//!
//! Down to the reserve: creates are refused with the reason, what takes tasks
//! away goes on, reads too, and nobody ends. To the last byte: a write that fails
//! ends the peer; started on the full disk it waits, and goes on by itself when
//! there is room. What was acknowledged is kept.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use grpcio::RpcStatusCode;
use z4_core::TaskId;
use z4_e2e::request::create;
use z4_e2e::wait;

use super::{Done, Kind, Stage};
use crate::shell;
use z4_check::told::{Act, Call, End, Op};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "disk low",
        weight: 2,
        run: low,
    },
    Kind {
        name: "disk full",
        weight: 2,
        run: full,
    },
];

/// The place whose data lies on a small volume.
pub const PLACE: usize = 1;
/// The size of that volume.
pub const VOLUME_BYTES: u64 = 384 << 20;
/// What is left of it when it is low: below the reserve, a tenth.
const LEFT_KIB: u64 = 16 * 1024;
/// How long until everybody knows that a disk is low.
const TOLD_LIMIT: Duration = Duration::from_secs(10);
/// How much is written at once.
const PIECE: usize = 64 * 1024;

fn low(stage: &mut Stage<'_>) -> Result<Done, String> {
    let path = prepare(stage)?;
    let from_ns = stage.now_ns();
    let free_kib = free_kib(&path)?;
    fill(&path, free_kib.saturating_sub(LEFT_KIB) * 1024);
    let leader = stage.cluster.leader()?;
    let client = stage.cluster.peers[leader].client().clone();
    let said = wait::within(TOLD_LIMIT, || match client.create(&create("low", "x")) {
        Err(refused) if refused.code == RpcStatusCode::RESOURCE_EXHAUSTED => Ok(refused.message),
        other => Err(format!("a disk is low, and a create is told {other:?}")),
    })?;
    let id = stage.cluster.peers[PLACE].id();
    if !said.contains(&id) {
        return Err(format!(
            "{id} has little room, and a create is told: {said}"
        ));
    }
    let low_ns = stage.now_ns();
    stage.hold(2_000..6_000);
    let acks = acks_since(stage, low_ns);
    let reads = reads(stage);
    give_back(&path)?;
    let end_ns = stage.now_ns();
    let reads = reads.map_err(|why| format!("{id} has little room: a read: {why}"))?;
    if acks == 0 {
        return Err(format!("{id} has little room, and nothing is acked"));
    }
    let seen = format!("creates refused, {acks} acks, {reads} reads");
    Ok(Done::from_end(from_ns, end_ns, Some(seen)))
}

/// Acks that were done.
fn acks_since(stage: &Stage<'_>, since_ns: u64) -> usize {
    let told = stage.record.told();
    let since = told.ops.iter().rev().take_while(|op| op.at_ns > since_ns);
    let is_ack = |op: &&Op| {
        let acked = matches!(op.call, Call::Lease(Act::Ack, ..)) && op.end == End::Done;
        acked && op.invoked_ns > since_ns
    };
    since.filter(is_ack).count()
}

/// Reads tasks of late at the peer whose disk is low; how many were answered.
fn reads(stage: &Stage<'_>) -> Result<usize, String> {
    let ids: Vec<TaskId> = {
        let told = stage.record.told();
        let made = told.ops.iter().rev().filter_map(|op| match &op.end {
            End::Made(ids) => ids.first().copied(),
            _ => None,
        });
        made.take(5).collect()
    };
    let client = stage.cluster.peers[PLACE].client();
    for id in &ids {
        match client.get(stage.namespace, &id.to_string()) {
            // It may be done by now.
            Ok(_) => {}
            Err(refused) if refused.code == RpcStatusCode::NOT_FOUND => {}
            Err(refused) => return Err(refused.to_string()),
        }
    }
    Ok(ids.len())
}

fn full(stage: &mut Stage<'_>) -> Result<Done, String> {
    let path = prepare(stage)?;
    let from_ns = stage.now_ns();
    // A write that fails is not tried again.
    stage.cluster.peers[PLACE].may_end = true;
    let mut written = fill(&path, u64::MAX);
    let mut died = false;
    for _ in 0..3 {
        stage.hold(500..2_000);
        // What it freed meanwhile is taken too.
        written += fill(&path, u64::MAX);
        died |= stage.cluster.peers[PLACE].ended().is_some();
    }
    let id = stage.cluster.peers[PLACE].id();
    if died {
        stage.cluster.peers[PLACE].start(false)?;
        thread::sleep(Duration::from_secs(2));
        if let Some(status) = stage.cluster.peers[PLACE].ended() {
            return Err(format!(
                "{id} does not wait for room when it starts: {status}"
            ));
        }
    }
    give_back(&path)?;
    let end_ns = stage.now_ns();
    let how = if died {
        "it ended and waited"
    } else {
        "it ran on"
    };
    let seen = (written > 0).then(|| format!("{} MiB taken, {how}", written >> 20));
    Ok(Done::from_end(from_ns, end_ns, seen))
}

/// Makes the peer with the small volume a member, if it is none; the path of
/// somebody else's file there.
fn prepare(stage: &mut Stage<'_>) -> Result<std::path::PathBuf, String> {
    if !stage.cluster.peers[PLACE].member {
        stage.cluster.join(PLACE)?;
    }
    Ok(stage.cluster.peers[PLACE].data().join("somebody-else"))
}

/// Removes the file. That is durable when its folder is synced, and only then does
/// this disk count the room as free: a peer that waits for room syncs nothing.
fn give_back(path: &Path) -> Result<(), String> {
    let removed = fs::remove_file(path)
        .and_then(|()| File::open(path.parent().unwrap_or(path)))
        .and_then(|folder| folder.sync_all());
    removed.map_err(|e| format!("{}: {e}", path.display()))
}

fn free_kib(path: &Path) -> Result<u64, String> {
    let folder = path.parent().unwrap_or(path).display().to_string();
    let table = shell::run("df", &["--output=avail", "-k", &folder])?;
    let free = table
        .lines()
        .nth(1)
        .and_then(|line| line.trim().parse().ok());
    free.ok_or_else(|| format!("df says {table:?}"))
}

/// Appends so many bytes, or as many as there is room for; how many.
fn fill(path: &Path, most: u64) -> u64 {
    let file = File::options().create(true).append(true).open(path);
    let Ok(mut file) = file else { return 0 };
    let piece = vec![0x5a; PIECE];
    let mut written = 0;
    // The last byte counts: a piece that does not fit is halved.
    let mut len = PIECE;
    while len > 0 && written < most {
        match file.write(&piece[..len]) {
            Ok(some) if some > 0 => written += some as u64,
            _ => len /= 2,
        }
    }
    written
}
