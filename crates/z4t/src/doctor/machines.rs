//! Rules of machines: descriptors, connections, memory, settings of the kernel.

use z4_client::PeerFacts;

use super::{risk, Finding, Seen};
use crate::limits;
use crate::show::bytes;

/// The findings of a rule that looks at one member after the other.
fn each(seen: &Seen, look: impl Fn(&str, &PeerFacts) -> Option<Finding>) -> Vec<Finding> {
    seen.facts()
        .filter_map(|(id, facts)| look(id, facts))
        .collect()
}

/// More than so many parts of a hundred are used.
fn is_above(used: u64, max: u64, percent: u64) -> bool {
    u128::from(used) * 100 > u128::from(max) * u128::from(percent)
}

/// There are enough descriptors.
pub(super) fn descriptors(seen: &Seen) -> Vec<Finding> {
    let remedy =
        "LimitNOFILE=65536 in the unit of systemd, --ulimit nofile=65536:65536 of docker; \
                  then start the peer anew";
    each(seen, |id, facts| {
        let (used, max) = (facts.process.descriptors, facts.process.descriptors_max);
        if max == 0 {
            return None;
        }
        let measured = format!("{used} of {max} file descriptors are open");
        if max < limits::DESCRIPTORS_MIN {
            let why = "connections of clients get what databases and peers leave, and are refused \
                       beyond it";
            return Some(risk(id, measured, why, remedy));
        }
        let why = "without a descriptor nobody can connect";
        is_above(used, max, limits::DESCRIPTORS_PERCENT_MAX)
            .then(|| risk(id, measured, why, remedy))
    })
}

/// There is room for more clients.
pub(super) fn connections(seen: &Seen) -> Vec<Finding> {
    each(seen, |id, facts| {
        let (used, max) = (facts.process.connections, facts.process.connections_max);
        let is_near = max > 0 && is_above(used, max, limits::CONNECTIONS_PERCENT_MAX);
        is_near.then(|| {
            risk(
                id,
                format!("{used} of {max} connections of clients are open"),
                "more are closed at once",
                "set Z4_CONNECTIONS_MAX higher, or let clients share connections",
            )
        })
    })
}

/// The memory that the peer may use is enough for its buffers.
pub(super) fn memory(seen: &Seen) -> Vec<Finding> {
    each(seen, |id, facts| {
        let (process, system) = (&facts.process, &facts.system);
        let limit_bytes = match (system.memory_limit_bytes, system.memory_bytes) {
            (0, 0) => return None,
            (0, bytes) | (bytes, 0) => bytes,
            (limit_bytes, memory_bytes) => limit_bytes.min(memory_bytes),
        };
        let needed_bytes = process.buffers_bytes_max.saturating_mul(2);
        let remedy = "give the peer 2 GiB: MemoryMax= of systemd, --memory of docker, \
                      resources.limits.memory of the chart";
        if limit_bytes < needed_bytes {
            let measured = format!(
                "it may use {} of memory, and its caches alone grow to {}",
                bytes(limit_bytes),
                bytes(process.buffers_bytes_max)
            );
            let why = "the system ends a process that needs more than it may use";
            return Some(risk(id, measured, why, remedy));
        }
        let used_bytes = process.resident_bytes;
        is_above(used_bytes, limit_bytes, limits::MEMORY_PERCENT_MAX).then(|| {
            let measured = format!("it uses {} of {}", bytes(used_bytes), bytes(limit_bytes));
            let why = "the system ends a process that needs more than it may use";
            risk(id, measured, why, remedy)
        })
    })
}

/// Nothing of a peer is in swap.
pub(super) fn swap(seen: &Seen) -> Vec<Finding> {
    each(seen, |id, facts| {
        let swapped_bytes = facts.process.swapped_bytes;
        (swapped_bytes > 0).then(|| {
            risk(
                id,
                format!("{} of its memory are in swap", bytes(swapped_bytes)),
                "a heartbeat that waits for swap is late, and the leader is deposed",
                "swapoff -a, or MemorySwapMax=0 in the unit of systemd; then start the peer anew",
            )
        })
    })
}

/// Memory is not given in huge pages unasked.
pub(super) fn huge_pages(seen: &Seen) -> Vec<Finding> {
    each(seen, |id, facts| {
        (facts.system.transparent_huge_pages == "always").then(|| {
            risk(
                id,
                "transparent huge pages are on for all memory",
                "a peer takes more memory than it uses, and waits while pages are put together",
                "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, and the kernel \
                 parameter transparent_hugepage=madvise for the next start",
            )
        })
    })
}

