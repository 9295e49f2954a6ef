//! Bytes that no client of ours sends, at the service port and the peer port:
//! noise, frames that are too long, messages that are none, requests that never
//! end, on hundreds of connections that are open together, half of them closed in
//! one direction. Nobody dies of it, and memory does not grow with what is sent.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use grpcio::RpcStatusCode;
use rand::{Rng, RngCore};
use z4_e2e::request::create;
use z4_e2e::wait;

use super::{Done, Kind, Stage};
use crate::net;

/// The kinds of this file.
pub const KINDS: &[Kind] = &[Kind {
    name: "garbage",
    weight: 2,
    run,
}];

/// Connections of a fault, all open together.
const COUNT: usize = 360;
/// How many must have been taken for the fault to count.
const COUNT_MIN: usize = 340;
/// How many of them the peer must have held at once: it closes those at which it
/// sees that they are no client's.
const HELD_MIN: usize = 50;
/// What each of them sends, if it is let.
const LEN: usize = 2 << 20;
/// How many different things are sent: four of each sort.
const NOISES: usize = 24;
/// How long they go on sending.
const SEND_LIMIT: Duration = Duration::from_secs(8);
/// A payload beyond every limit.
const TOO_LONG: usize = 12 << 20;
/// How much is sent in all, and how much must have been for the fault to count.
const SENT_MAX_MIB: usize = 600;
const SENT_MIN_MIB: usize = 300;
/// How much more memory a peer may hold meanwhile, in MiB: what a connection may
/// have on its way, and room; much less than what was sent.
const GROWTH_MAX_MIB: u64 = 200;
/// How many descriptors more than before may be left afterwards.
const LEFT_MAX: usize = 100;
const DIAL_LIMIT: Duration = Duration::from_millis(500);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The longest frame that a peer takes.
const FRAME_LEN: usize = 16 << 10;

/// A connection, and what is still to be sent.
struct Sender {
    address: SocketAddr,
    socket: TcpStream,
    bytes: Rc<Vec<u8>>,
    /// On this socket, and on all before it too.
    sent: usize,
    total: usize,
}

fn run(stage: &mut Stage<'_>) -> Result<Done, String> {
    let from_ns = stage.now_ns();
    let n = stage.member();
    let before = stage.cluster.peers[n].memory_mib();
    let open_before = stage.cluster.peers[n].descriptors();
    let mut senders = Vec::with_capacity(COUNT);
    let noises: Vec<_> = (0..NOISES)
        .map(|kind| Rc::new(noise(stage, kind)))
        .collect();
    for count in 0..COUNT {
        let address = if stage.rng.gen_bool(0.5) {
            net::service_address(n)
        } else {
            net::peer_address(n)
        };
        senders.extend(Sender::new(&address, Rc::clone(&noises[count % NOISES])));
    }
    let count = senders.len();
    let mut most = send_all(stage, n, &mut senders);
    for (nth, sender) in senders.iter().enumerate() {
        // One direction closed, the other one, or neither.
        let how = [Some(Shutdown::Write), None, Some(Shutdown::Read), None][nth / NOISES % 4];
        if let Some(how) = how {
            let _ = sender.socket.shutdown(how);
        }
    }
    stage.hold(1_000..3_000);
    let held = stage.cluster.peers[n].descriptors();
    let held = held.saturating_sub(open_before);
    let long = create("garbage", vec![0; TOO_LONG]);
    let answer = stage.cluster.peers[n].client().create(&long);
    match answer {
        Err(refused) if refused.code != RpcStatusCode::OK => {}
        other => return Err(format!("a task of {TOO_LONG} bytes was taken: {other:?}")),
    }
    most = most.max(stage.cluster.peers[n].memory_mib());
    let sent_mib = sent_mib(&senders);
    drop(senders);
    let id = stage.cluster.peers[n].id();
    let said = format!(
        "{count} connections and {sent_mib} MiB of garbage at {id}, {held} held, \
         {before} to {most} MiB"
    );
    if most > before + GROWTH_MAX_MIB {
        return Err(format!("garbage costs memory: {said}"));
    }
    wait::within(Duration::from_secs(30), || {
        let now = stage.cluster.peers[n].descriptors();
        wait::check(now <= open_before + LEFT_MAX, || {
            format!("{id} has {now} descriptors, {open_before} before the garbage")
        })
    })?;
    let acts = count >= COUNT_MIN && held >= HELD_MIN && sent_mib >= SENT_MIN_MIB;
    Ok(Done::from_start(from_ns, acts.then_some(said)))
}

