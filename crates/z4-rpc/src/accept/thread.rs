//! The thread that accepts the connections of a port.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{shutdown, sockopt, Shutdown};
use slog::{crit, info, warn, Logger};
use z4_consensus::fault;

use super::connections::{ConnectionLimits, Connections};
use super::metrics::ConnectionMetrics;
use super::{listener, raw};
use crate::limits;

/// What accepts the connections of a port, and for whom.
pub struct AcceptorParts {
    /// The port's name in metrics and log: `service`, `peer`, `status`.
    pub port: &'static str,
    /// Whether the peer ends when it cannot listen again for a while. Otherwise it goes
    /// on without this port, and tries again and again.
    pub is_needed: bool,
    /// Where it listens; port 0 picks a free one.
    pub address: SocketAddr,
    /// How many connections there may be.
    pub limits: ConnectionLimits,
    /// Counters.
    pub metrics: ConnectionMetrics,
    /// Parent of log lines.
    pub logger: Logger,
}

/// Accepts the connections of a port until it is stopped.
pub struct Acceptor {
    address: SocketAddr,
    port: &'static str,
    shared: Arc<Mutex<Shared>>,
    thread: JoinHandle<()>,
}

/// What others see of the thread.
struct Shared {
    /// Shut down to stop; another one, should the first be lost.
    listener: Arc<TcpListener>,
    is_stopping: bool,
    /// When the thread last came round, and why it accepted nothing then.
    turned_at: Instant,
    trouble: Option<String>,
}

/// What is to be done about an error of accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cure {
    /// That connection is gone; there are others.
    GoOn,
    /// The system has no room for one more: somebody has to close something.
    Wait,
    /// The listener is lost.
    ListenAnew,
}

