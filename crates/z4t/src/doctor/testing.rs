//! A cluster of three without a fault, and what is asked of findings.

use std::time::{Duration, SystemTime};

use z4_client::{
    ClockOffset, ClusterInfo, Liveness, Member, MemberRole, Namespace, PeerFacts, PeerRole,
    PeerStatus, SecurityFacts, Settings,
};

use super::{Finding, Seen, Severity};
use crate::show::testing::{nobody, peer_facts, peer_status};

/// The day of the examination.
pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

/// Members a, b and c; a leads.
pub(super) fn healthy() -> Seen {
    let names = ["a", "b", "c"];
    let member = |(number, id): (u64, &str)| Member {
        id: id.into(),
        address: format!("h:{number}"),
        role: MemberRole::Voter,
        match_index: Some(9),
        liveness: Liveness::Alive,
        silent_for: None,
        raft_id: number,
        version: "0.2.0".into(),
        levels: Some((1, 2)),
        level_held: false,
        clock_offset_ns: None,
    };
    Seen {
        info: ClusterInfo {
            server_id: "a".into(),
            leader_id: "a".into(),
            role: PeerRole::Leader,
            members: (1..).zip(names).map(member).collect(),
            level: 2,
            ..nobody()
        },
        peers: names.map(peer).into(),
        namespaces: Ok(Vec::new()),
        has_more_namespaces: false,
        now: now(),
    }
}

fn peer(id: &str) -> PeerStatus {
    peer_status(id, facts(id))
}

/// The facts of one of them, to be spoiled.
pub(super) fn facts_of(seen: &mut Seen, place: usize) -> &mut PeerFacts {
    let id = seen.peers[place].id.clone();
    let facts = &mut seen.peers[place].facts;
    facts.get_or_insert_with(|| Box::new(self::facts(&id)))
}

fn facts(id: &str) -> PeerFacts {
    let is_leader = id == "a";
    let offset = |id: &str| ClockOffset {
        member_id: id.into(),
        offset_ns: 1_000_000,
        error: Duration::from_millis(1),
    };
    let mut facts = peer_facts();
    if !is_leader {
        facts.role = PeerRole::Follower;
    }
    facts.security = SecurityFacts {
        service_tls: true,
        peer_tls: true,
        auth: true,
        beyond_loopback: true,
        certificate: Some(("own of peer".into(), now() + days(90))),
        ..SecurityFacts::default()
    };
    facts.last_backup_age = is_leader.then_some(Duration::from_secs(3_600));
    facts.clock.stamps = is_leader;
    facts.clock.offsets = match is_leader {
        true => vec![offset("b"), offset("c")],
        false => vec![offset("a")],
    };
    facts
}

/// A span of whole days.
pub(super) fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

fn settings() -> Settings {
    Settings {
        lease: Duration::from_secs(30),
        dedupe_window: Duration::from_secs(600),
        max_attempts: 0,
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(600),
        pending_max: 0,
        bytes_max: 0,
        leased_max: 0,
        rate_per_s: 0,
        rate: None,
        rate_burst: 0,
        dead_keep: None,
        dead_keep_count: 0,
    }
}

/// A namespace with nothing in it.
pub(super) fn namespace(name: &str) -> Namespace {
    Namespace {
        name: name.into(),
        settings: settings(),
        paused_at: None,
        deleting: false,
        counts: z4_client::Counts::default(),
    }
}

/// Whom findings are about, and how bad each is.
pub(super) fn severities(found: &[Finding]) -> Vec<(&str, Severity)> {
    found
        .iter()
        .map(|f| (f.about.as_str(), f.severity))
        .collect()
}
