//! The rate limit of a namespace: so many deliveries in so long a time.

use std::fmt;

use crate::limits;
use crate::time::SECOND_MS;

/// Most deliveries in a period. A slow rate has a long period: 7 a minute is
/// exactly that, and nothing that is rounded to whole deliveries per second.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RateLimit {
    /// Most deliveries in each period; 0: there is no limit.
    pub count: u32,
    /// Length of the period, in milliseconds; greater than 0.
    pub period_ms: u64,
}

impl RateLimit {
    /// There is no limit.
    pub const NONE: Self = Self::per_s(0);

    /// The least values that both numbers may have.
    pub const LEAST: Self = Self {
        count: 0,
        period_ms: limits::RATE_PERIOD_MS_MIN,
    };

    /// The greatest values that both numbers may have.
    pub const MOST: Self = Self {
        count: limits::RATE_COUNT_MAX,
        period_ms: limits::RATE_PERIOD_MS_MAX,
    };

    /// A limit per second; 0: there is none.
    #[must_use]
    pub const fn per_s(count: u32) -> Self {
        Self {
            count,
            period_ms: SECOND_MS,
        }
    }

    /// Whether the period is one second.
    #[must_use]
    pub fn is_per_s(&self) -> bool {
        self.period_ms == SECOND_MS
    }

    /// Deliveries per second, rounded up, so that a limit is never shown as none.
    #[must_use]
    pub fn per_s_rounded_up(&self) -> u32 {
        let count = u64::from(self.count) * SECOND_MS;
        u32::try_from(count.div_ceil(self.period_ms.max(1))).unwrap_or(u32::MAX)
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::NONE
    }
}

/// As an explanation says it: `10 a second`, `100 an hour`, `3 in 90 s`.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count;
        match self.period_ms {
            SECOND_MS => write!(f, "{count} a second"),
            60_000 => write!(f, "{count} a minute"),
            3_600_000 => write!(f, "{count} an hour"),
            86_400_000 => write!(f, "{count} a day"),
            ms if ms % SECOND_MS == 0 => write!(f, "{count} in {} s", ms / SECOND_MS),
            ms => write!(f, "{count} in {ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_shown_as_none() {
        let limit = |count, period_ms| RateLimit { count, period_ms };
        for (limit, per_s, said) in [
            (RateLimit::NONE, 0, "0 a second"),
            (RateLimit::per_s(7), 7, "7 a second"),
            (limit(100, 3_600_000), 1, "100 an hour"),
            (limit(61, 60_000), 2, "61 a minute"),
            (limit(1, 86_400_000), 1, "1 a day"),
            (limit(3, 90_000), 1, "3 in 90 s"),
            (limit(3, 1_500), 2, "3 in 1500 ms"),
        ] {
            assert_eq!(limit.per_s_rounded_up(), per_s, "{limit:?}");
            assert_eq!(limit.to_string(), said);
        }
    }
}
