//! The listening socket of a port.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use rustix::net::{bind, listen, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};

use crate::limits;

/// Listens at an address. One that stands for all addresses of IPv4 stands for
/// those of IPv6 too, where the system has them.
///
/// # Errors
/// The system's: the port is taken, or the address is not one of this machine.
pub(super) fn open(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip().is_unspecified() {
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
        match open_one(all) {
            // A machine without IPv6.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
    open_one(address)
}

fn open_one(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // Without this a peer that is started again would have to wait until the system
    // forgets its old connections. The port is not shared with a listener that still
    // listens.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    listen(&socket, limits::LISTEN_BACKLOG)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::net::TcpStream;

    #[test]
    fn all_addresses_are_those_of_both_families() {
        let listener = open(([0, 0, 0, 0], 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        if TcpListener::bind("[::1]:0").is_ok() {
            TcpStream::connect(("::1", port)).unwrap();
        }
    }

    #[test]
    fn a_port_that_is_taken_is_refused() {
        let taken = open(([127, 0, 0, 1], 0).into()).unwrap();
        let error = open(taken.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let all = SocketAddr::from(([0, 0, 0, 0], taken.local_addr().unwrap().port()));
        assert_eq!(open(all).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
