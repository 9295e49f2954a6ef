//! A crowd that uses up descriptors: peers with a small limit on open files, and
//! at all of their ports more connections than they may have files. None ends,
//! who is connected is served, and afterwards every port serves newcomers.

use std::time::Duration;

use z4_e2e::crowd::{is_greeted, Crowd};
use z4_e2e::{http, wait};

use super::{Done, Kind, Stage};
use crate::cluster::SETTLE_LIMIT;
use crate::net;
use crate::report::seconds;

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "descriptors",
        weight: 1,
        run: of_one,
    },
    Kind {
        name: "descriptors everywhere",
        weight: 1,
        run: of_all,
    },
];

/// The limits of the peers, soft and hard.
const LIMITS: &str = "512:1024";
/// Connections of each address to each port, at most: more than a peer may have
/// files.
const COUNT_MAX: usize = 1_100;
/// Connections in all: this process has the other end of each, and files too.
const CROWD_MAX: usize = 12_000;
/// How many of a crowd a peer must have held at once for the fault to count.
const HELD_MIN: usize = 100;
/// How long creates may pause meanwhile.
const GAP_MAX: Duration = Duration::from_secs(5);
/// How long a peer may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long a port may take to serve newcomers again: connections that are
/// closed are to be noticed, and the machine has other work to do.
const AGAIN_LIMIT: Duration = Duration::from_secs(30);

fn of_one(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.member();
    use_up(stage, &[n])
}

fn of_all(stage: &mut Stage<'_>) -> Result<Done, String> {
    let members = stage.cluster.members();
    use_up(stage, &members)
}

fn use_up(stage: &mut Stage<'_>, places: &[usize]) -> Result<Done, String> {
    restart(stage, places, Some(LIMITS))?;
    let from_ns = stage.now_ns();
    let mut crowds = Vec::new();
    let ways = places.iter().flat_map(|n| ports(*n)).count() * net::CROWD.len();
    // Over its three ports a peer has more than it may have files all the same.
    let each = COUNT_MAX.min(CROWD_MAX / ways.max(1));
    for n in places {
        for address in ports(*n) {
            for from in net::CROWD {
                let crowd = Crowd::try_dial(&address, from, each);
                crowds.push(crowd.map_err(|e| format!("a crowd at {address}: {e}"))?);
            }
        }
    }
    let held = crowds.iter().map(Crowd::held).sum::<usize>();
    stage.hold(3_000..8_000);
    let open: Vec<usize> = places
        .iter()
        .map(|n| stage.cluster.peers[*n].descriptors())
        .collect();
    let gap = Duration::from_nanos(stage.record.longest_gap(from_ns, stage.now_ns()));
    let count: usize = crowds.iter().map(Crowd::count).sum();
    drop(crowds);
    let said = format!(
        "{count} connections to {} peers, {held} held, {open:?} descriptors of {LIMITS}; creates \
         paused {} s",
        places.len(),
        seconds(gap)
    );
    stage.cluster.look_for_ends();
    for n in places {
        if !stage.cluster.peers[*n].is_running() {
            return Err(format!("a crowd ends a peer: {said}"));
        }
    }
    if gap > GAP_MAX {
        return Err(format!("a crowd stops creates: {said}"));
    }
    for n in places {
        serves_again(*n)?;
    }
    // Other faults need peers that take thousands of connections.
    restart(stage, places, None)?;
    let acts = held >= HELD_MIN * places.len();
    Ok(Done::from_start(from_ns, acts.then_some(said)))
}

/// Stops the peers and starts them with these limits, one after the other.
fn restart(
    stage: &mut Stage<'_>,
    places: &[usize],
    limits: Option<&'static str>,
) -> Result<(), String> {
    for n in places {
        let peer = &mut stage.cluster.peers[*n];
        peer.terminate(STOP_LIMIT)?;
        peer.descriptors_max = limits;
        let started = peer.start(false);
        // The next start of it, whoever makes it, is as always.
        peer.descriptors_max = None;
        started?;
        stage.cluster.settle(SETTLE_LIMIT)?;
    }
    Ok(())
}

fn ports(n: usize) -> [String; 3] {
    [
        net::service_address(n),
        net::peer_address(n),
        net::metrics_address(n),
    ]
}

/// Every port takes newcomers, of the crowd's address too.
fn serves_again(n: usize) -> Result<(), String> {
    for address in [net::service_address(n), net::peer_address(n)] {
        wait::within(AGAIN_LIMIT, || {
            let greeted = is_greeted(&address, net::CROWD[0]);
            wait::check(greeted, || format!("{address} takes no newcomer"))
        })?;
    }
    let status = net::metrics_address(n);
    wait::within(AGAIN_LIMIT, || {
        let (code, said) = http::get(&status, "/readyz")?;
        wait::check(code == 200, || {
            format!("{status}: /readyz says {code} {said}")
        })
    })
}
