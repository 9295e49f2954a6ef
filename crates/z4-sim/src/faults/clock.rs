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
use crate::peer::Peer;
use crate::world::{World, MS};

/// Most that a clock is ever off, in nanoseconds.
const OFF_NS_MAX: i64 = 30_000 * MS as i64;
/// The same in a run with jumps of an hour.
const OFF_NS_MAX_HOURS: i64 = 3_600_000 * MS as i64;
/// Most that a clock is fast or slow, in parts of a million.
const DRIFT_PPM_MAX: i64 = 100_000;
/// Changes of a clock that are remembered.
const CLOCK_WAS_MAX: usize = 64;
/// No clock jumps by an hour before: until then namespaces may have their first
/// settings, which remember requests for less.
const HOURS_FROM_NS: u64 = 20_000 * MS;

impl World {
    pub(super) fn clock_epoch(&mut self) {
        let drifts = self.about(Fault::ClockDrift);
        let (now_ns, most_ns) = (self.now_ns, self.off_ns_max());
        for peer in self.peers.values_mut() {
            // What it is off by now stays; from here on it runs at another pace.
            let skew_ns = peer.clock_off_ns(now_ns).clamp(-most_ns, most_ns);
            let drift_ppm = if drifts {
                self.rng.gen_range(-DRIFT_PPM_MAX..DRIFT_PPM_MAX)
            } else {
                0
            };
            peer.set_clock(now_ns, skew_ns, drift_ppm);
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
        let now_ns = self.now_ns;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let skew_ns = (peer.clock_off_ns(now_ns) + jump_ns).clamp(-most_ns, most_ns);
        peer.set_clock(now_ns, skew_ns, peer.drift_ppm);
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
        let now_ns = self.now_ns;
        for peer in self.peers.values_mut() {
            peer.set_clock(now_ns, 0, 0);
        }
    }

    /// The clock of a peer is wrong by an hour from now on, until clocks are healed.
    pub(crate) fn put_clock_ahead(&mut self, id: u64) {
        let now_ns = self.now_ns;
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.set_clock(now_ns, OFF_NS_MAX_HOURS, 0);
        }
    }
}

impl Peer {
    /// Its wall clock minus the true time.
    pub(crate) fn clock_off_ns(&self, now_ns: u64) -> i64 {
        let passed_us = now_ns.saturating_sub(self.drift_from_ns) as i64 / 1_000;
        self.skew_ns + passed_us * self.drift_ppm / 1_000
    }

    /// Sets its clock, and the pace of it.
    fn set_clock(&mut self, now_ns: u64, off_ns: i64, drift_ppm: i64) {
        self.clock_was
            .push_back((now_ns, self.clock_off_ns(now_ns)));
        self.clock_was.push_back((now_ns, off_ns));
        (self.skew_ns, self.drift_from_ns, self.drift_ppm) = (off_ns, now_ns, drift_ppm);
        while self.clock_was.len() > CLOCK_WAS_MAX {
            self.clock_was.pop_front();
        }
    }

    /// The most that its clock was off by within this span before now.
    pub(crate) fn clock_off_most_ns(&self, now_ns: u64, span_ns: u64) -> i64 {
        let from_ns = now_ns.saturating_sub(span_ns);
        let within = self.clock_was.iter().filter(|(at_ns, _)| *at_ns >= from_ns);
        let changes: Vec<_> = within.collect();
        let first_ns = match changes.first() {
            // It was at its worst pace until then.
            Some((at_ns, off_ns)) => off_ns + (at_ns - from_ns) as i64 / 10,
            None => self.clock_off_ns(from_ns),
        };
        let all = changes.iter().map(|(_, off_ns)| *off_ns);
        let ends = [first_ns, self.clock_off_ns(now_ns)];
        all.chain(ends).max().unwrap_or_default()
    }
}
