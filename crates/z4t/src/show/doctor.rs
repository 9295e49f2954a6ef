//! The findings of `doctor`, as one page and as JSON.

use std::fmt::Write;

use serde_json::json;
use z4_client::ClusterInfo;

use super::plain::escape;
use crate::doctor::{Finding, Report, Severity};

/// One page for people: what is wrong first, and what is well in one line.
pub(crate) fn doctor_text(info: &ClusterInfo, report: &Report) -> String {
    let leader = match info.leader_id.as_str() {
        "" => "none",
        id => id,
    };
    // Writing to a string does not fail.
    let mut text = String::new();
    let _ = writeln!(
        text,
        "cluster {}, leader {}, term {}, level {}, {} members, asked {}\n",
        escape(&info.cluster_id),
        escape(leader),
        info.term,
        info.level,
        info.members.len(),
        escape(&info.server_id),
    );
    for alike in report.findings.chunk_by(Finding::is_like) {
        let Some(finding) = alike.first() else {
            continue;
        };
        let word = match finding.severity {
            Severity::Wrong => "WRONG",
            Severity::Risk => "RISK",
        };
        let about: Vec<_> = alike.iter().map(|finding| escape(&finding.about)).collect();
        let (about, measured) = (about.join(", "), escape(&finding.measured));
        let _ = writeln!(text, "{word:<5}  {about}: {measured} [{}]", finding.rule);
        let _ = writeln!(text, "       Why: {}.", finding.why);
        let _ = writeln!(text, "       Do:  {}.\n", escape(&finding.remedy));
    }
    if !report.passed.is_empty() {
        let _ = writeln!(text, "ok     {}", report.passed.join(", "));
    }
    if !report.unchecked.is_empty() {
        let unchecked = report.unchecked.join(", ");
        let _ = writeln!(
            text,
            "-      not known, for not all of it was seen: {unchecked}"
        );
    }
    let _ = writeln!(
        text,
        "{} wrong, {} risky, {} of {} rules found nothing",
        report.count(Severity::Wrong),
        report.count(Severity::Risk),
        report.passed.len(),
        report.passed.len() + report.unchecked.len() + rules_that_found(report),
    );
    text
}

fn rules_that_found(report: &Report) -> usize {
    let mut rules: Vec<_> = report.findings.iter().map(|f| f.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules.len()
}

/// For programs.
pub(crate) fn doctor_json(info: &ClusterInfo, report: &Report) -> String {
    let finding = |finding: &Finding| {
        json!({
            "severity": match finding.severity {
                Severity::Wrong => "wrong",
                Severity::Risk => "risk",
            },
            "rule": finding.rule,
            "about": finding.about,
            "measured": finding.measured,
            "why": finding.why,
            "remedy": finding.remedy,
        })
    };
    let findings: Vec<_> = report.findings.iter().map(finding).collect();
    let value = json!({
        "cluster_id": info.cluster_id,
        "server_id": info.server_id,
        "wrong": report.count(Severity::Wrong),
        "risky": report.count(Severity::Risk),
        "findings": findings,
        "ok": report.passed,
        "unchecked": report.unchecked,
    });
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::testing::cluster;

    fn report() -> Report {
        let finding = |severity, about: &str| Finding {
            severity,
            rule: "answers",
            about: about.into(),
            measured: "it is \u{1b}[2Jdown".into(),
            why: "all hangs on it",
            remedy: format!("start {about}"),
        };
        Report {
            findings: vec![
                finding(Severity::Wrong, "peer\u{1b}3"),
                finding(Severity::Risk, "cluster"),
            ],
            passed: vec!["leader", "voters"],
            unchecked: vec!["disk-low"],
        }
    }

    #[test]
    fn a_page_for_people() {
        let golden = "\
cluster 00ff, leader peer1, term 3, level 1, 2 members, asked peer1

WRONG  peer\\u{1b}3: it is \\u{1b}[2Jdown [answers]
       Why: all hangs on it.
       Do:  start peer\\u{1b}3.

RISK   cluster: it is \\u{1b}[2Jdown [answers]
       Why: all hangs on it.
       Do:  start cluster.

ok     leader, voters
-      not known, for not all of it was seen: disk-low
1 wrong, 1 risky, 2 of 4 rules found nothing
";
        assert_eq!(doctor_text(&cluster(), &report()), golden);
    }

    #[test]
    fn what_is_alike_at_several_members_is_told_once() {
        let mut report = report();
        let mut alike = report.findings[0].clone();
        alike.about = "peer4".into();
        report.findings.insert(1, alike);
        let text = doctor_text(&cluster(), &report);
        assert!(text.contains("WRONG  peer\\u{1b}3, peer4: it is"), "{text}");
        assert_eq!(text.matches("WRONG").count(), 1, "{text}");
        assert!(text.contains("2 wrong, 1 risky"), "{text}");
    }

    #[test]
    fn programs_get_the_same() {
        let text = doctor_json(&cluster(), &report());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!((&value["wrong"], &value["risky"]), (&json!(1), &json!(1)));
        assert_eq!(value["findings"][0]["severity"], "wrong");
        assert_eq!(value["findings"][1]["about"], "cluster");
        assert_eq!(value["ok"], json!(["leader", "voters"]));
        assert_eq!(value["unchecked"], json!(["disk-low"]));
    }
}
