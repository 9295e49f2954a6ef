//! The rates of peers between two looks at them. Pure.

use std::time::Duration;

use z4_client::{Histogram, PeerCounters, PeerFacts, PeerStatus};

/// The work of a peer, per second.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct PeerRates {
    /// Tasks created through it.
    pub created: f64,
    /// Tasks handed to consumers.
    pub delivered: f64,
    /// Leases ended, their tasks done.
    pub acked: f64,
    /// Leases ended with a failure.
    pub nacked: f64,
    /// Requests refused at a limit.
    pub refused: f64,
    /// Writes of its log that were synced.
    pub log_syncs: f64,
    /// Seconds of processor time: 1 is a whole core.
    pub cpu: f64,
}

impl PeerRates {
    /// The rates between two looks at a peer; `None`: it has started anew between them, or
    /// no time has passed. The time is the peer's own, so an answer that was long on its
    /// way changes nothing.
    pub(crate) fn between(before: &PeerFacts, now: &PeerFacts) -> Option<Self> {
        let passed = now.uptime.checked_sub(before.uptime)?;
        let seconds = passed.as_secs_f64();
        if passed.is_zero() {
            return None;
        }
        // In a long interval a process that was started anew may serve for longer than the
        // one before it had; what it has counted begins at 0 all the same.
        let cpu = now.process.cpu.checked_sub(before.process.cpu)?;
        let (before, now) = (&before.counters, &now.counters);
        let (counted, counts) = (counts(before), counts(now));
        if counted
            .iter()
            .zip(counts)
            .any(|(before, now)| now < *before)
        {
            return None;
        }
        let per_second = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        Some(Self {
            created: per_second(before.created, now.created),
            delivered: per_second(before.delivered, now.delivered),
            acked: per_second(before.acked, now.acked),
            nacked: per_second(before.nacked, now.nacked),
            refused: per_second(before.refused, now.refused),
            log_syncs: per_second(before.log_syncs, now.log_syncs),
            cpu: cpu.as_secs_f64() / seconds,
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            created: self.created + other.created,
            delivered: self.delivered + other.delivered,
            acked: self.acked + other.acked,
            nacked: self.nacked + other.nacked,
            refused: self.refused + other.refused,
            log_syncs: self.log_syncs + other.log_syncs,
            cpu: self.cpu + other.cpu,
        }
    }
}

/// All numbers that a process of a peer counts up.
fn counts(counters: &PeerCounters) -> [u64; 7] {
    [
        counters.created,
        counters.delivered,
        counters.acked,
        counters.nacked,
        counters.refused,
        counters.log_syncs,
        counters.lateness.count,
    ]
}

/// The facts of a peer at two looks.
pub(crate) fn pair<'a>(
    before: &'a [PeerStatus],
    now: &'a PeerStatus,
) -> Option<(&'a PeerFacts, &'a PeerFacts)> {
    let earlier = before.iter().find(|peer| peer.id == now.id)?;
    Some((earlier.facts.as_deref()?, now.facts.as_deref()?))
}

/// The rates of all peers together; `None`: of no peer can they be told.
pub(crate) fn of_all(before: &[PeerStatus], now: &[PeerStatus]) -> Option<PeerRates> {
    let each = now.iter().filter_map(|peer| {
        let (before, now) = pair(before, peer)?;
        PeerRates::between(before, now)
    });
    each.reduce(PeerRates::plus)
}

/// How late the deliveries between two looks were.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Lateness {
    /// How many there were.
    pub count: u64,
    /// For each bound, in seconds, how many were not later.
    buckets: Vec<(f64, u64)>,
}

impl Lateness {
    /// The lateness at all peers together.
    pub(crate) fn of_all(before: &[PeerStatus], now: &[PeerStatus]) -> Self {
        let mut sum = Self::default();
        for peer in now {
            let Some((before, now)) = pair(before, peer) else {
                continue;
            };
            if PeerRates::between(before, now).is_some() {
                sum.add(&before.counters.lateness, &now.counters.lateness);
            }
        }
        sum
    }

    fn add(&mut self, before: &Histogram, now: &Histogram) {
        let more = now.count.saturating_sub(before.count);
        // A number from outside may be as large as it likes.
        self.count = self.count.saturating_add(more);
        for (bound, count) in &now.buckets {
            // Peers of other releases may have other bounds.
            let is_bound = |other: f64| other.total_cmp(bound).is_eq();
            let earlier = before.buckets.iter().find(|(other, _)| is_bound(*other));
            let more = count.saturating_sub(earlier.map_or(0, |(_, count)| *count));
            match self.buckets.iter_mut().find(|(other, _)| is_bound(*other)) {
                Some((_, sum)) => *sum = sum.saturating_add(more),
                None => self.buckets.push((*bound, more)),
            }
        }
    }

