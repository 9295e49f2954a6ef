//! Members come and go: one loses its disk and comes back as a new member, the
//! leader is removed, one more joins or one leaves, and another is killed in the
//! middle of it.

use rand::seq::SliceRandom;
use rand::Rng;

use super::{Done, Kind, Stage};

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "replace follower",
        weight: 2,
        run: replace_follower,
    },
    Kind {
        name: "replace leader",
        weight: 2,
        run: replace_leader,
    },
    Kind {
        name: "grow or shrink",
        weight: 2,
        run: resize,
    },
    Kind {
        name: "join while others die",
        weight: 2,
        run: join_and_kill,
    },
];

/// A follower loses its disk.
pub fn replace_follower(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.follower()?;
    let from_ns = stage.now_ns();
    // Its disk is lost: it ends first, and is removed while it is away.
    stage.cluster.peers[n].kill();
    stage.cluster.peers[n].erase()?;
    stage.hold(50..1_500);
    stage.cluster.remove(n, None)?;
    stage.cluster.join(n)?;
    let id = stage.cluster.peers[n].id();
    Ok(Done::from_start(from_ns, Some(id)))
}

fn replace_leader(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.cluster.leader()?;
    let from_ns = stage.now_ns();
    stage.cluster.remove(n, Some(n))?;
    stage.hold(50..1_500);
    // Whoever was removed may know it and serve nothing, or not; it is killed.
    stage.cluster.peers[n].kill();
    stage.cluster.peers[n].erase()?;
    stage.cluster.join(n)?;
    let id = stage.cluster.peers[n].id();
    Ok(Done::from_start(from_ns, Some(id)))
}

/// One more when there is a place, else one less; three at least.
fn resize(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let spares = stage.cluster.spares();
    let grows = stage.cluster.members().len() <= 3 || stage.rng.gen_bool(0.4);
    if let (true, Some(n)) = (grows, spares.choose(&mut stage.rng).copied()) {
        stage.cluster.join(n)?;
        let seen = Some(format!("{} joined", stage.cluster.peers[n].id()));
        return Ok(Done::from_start(from_ns, seen));
    }
    let n = stage.member();
    let id = stage.cluster.peers[n].id();
    stage.cluster.remove(n, None)?;
    stage.cluster.peers[n].kill();
    stage.cluster.peers[n].erase()?;
    Ok(Done::from_start(from_ns, Some(format!("{id} left"))))
}

/// A new member needs a snapshot; the leader that sends it is killed, or the
/// newcomer itself.
fn join_and_kill(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.follower()?;
    let from_ns = stage.now_ns();
    stage.cluster.remove(n, None)?;
    stage.cluster.peers[n].kill();
    stage.cluster.peers[n].erase()?;
    stage.cluster.peers[n].start(false)?;
    stage.hold(200..600);
    stage.cluster.add(n)?;
    stage.hold(0..300);
    let victim = if stage.rng.gen_bool(0.5) {
        n
    } else {
        stage.cluster.leader()?
    };
    let was = stage.cluster.peers[victim].is_running();
    stage.cluster.peers[victim].kill();
    stage.hold(50..1_500);
    stage.cluster.peers[victim].start(false)?;
    let seen = was.then(|| format!("{} killed", stage.cluster.peers[victim].id()));
    Ok(Done::from_end(from_ns, stage.now_ns(), seen))
}
