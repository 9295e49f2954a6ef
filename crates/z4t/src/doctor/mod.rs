//! The judgement of `z4t doctor`: what is wrong or risky, from what was seen of a cluster.
//! Pure.
//!
//! | module | its rules |
//! |---|---|
//! | `members` | leader, members that answer, voters, learners, releases, level |
//! | `disks` | space, file systems, backups |
//! | `clocks` | clocks that differ or are not measured |
//! | `ports` | TLS, access, certificates |
//! | `machines` | descriptors, connections, memory, kernel |
//! | `namespaces` | paused, full, dead letters |

mod clocks;
mod disks;
mod machines;
mod members;
mod namespaces;
mod ports;
#[cfg(test)]
mod testing;

use std::time::SystemTime;

use z4_client::{ClusterInfo, Namespace, PeerFacts, PeerStatus};

/// The things that were seen of a cluster.
pub(crate) struct Seen {
    /// The cluster, as the peer that was asked knows it.
    pub info: ClusterInfo,
    /// The members, as each tells of itself.
    pub peers: Vec<PeerStatus>,
    /// The namespaces, or why they could not be read.
    pub namespaces: Result<Vec<Namespace>, String>,
    /// There are more of them.
    pub has_more_namespaces: bool,
    /// When this was.
    pub now: SystemTime,
}

impl Seen {
    /// The members that have said how they are.
    fn facts(&self) -> impl Iterator<Item = (&str, &PeerFacts)> {
        let facts = self.peers.iter();
        facts.filter_map(|peer| Some((peer.id.as_str(), peer.facts.as_deref()?)))
    }
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Severity {
    /// Something does not work, or is about to stop working.
    Wrong,
    /// All works, and one more thing may end that.
    Risk,
}

/// Something that is wrong or risky.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule that found it.
    pub rule: &'static str,
    /// The member that it is about, or `cluster`.
    pub about: String,
    /// The thing that was measured, in words.
    pub measured: String,
    /// The reason why it matters.
    pub why: &'static str,
    /// The thing to do about it.
    pub remedy: String,
}

impl Finding {
    /// Tells whether this is the same thing at another member.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let other = Self {
            about: self.about.clone(),
            ..other.clone()
        };
        *self == other
    }
}

/// A finding that something is wrong, before its rule is known.
fn wrong(
    about: &str,
    measured: impl Into<String>,
    why: &'static str,
    remedy: impl Into<String>,
) -> Finding {
    Finding {
        severity: Severity::Wrong,
        rule: "",
        about: about.to_owned(),
        measured: measured.into(),
        why,
        remedy: remedy.into(),
    }
}

/// A finding that something is risky, before its rule is known.
fn risk(
    about: &str,
    measured: impl Into<String>,
    why: &'static str,
    remedy: impl Into<String>,
) -> Finding {
    Finding {
        severity: Severity::Risk,
        ..wrong(about, measured, why, remedy)
    }
}

/// The name of what is about no member alone.
const CLUSTER: &str = "cluster";

/// A rule by its name.
struct Rule {
    name: &'static str,
    needs: Needs,
    judge: fn(&Seen) -> Vec<Finding>,
}

/// The things that must have been seen for a rule to say anything.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    /// The members of a cluster.
    Members,
    /// This fact, of the members that have said how they are: it tells whether a member has
    /// found the fact out.
    Fact(fn(&PeerFacts) -> bool),
    /// The namespaces.
    Namespaces,
}

/// How much of what a rule needs was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// Nothing, so that the rule is not asked.
    Nothing,
    /// A part: findings count, and none does not mean that all is well.
    Part,
    All,
}

impl Needs {
    fn sight(self, seen: &Seen) -> Sight {
        let all_or_nothing = |is_seen| match is_seen {
            true => Sight::All,
            false => Sight::Nothing,
        };
        match self {
            Self::Nothing => Sight::All,
            Self::Members => all_or_nothing(!seen.info.members.is_empty()),
            Self::Namespaces => all_or_nothing(seen.namespaces.is_ok()),
            Self::Fact(is_told) => {
                let told = seen.facts().filter(|(_, facts)| is_told(facts)).count();
                match seen.facts().count() {
                    _ if told == 0 => Sight::Nothing,
                    all if told < all => Sight::Part,
                    _ => Sight::All,
                }
            }
        }
    }
}

