//! The cost of strangers: connections that say nothing, handshakes that never end, calls that
//! are garbage, and calls that are cancelled as fast as they come (CVE-2023-44487), against
//! one peer, and what others see of it meanwhile.
//!
//! Callers create tasks at the peer, before and during each flood. The memory of the peer is
//! looked at before, at its most, and a while after.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use z4_e2e::crowd::Crowd;
use z4_e2e::{tls, Client, Peer, PeerSpec};

use crate::growth::memory;
use crate::report::Report;
use crate::tally::Tally;
use crate::unary;

/// Callers that are no strangers.
const CALLERS: usize = 4;
/// Bytes of what they send.
const PAYLOAD_BYTES: usize = 100;
/// The time that a peer has to give memory back before it is looked at.
const CALM: Duration = Duration::from_secs(20);

/// The plan of a measurement.
pub struct Plan {
    /// The length of each flood, and of the calm before it.
    pub length: Duration,
    /// Connections that say nothing.
    pub idle: usize,
    /// Connections of a flood of calls.
    pub connections: usize,
}

/// A flood: what it does to a peer until it is told to stop, and how often it did it.
type Flood = fn(&str, &Plan, &AtomicBool) -> Result<u64, String>;

/// Measures all floods, each against a peer of its own.
///
/// # Errors
/// A peer does not come up, or a flood has no connection.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let floods: [(&str, Flood); 4] = [
        ("idle_connections", idle),
        ("slow_handshakes", slow),
        ("garbage_calls", garbage),
        ("resets", resets),
    ];
    let mut report = Report::default();
    for (name, flood) in floods {
        report.add_part(name, one(plan, flood)?);
    }
    Ok(report)
}

fn one(plan: &Plan, flood: Flood) -> Result<Report, String> {
    let mut peer = Peer::started(PeerSpec::bootstrap("peer1"));
    peer.wait_ready();
    let address = peer.service_address();
    let clients = [Client::new(&address)];
    // Not counted: connections and buffers of its own.
    let _ = unary::run(&clients, CALLERS, Duration::from_secs(2), PAYLOAD_BYTES);
    let calm = unary::run(&clients, CALLERS, plan.length, PAYLOAD_BYTES);
    let before = memory(&peer, "VmRSS:");
    let (over, most) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (stormy, count) = thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&address, plan, &over));
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(memory(&peer, "VmRSS:"), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(50));
            }
        });
        thread::sleep(Duration::from_millis(500));
        let stormy = unary::run(&clients, CALLERS, plan.length, PAYLOAD_BYTES);
        over.store(true, Ordering::Relaxed);
        let count = flooding.join().map_err(|_| "a flood panicked".to_owned());
        (stormy, count)
    });
    let count = count??;
    thread::sleep(CALM);
    let after = memory(&peer, "VmRSS:");
    let again = unary::run(&clients, CALLERS, plan.length, PAYLOAD_BYTES);
    if !peer.is_running() || again.latency.len() == 0 {
        return Err("the peer does not serve any more".to_owned());
    }
    let mut report = Report::default();
    report.add("done_by_strangers", count);
    for (name, tally) in [("before", &calm), ("during", &stormy), ("after", &again)] {
        add_rate(&mut report, name, tally);
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    report
        .add_rounded("rss_before_mib", mib(before))
        .add_rounded("rss_most_mib", mib(most.load(Ordering::Relaxed)))
        .add_rounded("rss_after_mib", mib(after));
    Ok(report)
}

fn add_rate(report: &mut Report, name: &str, tally: &Tally) {
    let ms = |share| tally.latency.percentile(share).as_secs_f64() * 1e3;
    let rate = tally.latency.len() as f64 / tally.length.as_secs_f64();
    report
        .add_rounded(&format!("creates_per_s_{name}"), rate)
        .add_rounded(&format!("p50_ms_{name}"), ms(0.5))
        .add_rounded(&format!("p99_ms_{name}"), ms(0.99));
}

/// Connections that say nothing, from several addresses: one has half of the port at most.
fn idle(address: &str, plan: &Plan, over: &AtomicBool) -> Result<u64, String> {
    let mut crowds = Vec::new();
    for n in 0..4 {
        let from = Ipv4Addr::new(127, 0, 0, 10 + n);
        crowds.push(Crowd::try_dial(address, from, plan.idle / 4).map_err(|e| e.to_string())?);
    }
    wait_for(over);
    Ok(crowds.iter().map(|crowd| crowd.count() as u64).sum())
}

