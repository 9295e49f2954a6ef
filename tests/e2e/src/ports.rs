//! Ports for peers that are killed and started again.
//!
//! A port that the system hands out for `bind(0)` is one it also hands out to
//! outgoing connections: while a peer is dead, somebody else may get it, and a
//! client that dials it may even reach itself. So ports come from below that
//! range, and each is claimed by holding the UDP port of the same number: the
//! system arbitrates between test processes and frees the claim when one dies.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// A TCP port of this process alone, until dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a port on which nothing listens.
    ///
    /// # Panics
    /// When there is none left.
    #[must_use]
    pub fn claim() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let (low, high) = range();
        let start = (std::process::id() % u32::from(high - low)) as u16;
        for _ in low..high {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = low + (start.wrapping_add(step)) % (high - low);
            let Ok(claim) = UdpSocket::bind(("127.0.0.1", number)) else {
                continue;
            };
            if TcpListener::bind(("0.0.0.0", number)).is_ok() {
                return Self {
                    number,
                    _claim: claim,
                };
            }
        }
        panic!("no free port between {low} and {high}");
    }

    /// The port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// From 10,000 to the first port that outgoing connections use.
fn range() -> (u16, u16) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = text.split_whitespace().next().and_then(|n| n.parse().ok());
    (10_000, first.filter(|n| *n > 12_000).unwrap_or(32_768))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn claims_are_distinct_and_below_the_outgoing_range() {
        let claims: Vec<Port> = (0..50).map(|_| Port::claim()).collect();
        let numbers: HashSet<u16> = claims.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), claims.len());
        let (low, high) = range();
        assert!(numbers.iter().all(|n| (low..high).contains(n)));
    }

    #[test]
    fn a_port_in_use_is_not_handed_out() {
        let claim = Port::claim();
        assert!(UdpSocket::bind(("127.0.0.1", claim.number())).is_err());
    }
}
