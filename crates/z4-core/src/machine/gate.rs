//! What a namespace lets through at a moment: pause, limit on live leases, rate
//! limit. The machine decides by it when it grants; the dispatcher looks at it
//! so that it does not ask in vain; an explanation tells of it.
//!
//! The rate limit is the generic cell rate algorithm in its virtual scheduling
//! form (ITU-T I.371, annex A), in machine time: a token bucket that is one
//! number.

use crate::state::{NamespaceConfig, NamespaceRow};
use crate::time::MS_NS;

/// How far ahead a burst may reach, in nanoseconds (a hundred years): a great
/// burst of a slow rate would leave what the numbers hold.
const BURST_NS_MAX: u64 = 100 * 365 * 86_400 * 1_000 * MS_NS;

/// What a namespace lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    /// So many tasks may be leased now.
    Open {
        /// How many; `u64::MAX`: there is no limit.
        room: u64,
    },
    /// Nothing before this machine time, in nanoseconds: the rate is used up.
    RateUntil(u64),
    /// Nothing until leases end: as many are live as may be.
    LeasedFull,
    /// Nothing until deliveries are resumed.
    Paused,
    /// Nothing any more.
    Deleting,
}

/// What a namespace lets through at machine time `now_ns`.
#[must_use]
pub fn gate(row: &NamespaceRow, now_ns: u64) -> Gate {
    if row.deleting.is_some() {
        return Gate::Deleting;
    }
    if row.paused_at_ns.is_some() {
        return Gate::Paused;
    }
    let mut room = u64::MAX;
    if row.config.leased_max > 0 {
        room = row.config.leased_max.saturating_sub(row.counts.leased);
        if room == 0 {
            return Gate::LeasedFull;
        }
    }
    if let Some(rate) = Rate::of(&row.config) {
        match rate.room(row.rate_tat_ns, now_ns) {
            Ok(tokens) => room = room.min(tokens),
            Err(at_ns) => return Gate::RateUntil(at_ns),
        }
    }
    Gate::Open { room }
}

/// A rate limit.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// Between two deliveries.
    interval_ns: u64,
    burst: u64,
}

impl Rate {
    /// That of a namespace, if it has one.
    pub(super) fn of(config: &NamespaceConfig) -> Option<Self> {
        let rate = config.rate;
        let burst = match config.rate_burst {
            0 => rate.per_s_rounded_up(),
            burst => burst,
        };
        if rate.count == 0 {
            return None;
        }
        // Rounded up: never above the rate that was asked for, and less than a
        // nanosecond for each delivery below it.
        let interval_ns = (rate.period_ms * MS_NS).div_ceil(rate.count.into());
        Some(Self {
            interval_ns,
            burst: u64::from(burst).min(BURST_NS_MAX / interval_ns),
        })
    }

    /// How many may go now, or when the next one may.
    fn room(self, tat_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let horizon_ns = now_ns.saturating_add(self.burst * self.interval_ns);
        let tokens = horizon_ns.saturating_sub(tat_ns.max(now_ns)) / self.interval_ns;
        if tokens > 0 {
            return Ok(tokens);
        }
        let early_ns = (self.burst - 1) * self.interval_ns;
        let at_ns = tat_ns.saturating_sub(early_ns);
        Err(at_ns.max(now_ns.saturating_add(1)))
    }

    /// The theoretical arrival time when this rate takes the place of another:
    /// what went at once under that one is not held against this one for longer
    /// than its own burst would be.
    pub(super) fn taken_over(self, tat_ns: u64, now_ns: u64) -> u64 {
        tat_ns.min(now_ns.saturating_add(self.burst * self.interval_ns))
    }

