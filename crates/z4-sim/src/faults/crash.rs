//! Crashes.
//!
//! - Power loss: the process is gone, and with it all that was written and not
//!   synced, but for a prefix that the disk got round to; of a write that was
//!   under way a part may be there, which a start finds by its checksum and
//!   drops. The state keeps what was flushed.
//! - Death of the process (kill -9): what was written to the log survives, the
//!   state keeps what was flushed.
//! - Blackout: power loss at all peers at once.
//!
//! A crash comes between any two events, so between any two durable steps: the
//! write of a group and its sync, a flush and the cut of the log, the switch of
//! a snapshot and the reset of the log (`install.rs`).

use rand::Rng;

use crate::disk::Tear;
use crate::world::{Event, World};

impl World {
    pub(super) fn crash_fault(&mut self, id: u64) {
        self.crash(id);
        let longest_ms = [400, 2_000, 15_000][self.rng.gen_range(0..3)];
        self.within(20, longest_ms, Event::Restart(id));
    }

    pub(crate) fn kill_fault(&mut self, id: u64) {
        if self.calm() {
            return;
        }
        self.die(id);
        self.within(20, 1_000, Event::Restart(id));
    }

    pub(super) fn blackout(&mut self, ids: &[u64]) {
        for id in ids {
            self.crash(*id);
            self.within(20, 800, Event::Restart(*id));
        }
        self.saw("all peers lost power at once");
    }

    /// Power loss at a peer.
    pub(crate) fn crash(&mut self, id: u64) {
        let writing = self.peers.get(&id).and_then(|p| p.run.as_ref()?.writing);
        let Some((unsynced, leads)) = self.falls(id) else {
            return;
        };
        let kept = self.rng.gen_range(0..=unsynced);
        // Only what was being written can be there in part.
        let under_way = writing.is_some_and(|group| kept >= group.before);
        let tear = (under_way && self.rng.gen()).then(|| Tear(self.rng.gen()));
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let lost = peer.crash(kept, tear);
        self.trace.note(
            self.now_ns,
            format_args!("crash {id}, {kept} of {unsynced} unsynced writes kept, {tear:?}"),
        );
        if leads && lost > 0 {
            self.saw("a leader lost a tail that was not synced");
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if self.options.planted("disk-loses-synced") {
            peer.log.forget(self.rng.gen_range(5..40));
        }
        self.check_crashed(id);
    }

    /// Death of a peer's process.
    pub(crate) fn die(&mut self, id: u64) {
        let Some((unsynced, _)) = self.falls(id) else {
            return;
        };
        self.trace.note(self.now_ns, format_args!("kill {id}"));
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.crash(unsynced, None);
        }
        self.check_crashed(id);
    }

    /// A peer that runs is about to stop running: how many writes of its log are
    /// not synced, and whether it leads.
    pub(super) fn falls(&mut self, id: u64) -> Option<(usize, bool)> {
        let peer = self.peers.get(&id)?;
        let run = peer.run.as_ref()?;
        let (unsynced, leads) = (peer.log.unsynced(), run.leading);
        let changing = run.change_in_flight;
        if leads && changing {
            self.saw("a leader crashed with a change of members on its way");
        }
        self.report.crashes += 1;
        self.consumers_end(id);
        Some((unsynced, leads))
    }
}
