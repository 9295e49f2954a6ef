//! What is made of log and state at start.
//!
//! The two stores are written apart, so a crash can leave them at different
//! places. Some differences are the trace of a crash between two steps and are
//! mended; all others mean that one of them was lost, and the peer must not go
//! on: it would undo what it acknowledged.

use std::path::Path;

use raft::eraftpb::HardState;
use slog::{info, Logger};
use z4_consensus::log::{LogError, LogStore, LogWrite, Position};

use crate::bound::Bound;
use crate::error::StorageError;
use crate::peer_dir::PeerDir;
use crate::raft_log::RaftLog;

/// Log and state as they were found.
pub(crate) struct Halves<'a> {
    pub log: &'a RaftLog,
    /// Where the state stands.
    pub applied: Position,
    /// Where the state began: the position of the snapshot that was installed.
    pub installed_at: Position,
    pub peer_dir: &'a PeerDir,
    pub db_dir: &'a Path,
    pub logger: &'a Logger,
}

/// Checks that the log still has what it had at least.
pub(crate) fn check_bound(
    log: &RaftLog,
    bound: &Bound,
    peer_dir: &PeerDir,
) -> Result<(), StorageError> {
    let failed = |e| match e {
        LogError::Damaged(what) => peer_dir.quarantine(&what),
        failed @ LogError::Failed(_) => StorageError::log(peer_dir.log_path(), failed),
    };
    let hard_state = log.hard_state().map_err(failed)?;
    let forgot_vote =
        hard_state.term == bound.term && bound.vote != 0 && hard_state.vote != bound.vote;
    if hard_state.term < bound.term || forgot_vote {
        return Err(peer_dir.quarantine(&format!(
            "the raft log lost its term or vote: it is in term {}, vote {}, and was in term {}, vote {}",
            hard_state.term, hard_state.vote, bound.term, bound.vote
        )));
    }
    let cut = log.cut().map_err(failed)?;
    let promised = bound.last;
    if cut.index >= promised.index
        || log.term(promised.index).map_err(failed)? == Some(promised.term)
    {
        return Ok(());
    }
    let last = log.last().map_err(failed)?;
    Err(peer_dir.quarantine(&format!(
        "the raft log lost entries: it ends at entry {} of term {}, and held entry {} of term {}",
        last.index, last.term, promised.index, promised.term
    )))
}

/// Brings log and state to where raft can go on, or says why that cannot be.
pub(crate) fn reconcile(halves: &Halves<'_>) -> Result<(), StorageError> {
    let failed = |e| StorageError::log(halves.peer_dir.log_path(), e);
    let cut = halves.log.cut().map_err(failed)?;
    let last = halves.log.last().map_err(failed)?;
    let hard_state = halves.log.hard_state().map_err(failed)?;
    let applied = halves.applied;

    if applied.index < cut.index {
        return Err(StorageError::StateLost {
            dir: halves.db_dir.to_owned(),
            reason: format!(
                "the task state stands at entry {}, and the raft log begins behind entry {}",
                applied.index, cut.index
            ),
        });
    }
    if halves.log.term(applied.index).map_err(failed)? != Some(applied.term) {
        // Between installing a snapshot and resetting the log nothing is
        // applied: such a state stands exactly where it began.
        if applied != halves.installed_at {
            return Err(halves.peer_dir.quarantine(&format!(
                "the raft log, up to entry {} of term {}, does not have entry {} of term {} that the task \
                 state has applied",
                last.index, last.term, applied.index, applied.term
            )));
        }
        info!(halves.logger, "finishing the installation of a snapshot that was interrupted";
            "index" => applied.index, "term" => applied.term);
        return halves
            .log
            .reset(applied, &caught_up(&hard_state, applied))
            .map_err(failed);
    }
    if hard_state.commit > last.index {
        return Err(halves.peer_dir.quarantine(&format!(
            "the raft log ends at entry {}, and entry {} was committed",
            last.index, hard_state.commit
        )));
    }
    if hard_state.commit < applied.index {
        // The commit index need not be durable before what it covers is
        // applied; what is applied was committed.
        let write = LogWrite {
            entries: Vec::new(),
            hard_state: Some(caught_up(&hard_state, applied)),
            sync: true,
        };
        return halves.log.write(&write).map_err(failed);
    }
    Ok(())
}

/// The hard state, of `applied` at least. In a term that was not known before
/// no vote was given.
fn caught_up(hard_state: &HardState, applied: Position) -> HardState {
    let mut next = hard_state.clone();
    if next.term < applied.term {
        next.term = applied.term;
        next.vote = 0;
    }
    next.commit = next.commit.max(applied.index);
    next
}
