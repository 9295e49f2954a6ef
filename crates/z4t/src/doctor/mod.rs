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

/// What was seen of a cluster.
pub(crate) struct Seen {
    /// What the peer that was asked knows of its cluster.
    pub info: ClusterInfo,
    /// What each member says of itself.
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
    /// What was measured.
    pub measured: String,
    /// Why it matters.
    pub why: &'static str,
    /// What to do about it.
    pub remedy: String,
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

/// What must have been seen for a rule to say anything.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    /// The members of a cluster.
    Members,
    /// A member that has said how it is.
    Facts,
    /// The namespaces.
    Namespaces,
}

impl Needs {
    fn are_met(self, seen: &Seen) -> bool {
        match self {
            Self::Nothing => true,
            Self::Members => !seen.info.members.is_empty(),
            Self::Facts => seen.facts().next().is_some(),
            Self::Namespaces => seen.namespaces.is_ok(),
        }
    }
}

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
    rule("disk-low", Needs::Facts, disks::low),
    rule("disk-space", Needs::Facts, disks::space),
    rule("filesystem", Needs::Facts, disks::filesystem),
    rule("backup", Needs::Facts, disks::backup),
    rule("clock-offset", Needs::Facts, clocks::offset),
    rule("clock-measured", Needs::Facts, clocks::measured),
    rule("tls", Needs::Facts, ports::tls),
    rule("peer-tls", Needs::Facts, ports::peer_tls),
    rule("auth", Needs::Facts, ports::auth),
    rule("certificates", Needs::Facts, ports::certificates),
    rule("descriptors", Needs::Facts, machines::descriptors),
    rule("connections", Needs::Facts, machines::connections),
    rule("memory", Needs::Facts, machines::memory),
    rule("swap", Needs::Facts, machines::swap),
    rule("huge-pages", Needs::Facts, machines::huge_pages),
    rule("overcommit", Needs::Facts, machines::overcommit),
    rule("backlog", Needs::Facts, machines::backlog),
    rule("namespaces", Needs::Namespaces, namespaces::held_up),
    rule("dead-letters", Needs::Namespaces, namespaces::dead_letters),
];

/// What the rules say.
#[derive(Debug)]
pub(crate) struct Report {
    /// What is wrong, then what is risky; each in the order of the rules.
    pub findings: Vec<Finding>,
    /// The rules that found nothing.
    pub passed: Vec<&'static str>,
    /// The rules that had nothing to look at.
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
        if !rule.needs.are_met(seen) {
            report.unchecked.push(rule.name);
            continue;
        }
        let found = (rule.judge)(seen);
        if found.is_empty() {
            report.passed.push(rule.name);
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
