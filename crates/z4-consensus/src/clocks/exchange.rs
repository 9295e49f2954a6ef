//! Two peers measure each other's clocks, with the messages that they send anyway.
//!
//! The time stamps are those of NTP (RFC 5905, section 8): a sample says what the wall clock
//! of its sender shows, and *echoes* the last sample that the sender heard, with the time
//! for which it has held that one. Who gets its own sample echoed knows the round trip, by its
//! own monotonic clock and without the time that the other peer took. When the sample came,
//! the other clock showed at least what the sample says, and at most that and a round trip.
//!
//! A sample that *asks* is echoed with the next batch of messages, and goes with one batch in
//! [`CLOCK_ASK_INTERVAL`](limits::CLOCK_ASK_INTERVAL), so that the exchange costs next to
//! nothing; it is asked more often where nothing was measured for a while, for a new leader must
//! not wait.

use std::collections::{BTreeMap, VecDeque};

use super::Measured;
use crate::limits;

/// A sample: the clocks of a peer, as it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockSample {
    /// Its wall clock, in nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// Its monotonic clock, in nanoseconds since any point: a number to be echoed.
    pub sent_ns: u64,
    /// The sender wants this sample echoed with the next batch.
    pub asks: bool,
    /// The last sample that it has heard from the receiver.
    pub echo: Option<Echo>,
}

/// A sample that has come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// [`ClockSample::sent_ns`] of it.
    pub sent_ns: u64,
    /// For how long the other peer has held it, in nanoseconds of its monotonic clock.
    pub held_ns: u64,
}

/// The samples of this peer and all others. Times are of the monotonic clock, in nanoseconds.
#[derive(Debug, Default)]
pub struct Exchange {
    by_peer: BTreeMap<u64, Pair>,
}

#[derive(Debug, Default)]
struct Pair {
    /// The samples that were sent last: an echo of anything else is of an earlier life of this
    /// peer, or a lie.
    sent: VecDeque<u64>,
    asked_ns: Option<u64>,
    measured_ns: Option<u64>,
    /// The last sample of the other peer, and when it came.
    heard: Option<(u64, u64)>,
    /// The other peer asked since the last sample was sent to it.
    is_asked: bool,
}

impl Exchange {
    /// The sample that goes with a batch to this peer, if one is due. The wall clock is read
    /// after `now_ns` was, and only if it is needed: what passes in between then counts for the
    /// way, and never makes the measure better than it is.
    pub fn to_send(
        &mut self,
        to: u64,
        now_ns: u64,
        wall_ns: impl FnOnce() -> u64,
    ) -> Option<ClockSample> {
        let pair = pair(&mut self.by_peer, to)?;
        let since = |at_ns: Option<u64>| at_ns.map_or(u64::MAX, |at| now_ns.saturating_sub(at));
        let is_old = since(pair.measured_ns) > limits::CLOCK_MEASURE_OLD.as_nanos() as u64;
        let interval = match is_old {
            true => limits::CLOCK_ASK_AGAIN,
            false => limits::CLOCK_ASK_INTERVAL,
        };
        let asks = since(pair.asked_ns) >= interval.as_nanos() as u64;
        if !asks && !pair.is_asked {
            return None;
        }
        if asks {
            pair.asked_ns = Some(now_ns);
        }
        pair.is_asked = false;
        pair.sent.truncate(limits::CLOCK_SAMPLES_KEPT - 1);
        pair.sent.push_front(now_ns);
        let echo = pair.heard.map(|(sent_ns, at_ns)| Echo {
            sent_ns,
            held_ns: now_ns.saturating_sub(at_ns),
        });
        Some(ClockSample {
            wall_ns: wall_ns(),
            sent_ns: now_ns,
            asks,
            echo,
        })
    }

    /// A sample came; gives the clock of its sender, if it tells enough.
    pub fn heard(&mut self, from: u64, sample: &ClockSample, now_ns: u64) -> Option<Measured> {
        let pair = pair(&mut self.by_peer, from)?;
        pair.heard = Some((sample.sent_ns, now_ns));
        pair.is_asked |= sample.asks;
        let echo = sample
            .echo
            .filter(|echo| pair.sent.contains(&echo.sent_ns))?;
        // Anything else than that is a clock that does not run as it should.
        let round_ns = now_ns
            .checked_sub(echo.sent_ns)?
            .checked_sub(echo.held_ns)?;
        if round_ns > limits::CLOCK_ROUND_TRIP_MAX.as_nanos() as u64 {
            return None;
        }
        let wall_ns = i64::try_from(sample.wall_ns).ok()?;
        let least_ns = wall_ns.checked_sub(i64::try_from(now_ns).ok()?)?;
        pair.measured_ns = Some(now_ns);
        Some(Measured {
            least_ns,
            most_ns: least_ns.checked_add(i64::try_from(round_ns).ok()?)?,
            at_ns: now_ns,
        })
    }

    /// The members changed: forgets all but these.
    pub fn keep(&mut self, is_member: impl Fn(u64) -> bool) {
        self.by_peer.retain(|id, _| is_member(*id));
    }
}

/// The row of a peer, unless the table is full of others.
fn pair(table: &mut BTreeMap<u64, Pair>, raft_id: u64) -> Option<&mut Pair> {
    if table.len() >= limits::FOUND_ADDRESS_COUNT_MAX && !table.contains_key(&raft_id) {
        return None;
    }
    Some(table.entry(raft_id).or_default())
}
