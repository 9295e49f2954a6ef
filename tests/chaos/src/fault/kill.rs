//! Kill -9: of the leader, of a follower, of two peers one after the other, of
//! all at once. What was acknowledged is there, whoever dies.

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "kill leader",
        weight: 4,
        run: leader,
    },
    Kind {
        name: "kill follower",
        weight: 2,
        run: follower,
    },
    Kind {
        name: "kill all",
        weight: 3,
        run: all,
    },
    Kind {
        name: "kill again and again",
        weight: 2,
        run: again,
    },
];

/// Kills the leader.
pub fn leader(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.cluster.leader()?;
    one(stage, n)
}

fn follower(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.follower()?;
    one(stage, n)
}

fn one(stage: &mut Stage<'_>, n: usize) -> Result<Done, String> {
    let was = stage.cluster.peers[n].is_running();
    let id = stage.cluster.peers[n].id();
    stage.cluster.peers[n].kill();
    let from_ns = stage.now_ns();
    stage.hold(200..4_000);
    stage.cluster.peers[n].start(false)?;
    Ok(Done::from_start(from_ns, was.then_some(id)))
}

/// Kills all at once.
pub fn all(stage: &mut Stage<'_>) -> Result<Done, String> {
    let members = stage.cluster.members();
    let was = members.iter().all(|n| stage.cluster.peers[*n].is_running());
    members
        .iter()
        .for_each(|n| stage.cluster.peers[*n].kill_soon());
    members.iter().for_each(|n| stage.cluster.peers[*n].kill());
    let from_ns = stage.now_ns();
    stage.hold(50..500);
    for n in &members {
        stage.cluster.peers[*n].start(false)?;
    }
    let end_ns = stage.now_ns();
    let seen = was.then(|| format!("{} at once", members.len()));
    Ok(Done::from_end(from_ns, end_ns, seen))
}

/// A peer that is killed while it starts, and while it catches up.
fn again(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.member();
    let from_ns = stage.now_ns();
    let mut kills = 0;
    for _ in 0..5 {
        kills += u64::from(stage.cluster.peers[n].is_running());
        stage.cluster.peers[n].kill();
        stage.cluster.peers[n].start(false)?;
        stage.hold(20..700);
    }
    Ok(Done::from_start(from_ns, super::proof(kills, "kills")))
}
