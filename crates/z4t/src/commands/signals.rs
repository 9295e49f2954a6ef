//! What SIGINT and SIGTERM do to a consumer.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use z4_client::Shutdown;

use super::endings::say;
use super::exec::Running;
use crate::error::Error;
use crate::limits::KILL_AFTER;

/// How far the signals have come.
#[derive(Default)]
pub(super) struct Signals {
    /// The signal that ended the commands; 0: none did.
    ended_by: AtomicU8,
}

impl Signals {
    /// The signal that ended the commands.
    pub(super) fn ended_by(&self) -> Option<u8> {
        Some(self.ended_by.load(Ordering::Acquire)).filter(|signal| *signal > 0)
    }

    /// From now on, the first signal takes no more tasks and waits for what runs;
    /// the second ends the commands, so that their tasks are given back; the third
    /// ends the process at once. Without commands the second does.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn catch(
        shutdown: Shutdown,
        running: Option<Arc<Running>>,
    ) -> Result<Arc<Self>, Error> {
        let refuse = |e| Error::Input(format!("signals cannot be caught: {e}"));
        let at_once = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            let code = 128 | signal;
            signal_hook::flag::register_conditional_shutdown(signal, code, at_once.clone())
                .map_err(refuse)?;
        }
        let caught = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]);
        let mut caught = caught.map_err(refuse)?;
        let signals = Arc::new(Self::default());
        let told = Arc::clone(&signals);
        let watch = move || {
            let mut caught = caught.forever();
            if caught.next().is_none() {
                return;
            }
            shutdown.begin();
            let Some(running) = running else {
                return at_once.store(true, Ordering::Release);
            };
            match running.count() {
                0 => say("no more tasks are taken, and no command runs"),
                count => say(&format!(
                    "no more tasks are taken; {count} commands run and are waited for. \
                     A second SIGINT (Ctrl-C) or SIGTERM ends them and gives their tasks back"
                )),
            }
            if let Some(signal) = caught.next() {
                told.ended_by
                    .store(u8::try_from(signal).unwrap_or(1), Ordering::Release);
                at_once.store(true, Ordering::Release);
                say(&format!(
                    "{} commands are ended: SIGTERM, and SIGKILL {} s later",
                    running.count(),
                    KILL_AFTER.as_secs()
                ));
                running.end();
            }
        };
        let thread = thread::Builder::new().name("z4t-signals".into());
        thread.spawn(watch).map_err(refuse)?;
        Ok(signals)
    }
}
