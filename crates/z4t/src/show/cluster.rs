//! The cluster as JSON and as a table.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;
use z4_client::{ClusterInfo, Liveness, Member, MemberRole, PeerRole, Verdict, Verification};

use super::plain::escape;
use super::table::table;

/// What programs have always read: these keys, in this order, two spaces.
pub(crate) fn info(info: &ClusterInfo) -> String {
    let members: Vec<_> = info
        .members
        .iter()
        .map(|member| json!({"id": member.id, "address": member.address}))
        .collect();
    let info = json!({
        "server_id": info.server_id,
        "leader_address": info.leader_address,
        "members": members,
    });
    format!("{info:#}")
}

/// All that a peer tells, for programs.
pub(crate) fn status_json(info: &ClusterInfo) -> String {
    let members: Vec<_> = info
        .members
        .iter()
        .map(|member| {
            json!({
                "id": member.id,
                "address": member.address,
                "role": member_role(member),
                "raft_id": member.raft_id,
                "match_index": member.match_index,
                "lag": lag(info, member),
                "liveness": liveness(member),
                "silent_ms": member.silent_for.map(|span| span.as_millis() as u64),
                "clock_offset_ms": member.clock_offset_ns.map(|ns| ns as f64 / 1e6),
            })
        })
        .collect();
    let status = json!({
        "server_id": info.server_id,
        "version": info.version,
        "role": peer_role(info.role),
        "cluster_id": info.cluster_id,
        "leader_id": info.leader_id,
        "leader_address": info.leader_address,
        "term": info.term,
        "commit_index": info.commit_index,
        "applied_index": info.applied_index,
        "notice": info.notice,
        "level": info.level,
        "members": members,
    });
    format!("{status:#}")
}

/// All that a peer tells, for people.
pub(crate) fn status_text(info: &ClusterInfo) -> String {
    let leader = match (info.leader_id.as_str(), info.leader_address.as_str()) {
        ("", "") => "none known".to_owned(),
        (id, address) => format!("{id} at {address}"),
    };
    let mut text = String::new();
    for (name, value) in [
        ("peer", info.server_id.clone()),
        ("version", info.version.clone()),
        ("role", peer_role(info.role).to_owned()),
        ("cluster", info.cluster_id.clone()),
        ("leader", leader),
        ("term", info.term.to_string()),
        ("commit", info.commit_index.to_string()),
        ("applied", info.applied_index.to_string()),
        ("notice", info.notice.clone()),
    ] {
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<9}{}", escape(&value));
        }
    }
    if !info.members.is_empty() {
        text.push('\n');
        text.push_str(&member_table(info));
    }
    text
}

fn member_table(info: &ClusterInfo) -> String {
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let header = [
        "MEMBER", "ADDRESS", "ROLE", "RAFT ID", "MATCH", "LAG", "CLOCK", "LIVENESS",
    ];
    let rows = info.members.iter().map(|member| {
        [
            member.id.clone(),
            member.address.clone(),
            member_role(member).to_owned(),
            member.raft_id.to_string(),
            number(member.match_index),
            number(lag(info, member)),
            clock_text(member),
            liveness_text(member),
        ]
    });
    table(header, rows)
}

/// Only the leader knows how far the others are.
fn lag(info: &ClusterInfo, member: &Member) -> Option<u64> {
    let index = member.match_index?;
    Some(info.commit_index.saturating_sub(index))
}

/// `ok` and what all members agree on, or a line for each thing that is wrong.
pub(crate) fn verification_text(verification: &Verification) -> String {
    if verification.ok {
        let hash = verification.members.first().map(|m| m.state_hash.as_str());
        let hash = escape(hash.unwrap_or_default());
        let ok = format!("ok index={} hash={hash}\n", verification.index);
        return ok + &origin_text(verification);
    }
    let mut text = format!("violated index={}\n", verification.index);
    for member in &verification.members {
        let (id, error) = (escape(&member.id), escape(&member.error));
        // Writing to a string does not fail.
        let _ = match &*error {
            "" => writeln!(text, "{id} hash={}", escape(&member.state_hash)),
            error => writeln!(text, "{id} did not answer: {error}"),
        };
        for violation in &member.violations {
            let _ = writeln!(text, "{id} {}", escape(violation));
        }
    }
    text + &origin_text(verification)
}

/// The backup that a cluster was restored from, if it was.
fn origin_text(verification: &Verification) -> String {
    verification
        .origin
        .as_ref()
        .map_or(String::new(), |origin| {
            format!(
                "restored from cluster {} at index {}, state hash {}\n",
                escape(&origin.cluster_id),
                origin.index,
                escape(&origin.state_hash)
            )
        })
}

/// An answer for programs.
pub(crate) fn verification_json(verification: &Verification) -> String {
    let member = |member: &Verdict| {
        json!({
            "id": member.id,
            "state_hash": member.state_hash,
            "rows": member.rows,
            "violations": member.violations,
            "error": member.error,
        })
    };
    let members: Vec<_> = verification.members.iter().map(member).collect();
    let mut value = json!({
        "ok": verification.ok,
        "index": verification.index,
        "members": members,
    });
    if let Some(origin) = &verification.origin {
        value["origin"] = json!({
            "cluster_id": origin.cluster_id,
            "index": origin.index,
            "state_hash": origin.state_hash,
        });
    }
    format!("{value:#}")
}