/// A fact that no member fails to tell, for it is a setting or a count of its own.
const ANY: Needs = Needs::Fact(|_| true);
const VOLUMES: Needs = Needs::Fact(|facts| !facts.volumes.is_empty());
/// A disk that is low is told of without its figures, too.
const ROOM: Needs = Needs::Fact(|facts| facts.disk_low || !facts.volumes.is_empty());
const FILESYSTEMS: Needs = Needs::Fact(|facts| {
    let mut volumes = facts.volumes.iter();
    !facts.volumes.is_empty() && volumes.all(|volume| !volume.filesystem.is_empty())
});
const DESCRIPTORS: Needs = Needs::Fact(|facts| facts.process.descriptors_max > 0);
const CONNECTIONS: Needs = Needs::Fact(|facts| facts.process.connections_max > 0);
const MEMORY: Needs =
    Needs::Fact(|facts| facts.system.memory_bytes > 0 || facts.system.memory_limit_bytes > 0);
/// The system tells what is in swap where it tells of the memory of a process.
const SWAP: Needs = Needs::Fact(|facts| facts.process.resident_bytes > 0);
const HUGE_PAGES: Needs = Needs::Fact(|facts| !facts.system.transparent_huge_pages.is_empty());
/// A mode of 0 is a usual one: a kernel that tells its limits tells it, too.
const KERNEL: Needs = Needs::Fact(|facts| facts.system.somaxconn > 0);

const fn rule(name: &'static str, needs: Needs, judge: fn(&Seen) -> Vec<Finding>) -> Rule {
    Rule { name, needs, judge }
}

/// All rules, in the order in which their findings are shown.
const RULES: [Rule; 26] = [
    rule("leader", Needs::Nothing, members::leader),
    rule("reads", Needs::Nothing, namespaces::reads),
    rule("answers", Needs::Nothing, members::answers),
    rule("voters", Needs::Members, members::voters),
    rule("learners", Needs::Members, members::learners),
    rule("versions", Needs::Members, members::versions),
    rule("level", Needs::Members, members::level),
    rule("disk-low", ROOM, disks::low),
    rule("disk-space", VOLUMES, disks::space),
    rule("filesystem", FILESYSTEMS, disks::filesystem),
    rule("backup", ANY, disks::backup),
    rule("clock-offset", ANY, clocks::offset),
    rule("clock-measured", ANY, clocks::measured),
    rule("tls", ANY, ports::tls),
    rule("peer-tls", ANY, ports::peer_tls),
    rule("auth", ANY, ports::auth),
    rule("certificates", ANY, ports::certificates),
    rule("descriptors", DESCRIPTORS, machines::descriptors),
    rule("connections", CONNECTIONS, machines::connections),
    rule("memory", MEMORY, machines::memory),
    rule("swap", SWAP, machines::swap),
    rule("huge-pages", HUGE_PAGES, machines::huge_pages),
    rule("overcommit", KERNEL, machines::overcommit),
    rule("backlog", KERNEL, machines::backlog),
    rule("namespaces", Needs::Namespaces, namespaces::held_up),
    rule("dead-letters", Needs::Namespaces, namespaces::dead_letters),
];

/// The verdict of all rules.
#[derive(Debug)]
pub(crate) struct Report {
    /// The things that are wrong, then those that are risky; each in the order of the rules.
    pub findings: Vec<Finding>,
    /// The rules that found nothing.
    pub passed: Vec<&'static str>,
    /// The rules that found nothing where not all was seen that they look at.
    pub unchecked: Vec<&'static str>,
}

impl Report {
    /// How many findings are so bad.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings.filter(|f| f.severity == severity).count()
    }
}

/// Judges what was seen.
pub(crate) fn judge(seen: &Seen) -> Report {
    let mut report = Report {
        findings: Vec::new(),
        passed: Vec::new(),
        unchecked: Vec::new(),
    };
    for rule in &RULES {
        let sight = rule.needs.sight(seen);
        let found = match sight {
            Sight::Nothing => Vec::new(),
            Sight::Part | Sight::All => (rule.judge)(seen),
        };
        match (found.is_empty(), sight) {
            (true, Sight::All) => report.passed.push(rule.name),
            (true, _) => report.unchecked.push(rule.name),
            (false, _) => {}
        }
        let named = found.into_iter().map(|finding| Finding {
            rule: rule.name,
            ..finding
        });
        report.findings.extend(named);
    }
    report.findings.sort_by_key(|finding| finding.severity);
    report
}

