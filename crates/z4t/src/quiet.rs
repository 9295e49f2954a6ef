//! gRPC's own words on standard error. It writes a line for each handshake of TLS that
//! fails, and z4t says in its one line what is wrong.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

const VERBOSITY: &str = "GRPC_VERBOSITY";

static IS_SET: AtomicBool = AtomicBool::new(false);

/// Keeps gRPC silent, unless the environment says what it is to write. To be called before
/// there is a second thread.
pub(crate) fn keep() {
    if std::env::var_os(VERBOSITY).is_none() {
        std::env::set_var(VERBOSITY, "NONE");
        IS_SET.store(true, Ordering::Relaxed);
    }
}

/// Gives a command the environment that z4t was given.
pub(crate) fn not_for(command: &mut Command) {
    if IS_SET.load(Ordering::Relaxed) {
        command.env_remove(VERBOSITY);
    }
}
