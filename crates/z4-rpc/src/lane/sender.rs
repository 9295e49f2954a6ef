//! The end of a lane that messages are written to.
//!
//! The raft thread writes a frame itself when nothing waits, with a call that does
//! not block. So does the delivery thread when a task is due at the other peer. What the socket does not take goes into a bounded queue, and so does
//! everything behind it, until the thread of the lane has written it. That thread
//! sleeps otherwise, but for a ping now and then.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};

use super::frame::{self, Kind};
use super::frames::{Ended, Frames};
use super::Place;
use crate::limits;
use crate::outbox::Outbox;

/// A lane to another peer: up, or waiting for a connection.
pub(crate) struct Lane {
    sending: Mutex<Sending>,
    /// Frames, and rests of frames, that the socket has not taken yet.
    waiting: Outbox<Vec<u8>>,
    /// Wakes the thread of the lane.
    wake: OwnedFd,
    _place: Place,
}

struct Sending {
    /// Set while the lane is up.
    socket: Option<Arc<TcpStream>>,
    /// Whether frames have to go behind others that wait.
    is_behind: bool,
    /// When the other side, or a socket that takes what waited, last showed that
    /// bytes get through.
    heard_at: Instant,
}

impl Lane {
    /// A lane without a connection, which takes one of the places that there are.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(crate) fn new(place: Place) -> std::io::Result<Self> {
        Ok(Self {
            _place: place,
            sending: Mutex::new(Sending {
                socket: None,
                is_behind: false,
                heard_at: Instant::now(),
            }),
            waiting: Outbox::new(limits::PEER_QUEUE_LEN_MAX, limits::PEER_QUEUE_BYTES_MAX),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Held for moments only: nobody writes to a socket that blocks, or waits, under
    /// it.
    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a frame would be taken now, as far as is known. A lane on which
    /// nothing was heard for a while is doubted: messages go another way until the
    /// other side is heard again.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().is_trusted()
    }

    /// Sends a frame behind those that were sent before, without blocking. `false`:
    /// it has to go another way.
    pub(crate) fn send(&self, frame: Vec<u8>) -> bool {
        let mut sending = self.lock();
        sending.is_trusted() && self.put(&mut sending, frame)
    }

    fn put(&self, sending: &mut Sending, mut frame: Vec<u8>) -> bool {
        let Some(socket) = &sending.socket else {
            return false;
        };
        let mut taken = 0;
        if !sending.is_behind {
            taken = match (&**socket).write(&frame) {
                Ok(taken) if taken == frame.len() => return true,
                Ok(taken) => taken,
                Err(error) if is_full(&error) => 0,
                // The thread of the lane finds it broken too, and says why.
                Err(_) => {
                    sending.socket = None;
                    self.wake();
                    return false;
                }
            };
        }
        let rest = frame.split_off(taken);
        let bytes = rest.len();
        // The rest of a frame of which a part is on its way is the first in the
        // queue, which takes a first one whatever its size.
        let is_queued = self.waiting.push(rest, bytes).is_ok();
        if !sending.is_behind {
            sending.is_behind = true;
            self.wake();
        }
        is_queued
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
    pub(crate) fn carry(&self, socket: TcpStream) -> (String, usize) {
        if let Err(error) = socket.set_nonblocking(true) {
            return (error.to_string(), 0);
        }
        let socket = Arc::new(socket);
        {
            let mut sending = self.lock();
            sending.socket = Some(Arc::clone(&socket));
            sending.is_behind = false;
            sending.heard_at = Instant::now();
        }
        let why = self.drive(&socket);
        let mut sending = self.lock();
        sending.socket = None;
        sending.is_behind = false;
        let lost = self.waiting.clear();
        // Much memory may be given back behind this, while the raft thread sends.
        drop(sending);
        (why, lost.len())
    }

    fn drive(&self, socket: &TcpStream) -> String {
        let mut answers = Frames::new(socket);
        let mut rest = Rest::default();
        let mut ping_at = Instant::now();
        loop {
            if self.is_closed() {
                return "the link was closed".into();
            }
            if let Err(why) = self.hear(&mut answers) {
                return why.to_string();
            }
            if self.lock().heard_at.elapsed() > limits::LANE_SILENCE_MAX {
                return "the other side gave no sign of life".into();
            }
            if Instant::now() >= ping_at {
                ping_at = Instant::now() + limits::LANE_PING_INTERVAL;
                self.ping();
            }
            if let Err(error) = self.write_waiting(socket, &mut rest) {
                return error.to_string();
            }
            self.sleep(ping_at, Some((socket, !rest.is_empty())));
        }
    }

    /// Takes the signs of life that have come.
    fn hear(&self, answers: &mut Frames<impl Read>) -> Result<(), Ended> {
        loop {
            match answers.next(0) {
                Ok((Kind::Heard, _)) => self.lock().heard_at = Instant::now(),
                Ok(_) => return Err(Ended::Failed(ErrorKind::InvalidData.into())),
                Err(Ended::Silent) => return Ok(()),
                Err(why) => return Err(why),
            }
        }
    }

    /// Asks for a sign of life, on a lane that is doubted too.
    fn ping(&self) {
        if let Some(ping) = frame::encode(Kind::Ping, &[]) {
            // Behind a full queue none is needed: the socket has to take that first.
            self.put(&mut self.lock(), ping);
        }
    }

    /// Writes what waits, as much as the socket takes.
    fn write_waiting(&self, mut socket: &TcpStream, rest: &mut Rest) -> std::io::Result<()> {
        if !self.lock().is_behind {
            return Ok(());
        }
        loop {
            if rest.is_empty() {
                let mut sending = self.lock();
                let Some(bytes) = self.waiting.pop() else {
                    // Under the lock: nothing can come in behind this look.
                    sending.is_behind = false;
                    return Ok(());
                };
                *rest = Rest { bytes, written: 0 };
            }
            match socket.write(rest.left()) {
                Ok(taken) => {
                    rest.written += taken;
                    // A lane that is slow is not dead.
                    self.lock().heard_at = Instant::now();
                }
                Err(error) if is_full(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
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
            let flags = match has_rest {
                true => PollFlags::IN | PollFlags::OUT,
                false => PollFlags::IN,
            };
            ready.push(PollFd::from_borrowed_fd(socket.as_fd(), flags));
        }
        // An error shows at the next read or write.
        let _ = poll(&mut ready, Some(&left));
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }
}

impl Sending {
    fn is_trusted(&self) -> bool {
        self.socket.is_some() && self.heard_at.elapsed() < limits::LANE_DOUBT
    }
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
