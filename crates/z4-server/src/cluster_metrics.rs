//! Gauges of the cluster as this peer knows it, read when somebody asks for metrics.

use prometheus::{GaugeVec, IntGauge, IntGaugeVec, Opts, Registry};
use z4_consensus::{Levels, Role, Status};

/// Gauges of the cluster. A member is told by its peer id, which people know; there are
/// never more of them than members of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct ClusterMetrics {
    members: IntGauge,
    voters: IntGauge,
    level: IntGauge,
    level_holds: IntGauge,
    leader_known: IntGauge,
    silent: GaugeVec,
    lag: IntGaugeVec,
}

impl ClusterMetrics {
    /// Registers the gauges, and says what this binary is: its release, and the levels that
    /// it knows.
    ///
    /// # Errors
    /// When the registry has gauges of these names.
    pub(crate) fn new(registry: &Registry, levels: Levels) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let build = Opts::new("z4_server_build_info", "1, with the release of this peer");
        let build = IntGaugeVec::new(build, &["version"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        gauge(
            "z4_server_level_max",
            "The greatest level of a cluster that this release can serve",
        )?
        .set(i64::from(levels.max));
        let silent = Opts::new(
            "z4_cluster_member_silent_seconds",
            "How long a member has not answered the leader; told by the leader alone",
        );
        let silent = GaugeVec::new(silent, &["member"])?;
        registry.register(Box::new(silent.clone()))?;
        let lag = Opts::new(
            "z4_cluster_member_lag_entries",
            "Entries of the log that a member is not known to have; told by the leader alone",
        );
        let lag = IntGaugeVec::new(lag, &["member"])?;
        registry.register(Box::new(lag.clone()))?;
        Ok(Self {
            members: gauge(
                "z4_cluster_members",
                "Members of the cluster, as known here; 0 for a peer that is in none",
            )?,
            voters: gauge("z4_cluster_voters", "Members that vote, as known here")?,
            level: gauge(
                "z4_cluster_level",
                "The level of the cluster, as known here; 0 for a peer that is in none",
            )?,
            level_holds: gauge(
                "z4_cluster_level_holds",
                "Members that hold the level of the cluster, as known here",
            )?,
            leader_known: gauge(
                "z4_cluster_leader_known",
                "1 while this peer knows the leader of its cluster, else 0",
            )?,
            silent,
            lag,
        })
    }

    /// Reads the status into the gauges.
    pub(crate) fn sample(&self, status: &Status) {
        let membership = &status.membership;
        self.members.set(number(membership.members.len() as u64));
        self.voters.set(number(membership.voter_count() as u64));
        self.level.set(i64::from(membership.level));
        let said = status.said_levels.values();
        let holds = said.filter(|said| said.is_held).count();
        self.level_holds.set(number(holds as u64));
        let knows = status.leader != 0 && !matches!(status.role, Role::Waiting | Role::Removed);
        self.leader_known.set(i64::from(knows));
        // A member that has left, or of which another leader tells now, must not linger.
        self.silent.reset();
        self.lag.reset();
        if status.role != Role::Leader {
            return;
        }
        for (raft_id, member) in &membership.members {
            let label = &[member.peer_id.as_str()];
            if *raft_id == status.raft_id {
                self.silent.with_label_values(label).set(0.0);
                self.lag.with_label_values(label).set(0);
            } else if let Some(progress) = status.progress.get(raft_id) {
                let silent = self.silent.with_label_values(label);
                silent.set(progress.silent_ms as f64 / 1e3);
                let lag = status.last_index.saturating_sub(progress.match_index);
                self.lag.with_label_values(label).set(number(lag));
            }
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus::TextEncoder;
    use z4_consensus::status::Progress;
    use z4_consensus::{Member, Membership, SaidLevels};

    use super::*;

    const LEVELS: Levels = Levels { min: 1, max: 3 };

    fn status(role: Role) -> Status {
        let member = |number: u64| {
            let member = Member {
                peer_id: format!("peer{number}"),
                address: format!("10.0.0.{number}:6356"),
                voter: number < 3,
            };
            (number, member)
        };
        let said = |number: u64| {
            let said = SaidLevels {
                levels: LEVELS,
                version: String::new(),
                is_held: number == 2,
            };
            (number, said)
        };
        let progress = Progress {
            match_index: 90,
            alive: false,
            silent_ms: 1_500,
        };
        Status {
            role,
            raft_id: 1,
            leader: 1,
            last_index: 100,
            membership: Membership {
                members: (1..=3).map(member).collect(),
                level: 2,
                ..Membership::default()
            },
            progress: [(3, progress)].into(),
            said_levels: (1..=3).map(said).collect(),
            ..Status::default()
        }
    }

    fn text(registry: &Registry) -> String {
        TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap()
    }

    #[test]
    fn a_leader_tells_of_its_members_and_nobody_else_does() {
        let registry = Registry::new();
        let metrics = ClusterMetrics::new(&registry, LEVELS).unwrap();
        metrics.sample(&status(Role::Leader));
        let told = text(&registry);
        for line in [
            "z4_cluster_members 3\n",
            "z4_cluster_voters 2\n",
            "z4_cluster_level 2\n",
            "z4_cluster_level_holds 1\n",
            "z4_cluster_leader_known 1\n",
            "z4_server_level_max 3\n",
            "z4_cluster_member_silent_seconds{member=\"peer1\"} 0\n",
            "z4_cluster_member_silent_seconds{member=\"peer3\"} 1.5\n",
            "z4_cluster_member_lag_entries{member=\"peer3\"} 10\n",
        ] {
            assert!(told.contains(line), "{line} {told}");
        }
        assert!(
            !told.contains("member=\"peer2\""),
            "nothing is known: {told}"
        );
        metrics.sample(&status(Role::Follower));
        assert!(!text(&registry).contains("member="), "{}", text(&registry));
    }

    #[test]
    fn a_peer_without_a_cluster_knows_no_leader() {
        let registry = Registry::new();
        let metrics = ClusterMetrics::new(&registry, LEVELS).unwrap();
        metrics.sample(&status(Role::Removed));
        assert!(text(&registry).contains("z4_cluster_leader_known 0\n"));
        metrics.sample(&Status::default());
        let told = text(&registry);
        for line in ["z4_cluster_leader_known 0\n", "z4_cluster_members 0\n"] {
            assert!(told.contains(line), "{line} {told}");
        }
    }
}
