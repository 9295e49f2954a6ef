//! The errors of proposals, of reads and of a start, and the reasons that end a peer.
//! They are kept apart because callers act differently on each.

use crate::clocks::ClockFault;
use crate::gate::Refused;
use crate::level::UnknownLevel;
use crate::log::LogError;
use crate::membership::ChangeError;

/// Why a proposal, a change of members or a transfer did not (certainly) happen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another peer leads, or none: nothing was done. Ask the leader.
    #[error("this peer is not the leader")]
    NotLeader,
    /// The clock of this leader is wrong, or not known to be right yet: nothing was done. It
    /// hands over to a voter with a better clock, if there is one. Retry a moment later.
    #[error("the leader takes nothing in: {0}")]
    Clock(#[from] ClockFault),
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
    #[error(transparent)]
    Rejected(#[from] ChangeError),
    /// Nobody else could lead: nothing was done.
    #[error("there is no other voter that could lead")]
    NoOtherVoter,
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

/// Why a peer does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Log and state are not of the same peer, or one of them was lost.
    #[error("state is at index {state}, the log is cut at {cut} and committed to {commit}: they do not belong together")]
    Apart {
        /// What the state has applied.
        state: u64,
        /// Below which the log is cut.
        cut: u64,
        /// Up to which the log is committed.
        commit: u64,
    },
    /// The binary is too old for what the peer has, or too new.
    #[error(transparent)]
    Level(#[from] UnknownLevel),
    /// The algorithm refuses what the log holds.
    #[error(transparent)]
    Raft(#[from] raft::Error),
    /// The system has no thread for it.
    #[error("thread {name}: {source}")]
    Thread {
        /// Which thread.
        name: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Why a peer must stop: what it holds cannot be right.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StopReason {
    /// The log cannot be read.
    #[error("the raft log cannot be read: {0}")]
    Log(LogError),
    /// A committed entry, at this index, is not one of ours.
    #[error("entry {0} is unreadable")]
    Entry(u64),
    /// A committed change of members, at this index, is not one of ours.
    #[error("the change of members at index {0} is unreadable")]
    Change(u64),
    /// A committed entry, at this index, changes several members at once.
    #[error("entry {0} changes members jointly")]
    JointChange(u64),
    /// The algorithm refuses a committed change of members, with these words.
    #[error("{0}")]
    Raft(String),
    /// The cluster has risen to a level that the binary does not know.
    #[error(transparent)]
    Level(#[from] UnknownLevel),
    /// The log lacks what this peer acknowledged.
    #[error(transparent)]
    LogLost(Refused),
}