#[cfg(test)]
mod tests {
    use super::testing::healthy;
    use super::*;

    #[test]
    fn a_healthy_cluster_has_no_finding() {
        let report = judge(&healthy());
        assert_eq!(report.findings, []);
        assert_eq!(report.passed.len(), RULES.len());
        assert_eq!(report.unchecked.len(), 0);
    }

    #[test]
    fn what_is_wrong_comes_first_and_each_finding_names_its_rule() {
        let mut seen = healthy();
        seen.info.leader_id.clear();
        seen.info.level = 1;
        let facts = seen.peers[0].facts.as_mut();
        if let Some(facts) = facts {
            facts.system.overcommit_memory = 2;
        }
        if let Some(facts) = seen.peers[2].facts.as_mut() {
            facts.disk_low = true;
        }
        let report = judge(&seen);
        let found: Vec<_> = report
            .findings
            .iter()
            .map(|f| (f.rule, f.severity))
            .collect();
        assert_eq!(
            found,
            [
                ("leader", Severity::Wrong),
                ("disk-low", Severity::Wrong),
                ("level", Severity::Risk),
                ("overcommit", Severity::Risk),
            ]
        );
        assert_eq!(report.count(Severity::Wrong), 2);
        assert_eq!(report.passed.len(), RULES.len() - 4);
    }

    #[test]
    fn what_was_not_seen_is_not_said_to_be_well() {
        let mut seen = healthy();
        for peer in &mut seen.peers {
            peer.facts = None;
            peer.error = "down".into();
        }
        let report = judge(&seen);
        assert!(report.unchecked.contains(&"disk-space"));
        assert!(!report.passed.contains(&"disk-space"));
        assert!(report.passed.contains(&"voters"));
        assert!(report.passed.contains(&"dead-letters"));
    }

    /// The rules of which it is not known that all is well.
    const OF_MACHINES: [&str; 10] = [
        "disk-low",
        "disk-space",
        "filesystem",
        "descriptors",
        "connections",
        "memory",
        "swap",
        "huge-pages",
        "overcommit",
        "backlog",
    ];

    #[test]
    fn a_fact_that_a_member_has_not_found_out_is_not_well() {
        let forget = |facts: &mut PeerFacts| {
            facts.volumes.clear();
            facts.process = Default::default();
            facts.system = Default::default();
        };
        // One member that tells nothing is enough.
        for members in [&[0, 1, 2][..], &[2]] {
            let mut seen = healthy();
            for member in members {
                forget(testing::facts_of(&mut seen, *member));
            }
            let report = judge(&seen);
            assert_eq!(report.findings, []);
            assert_eq!(report.unchecked, OF_MACHINES);
            assert_eq!(report.passed.len(), RULES.len() - OF_MACHINES.len());
        }
        let mut seen = healthy();
        testing::facts_of(&mut seen, 1).volumes[0]
            .filesystem
            .clear();
        assert_eq!(judge(&seen).unchecked, ["filesystem"]);
    }

    #[test]
    fn a_finding_is_told_although_another_member_tells_nothing() {
        let mut seen = healthy();
        testing::facts_of(&mut seen, 1).volumes.clear();
        testing::facts_of(&mut seen, 2).volumes[0].free_bytes = 3 << 30;
        let report = judge(&seen);
        let found: Vec<_> = report.findings.iter().map(|f| f.rule).collect();
        assert_eq!(found, ["disk-space"]);
        assert_eq!(report.unchecked, ["disk-low", "filesystem"]);
        // A disk that is low is told of by a member that knows no more of it.
        testing::facts_of(&mut seen, 1).disk_low = true;
        let low = judge(&seen).findings;
        assert_eq!((low[0].rule, low[0].about.as_str()), ("disk-low", "b"));
    }

    #[test]
    fn a_peer_in_no_cluster_is_well_in_what_it_says_of_itself_alone() {
        let mut seen = healthy();
        seen.info.members.clear();
        seen.namespaces = Err("no leader".into());
        let unchecked = judge(&seen).unchecked;
        let of_the_cluster = [
            "voters",
            "learners",
            "versions",
            "level",
            "namespaces",
            "dead-letters",
        ];
        assert_eq!(unchecked, of_the_cluster);
    }

    #[test]
    fn names_of_rules_are_keys_of_programs() {
        let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
        let plain = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(names.iter().all(|name| name.chars().all(plain)));
    }
}
