//! Slow disks, and disks that are nearly full.
//!
//! Slow: for an epoch the syncs of some peers take up to 400 milliseconds; now and
//! then one write stands still for up to five seconds. Nothing is lost by it,
//! but acknowledgements, votes and the commit of a leader that is slow alone
//! must wait for what they promise.
//!
//! Low on space: a peer is told so, and cuts its log as far as it may; followers
//! that come back later need a snapshot.
//!
//! What a disk loses when power fails stands in `faults/crash.rs`, a disk that is
//! full in `faults/full.rs`, one that is lost for good in `admin.rs`.

use rand::Rng;
use z4_consensus::replica::Input;

use super::Fault;
use crate::world::World;

/// The longest sync of a disk that is well, in milliseconds.
const SYNC_MS: u64 = 4;

impl World {
    pub(super) fn disk_epoch(&mut self) {
        let slow = self.about(Fault::SlowDisk);
        for peer in self.peers.values_mut() {
            peer.sync_ms = SYNC_MS;
            if slow && self.rng.gen() {
                peer.sync_ms = [40, 120, 400][self.rng.gen_range(0..3)];
            }
        }
    }

    /// The next write of a peer's log stands still.
    pub(super) fn disk_stall(&mut self, id: u64) {
        let stall_ms = self.rng.gen_range(500..5_000);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.stall_ms = stall_ms;
        }
    }

    /// A peer's disk runs low on space, or has room again.
    pub(super) fn low_space(&mut self, id: u64) {
        let low = self.rng.gen();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.space_low = low;
        }
        self.input(id, Input::SpaceLow(low));
        if low {
            self.saw("a peer was low on disk space");
        }
    }

    pub(super) fn heal_disks(&mut self) {
        for peer in self.peers.values_mut() {
            peer.sync_ms = SYNC_MS;
            peer.stall_ms = 0;
            peer.full = None;
            peer.space_low = false;
        }
        for id in self.up() {
            self.input(id, Input::SpaceLow(false));
        }
    }
}
