//! The end of a lane that messages are written to.
//!
//! The raft thread writes a frame itself when nothing waits, with a call that does
//! not block. So does the delivery thread when a task is due at the other peer. What the
//! socket does not take goes into a bounded queue, and so does everything behind it,
//! until the thread of the lane has written it. That thread sleeps otherwise, but for a
//! look now and then.
//!
//! Whoever sends a frame adds a ping when the last one is old, and reads the answer to it
//! before a later frame. So a sign of life wakes no thread of the sender.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};

use super::frame::{self, Kind};
use super::frames::{Ended, Frames};
use super::wire::Outgoing;
use super::Place;
use crate::limits;
use crate::outbox::Outbox;

/// A lane to another peer: up, or waiting for a connection.
pub(crate) struct Lane {
    /// Set while the lane is up.
    connection: Mutex<Option<Connection>>,
    /// Frames, and rests of frames, that the socket has not taken yet.
    waiting: Outbox<Vec<u8>>,
    /// Wakes the thread of the lane.
    wake: OwnedFd,
    _place: Place,
}

/// A connection that carries frames.
struct Connection {
    socket: Arc<TcpStream>,
    /// Seals what is sent, and gives the answers.
    wire: Frames<Outgoing>,
    /// Why it cannot go on, once that is known.
    broken: Option<String>,
    /// Whether frames have to go behind others that wait.
    is_behind: bool,
    /// When the last ping was sent.
    pinged_at: Option<Instant>,
    /// Set while that one is not answered: when it was sent, or when the socket last took
    /// something that waited in front of it.
    asked_at: Option<Instant>,
}

impl Lane {
    /// A lane without a connection, which takes one of the places that there are.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(crate) fn new(place: Place) -> std::io::Result<Self> {
        Ok(Self {
            _place: place,
            connection: Mutex::default(),
            waiting: Outbox::new(limits::PEER_QUEUE_LEN_MAX, limits::PEER_QUEUE_BYTES_MAX),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Held for moments only: nobody writes to a socket that blocks, or waits, under
    /// it.
    fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a frame would be taken now, as far as is known. A lane on which a ping
    /// was not answered for a while is doubted: messages go another way until it is.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().as_mut().is_some_and(Connection::is_trusted)
    }

    /// Sends a frame behind those that were sent before, without blocking. `false`:
    /// it has to go another way.
    pub(crate) fn send(&self, mut frame: Vec<u8>) -> bool {
        let mut connection = self.lock();
        let Some(connection) = connection.as_mut() else {
            return false;
        };
        if !connection.is_trusted() {
            return false;
        }
        let pings = connection.is_to_ping(limits::LANE_PING_INTERVAL);
        if pings {
            frame.extend(frame::encode(Kind::Ping, &[]).unwrap_or_default());
        }
        let is_sent = self.put(connection, frame);
        if is_sent && pings {
            connection.pinged();
        }
        is_sent
    }

    fn put(&self, connection: &mut Connection, frame: Vec<u8>) -> bool {
        // A sealed frame has to be sent: the other side opens nothing behind a gap.
        if connection.is_behind && !self.waiting.has_room(sealed_len(frame.len())) {
            return false;
        }
        let mut sealed = match connection.wire.source().seal(frame) {
            Ok(sealed) => sealed,
            Err(error) => return self.broke(connection, error.to_string()),
        };
        let mut taken = 0;
        if !connection.is_behind {
            taken = match (&*connection.socket).write(&sealed) {
                Ok(taken) if taken == sealed.len() => return true,
                Ok(taken) => taken,
                Err(error) if is_full(&error) => 0,
                Err(error) => return self.broke(connection, error.to_string()),
            };
        }
        let rest = sealed.split_off(taken);
        let bytes = rest.len();
        // The rest of a frame of which a part is on its way is the first in the
        // queue, which takes a first one whatever its size.
        if self.waiting.push(rest, bytes).is_err() {
            return self.broke(connection, "more waits than may".to_owned());
        }
        if !connection.is_behind {
            connection.is_behind = true;
            self.wake();
        }
        true
    }

    /// Notes why the connection cannot go on. Gives `false`.
    fn broke(&self, connection: &mut Connection, why: String) -> bool {
        connection.broken = Some(why);
        self.wake();
        false
    }

    /// Ends the lane for good.
    pub(crate) fn close(&self) {
        self.waiting.close();
        self.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.waiting.is_closed()
    }

    /// Sleeps for so long, or until the lane is closed.
    pub(crate) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.is_closed() && Instant::now() < until {
            self.sleep(until, None);
        }
    }

    /// Carries frames over a connection whose other side has let this one in, until
    /// it breaks or the lane is closed; says why, and how many frames waited then. They
    /// are lost: Raft sends anew, and what is old by then is worth less. On a thread
    /// that may block.
    pub(crate) fn carry(&self, mut wire: Outgoing) -> (String, usize) {
        if let Err(error) = wire.go_up() {
            return (error.to_string(), 0);
        }
        let socket = wire.socket();
        *self.lock() = Some(Connection {
            wire: Frames::new(wire),
            socket: Arc::clone(&socket),
            broken: None,
            is_behind: false,
            pinged_at: None,
            asked_at: None,
        });
        let why = self.drive(&socket);
        let mut connection = self.lock();
        *connection = None;
        let lost = self.waiting.clear();
        // Much memory may be given back behind this, while the raft thread sends.
        drop(connection);
        (why, lost.len())
    }

