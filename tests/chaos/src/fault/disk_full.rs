//! A disk that fills up: all that is left of a peer's volume is taken by somebody
//! else's file, and given back later. What was acknowledged is kept; the peer
//! comes back by itself, or is started again, when there is room.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "disk full",
    weight: 3,
    run,
}];

/// The place whose data lies on a small volume.
pub const PLACE: usize = 1;
/// The size of that volume.
pub const VOLUME: &str = "384m";
/// How much is written at once.
const PIECE: usize = 64 * 1024;

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    if !stage.cluster.peers[PLACE].member {
        stage.cluster.join(PLACE)?;
    }
    let path = stage.cluster.peers[PLACE].data().join("somebody-else");
    let from_ns = stage.now_ns();
    // It may die of it: a write that fails is not tried again.
    stage.cluster.peers[PLACE].may_end = true;
    let written = fill(&path);
    stage.hold(1_000..6_000);
    // What it freed meanwhile is taken too.
    let more = fill(&path);
    stage.hold(1_000..6_000);
    let died = stage.cluster.peers[PLACE].ended().is_some();
    fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let end_ns = stage.now_ns();
    let how = if died { "it ended" } else { "it ran on" };
    let seen = (written + more > 0).then(|| format!("{} MiB taken, {how}", written >> 20));
    Ok(Done::from_end(from_ns, end_ns, seen))
}

/// Writes until there is no room; how many bytes there were.
fn fill(path: &Path) -> u64 {
    let file = File::options().create(true).append(true).open(path);
    let Ok(mut file) = file else { return 0 };
    let piece = vec![0x5a; PIECE];
    let mut written = 0;
    // The last byte counts: a piece that does not fit is halved.
    let mut len = PIECE;
    while len > 0 {
        match file.write(&piece[..len]) {
            Ok(some) if some > 0 => written += some as u64,
            _ => len /= 2,
        }
    }
    written
}
