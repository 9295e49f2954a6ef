//! Which peer messages are let in.
//!
//! raft-rs believes any stranger: one message with a high term takes the
//! leadership, one with a high commit ends the process, a snapshot rewrites the
//! members. So every message passes here before `step`, after the transport has
//! checked cluster id and sender at the opening of its stream.

use raft::eraftpb::{ConfState, Message, MessageType};

use crate::limits;
use crate::membership::Membership;

/// What the gate compares a message with.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a> {
    /// This peer's raft id.
    pub raft_id: u64,
    /// This peer's term.
    pub term: u64,
    /// Last index of this peer's log.
    pub last_index: u64,
    /// Whether this peer leads.
    pub leads: bool,
    /// Whether entries of its log are not on stable storage yet.
    pub writes: bool,
    /// The members it knows; empty for a newcomer.
    pub membership: &'a Membership,
}

/// Why a message was not let in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Not from the member that the stream belongs to, or not to this peer.
    #[error("message is not from its stream's member, or not to this peer")]
    Misaddressed,
    /// The sender was removed, or never was a member.
    #[error("sender {0} is not a member")]
    NotMember(u64),
    /// A type that peers never send each other.
    #[error("message type {0:?} is not for peers")]
    Type(MessageType),
    /// A type that only a member this peer knows may send.
    #[error("message type {0:?} is for known members")]
    Stranger(MessageType),
    /// It would elect this peer before its log is durable.
    #[error("message type {0:?} comes before the log is durable")]
    Unasked(MessageType),
    /// A term too far ahead.
    #[error("term {0} is too far ahead")]
    Term(u64),
    /// Entries that do not follow each other, too many, or of a later term.
    #[error("entries are not a run that follows index {0}")]
    Entries(u64),
    /// An index beyond this peer's log in a place where that cannot be.
    #[error("index {0} is beyond the log")]
    Index(u64),
    /// A member knows that this peer had more of the log than it has: the log
    /// was lost. The peer must stop.
    #[error("a member counts on index {0}, which this peer acknowledged and no longer has: the log was lost; remove this peer and add it anew with empty directories")]
    LogLost(u64),
}