    /// The least bound that so many parts of a hundred are not above; `Err`: they are above
    /// all bounds, and this is the greatest; `None`: nothing was delivered.
    pub(crate) fn percentile(&self, percent: u64) -> Option<Result<Duration, Duration>> {
        if self.count == 0 {
            return None;
        }
        let span = |bound: f64| Duration::try_from_secs_f64(bound).unwrap_or(Duration::MAX);
        let is_enough =
            |count: u64| u128::from(count) * 100 >= u128::from(self.count) * u128::from(percent);
        let enough = self.buckets.iter().filter(|(_, count)| is_enough(*count));
        let least = enough.map(|(bound, _)| *bound).min_by(f64::total_cmp);
        let greatest = self.buckets.iter().map(|(bound, _)| *bound);
        let greatest = greatest.max_by(f64::total_cmp).unwrap_or(0.0);
        Some(least.map_or(Err(span(greatest)), |bound| Ok(span(bound))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::testing::{peer_facts, peer_status};

    fn at(uptime_s: u64, created: u64) -> PeerFacts {
        let mut facts = peer_facts();
        facts.uptime = Duration::from_secs(uptime_s);
        facts.process.cpu = Duration::from_secs(uptime_s / 2);
        facts.counters.created = created;
        facts
    }

    #[test]
    fn rates_are_of_the_time_that_passed_at_the_peer() {
        let rates = PeerRates::between(&at(100, 50), &at(104, 70));
        let rates = rates.unwrap_or_default();
        assert_eq!((rates.created, rates.cpu), (5.0, 0.5));
        assert_eq!(rates.acked, 0.0);
    }

    #[test]
    fn a_peer_that_started_anew_has_no_rate() {
        assert_eq!(PeerRates::between(&at(100, 50), &at(3, 10)), None);
        assert_eq!(PeerRates::between(&at(100, 50), &at(100, 50)), None);
    }

    #[test]
    fn a_peer_that_started_anew_long_ago_has_no_rate() {
        // The peer had served for two minutes, and then for ten.
        assert_eq!(PeerRates::between(&at(120, 50), &at(600, 49)), None);
        let mut rested = at(600, 50);
        rested.process.cpu = Duration::from_secs(59);
        assert_eq!(PeerRates::between(&at(120, 50), &rested), None);
        let mut late = at(120, 50);
        late.counters.lateness.count = 1;
        assert_eq!(PeerRates::between(&late, &at(600, 50)), None);
        let rates = PeerRates::between(&at(120, 50), &at(600, 50));
        assert_eq!(rates.map(|rates| rates.created), Some(0.0));
    }

    #[test]
    fn all_peers_add_up_and_those_without_facts_are_left_out() {
        let peers = |uptime_s, created| {
            let silent = PeerStatus {
                facts: None,
                ..peer_status("c", at(1, 1))
            };
            [
                peer_status("a", at(uptime_s, created)),
                peer_status("b", at(uptime_s, 2 * created)),
                silent,
            ]
        };
        let rates = of_all(&peers(10, 0), &peers(20, 100));
        assert_eq!(rates.map(|rates| rates.created), Some(30.0));
        assert_eq!(of_all(&[], &peers(20, 100)), None);
    }

    #[test]
    fn percentiles_are_those_of_the_interval() {
        let late = |uptime_s: u64, counts: [u64; 3], count: u64| {
            let mut facts = at(uptime_s, 0);
            facts.counters.lateness = Histogram {
                count,
                sum_s: 0.0,
                buckets: [0.001, 0.01, 1.0].into_iter().zip(counts).collect(),
            };
            facts
        };
        // Before the interval all were late; in it 98 of 100 were not.
        let of = |counts, count| {
            let before = [peer_status("a", late(1, [0, 0, 1_000], 1_000))];
            let now = [peer_status("a", late(2, counts, count))];
            Lateness::of_all(&before, &now)
        };
        let lateness = of([50, 98, 1_100], 1_100);
        assert_eq!(lateness.count, 100);
        let ms = |ms| Some(Ok(Duration::from_millis(ms)));
        assert_eq!(lateness.percentile(50), ms(1));
        assert_eq!(lateness.percentile(51), ms(10));
        assert_eq!(lateness.percentile(99), ms(1_000));
        let beyond = of([50, 98, 1_098], 1_100);
        let second = Duration::from_secs(1);
        assert_eq!(beyond.percentile(99), Some(Err(second)));
        assert_eq!(of([0, 0, 1_000], 1_000).percentile(50), None);
    }
}
