//! The cluster as JSON and as a table.

use std::fmt::Write;

use serde_json::{json, Value};
use z4_proto::admin::{ClusterInfo, MemberLiveness, MemberRole, PeerRole, Server};

/// What programs have always read: these keys, in this order, two spaces.
pub(crate) fn info(info: &ClusterInfo) -> String {
    let members: Vec<_> = info
        .get_members()
        .iter()
        .map(|member| json!({"id": member.get_id(), "address": member.get_address()}))
        .collect();
    let info = json!({
        "server_id": info.get_server_id(),
        "leader_address": info.get_leader_address(),
        "members": members,
    });
    format!("{info:#}")
}

/// All that a peer tells, for programs.
pub(crate) fn status_json(info: &ClusterInfo) -> String {
    let members: Vec<_> = info
        .get_members()
        .iter()
        .map(|member| {
            json!({
                "id": member.get_id(),
                "address": member.get_address(),
                "role": member_role(member),
                "raft_id": member.get_raft_id(),
                "match_index": known(info, member.get_match_index()),
                "lag": lag(info, member),
                "liveness": liveness(member),
            })
        })
        .collect();
    let status = json!({
        "server_id": info.get_server_id(),
        "version": info.get_version(),
        "role": peer_role(info),
        "cluster_id": info.get_cluster_id(),
        "leader_id": info.get_leader_id(),
        "leader_address": info.get_leader_address(),
        "term": info.get_term(),
        "commit_index": info.get_commit_index(),
        "applied_index": info.get_applied_index(),
        "notice": info.get_notice(),
        "members": members,
    });
    format!("{status:#}")
}

/// All that a peer tells, for people.
pub(crate) fn status_text(info: &ClusterInfo) -> String {
    let leader = match (info.get_leader_id(), info.get_leader_address()) {
        ("", "") => "none known".to_owned(),
        (id, address) => format!("{id} at {address}"),
    };
    let mut text = String::new();
    for (name, value) in [
        ("peer", info.get_server_id().to_owned()),
        ("version", info.get_version().to_owned()),
        ("role", peer_role(info).to_owned()),
        ("cluster", info.get_cluster_id().to_owned()),
        ("leader", leader),
        ("term", info.get_term().to_string()),
        ("commit", info.get_commit_index().to_string()),
        ("applied", info.get_applied_index().to_string()),
        ("notice", info.get_notice().to_owned()),
    ] {
        if !value.is_empty() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<9}{value}");
        }
    }
    if !info.get_members().is_empty() {
        text.push('\n');
        text.push_str(&member_table(info));
    }
    text
}

fn member_table(info: &ClusterInfo) -> String {
    let number = |value: Value| match value {
        Value::Null => "-".to_owned(),
        value => value.to_string(),
    };
    let mut rows = vec![[
        "MEMBER", "ADDRESS", "ROLE", "RAFT ID", "MATCH", "LAG", "LIVENESS",
    ]
    .map(str::to_owned)];
    rows.extend(info.get_members().iter().map(|member| {
        [
            member.get_id().to_owned(),
            member.get_address().to_owned(),
            member_role(member).to_owned(),
            member.get_raft_id().to_string(),
            number(known(info, member.get_match_index())),
            number(lag(info, member)),
            liveness(member).to_owned(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..rows[0].len()).map(|c| width(c).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Only the leader knows how far the others are.
fn known(info: &ClusterInfo, index: u64) -> Value {
    match info.get_role() {
        PeerRole::PEER_ROLE_LEADER => index.into(),
        _ => Value::Null,
    }
}

fn lag(info: &ClusterInfo, member: &Server) -> Value {
    let lag = info
        .get_commit_index()
        .saturating_sub(member.get_match_index());
    known(info, lag)
}

fn peer_role(info: &ClusterInfo) -> &'static str {
    match info.get_role() {
        PeerRole::PEER_ROLE_UNSPECIFIED => "unknown",
        PeerRole::PEER_ROLE_WAITING => "waiting",
        PeerRole::PEER_ROLE_FOLLOWER => "follower",
        PeerRole::PEER_ROLE_CANDIDATE => "candidate",
        PeerRole::PEER_ROLE_LEADER => "leader",
        PeerRole::PEER_ROLE_LEARNER => "learner",
        PeerRole::PEER_ROLE_REMOVED => "removed",
    }
}

fn member_role(member: &Server) -> &'static str {
    match member.get_role() {
        MemberRole::MEMBER_ROLE_UNSPECIFIED => "unknown",
        MemberRole::MEMBER_ROLE_VOTER => "voter",
        MemberRole::MEMBER_ROLE_LEARNER => "learner",
    }
}

fn liveness(member: &Server) -> &'static str {
    match member.get_liveness() {
        MemberLiveness::MEMBER_LIVENESS_UNSPECIFIED => "unknown",
        MemberLiveness::MEMBER_LIVENESS_ALIVE => "alive",
        MemberLiveness::MEMBER_LIVENESS_SILENT => "silent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterInfo {
        let mut info = ClusterInfo::default();
        info.set_server_id("peer1".into());
        info.set_leader_id("peer1".into());
        info.set_leader_address("127.0.0.1:6356".into());
        info.set_role(PeerRole::PEER_ROLE_LEADER);
        info.set_version("0.1.0".into());
        info.set_cluster_id("00ff".into());
        info.set_term(3);
        info.set_commit_index(120);
        info.set_applied_index(119);
        for (number, id, liveness) in [
            (1, "peer1", MemberLiveness::MEMBER_LIVENESS_ALIVE),
            (2, "peer22", MemberLiveness::MEMBER_LIVENESS_SILENT),
        ] {
            let mut member = Server::default();
            member.set_id(id.into());
            member.set_address(format!("127.0.0.{number}:6356"));
            member.set_role(MemberRole::MEMBER_ROLE_VOTER);
            member.set_raft_id(number);
            member.set_match_index(121 - number);
            member.set_liveness(liveness);
            info.mut_members().push(member);
        }
        info
    }

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
        assert_eq!(info(&ClusterInfo::default()), golden);
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

MEMBER  ADDRESS         ROLE   RAFT ID  MATCH  LAG  LIVENESS
peer1   127.0.0.1:6356  voter  1        120    0    alive
peer22  127.0.0.2:6356  voter  2        119    1    silent
";
        assert_eq!(status_text(&cluster()), golden);
    }

    #[test]
    fn a_follower_does_not_know_how_far_the_others_are() {
        let mut info = cluster();
        info.set_role(PeerRole::PEER_ROLE_FOLLOWER);
        let line = "peer1   127.0.0.1:6356  voter  1        -      -    alive\n";
        assert!(status_text(&info).contains(line));
        assert!(status_json(&info).contains("\"lag\": null"));
    }

    #[test]
    fn a_peer_that_waits_says_for_what() {
        let mut info = ClusterInfo::default();
        info.set_server_id("peer2".into());
        info.set_role(PeerRole::PEER_ROLE_WAITING);
        info.set_notice("add me".into());
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
}
