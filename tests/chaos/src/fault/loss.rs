//! A share of the packets between all peers is lost: TCP repeats them, late, and
//! everything comes in bursts.

use rand::Rng;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "packet loss",
    weight: 3,
    run,
}];

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    let share = stage.rng.gen_range(0.02..0.25);
    let members = stage.cluster.members();
    for a in &members {
        for b in members.iter().filter(|b| *b != a) {
            stage.cluster.net.lose(*a, *b, share)?;
        }
    }
    let from_ns = stage.now_ns();
    stage.hold(2_000..9_000);
    let lost = stage.cluster.net.end_losses()?;
    let end_ns = stage.now_ns();
    let seen = super::proof(lost, "packets lost");
    Ok(Done::from_end(from_ns, end_ns, seen))
}
