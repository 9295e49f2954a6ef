//! How the lane of a link is opened, and opened again.
//!
//! A thread asks the other side over gRPC, dials its port of lanes, shows the secret,
//! and carries messages until the lane breaks. Whatever fails is tried again, and
//! messages go over gRPC meanwhile.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use grpcio::{CallOption, RpcStatusCode};
use prometheus::IntGauge;
use rustix::net::sockopt;

use super::link::Link;
use crate::lane::frame::{self, Kind};
use crate::lane::frames::Frames;
use crate::lane::sender::Lane;
use crate::lane::wire::Outgoing;
use crate::lane::{hello, Secret};
use crate::limits;
use crate::network::Network;
use crate::tls::PeerTls;

/// What the other side answers when it is asked for a lane.
enum Answer {
    /// A port, and the secret that opens a lane there.
    Offer(u16, Secret),
    /// It takes no lanes, or its version does not know any.
    NoLane,
    /// It was not reached, or refused.
    Failed(String),
}

/// A lane for a link, if there may be one more.
pub(super) fn place(network: &Network) -> Option<Lane> {
    let lanes = network.lanes();
    lanes.port()?;
    Lane::new(lanes.place()?).ok()
}

/// Keeps a lane open for as long as the link is.
pub(super) fn start(link: &Arc<Link>) {
    if link.lane().is_none() {
        return;
    }
    let link = Arc::clone(link);
    let thread = Builder::new().name("z4-lane-out".into()).spawn(move || {
        if let Some(lane) = link.lane() {
            run(&link, lane);
        }
    });
    // Without a thread messages go over gRPC.
    drop(thread);
}

fn run(link: &Link, lane: &Lane) {
    let logger = link.network.logger();
    let (to, gauges) = (link.to().to_string(), &link.network.metrics().lane_up);
    // There from the first scrape on: a lane that never came up shows too.
    let up = gauges.with_label_values(&[&to]);
    let mut wait = limits::RECONNECT_MIN;
    while !lane.is_closed() {
        let pause = match ask(link) {
            Answer::Offer(port, secret) => {
                let since = Instant::now();
                let why = match dial(link, port, &secret) {
                    Ok(wire) => carry(link, lane, wire, &up),
                    Err(why) => why,
                };
                slog::debug!(logger, "no lane, messages go over gRPC"; "to" => link.to(),
                    "address" => link.address(), "port" => port, "reason" => why);
                let lived = since.elapsed();
                wait = next_wait(wait, lived);
                wait
            }
            Answer::NoLane => limits::LANE_ASK_INTERVAL,
            Answer::Failed(why) => {
                slog::debug!(logger, "a peer offers no lane"; "to" => link.to(),
                    "address" => link.address(), "reason" => why);
                limits::RECONNECT_MAX
            }
        };
        lane.pause(pause);
    }
    // The peer may be no member any more. One that moved has another lane, which may be
    // up already.
    if up.get() == 0 {
        let _ = gauges.remove_label_values(&[&to]);
    }
}

/// How long to wait before a lane that ended after so long is opened anew.
fn next_wait(wait: Duration, lived: Duration) -> Duration {
    if lived >= limits::LANE_PROVEN {
        return limits::RECONNECT_MIN;
    }
    (wait * 2).min(limits::LANE_RETRY_MAX)
}

/// Carries messages until the lane ends; says why it did.
fn carry(link: &Link, lane: &Lane, wire: Outgoing, up: &IntGauge) -> String {
    slog::debug!(link.network.logger(), "the lane is up"; "to" => link.to(),
        "address" => link.address());
    up.inc();
    let (why, lost) = lane.carry(wire);
    up.dec();
    // A frame holds one message mostly.
    link.count_dropped("disconnected", lost);
    if !lane.is_closed() {
        // What was on its way is lost: Raft is told, and sends it again.
        link.report_unreachable();
    }
    why
}