/// Memory that is there can be had.
pub(super) fn overcommit(seen: &Seen) -> Vec<Finding> {
    each(seen, |id, facts| {
        (facts.system.overcommit_memory == 2).then(|| {
            risk(
                id,
                "vm.overcommit_memory is 2",
                "the system refuses memory that is free, and a peer that gets none ends",
                "sysctl -w vm.overcommit_memory=0, and the same line in /etc/sysctl.d",
            )
        })
    })
}

/// Connections that come together wait for their turn.
pub(super) fn backlog(seen: &Seen) -> Vec<Finding> {
    each(seen, |id, facts| {
        let somaxconn = facts.system.somaxconn;
        (somaxconn > 0 && somaxconn < limits::BACKLOG_MIN).then(|| {
            risk(
                id,
                format!("net.core.somaxconn is {somaxconn}"),
                "when all clients come back at once, the system turns some away",
                format!(
                    "sysctl -w net.core.somaxconn={0}, and the same line in /etc/sysctl.d; then \
                     start the peer anew",
                    limits::BACKLOG_MIN
                ),
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{facts_of, healthy, severities};
    use super::super::Severity::Risk;
    use super::*;

    /// The finding of a rule when the facts of b are spoiled.
    fn found(rule: fn(&Seen) -> Vec<Finding>, spoil: impl Fn(&mut PeerFacts)) -> Option<String> {
        let mut seen = healthy();
        spoil(facts_of(&mut seen, 1));
        let found = rule(&seen);
        if found.is_empty() {
            return None;
        }
        assert_eq!(severities(&found), [("b", Risk)]);
        Some(found[0].measured.clone())
    }

    #[test]
    fn few_descriptors_and_many_that_are_used_are_risks() {
        let of = |used, max| {
            found(descriptors, |facts| {
                facts.process.descriptors = used;
                facts.process.descriptors_max = max;
            })
        };
        assert_eq!(of(1, 65_536), None);
        assert_eq!(of(0, 0), None, "not known");
        assert!(of(1, 65_535).is_some());
        assert_eq!(of(80_000, 100_000), None);
        let many = of(80_001, 100_000);
        assert_eq!(
            many.as_deref(),
            Some("80001 of 100000 file descriptors are open")
        );
    }

    #[test]
    fn connections_that_are_nearly_used_up_are_a_risk() {
        let of = |used| found(connections, |facts| facts.process.connections = used);
        assert_eq!(of(8_000), None);
        assert!(of(8_001).is_some());
    }

    #[test]
    fn little_memory_is_a_risk_also_on_a_machine_without_a_limit() {
        let of = |resident: u64, limit: u64, machine: u64| {
            found(memory, |facts| {
                facts.process.resident_bytes = resident << 20;
                facts.system.memory_limit_bytes = limit << 20;
                facts.system.memory_bytes = machine << 20;
            })
        };
        assert_eq!(of(300, 896, 16_000), None);
        let small = of(300, 895, 16_000).unwrap_or_default();
        assert!(
            small.contains("895 MiB") && small.contains("448 MiB"),
            "{small}"
        );
        assert!(of(300, 0, 895).is_some());
        assert_eq!(of(300, 0, 896), None);
        assert_eq!(of(900, 1_000, 16_000), None);
        assert!(of(901, 1_000, 16_000).is_some());
        assert_eq!(of(300, 0, 0), None, "the system does not tell");
        assert_eq!(of(300, 896, 0), None, "the machine does not tell");
        assert!(of(300, 895, 0).is_some());
    }

    #[test]
    fn settings_of_the_kernel_are_risks() {
        assert_eq!(found(swap, |facts| facts.process.swapped_bytes = 0), None);
        assert!(found(swap, |facts| facts.process.swapped_bytes = 1).is_some());
        let pages = |word: &str| {
            let word = word.to_owned();
            found(huge_pages, move |facts| {
                facts.system.transparent_huge_pages.clone_from(&word);
            })
        };
        assert!(pages("always").is_some());
        assert_eq!(
            [pages("madvise"), pages("never"), pages("")],
            [None, None, None]
        );
        let commits = |mode| found(overcommit, |facts| facts.system.overcommit_memory = mode);
        assert_eq!([commits(0), commits(1)], [None, None]);
        assert!(commits(2).is_some());
        let waits = |count| found(backlog, |facts| facts.system.somaxconn = count);
        assert_eq!([waits(4_096), waits(0)], [None, None]);
        assert!(waits(4_095).is_some());
    }
}
