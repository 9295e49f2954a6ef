//! What a peer promises to others is on its stable storage before it is sent.

use raft::eraftpb::{Message, MessageType};
use z4_consensus::log::Position;

use crate::disk::SimLog;

/// Checks a message that is about to be sent. `term`: that of the entry at the
/// message's index as the sender has it, written or still to be written; what
/// stands there on stable storage may be what this entry replaces.
pub(crate) fn check(log: &SimLog, message: &Message, term: Option<u64>) -> Result<(), String> {
    let acked = Position {
        index: message.index,
        term: term.unwrap_or_default(),
    };
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
    if acks && !log.has_synced(acked) {
        return Err(format!(
            "entry {} of term {} is acknowledged before it is synced",
            acked.index, acked.term
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::HardState;
    use z4_consensus::log::{LogStore as _, LogWrite};
    use z4_consensus::log_contract::entry;

    use super::*;

    #[test]
    fn an_entry_that_replaces_another_is_acknowledged_when_it_is_synced_itself() {
        let log = SimLog::new();
        let write = |term: u64, sync| {
            let written = log.write(&LogWrite {
                entries: vec![entry(1, term, 3)],
                hard_state: None,
                sync,
            });
            assert!(written.is_ok());
        };
        let mut ack = Message::new();
        ack.set_msg_type(MessageType::MsgAppendResponse);
        ack.index = 1;
        write(1, true);
        assert!(check(&log, &ack, Some(1)).is_ok());
        assert!(check(&log, &ack, Some(2)).is_err(), "not yet written");
        write(2, false);
        assert!(check(&log, &ack, Some(2)).is_err(), "not yet synced");
        log.sync();
        assert!(check(&log, &ack, Some(2)).is_ok());
    }

    /// The acknowledgement waited for its sync, and the leader of a later term has
    /// cut the entry off meanwhile, which is not synced.
    #[test]
    fn an_entry_that_a_later_leader_replaces_was_acknowledged_all_the_same() {
        let log = SimLog::new();
        let write = |last: u64, term: u64, sync| {
            let hard_state = HardState {
                term,
                ..HardState::default()
            };
            let written = log.write(&LogWrite {
                entries: (1..=last).map(|index| entry(index, term, 3)).collect(),
                hard_state: Some(hard_state),
                sync,
            });
            assert!(written.is_ok());
        };
        write(3, 1, true);
        write(2, 2, false);
        assert_eq!(log.term_written(3, 1), Some(1));
        assert_eq!(log.term_written(3, 2), None);
        let mut ack = Message::new();
        ack.set_msg_type(MessageType::MsgAppendResponse);
        (ack.index, ack.term) = (3, 1);
        let term = log.term_written(ack.index, ack.term);
        assert!(check(&log, &ack, term).is_ok());
    }
}
