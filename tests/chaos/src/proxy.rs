//! A TCP proxy with a valve: what goes through can be delayed, held back
//! without either end noticing, cut in the middle of a message, or refused.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces on their way through one direction of a connection: beyond that the
/// sender is not read, and notices.
const PIECES: usize = 256;
/// Longest piece, in bytes.
const PIECE_LEN: usize = 32 * 1024;
/// How long the proxy dials.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// What happens to what goes through.
#[derive(Debug, Default)]
struct State {
    delay: Duration,
    is_shut: bool,
    refuses: bool,
    /// Bytes that still go through; then the connection is cut.
    cut_after: Option<u64>,
    seen: Seen,
    open: Vec<TcpStream>,
}

/// What a valve did so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Bytes that went through.
    pub bytes: u64,
    /// Pieces that were delayed.
    pub delayed: u64,
    /// Pieces that had to wait for the valve to open.
    pub held: u64,
    /// Connections cut or refused.
    pub cut: u64,
}

/// The valve of a proxy. Clones are one valve.
#[derive(Debug, Clone, Default)]
pub struct Valve(Arc<(Mutex<State>, Condvar)>);

impl Valve {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0 .0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delays every piece from now on.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Lets nothing through, and keeps connections as they are.
    pub fn shut(&self) {
        self.state().is_shut = true;
    }

    /// Cuts the connection that carries the last of so many more bytes, in the
    /// middle of what it carries.
    pub fn cut_after(&self, bytes: u64) {
        self.state().cut_after = Some(bytes);
    }

