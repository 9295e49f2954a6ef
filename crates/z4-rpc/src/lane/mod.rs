//! Lanes: a TCP connection for each direction between two peers, for raft messages
//! alone.
//!
//! gRPC carries everything between peers, and everything works over it alone. Each
//! message costs it a thread that wakes up and some framing, which is half of the
//! processor time of one create in flight. So raft messages go over a lane where
//! there is one: the raft thread writes them itself, and a thread of the receiver
//! reads them. ARCHITECTURE.md says how a lane opens and what happens without one.
//!
//! | module | what lives there |
//! |---|---|
//! | `frame` | the layout of a frame |
//! | `frames` | frames out of a stream of bytes |
//! | `secrets` | the secrets that open lanes |
//! | `sender` | the end that messages are written to |
//! | `receiver` | the end that they come out of |
//! | `wire` | a socket, in the clear or sealed by TLS |
//! | `port` | the port of lanes, and what is open there |

pub(crate) mod frame;
pub(crate) mod frames;
mod port;
mod receiver;
mod secrets;
pub(crate) mod sender;
pub(crate) mod wire;

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

pub use port::LanePort;
pub(crate) use secrets::Secret;

use self::secrets::Secrets;
use crate::limits;

/// Bytes of the hello: the raft id of the sender, little endian, and the secret.
pub(crate) const HELLO_LEN: usize = 8 + limits::LANE_SECRET_LEN;

/// The body of a hello.
pub(crate) fn hello(from: u64, secret: &Secret) -> [u8; HELLO_LEN] {
    let mut body = [0; HELLO_LEN];
    let (id, rest) = body.split_at_mut(8);
    id.copy_from_slice(&from.to_le_bytes());
    rest.copy_from_slice(secret);
    body
}

/// The sender and the secret of a hello; `None` when it is none.
pub(crate) fn read_hello(body: &[u8]) -> Option<(u64, Secret)> {
    let (id, secret) = body.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*id), secret.try_into().ok()?))
}

/// What all lanes of a peer share.
#[derive(Default)]
pub(crate) struct Lanes {
    /// Where this peer takes lanes; 0 while it takes none.
    port: AtomicU16,
    secrets: Mutex<Secrets>,
    outgoing: Arc<AtomicUsize>,
}

impl Lanes {
    /// The port of lanes, if this peer has one. A peer that has none opens none to
    /// others either: one setting turns both directions off.
    pub(crate) fn port(&self) -> Option<u16> {
        Some(self.port.load(Ordering::Acquire)).filter(|port| *port != 0)
    }

    fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Release);
    }

    /// See [`Secrets::hand_out`].
    pub(crate) fn hand_out(&self, from: u64) -> Option<Secret> {
        self.secrets().hand_out(from, Instant::now())
    }

    /// See [`Secrets::redeem`].
    fn redeem(&self, from: u64, secret: &Secret) -> bool {
        self.secrets().redeem(from, secret, Instant::now())
    }

    fn secrets(&self) -> std::sync::MutexGuard<'_, Secrets> {
        // The list is whole after each of its calls.
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more lane to another peer, as long as it is kept; `None`
    /// when there are as many as may be.
    pub(crate) fn place(&self) -> Option<Place> {
        let outgoing = Arc::clone(&self.outgoing);
        let more = |count| (count < limits::LANE_COUNT_MAX).then_some(count + 1);
        let taken = outgoing.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.is_ok().then(|| Place(outgoing))
    }
}

/// One of the lanes to other peers that there may be.
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_hello_says_who_and_has_one_length() {
        let secret = [9; limits::LANE_SECRET_LEN];
        let body = hello(0x0102, &secret);
        assert_eq!(body[..9], [2, 1, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(read_hello(&body), Some((0x0102, secret)));
        for len in (0..HELLO_LEN).chain([HELLO_LEN + 1]) {
            assert_eq!(read_hello(&[1; HELLO_LEN + 1][..len]), None, "{len}");
        }
    }

    #[test]
    fn lanes_to_others_are_bounded() {
        let lanes = Lanes::default();
        let places: Vec<Place> = std::iter::from_fn(|| lanes.place()).collect();
        assert_eq!(places.len(), limits::LANE_COUNT_MAX);
        drop(places);
        assert!(lanes.place().is_some());
    }
}
