//! What goes wrong with proposals and reads. Kept apart because callers act
//! differently on each.

/// Why a proposal, a change of members or a transfer did not (certainly) happen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another peer leads, or none: nothing was done. Ask the leader.
    #[error("this peer is not the leader")]
    NotLeader,
    /// A queue is full: nothing was done. Retry after the delay.
    #[error("{what} is full; retry in {retry_after_ms} ms")]
    Busy {
        /// Which queue.
        what: &'static str,
        /// How long to wait at least.
        retry_after_ms: u64,
    },
    /// Another leader took the entry's place in the log: nothing was done.
    #[error("leadership was lost before the entry was committed; nothing was done")]
    Superseded,
    /// It may have been done, or may yet be.
    #[error("leadership was lost; the outcome is unknown")]
    Unknown,
    /// The entry would be larger than the limit: nothing was done.
    #[error("command of {bytes} bytes is above the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The change cannot be: nothing was done.
    #[error("{0}")]
    Rejected(String),
    /// This peer waits to be added to a cluster: nothing was done.
    #[error("this peer is not in a cluster yet; add it with add-peer at a member")]
    NotJoined,
    /// This peer was removed from its cluster: nothing was done.
    #[error("this peer was removed from its cluster; erase its directories and add it anew")]
    Removed,
    /// This peer is shutting down: nothing was done.
    #[error("this peer is shutting down")]
    Stopping,
}

/// Why a linearizable read could not be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed the read in time. Retry.
    #[error("no leader confirmed the read within {waited_ms} ms")]
    NoLeader {
        /// How long it was tried.
        waited_ms: u64,
    },
    /// Too many reads wait. Retry after a while.
    #[error("the queue of reads is full")]
    Busy,
    /// This peer waits to be added to a cluster.
    #[error("this peer is not in a cluster yet; add it with add-peer at a member")]
    NotJoined,
    /// This peer was removed from its cluster.
    #[error("this peer was removed from its cluster; erase its directories and add it anew")]
    Removed,
    /// This peer is shutting down.
    #[error("this peer is shutting down")]
    Stopping,
}