    /// Cuts all connections and takes no new ones.
    pub fn refuse(&self) {
        let mut state = self.state();
        state.refuses = true;
        for socket in state.open.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Ends all of it.
    pub fn open(&self) {
        let mut state = self.state();
        state.delay = Duration::ZERO;
        state.is_shut = false;
        state.refuses = false;
        state.cut_after = None;
        self.0 .1.notify_all();
    }

    /// What it did so far.
    pub fn seen(&self) -> Seen {
        self.state().seen
    }

    /// How much of a piece may go, after waiting for the valve to open.
    fn pass(&self, len: usize) -> usize {
        let mut state = self.state();
        if state.is_shut {
            state.seen.held += 1;
        }
        while state.is_shut {
            let waited = self.0 .1.wait_timeout(state, Duration::from_secs(1));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let goes = match &mut state.cut_after {
            Some(left) if *left < len as u64 => {
                let goes = usize::try_from(*left).unwrap_or(0);
                state.cut_after = None;
                state.seen.cut += 1;
                goes
            }
            Some(left) => {
                *left -= len as u64;
                len
            }
            None => len,
        };
        state.seen.bytes += goes as u64;
        goes
    }

    fn due(&self) -> Instant {
        let mut state = self.state();
        if !state.delay.is_zero() {
            state.seen.delayed += 1;
        }
        Instant::now() + state.delay
    }

    /// Whether a connection of these two ends may be; they are cut with all
    /// others then.
    fn admit(&self, ends: [&TcpStream; 2]) -> bool {
        let mut state = self.state();
        if state.refuses {
            state.seen.cut += 1;
            return false;
        }
        // Sockets that are over are of no use to `refuse`.
        state.open.retain(|socket| socket.peer_addr().is_ok());
        let clones = ends.iter().filter_map(|end| end.try_clone().ok());
        state.open.extend(clones);
        true
    }
}

/// A proxy at work, until the process ends.
pub struct Proxy {
    address: String,
    valve: Valve,
}

impl Proxy {
    /// Listens at `host`, on a port of the system's choice, for `target`.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn start(host: &str, target: &str) -> Result<Self, String> {
        Self::start_behind(Valve::default(), host, target)
    }

    /// The same, behind a valve that others may have too.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn start_behind(valve: Valve, host: &str, target: &str) -> Result<Self, String> {
        let listener = TcpListener::bind((host, 0)).map_err(|e| format!("a proxy: {e}"))?;
        let address = listener.local_addr().map_err(|e| format!("a proxy: {e}"))?;
        let (theirs, target) = (valve.clone(), target.to_owned());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (valve, target) = (theirs.clone(), target.clone());
                // Dialling may take long; others are not to wait for it.
                thread::spawn(move || connect(near, &target, &valve));
            }
        });
        Ok(Self {
            address: address.to_string(),
            valve,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Its valve.
    pub fn valve(&self) -> &Valve {
        &self.valve
    }
}

fn connect(near: TcpStream, target: &str, valve: &Valve) {
    let Ok(target) = target.parse() else { return };
    let Ok(far) = TcpStream::connect_timeout(&target, DIAL_LIMIT) else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    if !valve.admit([&near, &far]) {
        return;
    }
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    pump(near, far, valve.clone());
    pump(far_too, near_too, valve.clone());
}

/// Carries one direction, in two threads: one that reads and one that waits.
fn pump(from: TcpStream, to: TcpStream, valve: Valve) {
    let (give, take) = sync_channel(PIECES);
    let (theirs, source) = (valve.clone(), from.try_clone());
    thread::spawn(move || read(from, &give, &theirs));
    thread::spawn(move || {
        let whole = write(&take, &to, &valve);
        if whole {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        let _ = to.shutdown(Shutdown::Both);
        if let Ok(source) = source {
            let _ = source.shutdown(Shutdown::Both);
        }
    });
}

fn read(mut from: TcpStream, give: &SyncSender<(Instant, Vec<u8>)>, valve: &Valve) {
    let mut piece = vec![0; PIECE_LEN];
    while let Ok(len) = from.read(&mut piece) {
        if len == 0 || give.send((valve.due(), piece[..len].to_vec())).is_err() {
            return;
        }
    }
}

/// Whether all went through, up to the end that the sender made.
fn write(take: &Receiver<(Instant, Vec<u8>)>, mut to: &TcpStream, valve: &Valve) -> bool {
    for (due, piece) in take {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let goes = valve.pass(piece.len());
        if to.write_all(&piece[..goes]).is_err() || goes < piece.len() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A proxy in front of one who sends everything back.
    fn echo() -> (Proxy, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut back = socket.try_clone().unwrap();
                    let _ = std::io::copy(&mut socket, &mut back);
                });
            }
        });
        let proxy = Proxy::start("127.0.0.1", &target).unwrap();
        let socket = TcpStream::connect(proxy.address()).unwrap();
        (proxy, socket)
    }

    fn said(socket: &mut TcpStream, words: &[u8]) -> Vec<u8> {
        socket.write_all(words).unwrap();
        let mut heard = vec![0; words.len()];
        socket.read_exact(&mut heard).unwrap();
        heard
    }

    #[test]
    fn an_open_valve_lets_everything_through() {
        let (proxy, mut socket) = echo();
        assert_eq!(said(&mut socket, b"hello"), b"hello");
        // There and back.
        assert_eq!(proxy.valve().seen().bytes, 10);
    }

    #[test]
    fn a_shut_valve_holds_back_and_forgets_nothing() {
        let (proxy, mut socket) = echo();
        proxy.valve().shut();
        socket.write_all(b"held").unwrap();
        while proxy.valve().seen().held == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(proxy.valve().seen().bytes, 0);
        proxy.valve().open();
        let mut heard = [0; 4];
        socket.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"held");
    }

    #[test]
    fn a_connection_is_cut_in_the_middle_of_a_message() {
        let (proxy, mut socket) = echo();
        assert_eq!(said(&mut socket, b"before"), b"before");
        proxy.valve().cut_after(3);
        socket.write_all(b"message").unwrap();
        let mut heard = Vec::new();
        // The end, or that the connection was reset.
        let _ = socket.read_to_end(&mut heard);
        // What went through may have come back before the cut.
        assert!(b"mes".starts_with(&heard), "{heard:?}");
        assert_eq!(proxy.valve().seen().cut, 1);
        // The next one goes through.
        let mut next = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(said(&mut next, b"again"), b"again");
    }

    #[test]
    fn refused_is_refused_for_all_and_delayed_is_late() {
        let (proxy, mut socket) = echo();
        assert_eq!(said(&mut socket, b"before"), b"before");
        proxy.valve().refuse();
        assert_eq!(socket.read(&mut [0; 1]).unwrap_or(0), 0);
        proxy.valve().open();
        proxy.valve().delay(Duration::from_millis(30));
        let mut next = TcpStream::connect(proxy.address()).unwrap();
        let start = Instant::now();
        assert_eq!(said(&mut next, b"late"), b"late");
        // There and back.
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert_eq!(proxy.valve().seen().delayed, 2);
    }
}
