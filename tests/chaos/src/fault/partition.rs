//! Packets that do not arrive: one peer cut off from the others, with its
//! clients or without, two that do not hear each other, one direction only,
//! halves, and all of it on and off.

use rand::Rng;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "isolate leader",
        weight: 3,
        run: isolate_leader,
    },
    Kind {
        name: "isolate follower",
        weight: 1,
        run: isolate_follower,
    },
    Kind {
        name: "unplug leader",
        weight: 2,
        run: unplug_leader,
    },
    Kind {
        name: "partial partition",
        weight: 2,
        run: partial,
    },
    Kind {
        name: "one-way partition",
        weight: 3,
        run: one_way,
    },
    Kind {
        name: "no quorum anywhere",
        weight: 2,
        run: nowhere,
    },
    Kind {
        name: "flapping partition",
        weight: 2,
        run: flapping,
    },
];

fn isolate_leader(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.cluster.leader()?;
    isolate(stage, n)
}

fn isolate_follower(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.follower()?;
    isolate(stage, n)
}

fn isolate(stage: &mut Stage<'_>, n: usize) -> Result<Done, String> {
    for other in stage.others(n) {
        both_ways(stage, n, other)?;
    }
    lasts(stage, true)
}

fn both_ways(stage: &Stage<'_>, a: usize, b: usize) -> Result<(), String> {
    stage.cluster.net.block(a, b)?;
    stage.cluster.net.block(b, a)
}

/// The fault lasts, then packets go through again.
fn lasts(stage: &mut Stage<'_>, leaves_quorum: bool) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    stage.hold(500..8_000);
    let lost = stage.cluster.net.end_losses()?;
    let seen = super::proof(lost, "packets lost");
    if leaves_quorum {
        return Ok(Done::from_start(from_ns, seen));
    }
    Ok(Done::from_end(from_ns, stage.now_ns(), seen))
}

fn unplug_leader(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.cluster.leader()?;
    stage.cluster.net.set_cable(n, false)?;
    let from_ns = stage.now_ns();
    stage.hold(500..8_000);
    let reached = stage.cluster.peers[n].client().health().is_ok();
    stage.cluster.net.set_cable(n, true)?;
    let id = stage.cluster.peers[n].id();
    Ok(Done::from_start(from_ns, (!reached).then_some(id)))
}

/// The leader and one follower do not hear each other; both hear the rest.
fn partial(stage: &mut Stage<'_>) -> Result<Done, String> {
    let leader = stage.cluster.leader()?;
    let follower = stage.follower()?;
    both_ways(stage, leader, follower)?;
    lasts(stage, true)
}

/// The leader is not heard, or does not hear; or that is so of a follower.
fn one_way(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = if stage.rng.gen_bool(0.7) {
        stage.cluster.leader()?
    } else {
        stage.follower()?
    };
    let is_mute = stage.rng.gen_bool(0.5);
    for other in stage.others(n) {
        let (from, to) = if is_mute { (n, other) } else { (other, n) };
        stage.cluster.net.block(from, to)?;
    }
    // A leader that is heard and hears nothing goes on until it notices.
    lasts(stage, false)
}

/// Everybody is alone: nothing can be acknowledged.
fn nowhere(stage: &mut Stage<'_>) -> Result<Done, String> {
    let members = stage.cluster.members();
    for a in &members {
        for b in members.iter().filter(|b| *b != a) {
            stage.cluster.net.block(*a, *b)?;
        }
    }
    let done = lasts(stage, false)?;
    // What was on its way when the last rule came may be answered after it.
    let quiet_ns = done.from_ns + 1_500_000_000;
    let told = stage.record.told();
    let acked = told
        .writes
        .iter()
        .any(|write| write.0 > quiet_ns && write.1 < done.mark_ns.saturating_sub(300_000_000));
    if acked {
        return Err("a write was acknowledged without a quorum".into());
    }
    Ok(done)
}

fn flapping(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let mut lost = 0;
    for _ in 0..stage.rng.gen_range(4..12) {
        let (a, b) = stage.pair()?;
        both_ways(stage, a, b)?;
        stage.hold(100..700);
        lost += stage.cluster.net.end_losses()?;
        stage.hold(50..300);
    }
    let end_ns = stage.now_ns();
    let seen = super::proof(lost, "packets lost");
    Ok(Done::from_end(from_ns, end_ns, seen))
}