fn ask(link: &Link) -> Answer {
    let Some(opening) = link.network.opening(link.to(), link.address()) else {
        return Answer::Failed("this peer is in no cluster".into());
    };
    let option = CallOption::default().timeout(limits::PROBE_TIMEOUT);
    let offer = match link.client().open_lane_opt(&opening, option) {
        Ok(offer) => offer,
        Err(grpcio::Error::RpcFailure(status)) if status.code() == RpcStatusCode::UNIMPLEMENTED => {
            return Answer::NoLane
        }
        Err(error) => return Answer::Failed(error.to_string()),
    };
    if offer.get_port() == 0 {
        return Answer::NoLane;
    }
    match (offer.get_port().try_into(), offer.get_secret().try_into()) {
        (Ok(port), Ok(secret)) => Answer::Offer(port, secret),
        _ => Answer::Failed("the offer of a lane makes no sense".into()),
    }
}

/// Connects, and waits until the other side has let this one in.
fn dial(link: &Link, port: u16, secret: &Secret) -> Result<Outgoing, String> {
    let identity = link
        .network
        .identity()
        .ok_or("this peer is in no cluster")?;
    let hello = frame::encode(Kind::Hello, &hello(identity.raft_id, secret));
    let hello = hello.ok_or("the hello is too long")?;
    let socket = connect(host(link.address()), port)?;
    let text = |error: std::io::Error| error.to_string();
    socket.set_nodelay(true).map_err(text)?;
    // What was sent and is not taken in for so long: the other side is gone. It is
    // asked for signs of life too, because a device between the two may take in what
    // it never delivers.
    let ms = u32::try_from(limits::LANE_SILENCE_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&socket, ms).map_err(|e| e.to_string())?;
    let limit = Some(limits::LANE_HELLO_TIMEOUT);
    socket.set_write_timeout(limit).map_err(text)?;
    socket.set_read_timeout(limit).map_err(text)?;
    let mut wire = match link.network.tls() {
        Some(tls) => shake(tls, host(link.address()), socket)?,
        None => Outgoing::Clear(Arc::new(socket)),
    };
    wire.write_all(&hello).map_err(text)?;
    match Frames::new(&mut wire).next(0) {
        Ok((Kind::Heard, _)) => Ok(wire),
        Ok(_) => Err("the answer to the hello is none".into()),
        Err(why) => Err(why.to_string()),
    }
}

/// Does the handshake. Takes the certificate of a peer alone for an answer.
fn shake(tls: &PeerTls, host: &str, socket: TcpStream) -> Result<Outgoing, String> {
    let connector = tls.connector().map_err(|e| e.to_string())?;
    let until = Instant::now() + 2 * limits::LANE_HELLO_TIMEOUT;
    let stream = connector.connect(host, Outgoing::pipe(socket, until));
    let stream = stream.map_err(|e| e.to_string())?;
    tls.check(&stream.names())?;
    Ok(Outgoing::Sealed(Box::new(stream)))
}

fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = (host, port).to_socket_addrs().map_err(|e| e.to_string())?;
    let mut why = format!("{host} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, limits::LANE_DIAL_TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(why)
}

/// The host of an address in its normal form: an IPv6 address stands in brackets
/// there.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_dialled() {
        for (address, expected) in [
            ("10.0.0.7:6356", "10.0.0.7"),
            ("[2001:db8::7]:6356", "2001:db8::7"),
            ("peer7.example.org:6356", "peer7.example.org"),
        ] {
            assert_eq!(host(address), expected);
        }
    }

    #[test]
    fn a_lane_that_breaks_again_and_again_is_tried_less_and_less() {
        let mut wait = limits::RECONNECT_MIN;
        let short = Duration::from_secs(3);
        let mut waits = Vec::new();
        for _ in 0..12 {
            wait = next_wait(wait, short);
            waits.push(wait);
        }
        assert_eq!(waits[0], 2 * limits::RECONNECT_MIN);
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(waits[11], limits::LANE_RETRY_MAX);
        assert_eq!(next_wait(wait, limits::LANE_PROVEN), limits::RECONNECT_MIN);
    }
}
