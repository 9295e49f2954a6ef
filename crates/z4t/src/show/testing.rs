//! Clusters to show.

use std::time::Duration;

use z4_client::{
    ClockFacts, ClusterInfo, Liveness, Member, MemberRole, PeerCounters, PeerFacts, PeerRole,
    PeerStatus, ProcessFacts, SecurityFacts, SystemFacts, VolumeFacts,
};

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

/// A member that has said how it is.
pub(crate) fn peer_status(id: &str, facts: PeerFacts) -> PeerStatus {
    PeerStatus {
        id: id.into(),
        error: String::new(),
        is_older: false,
        facts: Some(Box::new(facts)),
    }
}

/// A leader that is well, of a machine that is.
pub(crate) fn peer_facts() -> PeerFacts {
    PeerFacts {
        version: "0.2.0".into(),
        uptime: Duration::from_secs(3_600),
        role: PeerRole::Leader,
        term: 2,
        commit_index: 9,
        applied_index: 9,
        process: ProcessFacts {
            cpu: Duration::from_secs(10),
            resident_bytes: 300 << 20,
            swapped_bytes: 0,
            buffers_bytes_max: 448 << 20,
            descriptors: 100,
            descriptors_max: 1 << 20,
            connections: 10,
            connections_max: 10_000,
        },
        volumes: vec![VolumeFacts {
            folders: vec!["db".into(), "peer".into()],
            size_bytes: 100 << 30,
            free_bytes: 50 << 30,
            reserve_bytes: 2 << 30,
            filesystem: "xfs".into(),
        }],
        disk_low: false,
        security: SecurityFacts::default(),
        last_backup_age: None,
        clock: ClockFacts {
            offset_max: Duration::from_millis(500),
            stamps: true,
            fault: String::new(),
            offsets: Vec::new(),
        },
        system: SystemFacts {
            memory_bytes: 16 << 30,
            memory_limit_bytes: 2 << 30,
            transparent_huge_pages: "madvise".into(),
            overcommit_memory: 0,
            somaxconn: 4_096,
        },
        counters: PeerCounters::default(),
    }
}
