//! Rules of clocks.
//!
//! The leader measures the clocks of all members. A clock is judged by how far it is from
//! the median of them, so that one wrong clock does not make all others look wrong.

use std::time::Duration;

use z4_client::{ClockFacts, PeerRole};

use super::{risk, wrong, Finding, Seen};

/// The member that measures, and what it says: the leader, if it answers.
fn measurer(seen: &Seen) -> Option<(&str, &ClockFacts)> {
    let leads = |(_, facts): &(&str, &z4_client::PeerFacts)| facts.role == PeerRole::Leader;
    let by = seen.facts().find(leads).or_else(|| seen.facts().next());
    by.map(|(id, facts)| (id, &facts.clock))
}

/// All clocks are together.
pub(super) fn offset(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, facts) in seen.facts() {
        if !facts.clock.fault.is_empty() {
            found.push(wrong(
                id,
                format!("it leads and takes nothing in: {}", facts.clock.fault),
                "a leader whose clock is ahead would deliver early, so it delivers nothing",
                NTP,
            ));
        }
    }
    let Some((own, clock)) = measurer(seen) else {
        return found;
    };
    let others = clock.offsets.iter();
    let others = others.map(|of| (of.member_id.as_str(), of.offset_ns, of.error));
    let all: Vec<_> = std::iter::once((own, 0, Duration::ZERO))
        .chain(others)
        .collect();
    // Each offset may be off, and the median with them: it lies between that of the least
    // and that of the greatest that the clocks may be.
    let least = |offset_ns: i64, error: Duration| i128::from(offset_ns) - ns(error);
    let greatest = |offset_ns: i64, error: Duration| i128::from(offset_ns) + ns(error);
    let median_ns = median(all.iter().map(|of| of.1));
    let median_least = median(all.iter().map(|of| least(of.1, of.2)));
    let median_greatest = median(all.iter().map(|of| greatest(of.1, of.2)));
    for (id, offset_ns, error) in all {
        let apart = Duration::from_nanos(offset_ns.abs_diff(median_ns));
        let ahead = least(offset_ns, error) - median_greatest;
        let behind = median_least - greatest(offset_ns, error);
        let is_beyond = |bound: Duration| ahead.max(behind) > ns(bound);
        let side = match offset_ns > median_ns {
            true => "ahead of",
            false => "behind",
        };
        let measured = || {
            format!(
                "its clock is {} ms {side} the median of the members ({} ms are allowed)",
                apart.as_millis(),
                clock.offset_max.as_millis()
            )
        };
        if is_beyond(clock.offset_max) {
            let why = "while it leads, nothing is taken in, or tasks come late";
            found.push(wrong(id, measured(), why, NTP));
        } else if is_beyond(clock.offset_max / 2) {
            let why = "a little more, and it is not let lead";
            found.push(risk(id, measured(), why, NTP));
        }
    }
    found
}

/// The lower of the two in the middle, if there are two. There is one value at least.
fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut sorted: Vec<T> = values.collect();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) / 2]
}

fn ns(span: Duration) -> i128 {
    // The longest span is less than 2^94 ns.
    span.as_nanos() as i128
}

const NTP: &str = "systemctl enable --now chronyd (or another NTP client) there; chronyc tracking \
                   shows what it does";

