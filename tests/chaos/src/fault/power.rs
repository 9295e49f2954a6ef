//! The power fails: the process is gone, and with it all that it wrote and did
//! not sync (`z4-faultfs`). What was acknowledged is there all the same.

use z4_faultfs::Lost;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "power loss",
        weight: 3,
        run: one,
    },
    Kind {
        name: "power loss of all",
        weight: 4,
        run: all,
    },
    Kind {
        name: "power loss again and again",
        weight: 2,
        run: again,
    },
];

/// A peer that leads, mostly.
fn one(stage: &mut Stage<'_>) -> Result<Done, String> {
    let (n, _) = stage.pair()?;
    let mut rng = stage.rng.clone();
    let lost = stage.cluster.peers[n].lose_power(&mut rng);
    let from_ns = stage.now_ns();
    stage.hold(200..4_000);
    stage.cluster.peers[n].start(false)?;
    Ok(Done::from_start(from_ns, told(&[lost])))
}

fn all(stage: &mut Stage<'_>) -> Result<Done, String> {
    let members = stage.cluster.members();
    let peers = &mut stage.cluster.peers;
    // At one moment, as near as one gets: who dies first takes no more votes.
    members.iter().for_each(|n| peers[*n].kill_soon());
    let mut rng = stage.rng.clone();
    let lost: Vec<Lost> = members
        .iter()
        .map(|n| peers[*n].lose_power(&mut rng))
        .collect();
    let from_ns = stage.now_ns();
    stage.hold(50..500);
    for n in &members {
        stage.cluster.peers[*n].start(false)?;
    }
    let end_ns = stage.now_ns();
    Ok(Done::from_end(from_ns, end_ns, told(&lost)))
}

/// While it starts, and while it catches up.
fn again(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.member();
    let mut rng = stage.rng.clone();
    let from_ns = stage.now_ns();
    let mut lost = Vec::new();
    for _ in 0..5 {
        lost.push(stage.cluster.peers[n].lose_power(&mut rng));
        stage.cluster.peers[n].start(false)?;
        stage.hold(20..900);
    }
    Ok(Done::from_start(from_ns, told(&lost)))
}

/// What was taken away, when anything was.
fn told(lost: &[Lost]) -> Option<String> {
    let sum = |of: fn(&Lost) -> u64| lost.iter().map(of).sum::<u64>();
    let (writes, names, torn) = (sum(|l| l.writes), sum(|l| l.names), sum(|l| l.torn));
    (writes + names > 0).then(|| {
        format!(
            "{} times, {writes} writes and {names} changes of names lost, {torn} torn",
            lost.len()
        )
    })
}
