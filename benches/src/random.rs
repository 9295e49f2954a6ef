//! Random numbers that a seed repeats (SplitMix64).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A sequence of random numbers.
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A time below `limit`; zero when that is zero.
    pub fn below(&mut self, limit: Duration) -> Duration {
        let limit_ns = limit.as_nanos() as u64;
        Duration::from_nanos(self.next().checked_rem(limit_ns).unwrap_or(0))
    }
}

/// A seed from the clock, for those who give none; it is printed.
#[must_use]
pub fn seed_of_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |s| s.as_nanos() as u64)
}
