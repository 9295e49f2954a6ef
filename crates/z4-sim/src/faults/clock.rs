//! Wall clocks.
//!
//! - Jumps: up to 3 seconds in either direction, now and then 20, at one peer.
//! - Drift: for an epoch the clock of each peer is up to one percent fast or
//!   slow.
//!
//! Monotonic clocks are left alone: nothing that is promised hangs on them. When
//! the faults end all clocks are right again; machine time, which never goes
//! back, may be ahead of them, and the time to settle is counted from there.

use rand::Rng;

use super::Fault;
use crate::world::{World, MS};

/// Most that a clock is ever off, in nanoseconds.
const OFF_NS_MAX: i64 = 30_000 * MS as i64;

impl World {
    pub(super) fn clock_epoch(&mut self) {
        let drifts = self.about(Fault::ClockDrift);
        let now_ns = self.now_ns;
        for peer in self.peers.values_mut() {
            // What it is off by now stays; from here on it runs at another pace.
            peer.skew_ns = peer.clock_off_ns(now_ns);
            peer.drift_from_ns = now_ns;
            peer.drift_ppm = if drifts {
                self.rng.gen_range(-10_000..10_000)
            } else {
                0
            };
        }
    }

    pub(super) fn clock_jump(&mut self, id: u64) {
        let most_ms = if self.rng.gen_range(0..10) == 0 {
            20_000
        } else {
            3_000
        };
        let jump_ns = self.rng.gen_range(-most_ms..most_ms) * MS as i64;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.skew_ns = (peer.skew_ns + jump_ns).clamp(-OFF_NS_MAX, OFF_NS_MAX);
        if jump_ns < 0 && peer.run.as_ref().is_some_and(|run| run.leading) {
            self.saw("the clock of a leader stepped back");
        }
    }

    pub(super) fn heal_clocks(&mut self) {
        for peer in self.peers.values_mut() {
            peer.skew_ns = 0;
            peer.drift_ppm = 0;
        }
    }
}