impl Acceptor {
    /// Listens, and gives every connection that the bounds allow to `take`,
    /// which must not block. The sockets do not block.
    ///
    /// # Errors
    /// The system's: the port is taken, or the address is not one of this
    /// machine.
    pub fn start(
        parts: AcceptorParts,
        take: impl FnMut(TcpStream) + Send + 'static,
    ) -> io::Result<Self> {
        let listener = Arc::new(listener::open(parts.address)?);
        let address = listener.local_addr()?;
        let shared = Arc::new(Mutex::new(Shared {
            listener: Arc::clone(&listener),
            is_stopping: false,
            turned_at: Instant::now(),
            trouble: None,
        }));
        let port = parts.port;
        let max = i64::try_from(parts.limits.count_max).unwrap_or(i64::MAX);
        parts.metrics.max.with_label_values(&[port]).set(max);
        // There from the first scrape: a rate needs a zero to rise from.
        parts.metrics.refused.with_label_values(&[port]);
        let accepting = Accepting {
            connections: Connections::new(parts.limits),
            parts: AcceptorParts { address, ..parts },
            listener,
            take,
            shared: Arc::clone(&shared),
            counted_at: Instant::now(),
            refused: 0,
            refusal_said: None,
            trouble_said: None,
            lost_at: None,
        };
        let thread = thread::Builder::new().name(format!("accept-{port}"));
        let thread = thread.spawn(move || accepting.run())?;
        Ok(Self {
            address,
            port,
            shared,
            thread,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells others whether connections are accepted.
    #[must_use]
    pub fn watch(&self) -> PortWatch {
        PortWatch {
            port: self.port,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Accepts nothing more; what was accepted goes on. Returns when the port is
    /// closed.
    pub fn stop(self) {
        {
            let mut shared = lock(&self.shared);
            shared.is_stopping = true;
            // This wakes the thread, which looks now and then by itself too.
            let _ = shutdown(&shared.listener, Shutdown::Both);
        }
        // A thread that panicked has ended the process.
        let _ = self.thread.join();
    }
}

/// Tells whether a port accepts connections. Cheap to clone.
#[derive(Clone)]
pub struct PortWatch {
    port: &'static str,
    shared: Arc<Mutex<Shared>>,
}

impl PortWatch {
    /// Whether connections are accepted.
    ///
    /// # Errors
    /// Why not, for a person.
    pub fn accepts(&self) -> Result<(), String> {
        let shared = lock(&self.shared);
        let port = self.port;
        if let Some(trouble) = &shared.trouble {
            return Err(format!("the {port} port accepts no connection: {trouble}"));
        }
        let silent = shared.turned_at.elapsed();
        if silent > limits::ACCEPT_SILENCE_MAX {
            let s = silent.as_secs();
            return Err(format!(
                "the {port} port accepts no connection: its thread has done nothing for {s} s"
            ));
        }
        Ok(())
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    // Its fields are set one by one, each true by itself.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's own.
struct Accepting<T> {
    parts: AcceptorParts,
    listener: Arc<TcpListener>,
    connections: Connections,
    take: T,
    shared: Arc<Mutex<Shared>>,
    counted_at: Instant,
    /// Since it was last said.
    refused: u64,
    refusal_said: Option<Instant>,
    trouble_said: Option<Instant>,
    /// Since when there is no listener.
    lost_at: Option<Instant>,
}

impl<T: FnMut(TcpStream)> Accepting<T> {
    fn run(mut self) {
        loop {
            self.wait();
            if self.is_stopping() {
                return;
            }
            let cure = self.accept_all();
            if cure != Cure::GoOn {
                thread::sleep(limits::ACCEPT_RETRY);
            }
            if cure == Cure::ListenAnew {
                self.listen_anew();
            }
            if self.counted_at.elapsed() >= limits::ACCEPT_LOOK_INTERVAL {
                self.count_again();
            }
        }
    }

    /// Waits for a connection, and no longer than until the next look.
    fn wait(&self) {
        let mut ready = [PollFd::from_borrowed_fd(
            self.listener.as_fd(),
            PollFlags::IN,
        )];
        let until = Timespec {
            tv_sec: limits::ACCEPT_LOOK_INTERVAL.as_secs() as i64,
            tv_nsec: 0,
        };
        // An error shows at the next accept.
        let _ = poll(&mut ready, Some(&until));
    }

    fn is_stopping(&self) -> bool {
        let mut shared = lock(&self.shared);
        shared.turned_at = Instant::now();
        shared.is_stopping
    }

    /// Accepts what waits, a bounded part of it.
    fn accept_all(&mut self) -> Cure {
        for _ in 0..limits::ACCEPT_BATCH_MAX {
            match accept(&self.listener) {
                Ok((socket, from)) => {
                    self.troubled(None);
                    self.accepted(socket, from.ip());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.troubled(None);
                    return Cure::GoOn;
                }
                Err(error) => match cure(&error) {
                    Cure::GoOn => {}
                    cure => {
                        self.troubled(Some(error.to_string()));
                        return cure;
                    }
                },
            }
        }
        Cure::GoOn
    }

    fn accepted(&mut self, socket: TcpStream, from: IpAddr) {
        let mut full = self.connections.full(from);
        // A look costs a call of the system for each connection, and must not become
        // the only work while a crowd is refused.
        let cost = limits::ACCEPT_COUNT_COST * u32::try_from(self.connections.count()).unwrap_or(0);
        if full.is_some() && self.counted_at.elapsed() >= cost {
            self.count_again();
            full = self.connections.full(from);
        }
        let port = &[self.parts.port];
        if let Some(full) = full {
            drop(socket);
            self.parts.metrics.refused.with_label_values(port).inc();
            self.refused += 1;
            let said = self.refusal_said.replace(Instant::now());
            match said.filter(|at| at.elapsed() < limits::ACCEPT_SAY_INTERVAL) {
                Some(at) => self.refusal_said = Some(at),
                None => warn!(self.parts.logger, "connections were refused";
                    "port" => self.parts.port, "refused" => std::mem::take(&mut self.refused),
                    "open" => self.connections.count(), "from" => from.to_string(),
                    "reason" => full.reason(),
                    "count_max" => self.parts.limits.count_max,
                    "per_address_max" => self.parts.limits.per_address_max),
            }
            return;
        }
        let fd = socket.as_raw_fd();
        let Some(inode) = raw::inode(fd).filter(|_| prepare(&socket).is_ok()) else {
            // The other side is gone again.
            return;
        };
        self.connections.add(fd, inode, from);
        self.parts.metrics.accepted.with_label_values(port).inc();
        self.tell_count();
        (self.take)(socket);
    }

    fn count_again(&mut self) {
        self.connections.forget_closed(raw::inode);
        self.counted_at = Instant::now();
        self.tell_count();
    }

    fn tell_count(&self) {
        let count = i64::try_from(self.connections.count()).unwrap_or(i64::MAX);
        let open = &self.parts.metrics.open;
        open.with_label_values(&[self.parts.port]).set(count);
    }

    /// Notes why nothing is accepted, for whoever asks, and logs it now and then.
    fn troubled(&mut self, trouble: Option<String>) {
        let Some(reason) = trouble else {
            if self.trouble_said.take().is_some() {
                info!(self.parts.logger, "connections are accepted again"; "port" => self.parts.port);
                lock(&self.shared).trouble = None;
            }
            return;
        };
        let due = |at: Instant| at.elapsed() >= limits::ACCEPT_SAY_INTERVAL;
        if self.trouble_said.is_none_or(due) {
            self.trouble_said = Some(Instant::now());
            warn!(self.parts.logger, "no connection is accepted"; "port" => self.parts.port,
                "reason" => &reason);
        }
        lock(&self.shared).trouble = Some(reason);
    }

    /// Makes the listener anew. A peer that cannot for a while ends, if it needs the port:
    /// whoever supervises it can do more about it.
    fn listen_anew(&mut self) {
        let since = *self.lost_at.get_or_insert_with(Instant::now);
        // The port is free only when the last holder of the old one lets go.
        {
            let mut shared = lock(&self.shared);
            if shared.is_stopping {
                return;
            }
            let _ = shutdown(&self.listener, Shutdown::Both);
            match listener::open(self.parts.address) {
                Ok(listener) => {
                    self.listener = Arc::new(listener);
                    shared.listener = Arc::clone(&self.listener);
                    self.lost_at = None;
                    return;
                }
                Err(error) => shared.trouble = Some(format!("cannot listen again: {error}")),
            }
        }
        if self.parts.is_needed && since.elapsed() >= limits::LISTEN_AGAIN_MAX {
            let (port, address) = (self.parts.port, self.parts.address);
            crit!(self.parts.logger, "peer must stop"; "what" => "listener", "port" => port);
            // The logger is asynchronous; standard error is not.
            eprintln!("z4: peer must stop: the listener of the {port} port {address} is lost");
            std::process::abort();
        }
    }
}

fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    match fault::point("port.accept") {
        Ok(()) => listener.accept(),
        Err(fault) => Err(faulty(&fault)),
    }
}

/// The error that a test asks for.
fn faulty(fault: &fault::Fault) -> io::Error {
    let lost = fault.0.ends_with("listener");
    let errno = if lost { Errno::INVAL } else { Errno::MFILE };
    errno.into()
}

/// What the listener of gRPC does to a connection, too.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    let ms = u32::try_from(limits::KEEPALIVE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    // What was sent and is not taken in for so long: the other side is gone.
    Ok(sockopt::set_tcp_user_timeout(socket, ms)?)
}

/// What the manual of accept(2) says of its errors.
fn cure(error: &io::Error) -> Cure {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) => Cure::ListenAnew,
        // A signal, and what went wrong with one connection before it was taken.
        Some(
            Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::PERM
            | Errno::TIMEDOUT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NOPROTOOPT
            | Errno::OPNOTSUPP
            | Errno::NONET,
        ) => Cure::GoOn,
        // No descriptor or no memory is left; an error that nobody knows must
        // not become a busy loop either.
        _ => Cure::Wait,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crossbeam_channel::{unbounded, Receiver};
    use std::io::Read;
    use std::time::Duration;

    fn port(count_max: usize, per_address_max: usize) -> (Acceptor, Receiver<TcpStream>) {
        let (given, taken) = unbounded();
        let parts = AcceptorParts {
            is_needed: true,
            port: "service",
            address: ([127, 0, 0, 1], 0).into(),
            limits: ConnectionLimits {
                count_max,
                per_address_max,
            },
            metrics: ConnectionMetrics::new(&prometheus::Registry::new()).unwrap(),
            logger: Logger::root(slog::Discard, slog::o!()),
        };
        let take = move |socket| given.send(socket).unwrap();
        (Acceptor::start(parts, take).unwrap(), taken)
    }

    const LIMIT: Duration = Duration::from_secs(20);

    fn connected(acceptor: &Acceptor) -> TcpStream {
        let socket = TcpStream::connect(acceptor.address()).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    }

    #[test]
    fn what_is_beyond_the_bound_is_closed_at_once_and_there_is_room_again_afterwards() {
        let (acceptor, taken) = port(8, 2);
        let kept = [connected(&acceptor), connected(&acceptor)];
        let served: Vec<_> = kept
            .iter()
            .map(|_| taken.recv_timeout(LIMIT).unwrap())
            .collect();
        let mut refused = connected(&acceptor);
        assert_eq!(refused.read(&mut [0]).unwrap(), 0, "it is closed");
        assert!(taken.is_empty());
        drop(served);
        let _third = connected(&acceptor);
        taken.recv_timeout(LIMIT).unwrap();
        acceptor.stop();
    }

    #[test]
    fn a_lost_listener_is_made_anew_at_the_same_port() {
        let (acceptor, taken) = port(8, 8);
        let address = acceptor.address();
        let _ = shutdown(&lock(&acceptor.shared).listener, Shutdown::Both);
        let end = Instant::now() + LIMIT;
        loop {
            let connection = TcpStream::connect(address);
            if connection.is_ok() && taken.recv_timeout(Duration::from_millis(200)).is_ok() {
                break;
            }
            assert!(Instant::now() < end, "{:?}", acceptor.watch().accepts());
        }
        assert_eq!(acceptor.watch().accepts(), Ok(()));
        acceptor.stop();
        assert!(TcpStream::connect(address).is_err(), "it is closed");
    }

    #[test]
    fn errors_of_one_connection_are_no_trouble() {
        let cure = |errno: Errno| cure(&errno.into());
        assert_eq!(cure(Errno::CONNABORTED), Cure::GoOn);
        assert_eq!(cure(Errno::INTR), Cure::GoOn);
        assert_eq!(cure(Errno::MFILE), Cure::Wait);
        assert_eq!(cure(Errno::NFILE), Cure::Wait);
        assert_eq!(cure(Errno::INVAL), Cure::ListenAnew);
    }
}
