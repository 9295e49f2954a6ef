//! A leader whose clock is wrong does not stamp, and hands over: see
//! [`clocks`](crate::clocks).

use raft::StateRole;

use super::Replica;
use crate::clocks::{ClockFault, ClockLimit, Clocks, Measured};
use crate::limits;
use crate::log::LogStore;
use crate::planted::planted;

/// The clocks of the members, and what follows for this one.
pub(super) struct Clock {
    clocks: Clocks,
    /// As of the last measure, the last change of members and the last tick.
    limit: ClockLimit,
    /// When another voter was asked last to take over, by the monotonic clock.
    handed_over_ns: Option<u64>,
}

impl Clock {
    pub(super) fn new(max_offset_ns: u64) -> Self {
        Self {
            clocks: Clocks::new(max_offset_ns),
            limit: ClockLimit::UNMEASURED,
            handed_over_ns: None,
        }
    }
}

impl<L: LogStore, P> Replica<L, P> {
    /// The clock of a member was measured.
    pub(super) fn clock_measured(&mut self, raft_id: u64, measured: Measured) {
        if self.membership.members.contains_key(&raft_id) {
            self.clock.clocks.heard(raft_id, measured);
            self.limit_clock();
        }
    }

    /// Finds out anew what the own clock may show.
    pub(super) fn limit_clock(&mut self) {
        let clock = &mut self.clock;
        clock.clocks.keep(&self.membership);
        let own = self.config.raft_id;
        clock.limit = clock.clocks.limit(own, &self.membership, self.now);
    }

    /// How far the wall clock of this peer may be ahead of its monotonic clock for it to stamp,
    /// if it leads, and to tell others what its clock shows.
    #[must_use]
    pub fn clock_limit(&self) -> ClockLimit {
        match planted!("clock-unheeded") {
            true => ClockLimit::FREE,
            false => self.clock.limit,
        }
    }

    /// The clocks of the other members, as measured lately.
    pub(super) fn clocks(&self) -> &Clocks {
        &self.clock.clocks
    }

    pub(super) fn may_stamp(&self) -> bool {
        self.clock_limit().allows(self.now)
    }

    /// The reason for which this leader does not stamp.
    pub(super) fn clock_fault(&self) -> Option<ClockFault> {
        let is_wrong = self.leads() && !self.may_stamp();
        is_wrong.then(|| self.clock.clocks.fault(self.clock.limit, self.now))
    }

    /// With each tick: measures grow old, and a leader whose clock is wrong hands over to a
    /// voter that has all but the end of its log and a better clock. If there is none it waits,
    /// for one of the clocks to be set.
    pub(super) fn mind_clock(&mut self) {
        self.limit_clock();
        let is_ahead = matches!(self.clock_fault(), Some(ClockFault::Ahead { .. }));
        if !is_ahead {
            self.clock.handed_over_ns = None;
            return;
        }
        let now_ns = self.now.monotonic_ns;
        let again_ns = limits::CLOCK_HAND_OVER_AGAIN.as_nanos() as u64;
        let is_soon = |at_ns: u64| now_ns.saturating_sub(at_ns) < again_ns;
        let is_under_way = self.raw.raft.lead_transferee.is_some();
        if is_under_way || self.clock.handed_over_ns.is_some_and(is_soon) {
            return;
        }
        let last_index = self.raw.raft.raft_log.last_index();
        let may_lead = |id: u64| {
            let progress = self.raw.raft.prs().get(id);
            self.alive(id)
                && progress.is_some_and(|p| p.matched + limits::PROMOTE_LAG_MAX >= last_index)
        };
        let own = self.config.raft_id;
        let heir = self
            .clock
            .clocks
            .heir(own, &self.membership, self.now, may_lead);
        if let Some(heir) = heir {
            self.clock.handed_over_ns = Some(now_ns);
            self.raw.transfer_leader(heir);
        }
    }

    /// Tells whether this peer leads and must not stamp: then no tick is slept through.
    pub(super) fn has_wrong_clock(&self) -> bool {
        self.raw.raft.state == StateRole::Leader && !self.may_stamp()
    }

    /// The voter that this leader has asked to take over for its clock, if it has just now.
    #[must_use]
    pub fn handing_over_for_clock(&self) -> Option<u64> {
        let asked = self.raw.raft.lead_transferee;
        asked.filter(|_| self.clock.handed_over_ns.is_some())
    }
}