/// The name of a role.
pub(super) fn peer_role(role: PeerRole) -> &'static str {
    match role {
        PeerRole::Waiting => "waiting",
        PeerRole::Follower => "follower",
        PeerRole::Candidate => "candidate",
        PeerRole::Leader => "leader",
        PeerRole::Learner => "learner",
        PeerRole::Removed => "removed",
        _ => "unknown",
    }
}

fn member_role(member: &Member) -> &'static str {
    match member.role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
        _ => "unknown",
    }
}

fn liveness(member: &Member) -> &'static str {
    match member.liveness {
        Liveness::Alive => "alive",
        Liveness::Silent => "silent",
        _ => "unknown",
    }
}

/// For people: since when nothing was heard, in whole seconds.
fn liveness_text(member: &Member) -> String {
    match member.silent_for {
        Some(span) if member.liveness == Liveness::Silent => {
            let span = Duration::from_secs(span.as_secs().max(1));
            format!("silent {}", humantime::format_duration(span))
        }
        _ => liveness(member).to_owned(),
    }
}

/// For people: how far the clock of a member is from that of the peer that answers.
fn clock_text(member: &Member) -> String {
    member.clock_offset_ns.map_or("-".to_owned(), |ns| {
        let ms = ns as f64 / 1e6;
        match ms.abs() {
            1_000.0.. => format!("{:+.1}s", ms / 1e3),
            _ => format!("{ms:+.1}ms"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::testing::{cluster, nobody};

    #[test]
    fn info_is_what_programs_have_always_read() {
        let golden = r#"{
  "server_id": "peer1",
  "leader_address": "127.0.0.1:6356",
  "members": [
    {
      "id": "peer1",
      "address": "127.0.0.1:6356"
    },
    {
      "id": "peer22",
      "address": "127.0.0.2:6356"
    }
  ]
}"#;
        assert_eq!(info(&cluster()), golden);
        let golden = "{\n  \"server_id\": \"\",\n  \"leader_address\": \"\",\n  \"members\": []\n}";
        assert_eq!(info(&nobody()), golden);
    }

    #[test]
    fn status_of_a_leader_for_people() {
        let golden = "\
peer     peer1
version  0.1.0
role     leader
cluster  00ff
leader   peer1 at 127.0.0.1:6356
term     3
commit   120
applied  119

MEMBER  ADDRESS         ROLE   RAFT ID  MATCH  LAG  CLOCK  LIVENESS
peer1   127.0.0.1:6356  voter  1        120    0    -      alive
peer22  127.0.0.2:6356  voter  2        119    1    -1.2s  silent 12s
";
        assert_eq!(status_text(&cluster()), golden);
    }

    #[test]
    fn a_follower_does_not_know_how_far_the_others_are() {
        let mut info = cluster();
        info.role = PeerRole::Follower;
        info.members.iter_mut().for_each(|m| m.match_index = None);
        let line = "peer1   127.0.0.1:6356  voter  1        -      -    -      alive\n";
        assert!(status_text(&info).contains(line));
        assert!(status_json(&info).contains("\"lag\": null"));
    }

    #[test]
    fn a_peer_that_waits_says_for_what() {
        let mut info = nobody();
        info.server_id = "peer2".into();
        info.role = PeerRole::Waiting;
        info.notice = "add me".into();
        let golden = "\
peer     peer2
role     waiting
leader   none known
term     0
commit   0
applied  0
notice   add me
";
        assert_eq!(status_text(&info), golden);
    }

    #[test]
    fn what_is_violated_is_said_per_member() {
        let verdict = |id: &str, hash: &str| Verdict {
            id: id.into(),
            state_hash: hash.into(),
            violations: Vec::new(),
            error: String::new(),
            rows: 4,
        };
        let mut found = Verification {
            index: 42,
            ok: true,
            members: vec![verdict("peer1", "00ff"), verdict("peer2", "00ff")],
            origin: None,
        };
        assert_eq!(verification_text(&found), "ok index=42 hash=00ff\n");
        let origin = z4_client::Origin {
            cluster_id: "ab".into(),
            index: 7,
            state_hash: "cd".into(),
        };
        let restored = Verification {
            origin: Some(origin),
            ..found.clone()
        };
        let golden = "ok index=42 hash=00ff\n\
                      restored from cluster ab at index 7, state hash cd\n";
        assert_eq!(verification_text(&restored), golden);
        assert!(verification_json(&restored).contains("\"state_hash\": \"cd\""));
        found.ok = false;
        found.members[0].violations = vec!["a lease without a task".into()];
        found.members[1].error = "not reached".into();
        let golden = "\
violated index=42
peer1 hash=00ff
peer1 a lease without a task
peer2 did not answer: not reached
";
        assert_eq!(verification_text(&found), golden);
        assert!(verification_json(&found).starts_with("{\n  \"ok\": false,\n  \"index\": 42"));
    }
}
