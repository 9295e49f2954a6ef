//! The terminal while it shows one frame after the other: the alternate screen, without
//! echo. Dropped, it is as it was before.
//!
//! What steers the terminal is written here alone, past [`crate::show::Plain`], and what is
//! shown goes through that: nothing that came from outside commands the terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::termios::{
    tcgetattr, tcgetwinsize, tcsetattr, LocalModes, OptionalActions, SpecialCodeIndex, Termios,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::Error;
use crate::limits;

/// The alternate screen, no cursor, and lines that are cut at the edge.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";
const HOME: &[u8] = b"\x1b[H";
/// Whatever an earlier frame left behind on this line.
const CLEAR_LINE: &[u8] = b"\x1b[K";
/// The same below.
const CLEAR_BELOW: &[u8] = b"\x1b[J";

/// A terminal that is held. No two at a time.
pub(crate) struct Screen {
    /// The settings of the keyboard before; `None`: it is no terminal.
    before: Option<Termios>,
    is_ended: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal of standard output, and the keyboard if there is one.
    ///
    /// # Errors
    /// The system refuses to tell of signals, or the terminal takes nothing.
    pub(crate) fn open() -> Result<Self, Error> {
        let is_ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&is_ended))
                .map_err(|e| Error::Input(format!("signals cannot be caught: {e}")))?;
        }
        let screen = Self {
            before: keyboard(),
            is_ended,
        };
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

    /// Waits for a moment; `true`: somebody wants no more of it, by `q`, Ctrl-C or a signal.
    pub(crate) fn is_over_within(&self, span: Duration) -> bool {
        let by = Instant::now() + span;
        loop {
            let left = by.saturating_duration_since(Instant::now());
            let is_over = self.is_ended.load(Ordering::Acquire) || self.is_quit_within(left);
            if is_over || by <= Instant::now() {
                return is_over;
            }
        }
    }

    /// Whether `q` comes in; returns at the first key, and when a signal came.
    fn is_quit_within(&self, span: Duration) -> bool {
        if self.before.is_none() {
            std::thread::sleep(span);
            return false;
        }
        let stdin = std::io::stdin();
        let mut keys = [PollFd::new(&stdin, PollFlags::IN)];
        let timeout = Timespec::try_from(span).ok();
        match poll(&mut keys, timeout.as_ref()) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
        let mut typed = [0; 16];
        match rustix::io::read(&stdin, &mut typed) {
            // The keyboard is gone, and nobody can end it by a key.
            Ok(0) => true,
            Ok(count) => typed[..count].contains(&b'q'),
            Err(_) => false,
        }
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
