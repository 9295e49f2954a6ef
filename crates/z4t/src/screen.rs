//! The terminal while it shows one frame after the other: the alternate screen, without
//! echo. Dropped, it is as it was before.
//!
//! Bytes that steer the terminal are written here alone, past [`crate::show::Plain`], and all
//! that is shown goes through that: nothing that came from outside commands the terminal.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{select, Either};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::termios::{
    tcgetattr, tcgetwinsize, tcsetattr, LocalModes, OptionalActions, SpecialCodeIndex, Termios,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::error::Error;
use crate::limits;

/// The alternate screen, no cursor, and lines that are cut at the edge.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &[u8] = b"\x1b[H";
/// Removes the rest of an earlier frame on this line.
const CLEAR_LINE: &[u8] = b"\x1b[K";
/// Removes the rest of an earlier frame below.
const CLEAR_BELOW: &[u8] = b"\x1b[J";

/// A terminal that is held. No two at a time.
pub(crate) struct Screen {
    /// The settings of the keyboard before; `None`: it is no terminal.
    before: Option<Termios>,
    /// Comes when somebody wants no more of it.
    over: oneshot::Receiver<()>,
}

impl Screen {
    /// Takes the terminal of standard output, and the keyboard if there is one. From now on
    /// `q`, Ctrl-C, Ctrl-\ and the signals that end a process end what is done here, and not the
    /// process.
    ///
    /// # Errors
    /// The system gives no thread or does not tell of signals, or the terminal takes nothing.
    pub(crate) fn open() -> Result<Self, Error> {
        let refuse = |e| Error::Input(format!("the terminal cannot be watched: {e}"));
        let is_ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&is_ended)).map_err(refuse)?;
        }
        let (tx, over) = oneshot::channel();
        let screen = Self {
            before: keyboard(),
            over,
        };
        let has_keys = screen.before.is_some();
        let watch = move || {
            let is_over = || is_ended.load(Ordering::Acquire) || (has_keys && is_quit());
            while !is_over() {
                if !has_keys {
                    thread::sleep(limits::KEY_LOOK);
                }
            }
            // Nobody may want to know any more.
            let _ = tx.send(());
        };
        let watcher = thread::Builder::new().name("z4t-keys".into());
        watcher.spawn(watch).map_err(refuse)?;
        steer(ENTER)?;
        Ok(screen)
    }

    /// Lines of the terminal.
    pub(crate) fn lines(&self) -> usize {
        let size = tcgetwinsize(std::io::stdout());
        let rows = size.map_or(0, |size| usize::from(size.ws_row));
        match rows {
            0 => limits::SCREEN_LINES,
            rows => rows,
        }
    }

    /// Shows a frame in the place of the one before, as much of it as fits.
    ///
    /// # Errors
    /// The terminal takes nothing.
    pub(crate) fn show(&self, frame: &str, out: &mut impl Write) -> Result<(), Error> {
        let fits = self.lines().saturating_sub(1);
        steer(HOME)?;
        for line in frame.lines().take(fits) {
            out.write_all(line.as_bytes())?;
            steer(CLEAR_LINE)?;
            out.write_all(b"\n")?;
        }
        steer(CLEAR_BELOW)?;
        Ok(out.flush()?)
    }

    /// Does it unless somebody wants no more before it is done.
    pub(crate) fn unless_over<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        match block_on(select(pin!(work), &mut self.over)) {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// Waits for a while; `true`: somebody wants no more.
    pub(crate) fn is_over_by(&mut self, at: Instant) -> bool {
        loop {
            // An error: the thread that watches is gone.
            if !matches!(self.over.try_recv(), Ok(None)) {
                return true;
            }
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(limits::KEY_LOOK));
        }
    }
}

/// Waits a moment for a key; `true`: it is `q`, or the keyboard is gone.
fn is_quit() -> bool {
    let stdin = std::io::stdin();
    let mut keys = [PollFd::new(&stdin, PollFlags::IN)];
    let timeout = Timespec::try_from(limits::KEY_LOOK).ok();
    // A signal ends the wait, too.
    if !matches!(poll(&mut keys, timeout.as_ref()), Ok(1..)) {
        return false;
    }
    let mut typed = [0; 16];
    match rustix::io::read(&stdin, &mut typed) {
        Ok(count) => count == 0 || typed[..count].contains(&b'q'),
        Err(error) => error != rustix::io::Errno::INTR,
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone, and there is nothing left to restore then.
        let _ = steer(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Has the keyboard give each key at once and unseen; its settings before.
fn keyboard() -> Option<Termios> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return None;
    }
    let before = tcgetattr(&stdin).ok()?;
    let mut mode = before.clone();
    mode.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    mode.special_codes[SpecialCodeIndex::VMIN] = 1;
    mode.special_codes[SpecialCodeIndex::VTIME] = 0;
    // Stopped by Ctrl-Z it would leave the terminal as it is now.
    mode.special_codes[SpecialCodeIndex::VSUSP] = 0;
    tcsetattr(&stdin, OptionalActions::Now, &mode).ok()?;
    Some(before)
}

fn steer(bytes: &[u8]) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(bytes)?;
    stdout.flush()
}
