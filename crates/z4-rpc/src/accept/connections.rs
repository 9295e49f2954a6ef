//! Which connections of a port are open, and whether one more may be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::RawFd;

/// How many connections a port may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// In total.
    pub count_max: usize,
    /// From one address.
    pub per_address_max: usize,
}

/// Why a connection is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// The port has all that it may have.
    Port,
    /// The address has.
    Address,
}

impl Full {
    /// For a person.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Port => "the port has as many connections as it may",
            Self::Address => "the address has as many connections as it may",
        }
    }
}

/// A connection as it was when it was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Connection {
    inode: u64,
    from: IpAddr,
}

/// The open connections of a port, as far as is known: gRPC, which serves them, does
/// not say when it closes one.
pub(super) struct Connections {
    limits: ConnectionLimits,
    open: HashMap<RawFd, Connection>,
    /// How many of them each address has; never 0.
    of: HashMap<IpAddr, usize>,
}

impl Connections {
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            open: HashMap::new(),
            of: HashMap::new(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Why one more from this address may not be.
    pub fn full(&self, from: IpAddr) -> Option<Full> {
        let of_address = self.of.get(&network_of(from)).copied().unwrap_or(0);
        if self.open.len() >= self.limits.count_max {
            return Some(Full::Port);
        }
        (of_address >= self.limits.per_address_max).then_some(Full::Address)
    }

    /// A connection is open.
    pub fn add(&mut self, fd: RawFd, inode: u64, from: IpAddr) {
        // The connection that had the number before is closed, because its number was
        // free again.
        self.remove(fd);
        let from = network_of(from);
        self.open.insert(fd, Connection { inode, from });
        *self.of.entry(from).or_default() += 1;
    }

    /// Forgets those that are closed by now; `inode` tells what a descriptor
    /// number stands for.
    pub fn forget_closed(&mut self, inode: impl Fn(RawFd) -> Option<u64>) {
        let is_closed = |(fd, connection): (&RawFd, &Connection)| {
            (inode(*fd) != Some(connection.inode)).then_some(*fd)
        };
        let closed: Vec<RawFd> = self.open.iter().filter_map(is_closed).collect();
        closed.into_iter().for_each(|fd| self.remove(fd));
    }

    fn remove(&mut self, fd: RawFd) {
        let Some(connection) = self.open.remove(&fd) else {
            return;
        };
        if let Some(count) = self.of.get_mut(&connection.from) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&connection.from);
            }
        }
    }
}

/// What counts as one address: a machine with IPv6 has a network of 2^64.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn table() -> Connections {
        Connections::new(ConnectionLimits {
            count_max: 3,
            per_address_max: 2,
        })
    }

    #[test]
    fn an_address_has_its_bound_and_the_port_another() {
        let mut open = table();
        open.add(10, 100, ip("10.0.0.1"));
        open.add(11, 101, ip("10.0.0.1"));
        assert_eq!(open.full(ip("10.0.0.1")), Some(Full::Address));
        assert_eq!(open.full(ip("10.0.0.2")), None);
        open.add(12, 102, ip("10.0.0.2"));
        assert_eq!(open.full(ip("10.0.0.3")), Some(Full::Port));
    }

    #[test]
    fn what_was_closed_makes_room() {
        let mut open = table();
        open.add(10, 100, ip("10.0.0.1"));
        open.add(11, 101, ip("10.0.0.1"));
        // 10 is closed, and 11 is another file by now.
        open.forget_closed(|fd| (fd == 11).then_some(999));
        assert_eq!((open.count(), open.of.len()), (0, 0));
        assert_eq!(open.full(ip("10.0.0.1")), None);
    }

    #[test]
    fn a_number_that_comes_again_counts_once() {
        let mut open = table();
        open.add(10, 100, ip("10.0.0.1"));
        open.add(10, 101, ip("10.0.0.2"));
        assert_eq!(open.count(), 1);
        open.forget_closed(|_| Some(101));
        assert_eq!(open.count(), 1);
        assert_eq!(open.of.get(&ip("10.0.0.1")), None);
    }

    #[test]
    fn a_machine_is_one_address_in_both_families() {
        let mut open = table();
        open.add(10, 100, ip("2001:db8::1"));
        open.add(11, 101, ip("2001:db8::2:3"));
        assert_eq!(open.full(ip("2001:db8::9")), Some(Full::Address));
        assert_eq!(open.full(ip("2001:db8:0:1::1")), None);
        assert_eq!(network_of(ip("::ffff:10.0.0.1")), ip("10.0.0.1"));
    }
}
