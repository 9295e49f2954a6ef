//! Bytes between peers come late: all pairs, or all that one peer sends and
//! gets, so that it is always behind.

use std::time::Duration;

use rand::Rng;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "delay everywhere",
        weight: 2,
        run: everywhere,
    },
    Kind {
        name: "delay one peer",
        weight: 2,
        run: one,
    },
];

fn everywhere(stage: &mut Stage<'_>) -> Result<Done, String> {
    let members = stage.cluster.members();
    let delay = Duration::from_millis(stage.rng.gen_range(10..120));
    lasts(stage, &members, delay)
}

fn one(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.member();
    let delay = Duration::from_millis(stage.rng.gen_range(50..600));
    lasts(stage, &[n], delay)
}

fn lasts(stage: &mut Stage<'_>, slow: &[usize], delay: Duration) -> Result<Done, String> {
    let late = |stage: &Stage<'_>| -> u64 {
        let net = &stage.cluster.net;
        let valves = slow.iter().flat_map(|n| net.valves_of(*n));
        valves.map(|valve| valve.seen().delayed).sum()
    };
    let before = late(stage);
    for n in slow {
        let valves = stage.cluster.net.valves_of(*n);
        valves.iter().for_each(|valve| valve.delay(delay));
    }
    let from_ns = stage.now_ns();
    stage.hold(2_000..9_000);
    let seen = super::proof(late(stage) - before, "pieces delayed");
    stage.cluster.net.heal()?;
    Ok(Done::from_end(from_ns, stage.now_ns(), seen))
}
