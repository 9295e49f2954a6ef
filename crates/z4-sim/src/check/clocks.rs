//! Promise 2: no leader goes by a clock that is ahead of those of most voters, by more than
//! the bound.
//!
//! What a leader stamps by its clock, and each reading of it by which a task may be delivered,
//! is at most [`CLOCK_OFFSET_MAX`](limits::CLOCK_OFFSET_MAX) and a round trip ahead of the
//! clocks of a majority, as these truly were at some moment of the last seconds: a leader goes
//! by measures of 3 s at most, whose samples were on their way for 1 s at most, and looks at
//! them with each tick that it does not sleep through. A clock that is set back meanwhile is
//! heard of with its next sample. Stamps that are behind machine time promise nothing.

use z4_consensus::clocks::{ClockSample, Measured};
use z4_consensus::level::LEVEL_OF_LEVELS;
use z4_consensus::limits;
use z4_consensus::membership::Membership;
use z4_consensus::replica::{Input, Waiting};

use crate::peer::Token;
use crate::world::{World, MS};

/// Clocks are judged as they were within this span. The last part is for ticks.
const LATELY_NS: u64 = limits::CLOCK_FRESH_FOR.as_nanos() as u64
    + limits::CLOCK_ROUND_TRIP_MAX.as_nanos() as u64
    + limits::QUIET_TICKS_MAX * limits::TICK.as_nanos() as u64
    + 100 * MS;
/// The bound, and what a measure may be wrong by: a round trip, during which a clock that
/// drifts gains a tenth of it, and what is added for the age of the measure.
const AHEAD_NS_MAX: u64 = limits::CLOCK_OFFSET_MAX.as_nanos() as u64
    + limits::CLOCK_ROUND_TRIP_MAX.as_nanos() as u64 * 11 / 10
    + 10 * MS;

impl World {
    /// What a peer says of its clocks to another one, with a message.
    pub(crate) fn sample_clock(&mut self, id: u64, to: u64) -> Option<ClockSample> {
        let now = self.clocks(id);
        let run = self.peers.get_mut(&id)?.run.as_mut()?;
        run.exchange.to_send(to, now.monotonic_ns, || now.wall_ns)
    }

    /// It arrives there.
    pub(crate) fn hear_sample(&mut self, from: u64, id: u64, sample: &ClockSample) {
        let now = self.clocks(id);
        let run = self.peers.get_mut(&id).and_then(|peer| peer.run.as_mut());
        let heard =
            |run: &mut crate::peer::Running| run.exchange.heard(from, sample, now.monotonic_ns);
        if let Some(measured) = run.and_then(heard) {
            self.check_measured(from, &measured);
            let raft_id = from;
            self.input(id, Input::Clock { raft_id, measured });
        }
    }

    /// A measure holds the truth, of some moment since the sample was sent.
    fn check_measured(&mut self, of: u64, measured: &Measured) {
        let width_ns = measured.most_ns.abs_diff(measured.least_ns);
        let Some(peer) = self.peers.get(&of) else {
            return;
        };
        let truly_ns = self.wall_ns() as i64 - self.now_ns as i64;
        let most_ns = truly_ns + peer.clock_off_most_ns(self.now_ns, width_ns);
        let slack_ns = width_ns as i64 / 5 + MS as i64;
        if measured.least_ns > most_ns + slack_ns {
            let by_ms = (measured.least_ns - most_ns) / MS as i64;
            self.fail(format!(
                "promise 2: the clock of peer {of} was measured {by_ms} ms beyond what it showed"
            ));
        }
    }

    /// A leader has stamped entries, when it knew these members.
    pub(crate) fn check_stamps(
        &mut self,
        id: u64,
        members: &Membership,
        appended: &[Waiting<Token>],
    ) {
        let wall_ns = self.clocks(id).wall_ns;
        // A greater one is behind machine time, which was there already.
        if appended.iter().any(|waiting| waiting.stamp_ns == wall_ns) {
            self.check_clock(id, members, wall_ns, "the stamp");
        }
    }

    /// A leader goes by its clock, which shows this, and tells it to others.
    pub(crate) fn check_reading(&mut self, id: u64, at_ns: u64) {
        let run = self.peers.get(&id).and_then(|peer| peer.run.as_ref());
        if let Some(members) = run.map(|run| run.replica.membership().clone()) {
            self.check_clock(id, &members, at_ns, "the reading");
        }
    }

    fn check_clock(&mut self, id: u64, members: &Membership, at_ns: u64, what: &str) {
        let voters = members.voter_count();
        if members.level < LEVEL_OF_LEVELS || voters <= 1 {
            return;
        }
        let ahead_ns = |of: u64| {
            let off_ns = self
                .peers
                .get(&of)
                .map_or(0, |peer| peer.clock_off_most_ns(self.now_ns, LATELY_NS));
            at_ns.saturating_sub(self.wall_ns().saturating_add_signed(off_ns))
        };
        let others = members.members.iter();
        let others = others.filter(|(of, member)| member.voter && **of != id);
        let mut all_ns: Vec<u64> = others.map(|(of, _)| ahead_ns(*of)).collect();
        all_ns.sort_unstable();
        let is_voter = voters > all_ns.len();
        let needed = voters / 2 + usize::from(!is_voter);
        let by_ns = needed.checked_sub(1).and_then(|last| all_ns.get(last));
        if let Some(by_ns) = by_ns.filter(|by_ns| **by_ns > AHEAD_NS_MAX) {
            let by_ms = by_ns / MS;
            self.fail(format!(
                "promise 2: {what} of leader {id} is {by_ms} ms ahead of the clocks of a majority"
            ));
        }
    }
}
