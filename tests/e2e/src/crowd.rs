//! A crowd of connections that say nothing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{bind, connect, socket_with, AddressFamily, SocketFlags, SocketType};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Connections to one port, held until they are dropped.
pub struct Crowd {
    open: Vec<TcpStream>,
}

impl Crowd {
    /// `count` connections to `address`, from an address of this machine.
    ///
    /// # Panics
    /// When the system of this process refuses sockets.
    #[must_use]
    pub fn dial(address: &str, from: Ipv4Addr, count: usize) -> Self {
        let crowd = Self::try_dial(address, from, count);
        crowd.unwrap_or_else(|e| panic!("{from} to {address}: {e}"))
    }

    /// As [`Crowd::dial`].
    ///
    /// # Errors
    /// The system's.
    pub fn try_dial(address: &str, from: Ipv4Addr, count: usize) -> io::Result<Self> {
        raise_own_limit()?;
        let to: SocketAddr = address.parse().map_err(io::Error::other)?;
        let open = (0..count).map(|_| dial(to, from));
        Ok(Self {
            open: open.collect::<io::Result<_>>()?,
        })
    }

    /// Every second one says this; what the other side refuses is lost.
    pub fn say_to_half(&mut self, bytes: &[u8]) {
        for socket in self.open.iter_mut().step_by(2) {
            let _ = socket.write_all(bytes);
        }
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// How many of them the other side has not closed by now.
    #[must_use]
    pub fn held(&self) -> usize {
        let is_held = |socket: &&TcpStream| loop {
            match (&mut &**socket).read(&mut [0; 512]) {
                // gRPC says its settings at once.
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                _ => return false,
            }
        };
        self.open.iter().filter(is_held).count()
    }
}

/// Whether a server of gRPC takes one more connection: it says its settings at
/// once. Behind TLS it waits for the handshake, and does not close the connection.
#[must_use]
pub fn is_greeted(address: &str, from: Ipv4Addr) -> bool {
    let to: SocketAddr = address.parse().expect("an address of ours");
    let is_sealed = crate::tls::is_sealed(address);
    let patience = Duration::from_secs(if is_sealed { 1 } else { 3 });
    let greeting = dial(to, from).and_then(|mut socket| {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(patience))?;
        socket.read(&mut [0; 512])
    });
    match greeting {
        Ok(len) => len > 0,
        Err(error) => is_sealed && error.kind() == ErrorKind::WouldBlock,
    }
}

fn dial(to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    // Else peers that are started meanwhile had them too.
    let flags = SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to)?;
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// This process has one end of each connection.
fn raise_own_limit() -> io::Result<()> {
    let now = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
