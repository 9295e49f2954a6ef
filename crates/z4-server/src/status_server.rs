//! `/metrics`, `/healthz` and `/readyz`: HTTP/1.1 for scrapers and probes.
//!
//! One request a connection, answered by one of a few threads, within a time and
//! a size: whatever a scanner or a slow reader does costs this and no more.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver};
use slog::{debug, Logger};
use z4_rpc::accept::{Acceptor, AcceptorParts, ConnectionLimits, ConnectionMetrics};
use z4_rpc::PortTls;
use z4_tls::Server;

use self::head::{Parsed, Request};
use crate::limits::{self, STATUS_REQUEST_TIME};

/// What the answers are made from. Called by several threads; must not block
/// for long.
pub(crate) struct Sources {
    /// Whether this peer knows a leader; if not, what it waits for.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// What a peer says that was removed from its cluster; `None` for any other.
    pub removed: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// All metrics in the text format.
    pub metrics: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
}

/// Starts answering on `address`; the port that was opened is returned. The
/// threads live as long as the process: a stopping server tells that it is
/// alive and not ready.
///
/// # Errors
/// When the port cannot be opened or a thread not started.
pub(crate) fn start(
    address: SocketAddr,
    sources: Sources,
    metrics: ConnectionMetrics,
    tls: Option<PortTls>,
    logger: Logger,
) -> io::Result<SocketAddr> {
    let (queue, waiting) = bounded::<TcpStream>(limits::STATUS_WAITING_MAX);
    let sources = Arc::new(sources);
    for number in 0..limits::STATUS_WORKERS {
        let (waiting, sources, tls) = (waiting.clone(), Arc::clone(&sources), tls.clone());
        let logger = logger.clone();
        let name = format!("status-{number}");
        thread::Builder::new()
            .name(name)
            .spawn(move || work(&waiting, &sources, tls.as_ref(), &logger))?;
    }
    let parts = AcceptorParts {
        is_needed: true,
        port: "status",
        address,
        limits: ConnectionLimits {
            count_max: limits::STATUS_CONNECTIONS_MAX,
            per_address_max: limits::STATUS_CONNECTIONS_PER_ADDRESS_MAX,
        },
        metrics,
        logger,
    };
    // When full, dropping it closes it.
    let acceptor = Acceptor::start(parts, move |connection| {
        drop(queue.try_send(connection));
    })?;
    Ok(acceptor.address())
}

fn work(waiting: &Receiver<TcpStream>, sources: &Sources, tls: Option<&PortTls>, logger: &Logger) {
    for connection in waiting {
        if let Err(error) = serve(&connection, sources, tls) {
            debug!(logger, "status request not answered"; "error" => %error);
        }
    }
}

/// A connection whose reads and writes end together after a while.
struct Timed<'a> {
    connection: &'a TcpStream,
    deadline: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(Some(left)),
        }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.connection.set_read_timeout(self.left()?)?;
        self.connection.read(to)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.set_write_timeout(self.left()?)?;
        self.connection.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does the handshake where there is TLS, and answers one request.
fn serve(mut connection: &TcpStream, sources: &Sources, tls: Option<&PortTls>) -> io::Result<()> {
    connection.set_nonblocking(false)?;
    let mut timed = Timed {
        connection,
        deadline: Instant::now() + STATUS_REQUEST_TIME,
    };
    match tls {
        None => exchange(&mut timed, sources)?,
        Some(tls) => {
            let server = Server::new(&tls.watched.current().1, tls.auth);
            let mut stream = server.map_err(io::Error::other)?.accept(timed)?;
            exchange(&mut stream, sources)?;
            stream.say_end();
        }
    }
    // Say that this is all, and let the other side say so too: closing with
    // unread bytes would reset the connection under the answer.
    connection.shutdown(std::net::Shutdown::Write)?;
    connection.set_read_timeout(Some(Duration::from_millis(100)))?;
    let _ = connection.read(&mut [0; 512]);
    Ok(())
}

fn exchange(connection: &mut (impl Read + Write), sources: &Sources) -> io::Result<()> {
    let answer = match read_request(connection)? {
        Some(request) => answer(&request, sources),
        None => Answer::text(400, "not a request that is understood here\n"),
    };
    answer.write(connection)
}

/// Reads up to the end of the head; a body is not waited for. `None` for
/// anything that is not HTTP, or too long.
fn read_request(connection: &mut impl Read) -> io::Result<Option<Request>> {
    let mut head = Vec::new();
    let mut part = [0; 1_024];
    loop {
        let count = connection.read(&mut part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&part[..count]);
        match head::parse(&head) {
            Parsed::Request(request) => return Ok(Some(request)),
            Parsed::Unfinished => {}
            Parsed::Refused => return Ok(None),
        }
    }
}

struct Answer {
    code: u16,
    kind: &'static str,
    body: String,
    head_only: bool,
}

impl Answer {
    fn text(code: u16, body: impl Into<String>) -> Self {
        Self {
            code,
            kind: "text/plain; charset=utf-8",
            body: body.into(),
            head_only: false,
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let reason = match self.code {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            500 => "Internal Server Error",
            _ => "Service Unavailable",
        };
        let allow = if self.code == 405 {
            "Allow: GET, HEAD\r\n"
        } else {
            ""
        };
        let mut bytes = format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{allow}\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            self.code,
            self.kind,
            self.body.len()
        )
        .into_bytes();
        if !self.head_only {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        out.write_all(&bytes)
    }
}

fn answer(request: &Request, sources: &Sources) -> Answer {
    #[cfg(feature = "failpoints")]
    if let Some(answer) = faults::answer(request) {
        return answer;
    }
    let mut answer = match request.path.as_str() {
        "/metrics" | "/healthz" | "/readyz" if !matches!(&*request.method, "GET" | "HEAD") => {
            Answer::text(405, "only GET and HEAD\n")
        }
        "/metrics" => match (sources.metrics)() {
            Ok(body) => Answer {
                kind: "text/plain; version=0.0.4; charset=utf-8",
                ..Answer::text(200, body)
            },
            Err(reason) => Answer::text(500, format!("{reason}\n")),
        },
        // A supervisor that restarted a removed peer would not help it.
        "/healthz" => match (sources.removed)() {
            None => Answer::text(200, "alive\n"),
            Some(removed) => Answer::text(200, format!("alive, and {removed}\n")),
        },
        "/readyz" => match (sources.ready)() {
            Ok(()) => Answer::text(200, "ready\n"),
            Err(reason) => Answer::text(503, format!("{reason}\n")),
        },
        _ => Answer::text(404, "/metrics, /healthz and /readyz are here\n"),
    };
    answer.head_only = request.method == "HEAD";
    answer
}

#[cfg(feature = "failpoints")]
mod faults;
mod head;
#[cfg(test)]
mod tests;
