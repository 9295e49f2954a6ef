//! Fail points of the servers (builds with the feature `failpoints`): an IO error
//! at a step that writes, which ends the peer with the reason and is not tried
//! again; the end of the process right before or after a step; and both while a
//! newcomer receives its snapshot.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rand::Rng;

use super::{Done, Kind, Stage};
use crate::net;

/// The kinds of this file.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "IO error at a point",
        weight: 3,
        run: io_error,
    },
    Kind {
        name: "end at a point",
        weight: 3,
        run: end,
    },
    Kind {
        name: "end while a snapshot comes",
        weight: 2,
        run: newcomer,
    },
];

/// Steps that a peer comes by, under load, within seconds.
const WRITES: &[&str] = &[
    "log.write",
    "log.cut",
    "bound.write",
    "state.write",
    "flush",
    "log.bound.follow",
];
/// Points between steps, as often come by.
const BETWEEN: &[&str] = &[
    "log.written",
    "log.cut.written",
    "state.committed",
    "state.written",
    "flush.begun",
    "flush.done",
    "raft.send",
    "raft.persist",
    "raft.persisted",
    "raft.apply",
    "raft.applied",
    "lease.grant",
    "ack.reply",
    "create.reply",
    "forward.reply",
];
/// Points that a newcomer comes by.
const NEWCOMER: &[&str] = &[
    "join.identified",
    "join.bounded",
    "snapshot.receive.write",
    "snapshot.receive.sync",
    "snapshot.receive.rename",
    "install",
    "install.moved",
    "install.verified",
    "install.switched",
    "raft.installed",
];
/// How long a peer may take to come by a point.
const REACH_LIMIT: Duration = Duration::from_secs(6);
/// How long a newcomer may take.
const JOIN_LIMIT: Duration = Duration::from_secs(20);
/// What the errors say.
const TEXT: &str = "input/output error";

fn io_error(stage: &mut Stage<'_>) -> Result<Done, String> {
    let action = format!("1*return({TEXT})").replace(' ', "%20");
    let from_ns = stage.now_ns();
    let Some((n, point, from)) = hit(stage, WRITES, &action)? else {
        return Ok(Done::from_start(from_ns, None));
    };
    let id = stage.cluster.peers[n].id();
    let log = stage.cluster.peers[n].log_from(from);
    if !log.contains(TEXT) {
        return Err(format!("{id} failed at {point} and does not say so: {log}"));
    }
    again(stage, n)?;
    Ok(Done::from_start(from_ns, Some(format!("{point} at {id}"))))
}

fn end(stage: &mut Stage<'_>) -> Result<Done, String> {
    let skipped = stage.rng.gen_range(0..20);
    let action = format!("{skipped}*off-%3Ereturn(kill)");
    let from_ns = stage.now_ns();
    let Some((n, point, _)) = hit(stage, BETWEEN, &action)? else {
        return Ok(Done::from_start(from_ns, None));
    };
    let id = stage.cluster.peers[n].id();
    again(stage, n)?;
    Ok(Done::from_start(from_ns, Some(format!("{point} at {id}"))))
}

fn again(stage: &mut Stage<'_>, n: usize) -> Result<(), String> {
    stage.hold(50..2_000);
    stage.cluster.peers[n].start(false)
}

/// Sets one of these points after the other until a peer ends of it: who, of
/// which, and how long its log was before.
fn hit(
    stage: &mut Stage<'_>,
    points: &[&'static str],
    action: &str,
) -> Result<Option<(usize, &'static str, u64)>, String> {
    let mut points = points.to_vec();
    points.shuffle(&mut stage.rng);
    for point in points {
        // Some points are come by at a leader only, some at others.
        let n = if stage.rng.gen_bool(0.6) {
            stage.cluster.leader()?
        } else {
            stage.follower()?
        };
        let from = stage.cluster.peers[n].log_len();
        stage.cluster.peers[n].may_end = true;
        ask("PUT", n, &format!("/failpoints/{point}?{action}"))?;
        let end = Instant::now() + REACH_LIMIT;
        while Instant::now() < end {
            if stage.cluster.peers[n].ended().is_some() {
                return Ok(Some((n, point, from)));
            }
            thread::sleep(Duration::from_millis(10));
        }
        // It may end of it at this very moment: the next look starts it again.
        let _ = ask("DELETE", n, &format!("/failpoints/{point}"));
        if stage.cluster.peers[n].ended().is_some() {
            return Ok(Some((n, point, from)));
        }
        stage.cluster.peers[n].may_end = false;
    }
    Ok(None)
}

fn newcomer(stage: &mut Stage<'_>) -> Result<Done, String> {
    let n = stage.follower()?;
    let Some(point) = NEWCOMER.choose(&mut stage.rng) else {
        return Err("no point".into());
    };
    let from_ns = stage.now_ns();
    stage.cluster.remove(n, None)?;
    stage.cluster.peers[n].kill();
    stage.cluster.peers[n].erase()?;
    let action = format!("{point}=1*return(kill)");
    stage.cluster.peers[n].variables = vec![("FAILPOINTS".to_owned(), action)];
    stage.cluster.peers[n].may_end = true;
    stage.cluster.peers[n].start(false)?;
    stage.cluster.peers[n].variables.clear();
    // Its answer is lost when the newcomer ends before it knows who it is.
    stage.cluster.try_add(n);
    let end = Instant::now() + JOIN_LIMIT;
    let mut ended = false;
    while !ended && Instant::now() < end {
        ended = stage.cluster.peers[n].ended().is_some();
        thread::sleep(Duration::from_millis(20));
    }
    stage.cluster.peers[n].may_end = false;
    stage.cluster.join(n)?;
    let id = stage.cluster.peers[n].id();
    Ok(Done::from_start(
        from_ns,
        ended.then(|| format!("{point} at {id}")),
    ))
}

/// Whether the peer at `n` has fail points.
pub fn are_there(n: usize) -> bool {
    ask("GET", n, "/failpoints").is_ok()
}

/// Asks the status port; what it said.
fn ask(method: &str, n: usize, path: &str) -> Result<String, String> {
    let address = net::metrics_address(n);
    let failed = |e: std::io::Error| format!("{method} {path} at {address}: {e}");
    let mut socket = TcpStream::connect(&address).map_err(failed)?;
    let limit = Some(Duration::from_secs(5));
    socket.set_read_timeout(limit).map_err(failed)?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    // A peer that ends of the point may not end the answer.
    let _ = socket.read_to_string(&mut answer);
    if answer.starts_with("HTTP/1.1 200") {
        return Ok(answer);
    }
    Err(format!("{method} {path} at {address}: {answer}"))
}