/// Connections that begin a handshake and never end it; they are made anew as they are cut off.
fn slow(address: &str, plan: &Plan, over: &AtomicBool) -> Result<u64, String> {
    let (mut count, mut crowd) = (0, None);
    while !over.load(Ordering::Relaxed) {
        let from = Ipv4Addr::new(127, 0, 0, 10);
        let mut next = Crowd::try_dial(address, from, plan.idle / 4).map_err(|e| e.to_string())?;
        // The first bytes of a ClientHello.
        next.say_to_half(&[0x16, 3, 1, 1, 0]);
        count += next.count() as u64;
        crowd = Some(next);
        thread::sleep(Duration::from_secs(1));
    }
    drop(crowd);
    Ok(count)
}

fn wait_for(over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Calls whose bodies are no messages.
fn garbage(address: &str, plan: &Plan, over: &AtomicBool) -> Result<u64, String> {
    flood(address, plan, over, |id, out| {
        headers(out, id);
        let body = [vec![0, 0, 0, 4, 0], vec![0xff; 1_024]].concat();
        frame(out, 0, 1, id, &body);
    })
}

/// Calls that are cancelled at once.
fn resets(address: &str, plan: &Plan, over: &AtomicBool) -> Result<u64, String> {
    flood(address, plan, over, |id, out| {
        headers(out, id);
        frame(out, 3, 0, id, &8_u32.to_be_bytes());
    })
}

/// Writes calls on many connections, as fast as they are taken; how many.
fn flood(
    address: &str,
    plan: &Plan,
    over: &AtomicBool,
    call: fn(u32, &mut Vec<u8>),
) -> Result<u64, String> {
    let count = AtomicU64::new(0);
    let threads = 8.min(plan.connections);
    let outcome: Result<Vec<()>, String> = thread::scope(|scope| {
        let work = || -> Result<(), String> {
            let mut open = Vec::new();
            while !over.load(Ordering::Relaxed) {
                // A connection that the peer has given up is replaced.
                while open.len() < plan.connections / threads {
                    open.push((connect(address)?, 1_u32));
                }
                open.retain_mut(|(wire, id)| {
                    let mut out = Vec::new();
                    for _ in 0..20 {
                        call(*id, &mut out);
                        *id += 2;
                    }
                    let is_taken = wire.write_all(&out).is_ok() && *id < 1 << 30;
                    count.fetch_add(20 * u64::from(is_taken), Ordering::Relaxed);
                    is_taken && drain(wire)
                });
            }
            Ok(())
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = all
            .into_iter()
            .map(|t| t.join().map_err(|_| "a thread panicked".to_owned())?);
        ended.collect()
    });
    outcome?;
    Ok(count.into_inner())
}

/// A connection that has said what HTTP/2 begins with.
fn connect(address: &str) -> Result<Box<dyn tls::Wire>, String> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let opened = TcpStream::connect(address).and_then(|socket| {
            socket.set_read_timeout(Some(Duration::from_millis(1)))?;
            socket.set_write_timeout(Some(Duration::from_millis(200)))?;
            let mut wire = tls::http2(address, socket)?;
            let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            frame(&mut out, 4, 0, 0, &[]);
            wire.write_all(&out)?;
            Ok(wire)
        });
        match opened {
            Ok(wire) => return Ok(wire),
            Err(error) if Instant::now() >= end => return Err(format!("{address}: {error}")),
            // The peer has as many as it takes from one address.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Reads away what the peer says; `false`: it has closed the connection.
fn drain(wire: &mut Box<dyn tls::Wire>) -> bool {
    let mut part = [0; 16_384];
    match wire.read(&mut part) {
        Ok(count) => count > 0,
        Err(error) => matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
    }
}

/// Appends a frame of HTTP/2 (RFC 9113, 4.1).
fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, body: &[u8]) {
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(body);
}

/// Appends the headers of a create, each a literal that is not indexed (RFC 7541, 6.2.2).
fn headers(out: &mut Vec<u8>, stream: u32) {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/z4.Collection/CreateTask"),
        (":authority", "z4"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    let end_of_headers = 4;
    frame(out, 1, end_of_headers, stream, &block);
}
