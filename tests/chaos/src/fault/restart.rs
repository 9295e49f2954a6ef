//! SIGTERM: every peer is stopped properly and started again, one after the
//! other, as for a new version. Each hands leadership over, and ends with
//! success within its bound.

use std::time::Duration;

use rand::seq::SliceRandom;

use super::{Done, Kind, Stage};
use crate::cluster::SETTLE_LIMIT;

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "rolling restart",
    weight: 2,
    run: rolling,
}];

/// README: a peer exits within 10 s of SIGTERM. A machine with much else to do
/// gets as much again.
const LIMIT: Duration = Duration::from_secs(20);

/// Restarts all.
pub fn rolling(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let mut members = stage.cluster.members();
    members.shuffle(&mut stage.rng);
    for n in &members {
        let status = stage.cluster.peers[*n].terminate(LIMIT)?;
        if !status.success() {
            let id = stage.cluster.peers[*n].id();
            return Err(format!("{id} ended with {status} after SIGTERM"));
        }
        stage.hold(50..500);
        stage.cluster.peers[*n].start(false)?;
        stage.cluster.settle(SETTLE_LIMIT)?;
    }
    let seen = super::proof(members.len() as u64, "restarts");
    Ok(Done::from_start(from_ns, seen))
}
