//! The audit of what is hard to undo, or changes who may do what: a line in the log of
//! the peer that was asked.

use grpcio::RpcStatusCode;
use slog::{info, Logger};

use super::admit::Audited;
use super::caller::Caller;
use super::table::Method;

/// A call that was answered.
pub(crate) struct Done {
    pub audited: Audited,
    /// The other end of the connection, as gRPC calls it.
    pub from: String,
    pub method: Method,
    pub code: RpcStatusCode,
    /// The commit index when the call was answered: the entry that did it, if one did, stands
    /// there or before.
    pub commit_index: u64,
}

/// Notes who called a method, from where, on what, and what came of it.
pub(crate) fn note(logger: &Logger, done: &Done) {
    let who = done.audited.caller.as_ref().map_or("anybody", Caller::name);
    info!(logger, "audit"; "who" => who, "from" => &done.from, "method" => done.method.name(),
        "on" => &done.audited.about, "outcome" => done.code.to_string(),
        "commit_index" => done.commit_index);
}
