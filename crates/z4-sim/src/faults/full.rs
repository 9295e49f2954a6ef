//! Disks that are full.
//!
//! The next write of a peer's log, or of its state, fails for want of space. A
//! peer in production ends on that: it cannot know what is on its disk, and
//! finds out when it starts again. So here: of the steps that failed none, some
//! or all are there, the last of them perhaps in part; of the state, what was
//! applied is there or not. What was written before is untouched. The peer
//! starts again a little later, low on space, and now and then the next write
//! fails again.

use rand::Rng;
use z4_consensus::machine::StateMachine as _;

use crate::disk::Tear;
use crate::world::{Event, World};

/// Which write of a peer is to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// A group of writes of the log.
    Log,
    /// The state, when entries are applied to it or it is flushed.
    State,
}

impl World {
    /// The next write of a peer fails.
    pub(super) fn disk_full(&mut self, id: u64) {
        let full = if self.rng.gen() {
            Full::Log
        } else {
            Full::State
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.full = Some(full);
        }
    }

    /// Whether this write of a peer fails now.
    pub(crate) fn is_full(&mut self, id: u64, what: Full) -> bool {
        let peer = self.peers.get_mut(&id);
        peer.is_some_and(|peer| peer.full.take_if(|full| *full == what).is_some())
    }

    /// A group of writes of the log failed; `before` steps were there already.
    pub(crate) fn log_write_failed(&mut self, id: u64, before: usize) {
        let Some((unsynced, _)) = self.falls(id) else {
            return;
        };
        let kept = self.rng.gen_range(before.min(unsynced)..=unsynced);
        let tear = self.rng.gen::<bool>().then(|| Tear(self.rng.gen()));
        self.trace
            .note(self.now_ns, format_args!("the log of {id} finds no space"));
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.crash(kept, tear);
        }
        self.check_crashed(id);
        self.comes_back_low(id);
    }

    /// A write of the state failed.
    pub(crate) fn state_write_failed(&mut self, id: u64) {
        self.trace.note(
            self.now_ns,
            format_args!("the state of {id} finds no space"),
        );
        let there = self.rng.gen();
        let run = self.peers.get(&id).and_then(|p| p.run.as_ref());
        if let Some(run) = run.filter(|_| there) {
            if let Err(error) = run.machine.flusher()() {
                return self.fail(format!("peer {id}: {}", error.0));
            }
        }
        self.die(id);
        self.comes_back_low(id);
    }

    fn comes_back_low(&mut self, id: u64) {
        let again = self.one_in(4);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.space_low = true;
        }
        if again {
            self.disk_full(id);
        }
        self.within(200, 6_000, Event::Restart(id));
    }
}
