//! Connections to a port of lanes, as a test makes them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use z4_proto::generated::peer::Opening;

use crate::support::Peer;

pub const HELLO: u8 = 1;
pub const BATCH: u8 = 2;
pub const PING: u8 = 3;
pub const HEARD: u8 = 4;

/// A frame, made here and not by the code that is tested.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut start = (body.len() as u32).to_le_bytes().to_vec();
    start.push(kind);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&start), body);
    [&start[..], &crc.to_le_bytes(), body].concat()
}

pub fn hello(from: u64, secret: &[u8]) -> Vec<u8> {
    frame(HELLO, &[&from.to_le_bytes()[..], secret].concat())
}

/// A secret of a peer for this opening.
pub fn secret(peer: &Peer, opening: &Opening) -> Vec<u8> {
    let offer = crate::peer_client(peer).open_lane(opening).unwrap();
    assert_eq!(offer.get_port(), u32::from(port(peer)));
    offer.get_secret().to_vec()
}

fn port(peer: &Peer) -> u16 {
    peer.lane_port.as_ref().unwrap().number()
}

pub struct Dialled(pub TcpStream);

impl Dialled {
    pub fn to(peer: &Peer) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port(peer))).unwrap();
        let limit = Some(Duration::from_secs(20));
        socket.set_read_timeout(limit).unwrap();
        Self(socket)
    }

    /// One that a peer was let in on.
    pub fn open(peer: &Peer, opening: &Opening) -> Self {
        let secret = secret(peer, opening);
        let mut dialled = Self::to(peer);
        dialled.say(&hello(opening.get_from_raft_id(), &secret));
        dialled.hears();
        dialled
    }

    pub fn say(&mut self, bytes: &[u8]) {
        // The other side may have closed it.
        let _ = self.0.write_all(bytes);
    }

    /// The other side gives a sign of life.
    pub fn hears(&mut self) {
        let mut heard = [0; 9];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(heard[..], frame(HEARD, b""));
    }

    /// The other side closes it, and says nothing.
    pub fn is_closed(&mut self) {
        match self.0.read(&mut [0; 16]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("it is not closed: {other:?}"),
        }
    }
}
