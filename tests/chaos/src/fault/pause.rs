//! SIGSTOP and SIGCONT: a peer that is there and does nothing, as under a stuck
//! disk or a hypervisor. A leader that comes back believes it still leads; it
//! must not answer a read from what it has, nor acknowledge anything.

use std::thread;
use std::time::Duration;

use rand::seq::SliceRandom;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "pause leader",
        weight: 3,
        run: leader,
    },
    Kind {
        name: "pause leader for long",
        weight: 1,
        run: leader_long,
    },
    Kind {
        name: "pause follower",
        weight: 1,
        run: follower,
    },
    Kind {
        name: "pause in turn",
        weight: 2,
        run: in_turn,
    },
];

fn leader(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.cluster.leader()?;
    one(stage, n, 100..5_000)
}

fn leader_long(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.cluster.leader()?;
    one(stage, n, 8_000..20_000)
}

fn follower(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.follower()?;
    one(stage, n, 100..8_000)
}

fn one(stage: &mut Stage<'_>, n: usize, ms: std::ops::Range<u64>) -> Result<Done, String> {
    stage.cluster.peers[n].pause()?;
    let from_ns = stage.now_ns();
    thread::sleep(Duration::from_millis(50));
    let stopped = stage.cluster.peers[n].is_stopped();
    stage.hold(ms);
    stage.cluster.peers[n].resume()?;
    let id = stage.cluster.peers[n].id();
    Ok(Done::from_start(from_ns, stopped.then_some(id)))
}

/// Pauses whoever, for about an election, and the next before all is well.
pub fn in_turn(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let mut stopped = 0;
    for _ in 0..4 {
        let members = stage.cluster.members();
        let Some(n) = members.choose(&mut stage.rng).copied() else {
            break;
        };
        stage.cluster.peers[n].pause()?;
        stage.hold(300..1_800);
        stopped += u64::from(stage.cluster.peers[n].is_stopped());
        stage.cluster.peers[n].resume()?;
    }
    let end_ns = stage.now_ns();
    let seen = super::proof(stopped, "pauses");
    Ok(Done::from_end(from_ns, end_ns, seen))
}
