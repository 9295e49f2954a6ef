//! Connections that break in the middle of a message: between peers, so that
//! proposals that were forwarded are of unknown outcome; and between clients and
//! peers, so that clients die with calls under way.

use rand::Rng;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "cut between peers",
        weight: 3,
        run: peers,
    },
    Kind {
        name: "cut clients",
        weight: 3,
        run: clients,
    },
    Kind {
        name: "refused connections",
        weight: 1,
        run: refused,
    },
];

fn peers(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let mut cuts = 0;
    for _ in 0..stage.rng.gen_range(3..10) {
        let (a, b) = stage.pair()?;
        let bytes = stage.rng.gen_range(1..4_000);
        let valve = stage.cluster.net.valve(a, b).clone();
        let before = valve.seen().cut;
        valve.cut_after(bytes);
        stage.hold(200..800);
        cuts += valve.seen().cut - before;
    }
    let end_ns = stage.now_ns();
    let seen = super::proof(cuts, "connections cut");
    Ok(Done::from_end(from_ns, end_ns, seen))
}

fn clients(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let mut cuts = 0;
    for _ in 0..stage.rng.gen_range(5..20) {
        let n = stage.member();
        let bytes = stage.rng.gen_range(1..3_000);
        let valve = stage.cluster.net.client_way(n).0.clone();
        let before = valve.seen().cut;
        valve.cut_after(bytes);
        stage.hold(100..500);
        cuts += valve.seen().cut - before;
    }
    let seen = super::proof(cuts, "connections cut");
    Ok(Done::from_start(from_ns, seen))
}

/// The leader's connections are refused, which its peers are told at once.
fn refused(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.cluster.leader()?;
    let valves = stage.cluster.net.valves_of(n);
    let cut = |valves: &[&crate::proxy::Valve]| -> u64 {
        valves.iter().map(|valve| valve.seen().cut).sum()
    };
    let before = cut(&valves);
    valves.iter().for_each(|valve| valve.refuse());
    let from_ns = stage.record.now_ns();
    let ms = stage.rng.gen_range(500..5_000);
    std::thread::sleep(std::time::Duration::from_millis(ms));
    let seen = super::proof(cut(&valves) - before, "connections refused");
    valves.iter().for_each(|valve| valve.open());
    Ok(Done::from_start(from_ns, seen))
}
