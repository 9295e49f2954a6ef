//! Pauses.
//!
//! A process stands still (SIGSTOP, a machine that swaps): its threads do
//! nothing, its timers do not count, what is sent to it waits. When it goes on,
//! it believes that no time has passed until it reads its clocks.

use rand::Rng;

use crate::world::{World, MS};

impl World {
    pub(super) fn pause(&mut self, id: u64) {
        let longest_ms = [500, 2_500, 2_500, 20_000][self.rng.gen_range(0..4)];
        let pause_ns = self.rng.gen_range(50..longest_ms) * MS;
        let until_ns = self.now_ns + pause_ns;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.paused_until_ns = until_ns;
        if peer.run.as_ref().is_some_and(|run| run.leading) && pause_ns > 1_000 * MS {
            self.saw("a leader stood still beyond an election");
        }
    }

    pub(super) fn heal_pauses(&mut self) {
        for peer in self.peers.values_mut() {
            peer.paused_until_ns = 0;
        }
    }
}
