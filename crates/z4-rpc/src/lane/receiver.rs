//! The end of a lane that messages come out of: one connection, from its hello to
//! its end.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use grpcio::RpcStatus;
use protobuf::Message as _;
use z4_core::View;
use z4_proto::generated::peer::RaftBatch;
use z4_tls::Stream;

use super::frame::{self, Kind};
use super::frames::{Ended, Frames};
use super::wire::{Incoming, Timed};
use super::{read_hello, HELLO_LEN};
use crate::limits;
use crate::node::Node;
use crate::peer::raft_stream;
use crate::tls::PeerTls;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Nothing is wrong: the other side is gone, or this one stops.
    #[error("{0}")]
    Gone(Ended),
    /// What came is no frame.
    #[error("{0}")]
    Frame(Ended),
    /// The hello did not come in time.
    #[error("no hello came within {} s", limits::LANE_HELLO_TIMEOUT.as_secs())]
    Slow,
    /// There is no connection of TLS, or not with a peer.
    #[error("{0}")]
    Tls(String),
    /// The first frame is no hello, or its secret opens nothing.
    #[error("the hello does not open a lane")]
    Hello,
    /// A frame is not what a sender says behind its hello.
    #[error("a frame of this kind has no place here")]
    Kind,
    /// The batch breaks a rule of raft messages.
    #[error("{}", .0.message())]
    Batch(RpcStatus),
}

impl Refused {
    /// The reason, as the metric has it; `None` when nothing was refused.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Gone(_) => None,
            Self::Frame(_) => Some("frame"),
            Self::Slow => Some("slow"),
            Self::Tls(_) => Some("tls"),
            Self::Hello => Some("hello"),
            Self::Kind => Some("kind"),
            Self::Batch(_) => Some("batch"),
        }
    }
}

impl From<Ended> for Refused {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed | Ended::Silent | Ended::Failed(_) => Self::Gone(ended),
            Ended::Truncated | Ended::Broken(_) => Self::Frame(ended),
        }
    }
}

/// Does the handshake of TLS where it is on, and reads the hello of a new connection. Gives the sender, and the connection behind
/// the hello.
pub(super) fn open<'a, V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    socket: &'a TcpStream,
) -> Result<(u64, Frames<Incoming<'a>>), Refused> {
    let timed = Timed::new(socket, Instant::now() + limits::LANE_HELLO_TIMEOUT);
    let wire = match node.network().tls() {
        Some(tls) => Incoming::Sealed(Box::new(shake(tls, socket, timed)?)),
        None => Incoming::Clear(timed),
    };
    let mut frames = Frames::new(wire);
    let (kind, body) = match frames.next(HELLO_LEN) {
        Err(Ended::Silent) => return Err(Refused::Slow),
        next => next?,
    };
    let lanes = node.network().lanes();
    let from = read_hello(body)
        .filter(|(from, secret)| kind == Kind::Hello && lanes.redeem(*from, secret))
        .map(|(from, _)| from)
        .ok_or(Refused::Hello)?;
    frames.source().untimed();
    Ok((from, frames))
}

/// Does the handshake. Lets the certificate of a peer in.
fn shake<'a>(
    tls: &PeerTls,
    socket: &TcpStream,
    timed: Timed<'a>,
) -> Result<Stream<Timed<'a>>, Refused> {
    let refused = |why: &dyn std::fmt::Display| Refused::Tls(why.to_string());
    let limit = Some(limits::LANE_HELLO_TIMEOUT);
    socket.set_write_timeout(limit).map_err(|e| refused(&e))?;
    let server = tls.server().map_err(|e| refused(&e))?;
    let stream = server.accept(timed).map_err(|e| refused(&e))?;
    tls.check(&stream.names()).map_err(|e| refused(&e))?;
    Ok(stream)
}

/// Takes the frames of a sender that was let in, until the connection ends.
pub(super) fn take_all<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    from: u64,
    socket: &TcpStream,
    mut frames: Frames<Incoming<'_>>,
) -> Result<Infallible, Refused> {
    let io = |error| Refused::Gone(Ended::Failed(error));
    // The sender asks for signs of life far more often.
    let limit: Option<Duration> = Some(limits::LANE_IDLE_MAX);
    socket.set_read_timeout(limit).map_err(io)?;
    socket.set_write_timeout(limit).map_err(io)?;
    // This tells the sender that it was let in.
    say_heard(frames.source()).map_err(io)?;
    loop {
        match frames.next(limits::LANE_BODY_LEN_MAX)? {
            (Kind::Batch, body) => {
                let batch = RaftBatch::parse_from_bytes(body)
                    .map_err(|e| raft_stream::invalid(format!("the batch does not decode: {e}")))
                    .map_err(Refused::Batch)?;
                if batch.has_opening() {
                    return Err(Refused::Kind);
                }
                raft_stream::take_batch(node, from, &batch).map_err(Refused::Batch)?;
            }
            (Kind::Ping, _) => {
                // A sender that was removed while it had nothing to say is judged too.
                let nothing = RaftBatch::default();
                raft_stream::take_batch(node, from, &nothing).map_err(Refused::Batch)?;
                say_heard(frames.source()).map_err(io)?;
            }
            (Kind::Hello | Kind::Heard, _) => return Err(Refused::Kind),
        }
    }
}

fn say_heard(wire: &mut Incoming<'_>) -> io::Result<()> {
    match frame::encode(Kind::Heard, &[]) {
        Some(heard) => wire.write_all(&heard),
        None => Ok(()),
    }
}
