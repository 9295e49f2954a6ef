//! The carrier of the frames of a lane: a socket, in the clear or sealed by TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use z4_tls::Stream;

/// A socket whose reads end at a moment, or each after a while.
pub(super) struct Timed<'a> {
    socket: &'a TcpStream,
    until: Option<Instant>,
}

impl<'a> Timed<'a> {
    pub(super) fn new(socket: &'a TcpStream, until: Instant) -> Self {
        let until = Some(until);
        Self { socket, until }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let left = match self.until {
            Some(until) => until.saturating_duration_since(Instant::now()),
            None => return self.socket.read(to),
        };
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.socket.set_read_timeout(Some(left))?;
        self.socket.read(to)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of a lane that messages come out of. Its thread waits in reads and writes.
pub(super) enum Incoming<'a> {
    Clear(Timed<'a>),
    Sealed(Box<Stream<Timed<'a>>>),
}

impl Incoming<'_> {
    /// Has reads end as the socket says from now on.
    pub(super) fn untimed(&mut self) {
        match self {
            Self::Clear(timed) => timed.until = None,
            Self::Sealed(stream) => stream.get_mut().until = None,
        }
    }
}

impl Read for Incoming<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(timed) => timed.read(to),
            Self::Sealed(stream) => stream.read(to),
        }
    }
}

impl Write for Incoming<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(timed) => timed.write(bytes),
            Self::Sealed(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that sealed bytes go to. Once the lane is up they are collected, because the
/// raft thread must not wait for a socket in the middle of a record.
pub(crate) struct Pipe {
    socket: Arc<TcpStream>,
    collected: Option<Vec<u8>>,
    /// Reads end then, however many bytes have come, until the lane is up.
    until: Option<Instant>,
}

impl Read for Pipe {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(ErrorKind::TimedOut.into());
        }
        (&*self.socket).read(to)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.collected {
            Some(collected) => collected.write(bytes),
            None => (&*self.socket).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of a lane that messages are written to.
pub(crate) enum Outgoing {
    Clear(Arc<TcpStream>),
    Sealed(Box<Stream<Pipe>>),
}

impl Outgoing {
    /// The pipe that TLS does its handshake over.
    pub(crate) fn pipe(socket: TcpStream, until: Instant) -> Pipe {
        Pipe {
            socket: Arc::new(socket),
            collected: None,
            until: Some(until),
        }
    }

    pub(crate) fn socket(&self) -> Arc<TcpStream> {
        match self {
            Self::Clear(socket) => Arc::clone(socket),
            Self::Sealed(stream) => Arc::clone(&stream.get_ref().socket),
        }
    }

    /// Has writes collected from now on, and no call block.
    pub(crate) fn go_up(&mut self) -> io::Result<()> {
        if let Self::Sealed(stream) = self {
            let pipe = stream.get_mut();
            pipe.collected = Some(Vec::new());
            pipe.until = None;
        }
        self.socket().set_nonblocking(true)
    }

    /// The bytes that carry a frame over the socket, behind those of all frames before.
    pub(crate) fn seal(&mut self, frame: Vec<u8>) -> io::Result<Vec<u8>> {
        let Self::Sealed(stream) = self else {
            return Ok(frame);
        };
        stream.write_all(&frame)?;
        let collected = stream.get_mut().collected.as_mut();
        Ok(collected.map(std::mem::take).unwrap_or_default())
    }
}

impl Read for Outgoing {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => (&**socket).read(to),
            Self::Sealed(stream) => stream.read(to),
        }
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(socket) => (&**socket).write(bytes),
            Self::Sealed(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
