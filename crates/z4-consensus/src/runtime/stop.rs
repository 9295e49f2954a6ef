//! How a peer ends when it must not go on.

use slog::{crit, Logger};

/// Ends the process: a write to stable storage failed, or what this peer holds cannot
/// be right. It neither retries nor unwinds, because other threads would go on serving
/// from a replica that has stopped.
pub(super) fn stop_process(logger: &Logger, what: &'static str, reason: &str) -> ! {
    crit!(logger, "peer must stop"; "what" => what, "reason" => reason);
    // The logger may be asynchronous; standard error is not.
    eprintln!("z4: peer must stop: {what}: {reason}");
    std::process::abort()
}