    fn drive(&self, socket: &TcpStream) -> String {
        let mut rest = Rest::default();
        loop {
            if self.is_closed() {
                return "the link was closed".into();
            }
            let until = Instant::now() + limits::LANE_LOOK_INTERVAL;
            if let Some(why) = self.look() {
                return why;
            }
            if let Err(error) = self.write_waiting(socket, &mut rest) {
                return error.to_string();
            }
            self.sleep(until, Some((socket, !rest.is_empty())));
        }
    }

    /// Takes the signs of life that have come, and asks for one where no frame has done so
    /// lately. Gives why the connection cannot go on, if it cannot.
    fn look(&self) -> Option<String> {
        let mut connection = self.lock();
        let connection = connection.as_mut()?;
        connection.hear();
        if connection.broken.is_some() {
            return connection.broken.take();
        }
        let silence = connection.asked_at.map(|at| at.elapsed());
        if silence.is_some_and(|silence| silence > limits::LANE_SILENCE_MAX) {
            return Some("the other side gave no sign of life".into());
        }
        // A look that comes a little early is one too.
        if connection.is_to_ping(limits::LANE_LOOK_INTERVAL / 2) {
            let ping = frame::encode(Kind::Ping, &[])?;
            // Behind a full queue none is needed: the socket has to take that first.
            if self.put(connection, ping) {
                connection.pinged();
            }
        }
        None
    }

    /// Writes what waits, as much as the socket takes.
    fn write_waiting(&self, mut socket: &TcpStream, rest: &mut Rest) -> std::io::Result<()> {
        loop {
            if rest.is_empty() {
                let mut connection = self.lock();
                let Some(connection) = connection.as_mut().filter(|c| c.is_behind) else {
                    return Ok(());
                };
                let Some(bytes) = self.waiting.pop() else {
                    // Under the lock: nothing can come in behind this look.
                    connection.is_behind = false;
                    return Ok(());
                };
                *rest = Rest { bytes, written: 0 };
            }
            match socket.write(rest.left()) {
                Ok(taken) => {
                    rest.written += taken;
                    self.progressed();
                }
                Err(error) if is_full(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes that the socket takes what waits: a lane that is slow is not dead.
    fn progressed(&self) {
        if let Some(asked_at) = self.lock().as_mut().and_then(|c| c.asked_at.as_mut()) {
            *asked_at = Instant::now();
        }
    }

    fn wake(&self) {
        // It fails only when it would overflow, and then a wake-up waits already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Sleeps until something is to be done here, and no longer than `until`.
    fn sleep(&self, until: Instant, connection: Option<(&TcpStream, bool)>) {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let wake = PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN);
        let mut ready = vec![wake];
        if let Some((socket, has_rest)) = connection {
            // The end of the connection wakes the thread, and signs of life do not.
            let flags = match has_rest {
                true => PollFlags::RDHUP | PollFlags::OUT,
                false => PollFlags::RDHUP,
            };
            ready.push(PollFd::from_borrowed_fd(socket.as_fd(), flags));
        }
        // An error shows at the next read or write.
        let _ = poll(&mut ready, Some(&left));
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }
}

impl Connection {
    /// Tells whether the other side has answered in time. The answers that have come are
    /// read first.
    fn is_trusted(&mut self) -> bool {
        let is_old = |at: Instant| at.elapsed() >= limits::LANE_PING_INTERVAL;
        if self.asked_at.is_some_and(is_old) {
            self.hear();
        }
        let is_dubious = |at: Instant| at.elapsed() >= limits::LANE_DOUBT;
        self.broken.is_none() && !self.asked_at.is_some_and(is_dubious)
    }

    /// Tells whether a ping is due: the last one was sent so long ago, and was answered.
    fn is_to_ping(&self, interval: Duration) -> bool {
        let is_old = |at: Instant| at.elapsed() >= interval;
        self.asked_at.is_none() && self.pinged_at.is_none_or(is_old)
    }

    /// Notes that a ping was sent.
    fn pinged(&mut self) {
        self.pinged_at = Some(Instant::now());
        self.asked_at = self.pinged_at;
    }

    /// Takes the signs of life that have come. The thread of the lane ends the connection
    /// when they show that it cannot go on.
    fn hear(&mut self) {
        if self.broken.is_some() {
            return;
        }
        for _ in 0..limits::LANE_HEARD_COUNT_MAX {
            match self.wire.next(0) {
                Ok((Kind::Heard, _)) => self.asked_at = None,
                Ok(_) => return self.broken = Some("the answer to a ping is none".into()),
                Err(Ended::Silent) => return,
                Err(why) => return self.broken = Some(why.to_string()),
            }
        }
        self.broken = Some("the other side answers what was not asked".into());
    }
}

/// Bytes of a frame of so many when it is sealed, or a few more: each record of 16 KiB has
/// 22 of its own.
fn sealed_len(len: usize) -> usize {
    len + len / 512 + 64
}

/// What is being written by the thread.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    written: usize,
}

impl Rest {
    fn left(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn is_empty(&self) -> bool {
        self.left().is_empty()
    }
}

/// Whether the socket takes nothing more just now.
fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
