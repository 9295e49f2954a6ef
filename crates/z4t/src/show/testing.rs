//! Clusters to show.

use std::time::Duration;

use z4_client::{ClusterInfo, Liveness, Member, MemberRole, PeerRole};

pub(crate) fn nobody() -> ClusterInfo {
    ClusterInfo {
        server_id: String::new(),
        leader_address: String::new(),
        leader_id: String::new(),
        members: Vec::new(),
        term: 0,
        commit_index: 0,
        applied_index: 0,
        cluster_id: String::new(),
        role: PeerRole::Unknown,
        version: String::new(),
        notice: String::new(),
        level: 0,
    }
}

pub(crate) fn cluster() -> ClusterInfo {
    let member = |number: u64, id: &str, liveness| Member {
        id: id.into(),
        address: format!("127.0.0.{number}:6356"),
        role: MemberRole::Voter,
        raft_id: number,
        match_index: Some(121 - number),
        liveness,
        version: String::new(),
        levels: None,
        level_held: false,
        clock_offset_ns: (number == 2).then_some(-1_234_567_890),
        silent_for: (liveness == Liveness::Silent).then_some(Duration::from_millis(12_345)),
    };
    let mut members = vec![
        member(1, "peer1", Liveness::Alive),
        member(2, "peer22", Liveness::Silent),
    ];
    members[0].version = "0.2.0".into();
    members[0].levels = Some((1, 2));
    ClusterInfo {
        server_id: "peer1".into(),
        leader_id: "peer1".into(),
        leader_address: "127.0.0.1:6356".into(),
        role: PeerRole::Leader,
        version: "0.1.0".into(),
        cluster_id: "00ff".into(),
        term: 3,
        commit_index: 120,
        applied_index: 119,
        members,
        level: 1,
        ..nobody()
    }
}
