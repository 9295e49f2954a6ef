//! What a peer promises to others is on its stable storage before it is sent.

use raft::eraftpb::{Message, MessageType};

use crate::disk::SimLog;

/// Checks a message that is about to be sent.
pub(crate) fn check(log: &SimLog, message: &Message) -> Result<(), String> {
    let kind = message.get_msg_type();
    let hard_state = log.synced_hard_state();
    let (term, synced_term) = (message.term, hard_state.term);
    // These promise nothing: they only ask, or name a term that is not yet.
    let asks = matches!(
        kind,
        MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
            | MessageType::MsgReadIndex
    );
    if asks {
        return Ok(());
    }
    if synced_term < term {
        return Err(format!(
            "{kind:?} of term {term} leaves before the term is synced ({synced_term})"
        ));
    }
    if synced_term > term {
        // A later term is promised already; the message is stale.
        return Ok(());
    }
    let votes_for = match kind {
        MessageType::MsgRequestVote => Some(message.from),
        MessageType::MsgRequestVoteResponse if !message.reject => Some(message.to),
        _ => None,
    };
    if votes_for.is_some_and(|id| id != hard_state.vote) {
        return Err(format!("a vote of term {term} leaves before it is synced"));
    }
    let acks = kind == MessageType::MsgAppendResponse && !message.reject;
    if acks && !log.is_synced(message.index) {
        return Err(format!(
            "entry {} is acknowledged before it is synced",
            message.index
        ));
    }
    Ok(())
}
