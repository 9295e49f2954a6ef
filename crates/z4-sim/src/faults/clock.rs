//! Wall clocks.
//!
//! - Jumps: half a second in either direction, often up to 3 seconds, now and
//!   then 20, at one peer. In one run of twenty (`Options::hours`) also up to an
//!   hour: rarely, for machine time that has followed such a jump stands still
//!   once the clock is right again, and little happens meanwhile.
//! - Drift: for an epoch the clock of each peer is up to ten percent fast or
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
/// The same in a run with jumps of an hour.
const OFF_NS_MAX_HOURS: i64 = 3_600_000 * MS as i64;
/// Most that a clock is fast or slow, in parts of a million.
const DRIFT_PPM_MAX: i64 = 100_000;
/// No clock jumps by an hour before: until then namespaces may have their first
/// settings, which remember requests for less.
const HOURS_FROM_NS: u64 = 20_000 * MS;

impl World {
    pub(super) fn clock_epoch(&mut self) {
        let drifts = self.about(Fault::ClockDrift);
        let (now_ns, most_ns) = (self.now_ns, self.off_ns_max());
        for peer in self.peers.values_mut() {
            // What it is off by now stays; from here on it runs at another pace.
            peer.skew_ns = peer.clock_off_ns(now_ns).clamp(-most_ns, most_ns);
            peer.drift_from_ns = now_ns;
            peer.drift_ppm = if drifts {
                self.rng.gen_range(-DRIFT_PPM_MAX..DRIFT_PPM_MAX)
            } else {
                0
            };
        }
    }

    fn off_ns_max(&self) -> i64 {
        if self.options.hours {
            OFF_NS_MAX_HOURS
        } else {
            OFF_NS_MAX
        }
    }

    pub(super) fn clock_jump(&mut self, id: u64) {
        let by_hours = self.options.hours && self.now_ns > HOURS_FROM_NS && self.one_in(4);
        let most_ms: i64 = match self.rng.gen_range(0..10) {
            _ if by_hours => 3_600_000,
            0 => 20_000,
            1..=3 => 500,
            _ => 3_000,
        };
        let jump_ns = self.rng.gen_range(-most_ms..most_ms) * MS as i64;
        let most_ns = self.off_ns_max();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.skew_ns = (peer.skew_ns + jump_ns).clamp(-most_ns, most_ns);
        if by_hours {
            self.saw("a clock jumped by up to an hour");
        }
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
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
