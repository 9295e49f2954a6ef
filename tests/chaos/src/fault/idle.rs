//! Thousands of connections that say nothing, or a preface and nothing more: the
//! peer serves others as before, each costs it little memory, and it has its
//! descriptors back afterwards.

use std::time::Duration;

use z4_e2e::crowd::Crowd;
use z4_e2e::wait;

use super::{Done, Kind, Stage};
use crate::net;
use crate::report::seconds;

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "idle connections",
    weight: 1,
    run,
}];

/// How many there are: fewer than a peer takes from all clients, and no more of
/// each address than it takes from one.
const COUNT: usize = 9_000;
/// How many of them must be held for the fault to count.
const COUNT_MIN: usize = 8_000;
/// What one may cost the peer, in KiB: 7 to 15 were measured, the more where the
/// peer had started a moment ago.
const COST_MAX_KIB: u64 = 48;
/// How long creates may pause meanwhile.
const GAP_MAX: Duration = Duration::from_secs(5);
/// How many descriptors more than before may be left afterwards.
const LEFT_MAX: usize = 300;
/// The beginning of every HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.cluster.leader()?;
    let before = stage.cluster.peers[n].descriptors();
    let memory_before = stage.cluster.peers[n].memory_mib();
    let address = net::service_address(n);
    let from_ns = stage.now_ns();
    let mut crowds = Vec::new();
    for from in net::CROWD {
        let crowd = Crowd::try_dial(&address, from, COUNT / net::CROWD.len());
        let mut crowd = crowd.map_err(|e| format!("idle connections to {address}: {e}"))?;
        crowd.say_to_half(PREFACE);
        crowds.push(crowd);
    }
    // Those that say nothing are closed after a while.
    let count: usize = crowds.iter().map(Crowd::held).sum();
    stage.hold(2_000..5_000);
    let held = stage.cluster.peers[n].descriptors();
    let memory = stage.cluster.peers[n].memory_mib();
    let gap = Duration::from_nanos(stage.record.longest_gap(from_ns, stage.now_ns()));
    drop(crowds);
    let id = stage.cluster.peers[n].id();
    let cost_kib = memory.saturating_sub(memory_before) * 1024 / count.max(1) as u64;
    let said = format!(
        "{count} connections, {held} descriptors at {id}, {memory_before} to {memory} MiB, \
         {cost_kib} KiB each; creates paused {} s",
        seconds(gap)
    );
    if count >= COUNT_MIN && cost_kib > COST_MAX_KIB {
        return Err(format!("idle connections cost memory: {said}"));
    }
    if gap > GAP_MAX {
        return Err(format!("idle connections stop creates: {said}"));
    }
    wait::within(Duration::from_secs(30), || {
        let now = stage.cluster.peers[n].descriptors();
        wait::check(now <= before + LEFT_MAX, || {
            format!("{id} has {now} descriptors, {before} before the idle connections")
        })
    })?;
    Ok(Done::from_start(
        from_ns,
        (count >= COUNT_MIN).then_some(said),
    ))
}
