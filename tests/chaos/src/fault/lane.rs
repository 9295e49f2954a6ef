//! Lanes of which no packet arrives, while all else between the two peers does: what
//! they carried goes over gRPC, soon enough that writes go on.

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "lane blocked",
        weight: 2,
        run: one,
    },
    Kind {
        name: "all lanes blocked",
        weight: 1,
        run: all,
    },
];

/// One lane of two that have something to say to each other, for longer than it takes
/// to give it up.
fn one(stage: &mut Stage<'_>) -> Result<Done, String> {
    let (from, to) = stage.pair()?;
    stage.cluster.net.block_lane(from, to)?;
    lasts(stage)
}

/// Nothing is left but gRPC.
fn all(stage: &mut Stage<'_>) -> Result<Done, String> {
    let members = stage.cluster.members();
    for from in &members {
        for to in members.iter().filter(|to| *to != from) {
            stage.cluster.net.block_lane(*from, *to)?;
        }
    }
    lasts(stage)
}

fn lasts(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    stage.hold(500..8_000);
    let lost = stage.cluster.net.end_losses()?;
    let seen = super::proof(lost, "packets of lanes lost");
    Ok(Done::from_start(from_ns, seen))
}