impl Gate<'_> {
    /// Lets in a message of the member `from`, or says why not.
    /// `with_snapshot` is whether it came with the files of a snapshot.
    ///
    /// # Errors
    /// [`Refused`]: drop the message; on [`Refused::LogLost`], stop the peer.
    pub fn admit(&self, from: u64, message: &Message, with_snapshot: bool) -> Result<(), Refused> {
        let kind = message.get_msg_type();
        if message.from != from || message.to != self.raft_id || from == self.raft_id {
            return Err(Refused::Misaddressed);
        }
        let known = self.known(from)?;
        if message.term == 0 || message.term > self.term.saturating_add(limits::TERM_AHEAD_MAX) {
            // A read index carries no term; all else does.
            let read = matches!(kind, MessageType::MsgReadIndex);
            if !(read && message.term == 0) {
                return Err(Refused::Term(message.term));
            }
        }
        let indexes = [
            message.index,
            message.commit,
            message.reject_hint,
            message.request_snapshot,
        ];
        if let Some(index) = indexes.into_iter().find(|i| *i > limits::INDEX_MAX) {
            return Err(Refused::Index(index));
        }
        match kind {
            MessageType::MsgAppend => self.check_append(message),
            MessageType::MsgHeartbeat => self.check_heartbeat(message, known),
            MessageType::MsgAppendResponse => self.check_append_response(message, known),
            MessageType::MsgSnapshot => self.check_snapshot(message, with_snapshot),
            MessageType::MsgRequestVote => {
                // A vote asked for in a transfer overrides the leader's lease.
                if known || message.context.is_empty() {
                    Ok(())
                } else {
                    Err(Refused::Stranger(kind))
                }
            }
            MessageType::MsgRequestPreVote => Ok(()),
            MessageType::MsgTimeoutNow
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVoteResponse => {
                if self.elects(kind) && self.writes {
                    Err(Refused::Unasked(kind))
                } else if known {
                    Ok(())
                } else {
                    Err(Refused::Stranger(kind))
                }
            }
            MessageType::MsgReadIndex => {
                // At most one hop: a follower does not pass it on.
                if known && self.leads && message.entries.len() == 1 {
                    Ok(())
                } else {
                    Err(Refused::Stranger(kind))
                }
            }
            MessageType::MsgReadIndexResp => {
                if known && message.entries.len() == 1 {
                    Ok(())
                } else {
                    Err(Refused::Stranger(kind))
                }
            }
            _ => Err(Refused::Type(kind)),
        }
    }

    /// Whether such a message can make this peer a leader on the spot. raft-rs
    /// asserts that all of its log is durable then, which is so when votes were
    /// asked for: the question leaves after the log. A single voter asks nobody.
    fn elects(&self, kind: MessageType) -> bool {
        match kind {
            // To a leader, the votes beyond a majority still come in.
            MessageType::MsgRequestVoteResponse => !self.leads,
            MessageType::MsgTimeoutNow => self.membership.voter_count() == 1,
            _ => false,
        }
    }

    /// Whether the sender is a member this peer knows; an error when it cannot
    /// be a member.
    fn known(&self, from: u64) -> Result<bool, Refused> {
        if from == 0 {
            return Err(Refused::NotMember(from));
        }
        if self.membership.members.contains_key(&from) {
            return Ok(true);
        }
        // A newcomer knows nobody; it was given its identity by a leader.
        if self.membership.members.is_empty() {
            return Ok(true);
        }
        let next = self.membership.raft_id_next;
        if (next..next.saturating_add(limits::UNKNOWN_AHEAD_MAX)).contains(&from) {
            return Ok(false);
        }
        Err(Refused::NotMember(from))
    }

    fn check_append(&self, message: &Message) -> Result<(), Refused> {
        let run = message.entries.len() <= limits::MESSAGE_ENTRY_COUNT_MAX
            && message.log_term <= message.term
            // raft-rs takes term 0 for that of any entry it does not have.
            && (message.log_term > 0 || message.index == 0)
            && message
                .entries
                .iter()
                .zip(message.index + 1..)
                .all(|(entry, index)| {
                    entry.index == index && entry.term <= message.term && entry.term > 0
                })
            && message
                .entries
                .windows(2)
                .all(|pair| pair[0].term <= pair[1].term);
        if run {
            Ok(())
        } else {
            Err(Refused::Entries(message.index))
        }
    }

    /// A leader tells a follower to commit what that follower has acknowledged.
    fn check_heartbeat(&self, message: &Message, known: bool) -> Result<(), Refused> {
        if message.commit <= self.last_index {
            return Ok(());
        }
        if known && message.term >= self.term && !self.membership.members.is_empty() {
            return Err(Refused::LogLost(message.commit));
        }
        Err(Refused::Index(message.commit))
    }

    fn check_append_response(&self, message: &Message, known: bool) -> Result<(), Refused> {
        if !known {
            return Err(Refused::Stranger(message.get_msg_type()));
        }
        // In the current term nobody has more than its leader.
        let ahead = !message.reject && message.index > self.last_index;
        if ahead && self.leads && message.term == self.term {
            return Err(Refused::Index(message.index));
        }
        Ok(())
    }

    fn check_snapshot(&self, message: &Message, with_snapshot: bool) -> Result<(), Refused> {
        let metadata = message.get_snapshot().get_metadata();
        let conf = metadata.get_conf_state();
        let includes_us =
            conf.voters.contains(&self.raft_id) || conf.learners.contains(&self.raft_id);
        if !with_snapshot || !includes_us || !is_plain(conf) {
            return Err(Refused::Type(MessageType::MsgSnapshot));
        }
        let in_range = (1..=limits::INDEX_MAX).contains(&metadata.index);
        if !in_range || metadata.term == 0 || metadata.term > message.term {
            return Err(Refused::Index(metadata.index));
        }
        Ok(())
    }
}

/// Whether these can be the members of a group that changes one at a time: some
/// vote, nobody is named twice, and nobody is on the way in or out. raft-rs ends
/// the process over anything else.
fn is_plain(conf: &ConfState) -> bool {
    let mut ids: Vec<u64> = conf.voters.iter().chain(&conf.learners).copied().collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    !conf.voters.is_empty()
        && ids.len() == count
        && ids.first() != Some(&0)
        && conf.voters_outgoing.is_empty()
        && conf.learners_next.is_empty()
        && !conf.auto_leave
}

#[cfg(test)]
mod tests;
