//! Levels that members say they know, and the raise of that of the cluster by their leader.
//!
//! Every peer keeps in mind what the others have said, so that whoever leads next can
//! raise the level. What a member said counts while it answers and says it again: one that
//! is away may come back with an older binary. A member that starts anew opens new streams,
//! and says what its binary knows before it sends anything else.

use std::collections::BTreeMap;

use super::Replica;
use crate::level::{SaidLevels, UnknownLevel};
use crate::limits;
use crate::log::LogStore;
use crate::membership::{Change, Membership};
use crate::planted::planted;

/// See the module. The table has a row at most for each raft id that the gate lets in.
pub(super) struct Said {
    by_member: BTreeMap<u64, Row>,
    /// For how many ticks all members have known a greater level.
    settled_ticks: u64,
}

struct Row {
    said: SaidLevels,
    /// When it was said last, by the monotonic clock.
    at_ns: u64,
}

impl Said {
    /// A table in which this peer has said what its own binary knows.
    pub(super) fn new(own: u64, said: SaidLevels) -> Self {
        let row = Row { said, at_ns: 0 };
        Self {
            by_member: BTreeMap::from([(own, row)]),
            settled_ticks: 0,
        }
    }

    /// The members changed: forgets who left.
    pub(super) fn keep(&mut self, membership: &Membership) {
        self.by_member
            .retain(|id, _| !membership.removed.contains(id));
    }

    pub(super) fn by_member(&self) -> BTreeMap<u64, SaidLevels> {
        let rows = self.by_member.iter();
        rows.map(|(id, row)| (*id, row.said.clone())).collect()
    }
}

impl<L: LogStore, P> Replica<L, P> {
    /// A member, or this peer itself, says what its binary knows.
    pub(super) fn said_levels(&mut self, raft_id: u64, said: SaidLevels) {
        let at_ns = self.now.monotonic_ns;
        let table = &mut self.said.by_member;
        if table.len() < limits::FOUND_ADDRESS_COUNT_MAX || table.contains_key(&raft_id) {
            table.insert(raft_id, Row { said, at_ns });
        }
        self.said.keep(&self.membership);
    }

    /// The greatest level that all members know; `None`: one of them is silent, or holds
    /// the level.
    fn known_to_all(&self) -> Option<u32> {
        let now_ns = self.now.monotonic_ns;
        let span_ns = limits::LEVELS_SAID_FOR.as_nanos() as u64;
        let of_member = |id: &u64| {
            let is_own = *id == self.config.raft_id;
            let row = self.said.by_member.get(id);
            // A row that is old may be of an earlier binary, or of a stream that was slower
            // than the present one.
            let row = row.filter(|row| is_own || now_ns.saturating_sub(row.at_ns) <= span_ns);
            let Some(row) = row.filter(|_| is_own || self.alive(*id)) else {
                return planted!("level-of-the-silent").then_some(u32::MAX);
            };
            let is_held = row.said.is_held && !planted!("level-hold-unheard");
            (!is_held).then_some(row.said.levels.max)
        };
        let known = self.membership.members.keys().map(of_member);
        known.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// A leader raises the level when all members have known a greater one for a while.
    pub(super) fn raise_level(&mut self) {
        let is_busy = self.raw.raft.has_pending_conf() || self.raw.raft.lead_transferee.is_some();
        let level = match self.leads_by_log() && !is_busy {
            true => self.known_to_all(),
            false => None,
        };
        let Some(level) = level.filter(|level| *level > self.membership.level) else {
            self.said.settled_ticks = 0;
            return;
        };
        self.said.settled_ticks += 1;
        if self.said.settled_ticks >= limits::LEVEL_SETTLE_TICKS {
            // Tried again at the next tick if the log is full. No member comes in between:
            // one change is in the log at a time.
            let _ = self.append_change(&Change::SetLevel(level));
        }
    }

    /// The members that are known now have a level that the binary can serve, or the peer
    /// stops.
    pub(super) fn check_level(&mut self) {
        let (level, levels) = (self.membership.level, self.config.own.levels);
        if level > 0 && !levels.include(level) {
            self.stop(UnknownLevel { level, levels }.into());
        }
    }
}
