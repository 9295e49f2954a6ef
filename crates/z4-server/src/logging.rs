//! Structured logs on standard error: for people on a terminal, JSON elsewhere.
//!
//! Messages are constant; what varies stands in keys in snake_case.

use std::io::{stderr, IsTerminal};

use crate::limits;
use slog::{o, Drain, LevelFilter, Logger, Never};
use slog_async::{Async, AsyncGuard, OverflowStrategy};

/// The logger of this process. Lines are written by a thread of its own until
/// the guard is dropped.
pub(crate) fn start(debug: bool, peer_id: &str) -> (Logger, AsyncGuard) {
    if stderr().is_terminal() {
        let decorator = slog_term::TermDecorator::new().stderr().build();
        root(
            slog_term::FullFormat::new(decorator).build().fuse(),
            debug,
            peer_id,
        )
    } else {
        let json = slog_json::Json::new(stderr()).add_default_keys().build();
        root(json.fuse(), debug, peer_id)
    }
}

fn root(
    drain: impl Drain<Ok = (), Err = Never> + Send + 'static,
    debug: bool,
    peer_id: &str,
) -> (Logger, AsyncGuard) {
    let level = if debug {
        slog::Level::Debug
    } else {
        slog::Level::Info
    };
    let (queue, guard) = Async::new(drain)
        .chan_size(limits::LOG_QUEUE_LEN_MAX)
        .overflow_strategy(OverflowStrategy::DropAndReport)
        .thread_name("log-writer".to_owned())
        .build_with_guard();
    // Before the queue: a line that is not wanted must not wake the writer.
    let wanted = LevelFilter::new(queue, level);
    let logger = Logger::root(wanted.fuse(), o!("peer" => peer_id.to_owned()));
    (logger, guard)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use slog::{debug, info};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(debug_enabled: bool) -> String {
        let lines = Lines::default();
        let json = slog_json::Json::default(lines.clone());
        let (logger, guard) = root(json.fuse(), debug_enabled, "peer1");
        info!(logger, "became leader"; "term" => 3);
        debug!(logger, "detail");
        drop((logger, guard));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_carry_the_peer_and_debug_is_asked_for() {
        let quiet = logged(false);
        assert!(quiet.contains("\"peer\":\"peer1\""), "{quiet}");
        assert!(quiet.contains("\"term\":3"), "{quiet}");
        assert!(!quiet.contains("detail"), "{quiet}");
        assert!(logged(true).contains("detail"));
    }
}
