//! Signals, and the limit on stopping.

use std::io;
use std::thread;
use std::time::Duration;

use crate::limits;
use signal_hook::consts::{SIGINT, SIGTERM};
use slog::{crit, Logger};

/// SIGTERM and SIGINT, caught from the start on.
pub(crate) struct Signals(signal_hook::iterator::Signals);

impl Signals {
    /// Catches the signals: from here on they do not end the process by
    /// themselves.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn catch() -> io::Result<Self> {
        // A second signal while the peer stops ends it at once; what is not
        // flushed is in the log.
        let stopping = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_conditional_shutdown(signal, 1, stopping.clone())?;
            signal_hook::flag::register(signal, stopping.clone())?;
        }
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map(Self)
    }

    /// The name of a signal that has come, if one has.
    pub(crate) fn came(&mut self) -> Option<&'static str> {
        self.0.pending().next().map(name)
    }

    /// Waits for a signal; its name.
    pub(crate) fn wait(mut self) -> &'static str {
        self.0.forever().next().map_or("SIGTERM", name)
    }
}

fn name(signal: i32) -> &'static str {
    if signal == SIGINT {
        "SIGINT"
    } else {
        "SIGTERM"
    }
}

/// Has this process stop in good order, as SIGTERM does.
pub(crate) fn begin(logger: &Logger) {
    if let Err(error) = signal_hook::low_level::raise(SIGTERM) {
        crit!(logger, "cannot stop by itself, stop it by hand"; "error" => error.to_string());
    }
}

/// Ends the process should stopping take too long: every acknowledged write is
/// in the log, and a supervisor that waits for ever helps nobody.
pub(crate) fn limit(logger: &Logger) {
    let logger = logger.clone();
    thread::spawn(move || {
        thread::sleep(limits::STOP_TIME);
        crit!(logger, "stopping took too long, ending at once");
        // The log has a thread of its own, which needs a moment.
        thread::sleep(Duration::from_millis(100));
        std::process::exit(1);
    });
}
