//! The port of lanes: who may connect, and what is open.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::net::sockopt;
use z4_core::View;

use super::receiver::{self, Refused};
use crate::accept::{Acceptor, AcceptorParts};
use crate::limits;
use crate::node::Node;
use crate::server::PortParts;

/// The port at which a peer takes lanes. Each connection has a thread of its own,
/// because a blocked read wakes no other one first.
pub struct LanePort {
    acceptor: Acceptor,
    connections: Arc<Mutex<Connections>>,
    /// Takes the port back from those who would be told of it.
    close: Box<dyn FnOnce() + Send>,
}

/// The connections that are open.
#[derive(Default)]
struct Connections {
    is_stopping: bool,
    /// Of the connection that comes next.
    number: u64,
    open: HashMap<u64, Connection>,
}

struct Connection {
    socket: Arc<TcpStream>,
    /// The sender, once its hello was let in.
    from: Option<u64>,
    thread: JoinHandle<()>,
}

fn lock(connections: &Mutex<Connections>) -> MutexGuard<'_, Connections> {
    // It is whole after each statement.
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LanePort {
    /// Listens, and offers lanes to members from now on.
    ///
    /// # Errors
    /// The system's: the port is taken, or the address is not one of this machine.
    pub fn start<V: View + Clone + Send + Sync + 'static>(
        parts: PortParts,
        node: &Node<V>,
    ) -> std::io::Result<Self> {
        let connections = Arc::new(Mutex::new(Connections::default()));
        let parts = AcceptorParts {
            port: "lane",
            // Everything goes over gRPC without it.
            is_needed: false,
            address: parts.address,
            limits: parts.limits,
            metrics: parts.metrics,
            logger: node.network().logger().clone(),
        };
        let (theirs, taking) = (Arc::clone(&connections), node.clone());
        let acceptor = Acceptor::start(parts, move |socket| take(&taking, &theirs, socket))?;
        let network = node.network().clone();
        network.lanes().set_port(acceptor.address().port());
        Ok(Self {
            acceptor,
            connections,
            close: Box::new(move || network.lanes().set_port(0)),
        })
    }

    /// The number of the port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.acceptor.address().port()
    }

    /// Takes nothing more, closes what is open, and waits for the threads: they end
    /// at once. Blocks; not to be called from a thread of gRPC.
    pub fn stop(self) {
        (self.close)();
        self.acceptor.stop();
        let open = {
            let mut connections = lock(&self.connections);
            connections.is_stopping = true;
            std::mem::take(&mut connections.open)
        };
        for connection in open.values() {
            // One that is closed already needs it no more.
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
        for connection in open.into_values() {
            // A thread that panicked has ended the process.
            let _ = connection.thread.join();
        }
    }
}

impl Connections {
    /// How many have not said who they are.
    fn strangers(&self) -> usize {
        let all = self.open.values();
        all.filter(|connection| connection.from.is_none()).count()
    }

    /// A connection is that of a sender now. One that the sender had before is
    /// closed: it is half open, or else there would be no other.
    fn introduce(&mut self, number: u64, from: u64) {
        for connection in self.open.values_mut() {
            if connection.from == Some(from) {
                let _ = connection.socket.shutdown(Shutdown::Both);
            }
        }
        if let Some(connection) = self.open.get_mut(&number) {
            connection.from = Some(from);
        }
    }
}

/// Gives a connection a thread. Does not block.
fn take<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    connections: &Arc<Mutex<Connections>>,
    socket: TcpStream,
) {
    let socket = Arc::new(socket);
    let mut open = lock(connections);
    if open.is_stopping {
        return;
    }
    if open.strangers() >= limits::LANE_HELLOS_MAX {
        return count(node, "crowd");
    }
    let number = open.number;
    open.number += 1;
    let (node, theirs, at) = (node.clone(), Arc::clone(connections), Arc::clone(&socket));
    let thread = Builder::new().name("z4-lane-in".into()).spawn(move || {
        let ended = serve(&node, &theirs, number, &at);
        tell(&node, &ended);
        // The other side learns of it even if another owner keeps the socket open.
        let _ = at.shutdown(Shutdown::Both);
        lock(&theirs).open.remove(&number);
    });
    // Without a thread the socket is closed, and the other side tries again.
    if let Ok(thread) = thread {
        let connection = Connection {
            socket,
            from: None,
            thread,
        };
        open.open.insert(number, connection);
    }
}

/// Reads a connection to its end.
fn serve<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    connections: &Mutex<Connections>,
    number: u64,
    socket: &TcpStream,
) -> (Option<u64>, Refused) {
    if let Err(error) = prepare(socket) {
        let error = super::frames::Ended::Failed(error);
        return (None, Refused::Gone(error));
    }
    let (from, frames) = match receiver::open(node, socket) {
        Ok(opened) => opened,
        Err(refused) => return (None, refused),
    };
    lock(connections).introduce(number, from);
    slog::debug!(node.network().logger(), "a lane is open"; "from" => from);
    let refused = match receiver::take_all(node, from, socket, frames) {
        Err(refused) => refused,
        Ok(never) => match never {},
    };
    (Some(from), refused)
}

/// The thread waits in its reads.
fn prepare(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    let ms = u32::try_from(limits::LANE_SILENCE_MAX.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, ms)?)
}

fn tell<V: View + Clone + Send + Sync + 'static>(node: &Node<V>, ended: &(Option<u64>, Refused)) {
    let (from, refused) = ended;
    if let Some(reason) = refused.reason() {
        count(node, reason);
    }
    slog::debug!(node.network().logger(), "a connection at the port of lanes ended";
        "from" => from.unwrap_or(0), "reason" => %refused);
}

fn count<V: View + Clone + Send + Sync + 'static>(node: &Node<V>, reason: &str) {
    let refused = &node.network().metrics().lanes_refused;
    refused.with_label_values(&[reason]).inc();
}
