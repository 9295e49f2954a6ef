//! Connections between peers that are there and carry nothing: neither end is
//! told, as with a switch that forgot a route. Then all that was held comes at
//! once.

use rand::Rng;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "stalled connections",
    weight: 2,
    run,
}];

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    let leader = stage.cluster.leader()?;
    let follower = stage.follower()?;
    let net = &stage.cluster.net;
    let valves = match stage.rng.gen_range(0..3) {
        0 => net.valves_of(leader),
        1 => net.valves_of(follower),
        _ => vec![net.valve(leader, follower)],
    };
    let held = |valves: &[&crate::proxy::Valve]| -> u64 {
        valves.iter().map(|valve| valve.seen().held).sum()
    };
    let before = held(&valves);
    valves.iter().for_each(|valve| valve.shut());
    let from_ns = stage.record.now_ns();
    let ms = stage.rng.gen_range(500..8_000);
    std::thread::sleep(std::time::Duration::from_millis(ms));
    let seen = super::proof(held(&valves) - before, "pieces held");
    valves.iter().for_each(|valve| valve.open());
    // One peer was concerned at most: the others are a quorum.
    Ok(Done::from_start(from_ns, seen))
}
