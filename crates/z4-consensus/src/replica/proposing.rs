//! Proposals: packing, stamping, appending.

use raft::eraftpb::EntryType;

use super::{Answer, Replica, Waiting};
use crate::error::ProposeError;
use crate::log::{LogError, LogStore, Position};
use crate::planted::planted;
use crate::proposals::{pack, Asked, Envelope, Pack};

impl<L: LogStore, P> Replica<L, P> {
    pub(super) fn propose(&mut self, asked: Vec<Asked<P>>) {
        // In a transfer raft-rs drops proposals: the next leader will take them.
        if !self.leads() || self.raw.raft.lead_transferee.is_some() {
            for Asked { token, .. } in asked {
                self.work
                    .answers
                    .push(Answer::Propose(token, ProposeError::NotLeader));
            }
            return;
        }
        if let Some(fault) = self.clock_fault() {
            let answers = &mut self.work.answers;
            let refused = |asked: Asked<P>| Answer::Propose(asked.token, fault.into());
            return answers.extend(asked.into_iter().map(refused));
        }
        for pack in pack(asked) {
            self.propose_entry(pack);
        }
    }

    fn propose_entry(&mut self, Pack { commands, tokens }: Pack<P>) {
        // The one place where a clock is read for tasks: strictly rising along
        // the log, whatever the clocks of its leaders do.
        let stamp_ns = if planted!("stamp-by-clock") {
            self.now.wall_ns
        } else {
            self.now.wall_ns.max(self.stamp_ns + 1)
        };
        let data = Envelope { stamp_ns, commands }.encode();
        if self.raw.propose(Vec::new(), data).is_err() {
            // Too much is uncommitted: followers do not keep up.
            let what = "the log of uncommitted entries";
            for (token, _) in tokens {
                let busy = ProposeError::Busy {
                    what,
                    retry_after_ms: 200,
                };
                self.work.answers.push(Answer::Propose(token, busy));
            }
            return;
        }
        self.stamp_ns = stamp_ns;
        let position = self.end_of_log();
        self.work.waiting.push(Waiting {
            position,
            stamp_ns,
            tokens,
        });
    }

    /// Position of the entry that was just appended.
    pub(super) fn end_of_log(&self) -> Position {
        let raft = &self.raw.raft;
        Position {
            index: raft.raft_log.last_index(),
            term: raft.term,
        }
    }
}

/// The greatest stamp of a log: that of its last entry that has one, since
/// stamps rise along the log.
pub(super) fn greatest_stamp<L: LogStore>(
    log: &L,
    cut: Position,
    last: Position,
) -> Result<u64, LogError> {
    let mut index = last.index;
    while index > cut.index {
        for entry in log.entries(index, index + 1, u64::MAX)? {
            let stamped =
                entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty();
            if stamped {
                return Envelope::stamp(&entry.data).ok_or_else(|| {
                    LogError::Damaged(format!("entry {index} has no readable envelope"))
                });
            }
        }
        index -= 1;
    }
    Ok(0)
}
