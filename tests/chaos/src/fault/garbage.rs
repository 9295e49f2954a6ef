//! Bytes that no client of ours sends, at the service port and the peer port:
//! noise, frames that are too long, messages that are none. Nobody dies of it,
//! and memory does not grow without end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use grpcio::RpcStatusCode;
use rand::{Rng, RngCore};
use z4_e2e::request::create;

use super::{Done, Kind, Stage};
use crate::net;

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "garbage",
    weight: 2,
    run,
}];

/// Connections of a fault.
const COUNT: usize = 300;
/// A payload beyond every limit.
const TOO_LONG: usize = 12 << 20;
/// How much more memory a peer may hold afterwards, in MiB.
const GROWTH_MAX_MIB: u64 = 512;
const LIMIT: Duration = Duration::from_millis(500);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let n = stage.member();
    let before = stage.cluster.peers[n].memory_mib();
    let mut sent = 0;
    for count in 0..COUNT {
        let address = if stage.rng.gen_bool(0.5) {
            net::service_address(n)
        } else {
            net::peer_address(n)
        };
        let bytes = noise(stage, count);
        sent += u64::from(send(&address, &bytes));
    }
    let long = create("garbage", vec![0; TOO_LONG]);
    let answer = stage.cluster.peers[n].client().create(&long);
    match answer {
        Err(refused) if refused.code != RpcStatusCode::OK => {}
        other => return Err(format!("a task of {TOO_LONG} bytes was taken: {other:?}")),
    }
    let after = stage.cluster.peers[n].memory_mib();
    let id = stage.cluster.peers[n].id();
    if after > before + GROWTH_MAX_MIB {
        return Err(format!("garbage took {id} from {before} to {after} MiB"));
    }
    let seen = (sent > 0).then(|| format!("{sent} connections of garbage at {id}, {after} MiB"));
    Ok(Done::from_start(from_ns, seen))
}

fn noise(stage: &mut Stage<'_>, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; stage.rng.gen_range(1..20_000)];
    stage.rng.fill_bytes(&mut bytes);
    match count % 4 {
        0 => bytes,
        // A preface, then frames of chance.
        1 => [PREFACE, &bytes].concat(),
        // A frame that says that it is as long as one can be.
        2 => [PREFACE, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], &bytes].concat(),
        // Settings, then a frame of each type for streams that are not open.
        _ => {
            let mut frames = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
            for kind in 0..12_u8 {
                let len = stage.rng.gen_range(0..200_usize);
                frames.extend([0, 0, len as u8, kind, stage.rng.gen(), 0, 0, 0, kind]);
                frames.extend(bytes.iter().cycle().take(len));
            }
            frames
        }
    }
}

/// Whether the peer took any of it.
fn send(address: &str, bytes: &[u8]) -> bool {
    let Ok(address) = address.parse::<SocketAddr>() else {
        return false;
    };
    let Ok(mut socket) = TcpStream::connect_timeout(&address, LIMIT) else {
        return false;
    };
    let _ = socket.set_write_timeout(Some(LIMIT));
    let _ = socket.set_read_timeout(Some(Duration::from_millis(5)));
    let took = socket.write_all(bytes).is_ok();
    let _ = socket.read(&mut [0; 64]);
    took
}
