//! Two faults at once: the network is bad already when a peer dies, leads on or
//! comes and goes.

use std::time::Duration;

use rand::Rng;

use super::{kill, member, pause, restart, transfer, Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "kill under packet loss",
        weight: 2,
        run: |stage| under_loss(stage, kill::leader),
    },
    Kind {
        name: "kill all under delay",
        weight: 1,
        run: |stage| under_delay(stage, kill::all),
    },
    Kind {
        name: "pauses under packet loss",
        weight: 1,
        run: |stage| under_loss(stage, pause::in_turn),
    },
    Kind {
        name: "transfers under delay",
        weight: 1,
        run: |stage| under_delay(stage, transfer::storm),
    },
    Kind {
        name: "restarts under packet loss",
        weight: 1,
        run: |stage| under_loss(stage, restart::rolling),
    },
    Kind {
        name: "join under packet loss",
        weight: 1,
        run: |stage| under_loss(stage, member::replace_follower),
    },
];

type Other = fn(&mut Stage<'_>) -> Result<Done, String>;

fn under_loss(stage: &mut Stage<'_>, other: Other) -> Result<Done, String> {
    let share = stage.rng.gen_range(0.01..0.08);
    let places = stage.cluster.net.places();
    for a in 0..places {
        for b in (0..places).filter(|b| *b != a) {
            stage.cluster.net.lose(a, b, share)?;
        }
    }
    stage.hold(300..1_500);
    let done = other(stage)?;
    stage.hold(300..1_500);
    let lost = stage.cluster.net.end_losses()?;
    Ok(both(stage, done, super::proof(lost, "packets lost")))
}

fn under_delay(stage: &mut Stage<'_>, other: Other) -> Result<Done, String> {
    let delay = Duration::from_millis(stage.rng.gen_range(5..60));
    let places = 0..stage.cluster.net.places();
    let late = |stage: &Stage<'_>| -> u64 {
        let net = &stage.cluster.net;
        let valves = places.clone().flat_map(|n| net.valves_of(n));
        valves.map(|valve| valve.seen().delayed).sum()
    };
    let before = late(stage);
    for n in places.clone() {
        let valves = stage.cluster.net.valves_of(n);
        valves.iter().for_each(|valve| valve.delay(delay));
    }
    stage.hold(300..1_500);
    let done = other(stage)?;
    stage.hold(300..1_500);
    let seen = super::proof(late(stage) - before, "pieces delayed");
    stage.cluster.net.heal()?;
    Ok(both(stage, done, seen))
}

/// Both were seen, or it does not count; writes are to go on when both are over.
fn both(stage: &Stage<'_>, done: Done, second: Option<String>) -> Done {
    let seen = done.seen.zip(second);
    let seen = seen.map(|(first, second)| format!("{first}, {second}"));
    Done::from_end(done.from_ns, stage.now_ns(), seen)
}
