//! Leadership is handed round and round under load.

use rand::seq::SliceRandom;
use rand::Rng;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "transfer storm",
    weight: 2,
    run: storm,
}];

/// Hands it round.
pub fn storm(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let mut done = 0;
    for _ in 0..stage.rng.gen_range(5..20) {
        let members = stage.cluster.members();
        let Some(to) = members.choose(&mut stage.rng).copied() else {
            break;
        };
        // One that is refused, or to who leads, is no transfer.
        if stage.cluster.leader()? != to && stage.cluster.transfer(to).is_ok() {
            done += 1;
        }
        stage.hold(20..600);
    }
    let end_ns = stage.now_ns();
    let seen = super::proof(done, "transfers");
    Ok(Done::from_end(from_ns, end_ns, seen))
}
