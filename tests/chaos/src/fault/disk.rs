//! A disk that fails a sync, and one that is slow.
//!
//! A sync that fails ends the peer with the reason, at once and whichever file it
//! was of: it is not tried again, for what is on the disk is unknown then, and a
//! second sync would say yes to what is gone (`z4-faultfs`).

use std::time::Duration;

use rand::Rng;
use z4_e2e::wait;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "sync error",
        weight: 3,
        run: error,
    },
    Kind {
        name: "slow disk",
        weight: 2,
        run: slow,
    },
];

/// How long until a sync that is to fail is reached, and the peer has ended.
const END_LIMIT: Duration = Duration::from_secs(20);
/// What the system calls the error.
const TEXT: &str = "Input/output error";
/// Syncs within a few seconds of load.
const SYNCS: u64 = 400;

fn error(stage: &mut Stage<'_>) -> Result<Done, String> {
    let (n, _) = stage.pair()?;
    let after = stage.rng.gen_range(0..SYNCS);
    let mut rng = stage.rng.clone();
    let from_ns = stage.now_ns();
    let peer = &mut stage.cluster.peers[n];
    let (id, from) = (peer.id(), peer.log_len());
    peer.may_end = true;
    peer.volume().fail_sync(Some(after));
    wait::within(END_LIMIT, || {
        let ended = peer.ended().is_some();
        wait::check(ended, || match peer.volume().has_failed() {
            true => format!("{id} goes on after a sync that failed"),
            false => format!("{id} does not come to sync {after}"),
        })
    })?;
    let said = peer.log_from(from);
    if !said.contains(TEXT) {
        return Err(format!(
            "a sync failed, {id} ended and does not say so: {said}"
        ));
    }
    // What the sync was for is not on the disk.
    let lost = peer.lose_power(&mut rng);
    stage.hold(50..2_000);
    stage.cluster.peers[n].start(false)?;
    let seen = format!("sync {after} of {id}, {} writes lost", lost.writes);
    Ok(Done::from_start(from_ns, Some(seen)))
}

fn slow(stage: &mut Stage<'_>) -> Result<Done, String> {
    let (n, _) = stage.pair()?;
    let ms = [60, 250, 1_500][stage.rng.gen_range(0..3)];
    let volume = stage.cluster.peers[n].volume();
    let before = volume.syncs();
    volume.sync_time(Duration::from_millis(ms));
    let from_ns = stage.now_ns();
    stage.hold(2_000..9_000);
    let peer = &stage.cluster.peers[n];
    peer.mend_disk();
    let count = peer.volume().syncs() - before;
    let seen = super::proof(count, &format!("syncs of {ms} ms at {}", peer.id()));
    Ok(Done::from_end(from_ns, stage.now_ns(), seen))
}
