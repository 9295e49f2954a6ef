//! The network between peers: loses, doubles, delays, splits.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::Rng;

const MS: u64 = 1_000_000;

/// How messages fare now.
#[derive(Debug, Default)]
pub(crate) struct Net {
    /// Directed pairs through which nothing passes.
    blocked: BTreeSet<(u64, u64)>,
    /// Of a thousand messages, so many are lost.
    pub(crate) loss: u32,
    /// Of a thousand messages, so many come twice.
    pub(crate) doubled: u32,
    /// Longest delay in milliseconds: what overtakes what.
    pub(crate) delay_ms: u64,
}

impl Net {
    /// Whether the way from one peer to another is open.
    pub(crate) fn open(&self, from: u64, to: u64) -> bool {
        !self.blocked.contains(&(from, to))
    }

    pub(crate) fn block(&mut self, from: u64, to: u64) {
        self.blocked.insert((from, to));
    }

    /// All well again.
    pub(crate) fn heal(&mut self) {
        *self = Self {
            delay_ms: 2,
            ..Self::default()
        };
    }

    /// Delays in nanoseconds after which a message arrives: none, one or two.
    pub(crate) fn fate(&self, rng: &mut StdRng, from: u64, to: u64) -> Vec<u64> {
        if !self.open(from, to) || rng.gen_range(0..1000) < self.loss {
            return Vec::new();
        }
        let copies = if rng.gen_range(0..1000) < self.doubled {
            2
        } else {
            1
        };
        (0..copies).map(|_| self.delay(rng)).collect()
    }

    /// Most messages are quick; a few take long.
    pub(crate) fn delay(&self, rng: &mut StdRng) -> u64 {
        let longest = self.delay_ms.max(1) * MS;
        if rng.gen_range(0..20) == 0 {
            rng.gen_range(MS / 10..longest * 10)
        } else {
            rng.gen_range(MS / 10..longest)
        }
    }
}