/// The leader has measured the clock of each member that answers.
pub(super) fn measured(seen: &Seen) -> Vec<Finding> {
    let Some((own, clock)) = measurer(seen) else {
        return Vec::new();
    };
    let is_measured = |id: &str| id == own || clock.offsets.iter().any(|of| of.member_id == id);
    let unmeasured = seen.facts().filter(|(id, _)| !is_measured(id));
    let finding = |(id, _): (&str, &z4_client::PeerFacts)| {
        risk(
            id,
            format!("{own} has not measured its clock within the last seconds"),
            "a leader that has not measured the clocks of most voters takes nothing in",
            format!("run z4t doctor again; if it stays, look at the way between {own} and {id}"),
        )
    };
    unmeasured.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts_of, healthy, severities};
    use super::super::Severity::{Risk, Wrong};
    use super::*;

    const MS: i64 = 1_000_000;

    /// The findings when the leader measures these offsets of b and c, in milliseconds,
    /// each off by 1 ms at most.
    fn of(b_ms: i64, c_ms: i64) -> Vec<Finding> {
        of_rough((b_ms, 1), (c_ms, 1))
    }

    /// The findings when the leader measures these offsets of b and c, each with the most
    /// that it is off by, in milliseconds.
    fn of_rough(b_ms: (i64, u64), c_ms: (i64, u64)) -> Vec<Finding> {
        let mut seen = healthy();
        let offsets = &mut facts_of(&mut seen, 0).clock.offsets;
        for (of, (offset_ms, error_ms)) in offsets.iter_mut().zip([b_ms, c_ms]) {
            of.offset_ns = offset_ms * MS;
            of.error = Duration::from_millis(error_ms);
        }
        offset(&seen)
    }

    #[test]
    fn what_may_be_the_error_of_a_measurement_is_no_finding() {
        // The leader may be 310 ms behind, and is more than half of 500 for certain.
        let found = of_rough((510, 200), (510, 200));
        assert_eq!(severities(&found), [("a", Risk)]);
        assert_eq!(of_rough((510, 260), (510, 260)), []);
        assert_eq!(
            severities(&of_rough((701, 200), (701, 200))),
            [("a", Wrong)]
        );
        // The median is b, which is known well, but may be c, which is not: 320 ms.
        let found = of_rough((510, 1), (520, 200));
        assert_eq!(severities(&found), [("a", Risk)]);
        assert_eq!(
            of_rough((i64::MAX / MS, u64::MAX), (i64::MIN / MS, u64::MAX)),
            []
        );
    }

    #[test]
    fn one_clock_that_is_wrong_is_named_whichever_it_is() {
        let ahead = of(3_600_000, 1);
        assert_eq!(severities(&ahead), [("b", Wrong)]);
        assert!(ahead[0].measured.contains("3599999 ms ahead"), "{ahead:?}");
        let leader = of(-3_600_000, -3_600_001);
        assert_eq!(severities(&leader), [("a", Wrong)]);
        assert!(leader[0].measured.contains("ahead"), "{leader:?}");
        let behind = of(0, -700);
        assert_eq!(severities(&behind), [("c", Wrong)]);
        assert!(behind[0].measured.contains("700 ms behind"), "{behind:?}");
    }

    #[test]
    fn half_of_what_is_allowed_is_a_risk_if_it_is_so_for_certain() {
        // Both c and the median may be off by 1 ms.
        assert_eq!(of(0, 252), []);
        assert_eq!(severities(&of(0, 253)), [("c", Risk)]);
        assert_eq!(severities(&of(0, 502)), [("c", Risk)]);
        assert_eq!(severities(&of(0, 503)), [("c", Wrong)]);
    }

    #[test]
    fn a_leader_that_takes_nothing_in_says_why() {
        let mut seen = healthy();
        facts_of(&mut seen, 0).clock.fault = "it is ahead".into();
        let found = offset(&seen);
        assert_eq!(severities(&found), [("a", Wrong)]);
        assert!(found[0].measured.contains("it is ahead"));
    }

    #[test]
    fn a_clock_that_was_not_measured_is_a_risk() {
        let mut seen = healthy();
        facts_of(&mut seen, 0).clock.offsets.remove(1);
        assert_eq!(severities(&measured(&seen)), [("c", Risk)]);
        // One that does not answer is told of by another rule.
        seen.peers[2].facts = None;
        assert_eq!(measured(&seen), []);
        assert_eq!(measured(&healthy()), []);
    }

    #[test]
    fn without_the_leader_another_member_measures() {
        let mut seen = healthy();
        seen.peers[0].facts = None;
        let clock = &mut facts_of(&mut seen, 1).clock;
        clock.offsets[0].member_id = "c".into();
        clock.offsets[0].offset_ns = 900 * MS;
        assert_eq!(severities(&offset(&seen)), [("c", Wrong)]);
    }
}
