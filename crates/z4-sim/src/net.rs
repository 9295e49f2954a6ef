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
    /// Of a thousand replies to clients, so many are lost.
    pub(crate) reply_loss: u32,
    /// Longest delay in milliseconds: what overtakes what.
    pub(crate) delay_ms: u64,
}

impl Net {
    /// Whether the way from one peer to another is open.
    pub(crate) fn open(&self, from: u64, to: u64) -> bool {
        !self.blocked.contains(&(from, to))
    }

    /// Whether any way is closed.
    pub(crate) fn split(&self) -> bool {
        !self.blocked.is_empty()
    }

    pub(crate) fn block(&mut self, from: u64, to: u64) {
        self.blocked.insert((from, to));
    }

    pub(crate) fn unblock(&mut self) {
        self.blocked.clear();
    }

    /// All well again.
    pub(crate) fn heal(&mut self) {
        *self = Self {
            delay_ms: 2,
            ..Self::default()
        };
    }

    /// Delays in nanoseconds after which a message arrives: none, one or two.
    pub(crate) fn fate(&self, rng: &mut StdRng, from: u64, to: u64) -> [Option<u64>; 2] {
        if !self.open(from, to) || rng.gen_range(0..1000) < self.loss {
            return [None, None];
        }
        let twice = rng.gen_range(0..1000) < self.doubled;
        [Some(self.delay(rng)), twice.then(|| self.delay(rng))]
    }

    /// The delay of a call, which comes once or not at all.
    pub(crate) fn call(&self, rng: &mut StdRng, from: u64, to: u64) -> Option<u64> {
        if from == to {
            return Some(1_000);
        }
        let arrives = self.open(from, to) && rng.gen_range(0..1000) >= self.loss;
        arrives.then(|| self.delay(rng))
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