    /// The theoretical arrival time after `count` more deliveries.
    pub(super) fn after(self, tat_ns: u64, now_ns: u64, count: u64) -> u64 {
        let from_ns = tat_ns.max(now_ns);
        from_ns.saturating_add(count.saturating_mul(self.interval_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::state::RateLimit;
    use crate::task::NamespaceId;
    use crate::time::SECOND_NS;

    fn row(per_s: u32, burst: u32) -> NamespaceRow {
        let mut row = NamespaceRow::new(NamespaceId(1));
        row.config.rate = RateLimit::per_s(per_s);
        row.config.rate_burst = burst;
        row
    }

    /// Takes all that is let through at each of these times.
    fn taken(row: &mut NamespaceRow, times: impl Iterator<Item = u64>) -> u64 {
        let mut taken = 0;
        for now_ns in times {
            if let (Gate::Open { room }, Some(rate)) = (gate(row, now_ns), Rate::of(&row.config)) {
                row.rate_tat_ns = rate.after(row.rate_tat_ns, now_ns, room);
                taken += room;
            }
        }
        taken
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept_and_used() {
        for (per_s, burst) in [(1, 0), (3, 1), (1_000, 7), (1_000_000, 1_000_000)] {
            let mut row = row(per_s, burst);
            let burst = u64::from(if burst == 0 { per_s } else { burst });
            let times = (0..=100_000).map(|ms| SECOND_NS + ms * 1_000_000);
            let taken = taken(&mut row, times);
            let most = u64::from(per_s) * 100 + burst;
            assert!(
                taken <= most && taken + burst + 200 >= most * 999 / 1_000 - burst,
                "{per_s}/s, {burst} at once: {taken} of {most}"
            );
        }
    }

    #[test]
    fn the_next_token_comes_when_it_is_said_to_come() {
        let mut row = row(10, 3);
        assert_eq!(gate(&row, SECOND_NS), Gate::Open { room: 3 });
        assert_eq!(taken(&mut row, [SECOND_NS].into_iter()), 3);
        let Gate::RateUntil(at_ns) = gate(&row, SECOND_NS) else {
            panic!("used up");
        };
        assert_eq!(at_ns, SECOND_NS + SECOND_NS / 10);
        assert_eq!(gate(&row, at_ns - 1), Gate::RateUntil(at_ns));
        assert_eq!(gate(&row, at_ns), Gate::Open { room: 1 });
        assert_eq!(gate(&row, 9 * SECOND_NS), Gate::Open { room: 3 });
    }

    /// What is taken one by one, each as soon as it may be: in a hundred years of
    /// seven a minute, not one delivery is lost to rounding.
    #[test]
    fn a_slow_rate_is_exact_over_a_long_time() {
        for (count, period_ms) in [(7, 60_000), (100, 3_600_000), (1, 86_400_000), (11, 60_000)] {
            let limit = RateLimit { count, period_ms };
            let config = NamespaceConfig {
                rate: limit,
                ..NamespaceConfig::default()
            };
            let rate = Rate::of(&config).unwrap_or_else(|| panic!("it has one"));
            let period_ns = period_ms * MS_NS;
            let periods = BURST_NS_MAX / period_ns;
            let deliveries = periods * u64::from(count);
            let at_ns = rate.after(0, 0, deliveries);
            let end_ns = periods * period_ns;
            assert!(at_ns >= end_ns, "{limit} is never above the rate");
            let late_ns = at_ns - end_ns;
            assert!(late_ns < deliveries, "{limit} is {late_ns} ns late");
            assert!(late_ns < rate.interval_ns, "{limit} is {late_ns} ns late");
        }
    }

    #[test]
    fn without_a_burst_a_slow_rate_lets_through_one_at_a_time() {
        let mut row = row(0, 0);
        row.config.rate = RateLimit {
            count: 100,
            period_ms: 3_600_000,
        };
        assert_eq!(gate(&row, SECOND_NS), Gate::Open { room: 1 });
        assert_eq!(taken(&mut row, [SECOND_NS].into_iter()), 1);
        assert_eq!(gate(&row, SECOND_NS), Gate::RateUntil(37 * SECOND_NS));
        let hour = (0..3_600).map(|s| (37 + s) * SECOND_NS);
        assert_eq!(taken(&mut row, hour), 100);
    }

    #[test]
    fn the_greatest_burst_of_the_slowest_rate_stays_within_the_numbers() {
        let burst = limits::RATE_BURST_MAX;
        let mut row = row(0, burst);
        row.config.rate = RateLimit {
            count: 1,
            period_ms: limits::RATE_PERIOD_MS_MAX,
        };
        let room = 36_500;
        assert_eq!(
            gate(&row, SECOND_NS),
            Gate::Open { room },
            "a hundred years of them"
        );
        assert_eq!(taken(&mut row, [SECOND_NS].into_iter()), room);
        let next_ns = SECOND_NS + 86_400 * SECOND_NS;
        assert_eq!(gate(&row, 2 * SECOND_NS), Gate::RateUntil(next_ns));
    }

    /// A burst of a slow rate reaches days ahead; a faster rate must not wait for
    /// them.
    #[test]
    fn a_new_rate_does_not_pay_for_the_old_one() {
        let mut slow = row(1, 1_000_000);
        assert_eq!(taken(&mut slow, [SECOND_NS].into_iter()), 1_000_000);
        let mut fast = row(10, 2);
        fast.rate_tat_ns = slow.rate_tat_ns;
        assert!(
            matches!(gate(&fast, SECOND_NS), Gate::RateUntil(at_ns) if at_ns > 999 * SECOND_NS)
        );
        let rate = Rate::of(&fast.config).unwrap_or_else(|| panic!("it has one"));
        fast.rate_tat_ns = rate.taken_over(slow.rate_tat_ns, SECOND_NS);
        let next_ns = SECOND_NS + SECOND_NS / 10;
        assert_eq!(gate(&fast, SECOND_NS), Gate::RateUntil(next_ns));
        assert_eq!(rate.taken_over(7, SECOND_NS), 7, "what is past stays");
    }

    #[test]
    fn the_strictest_limit_counts() {
        let mut row = row(10, 5);
        row.config.leased_max = 7;
        row.counts.leased = 5;
        assert_eq!(gate(&row, SECOND_NS), Gate::Open { room: 2 });
        row.counts.leased = 8;
        assert_eq!(gate(&row, SECOND_NS), Gate::LeasedFull);
        row.paused_at_ns = Some(1);
        assert_eq!(gate(&row, SECOND_NS), Gate::Paused);
        row.deleting = Some(crate::TaskId::default());
        assert_eq!(gate(&row, SECOND_NS), Gate::Deleting);
    }
}
