//! Signals, and the limit on stopping.

use std::io;
use std::thread;
use std::time::Duration;

use crate::limits;
use signal_hook::consts::{SIGINT, SIGTERM};
use slog::{crit, Logger};

/// SIGTERM and SIGINT, caught from the start on.
pub(crate) struct Signals(signal_hook::iterator::Signals);

/// Has this process stop in good order, as a first SIGTERM does. It counts for no signal, so
/// that the first one that comes meanwhile lets it stop in good order too.
#[derive(Clone)]
pub(crate) struct Stop(signal_hook::iterator::Handle);

impl Stop {
    /// Ends the wait for a signal, now or as soon as it begins.
    pub(crate) fn begin(&self) {
        self.0.close();
    }
}

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

    /// Gives what this process can stop itself by.
    pub(crate) fn stop(&self) -> Stop {
        Stop(self.0.handle())
    }

    /// Waits for a signal, and gives its name; or until this process stops by itself.
    pub(crate) fn wait(mut self) -> &'static str {
        self.0.forever().next().map_or("none", name)
    }
}

fn name(signal: i32) -> &'static str {
    if signal == SIGINT {
        "SIGINT"
    } else {
        "SIGTERM"
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_signal_while_it_stops_by_itself_is_the_first_one() {
        let signals = Signals::catch().unwrap();
        signals.stop().begin();
        assert_eq!(signals.wait(), "none");
        // A second one would end the process with exit code 1.
        signal_hook::low_level::raise(SIGTERM).unwrap();
    }
}