/// Sends on all of them at once, as much as the peer takes; the most memory that
/// it had meanwhile, in MiB.
fn send_all(stage: &Stage<'_>, n: usize, senders: &mut [Sender]) -> u64 {
    let end = Instant::now() + SEND_LIMIT;
    let mut most = 0;
    while Instant::now() < end && sent_mib(senders) < SENT_MAX_MIB {
        senders.iter_mut().for_each(Sender::send);
        most = most.max(stage.cluster.peers[n].memory_mib());
        thread::sleep(Duration::from_millis(10));
    }
    most
}

fn sent_mib(senders: &[Sender]) -> usize {
    senders.iter().map(|sender| sender.total).sum::<usize>() >> 20
}

impl Sender {
    fn new(address: &str, bytes: Rc<Vec<u8>>) -> Option<Self> {
        let address = address.parse().ok()?;
        Some(Self {
            socket: dial(&address)?,
            address,
            bytes,
            sent: 0,
            total: 0,
        })
    }

    /// Sends what is taken; from the beginning when the peer closed the connection.
    fn send(&mut self) {
        while self.sent < self.bytes.len() {
            match self.socket.write(&self.bytes[self.sent..]) {
                Ok(some) => {
                    self.sent += some;
                    self.total += some;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    let Some(socket) = dial(&self.address) else {
                        return;
                    };
                    self.socket = socket;
                    self.sent = 0;
                    return;
                }
            }
        }
    }
}

fn dial(address: &SocketAddr) -> Option<TcpStream> {
    let socket = TcpStream::connect_timeout(address, DIAL_LIMIT).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

fn noise(stage: &mut Stage<'_>, kind: usize) -> Vec<u8> {
    let mut bytes = vec![0; stage.rng.gen_range(1..20_000)];
    stage.rng.fill_bytes(&mut bytes);
    let noise = bytes.iter().copied().cycle();
    let mut all = match kind % 6 {
        0 => Vec::new(),
        // A preface, then frames of chance.
        1 => PREFACE.to_vec(),
        // A frame that says that it is as long as one can be.
        2 => [PREFACE, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat(),
        // Settings, then a frame of each type for streams that are not open.
        3 => {
            let mut frames = [PREFACE, &frame(4, 0, 0, &[])].concat();
            for kind in 0..12_u8 {
                let len = stage.rng.gen_range(0..200_usize);
                let flags = stage.rng.gen();
                let body: Vec<u8> = noise.clone().take(len).collect();
                frames.extend(frame(kind, flags, u32::from(kind), &body));
            }
            frames
        }
        4 => return calls(LEN),
        // Half a message, and nothing more.
        _ => return calls(2 * FRAME_LEN),
    };
    let len = LEN.saturating_sub(all.len());
    all.extend(noise.take(len));
    all
}

/// Calls of a method that is there, each with a message that says that it has 8
/// MiB, and of which a little comes: `len` bytes together. Many of them are more
/// than a peer lets anybody send at once.
fn calls(len: usize) -> Vec<u8> {
    let mut all = [PREFACE, &frame(4, 0, 0, &[])].concat();
    let header = |name: &str, value: &str| {
        // A literal that is not indexed (RFC 7541, 6.2.2).
        let mut field = vec![0, name.len() as u8];
        field.extend(name.as_bytes());
        field.push(value.len() as u8);
        field.extend(value.as_bytes());
        field
    };
    let headers = [
        header(":method", "POST"),
        header(":scheme", "http"),
        header(":path", "/z4.Collection/CreateTask"),
        header(":authority", "z4"),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    ]
    .concat();
    let mut call = 1;
    while all.len() < len {
        all.extend(frame(1, 4, call, &headers));
        let mut body = vec![0; FRAME_LEN];
        // Not compressed, and its length.
        body[..5].copy_from_slice(&[0, 0, 0x80, 0, 0]);
        for _ in 0..3 {
            all.extend(frame(0, 0, call, &body));
            body[..5].fill(0);
        }
        call += 2;
    }
    all
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(body);
    frame
}
