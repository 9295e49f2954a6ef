//! Calls about the cluster: members, leadership, health, verification.

use std::time::Duration;

use z4_proto::admin::{
    self as wire, AddClusterMemberRequest, CheckHealthRequest, GetClusterInfoRequest,
    HoldLevelRequest, RemoveClusterMemberRequest, SetMemberAddressRequest,
    TransferLeadershipRequest, VerifyClusterRequest,
};

use crate::client::Client;
use crate::convert::{signed_ns, span};
use crate::error::Error;
use crate::retry::Repeat;

/// What a member may do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum MemberRole {
    /// The peer does not say.
    Unknown,
    /// Votes.
    Voter,
    /// Catches up.
    Learner,
}

/// Whether the leader hears of a member.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Liveness {
    /// The peer does not say: only the leader knows it.
    Unknown,
    /// The leader has heard of it lately.
    Alive,
    /// The leader has not heard of it lately.
    Silent,
}

/// What a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum PeerRole {
    /// The peer does not say.
    Unknown,
    /// Not in a cluster; waits to be added.
    Waiting,
    /// Follows a leader.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// Catches up.
    Learner,
    /// Taken out of its cluster.
    Removed,
}

impl From<wire::PeerRole> for PeerRole {
    fn from(role: wire::PeerRole) -> Self {
        match role {
            wire::PeerRole::PEER_ROLE_UNSPECIFIED => Self::Unknown,
            wire::PeerRole::PEER_ROLE_WAITING => Self::Waiting,
            wire::PeerRole::PEER_ROLE_FOLLOWER => Self::Follower,
            wire::PeerRole::PEER_ROLE_CANDIDATE => Self::Candidate,
            wire::PeerRole::PEER_ROLE_LEADER => Self::Leader,
            wire::PeerRole::PEER_ROLE_LEARNER => Self::Learner,
            wire::PeerRole::PEER_ROLE_REMOVED => Self::Removed,
        }
    }
}

/// A member of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its Z4_PEER_ID.
    pub id: String,
    /// Address of its port for peers.
    pub address: String,
    /// What it may do.
    pub role: MemberRole,
    /// The highest log index that the member is known to have; `None`: the peer
    /// that answered does not lead, and only the leader knows it.
    pub match_index: Option<u64>,
    /// Whether the member answers the leader.
    pub liveness: Liveness,
    /// For how long the member has not answered the leader; `None`: it answers, or
    /// the peer does not say.
    pub silent_for: Option<Duration>,
    /// The number that the log gave the member.
    pub raft_id: u64,
    /// The release that it runs; empty: neither the peer nor the leader knows.
    pub version: String,
    /// The least and the greatest level that it can serve; `None`: neither the peer nor
    /// the leader knows.
    pub levels: Option<(u32, u32)>,
    /// The member was asked to hold the level of the cluster.
    pub level_held: bool,
    /// The clock of the member minus that of the peer that answered, in nanoseconds, as that
    /// one has measured it; `None`: it is that one, or nothing was measured lately.
    pub clock_offset_ns: Option<i64>,
}

/// What a peer knows of its cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterInfo {
    /// The peer that answered.
    pub server_id: String,
    /// Address of the leader's port for peers; empty: none is known.
    pub leader_address: String,
    /// The leader; empty: none is known.
    pub leader_id: String,
    /// All members.
    pub members: Vec<Member>,
    /// The peer's term.
    pub term: u64,
    /// Highest log index that is committed, as far as the peer knows.
    pub commit_index: u64,
    /// Highest log index that it has applied.
    pub applied_index: u64,
    /// Made up when the cluster was made.
    pub cluster_id: String,
    /// What the peer is.
    pub role: PeerRole,
    /// Its version.
    pub version: String,
    /// What it waits for, for a person; empty when all is well.
    pub notice: String,
    /// The level of the cluster: it says what may stand in the log and between members, and
    /// rises by itself when all members know a greater one. 0: the peer is in no cluster, or of
    /// a release that knows none.
    pub level: u32,
}

impl ClusterInfo {
    /// The greatest level that all members can serve; `None`: it is not known of one.
    #[must_use]
    pub fn level_next(&self) -> Option<u32> {
        let known = self.members.iter().map(|member| Some(member.levels?.1));
        known.collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}

impl From<wire::ClusterInfo> for ClusterInfo {
    fn from(mut info: wire::ClusterInfo) -> Self {
        let role = PeerRole::from(info.get_role());
        let member = |mut member: wire::Server| Member {
            role: match member.get_role() {
                wire::MemberRole::MEMBER_ROLE_UNSPECIFIED => MemberRole::Unknown,
                wire::MemberRole::MEMBER_ROLE_VOTER => MemberRole::Voter,
                wire::MemberRole::MEMBER_ROLE_LEARNER => MemberRole::Learner,
            },
            match_index: (role == PeerRole::Leader).then_some(member.get_match_index()),
            liveness: match member.get_liveness() {
                wire::MemberLiveness::MEMBER_LIVENESS_UNSPECIFIED => Liveness::Unknown,
                wire::MemberLiveness::MEMBER_LIVENESS_ALIVE => Liveness::Alive,
                wire::MemberLiveness::MEMBER_LIVENESS_SILENT => Liveness::Silent,
            },
            silent_for: span(&member.silent_for),
            raft_id: member.get_raft_id(),
            levels: match (member.get_level_min(), member.get_level_max()) {
                (_, 0) => None,
                levels => Some(levels),
            },
            level_held: member.get_level_held(),
            clock_offset_ns: member.clock_offset.as_ref().map(signed_ns),
            version: member.take_version(),
            id: member.take_id(),
            address: member.take_address(),
        };
        Self {
            role,
            members: info.take_members().into_iter().map(member).collect(),
            term: info.get_term(),
            commit_index: info.get_commit_index(),
            applied_index: info.get_applied_index(),
            server_id: info.take_server_id(),
            leader_address: info.take_leader_address(),
            leader_id: info.take_leader_id(),
            cluster_id: info.take_cluster_id(),
            version: info.take_version(),
            notice: info.take_notice(),
            level: info.get_level(),
        }
    }
}

/// A member that was told to hold the level of the cluster, or to let it rise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldMember {
    /// Its Z4_PEER_ID.
    pub id: String,
    /// Why it was not told; empty when it was.
    pub error: String,
    /// The member runs a release that knows of no levels, and raises none.
    pub is_older: bool,
}

/// What one member says of its state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// The member.
    pub id: String,
    /// 128 bits of fingerprint, in hexadecimal.
    pub state_hash: String,
    /// Invariants that do not hold; at most 100.
    pub violations: Vec<String>,
    /// Why it did not answer; empty when it did.
    pub error: String,
    /// Rows that were looked at.
    pub rows: u64,
}

/// The states of all members at one place of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verification {
    /// The place.
    pub index: u64,
    /// All answered, all hashes are equal, nothing is violated.
    pub ok: bool,
    /// One for each member.
    pub members: Vec<Verdict>,
    /// The backup that the cluster was restored from; `None`: it began with nothing, or the
    /// peer is of a release that does not say.
    pub origin: Option<Origin>,
}

/// A backup that a cluster was restored from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The cluster that the backup is of.
    pub cluster_id: String,
    /// The last entry of its log that the backup holds.
    pub index: u64,
    /// Fingerprint of all rows of the backup, in hexadecimal.
    pub state_hash: String,
}

impl Client {
    /// Whether a peer knows a leader. Each is asked once.
    ///
    /// # Errors
    /// `Unavailable`, with the reason, when none does.
    pub async fn health(&self) -> Result<(), Error> {
        let request = CheckHealthRequest::default();
        self.peers
            .ask(Repeat::Round, self.timeout(), |peer, option| {
                peer.admin.check_health_async_opt(&request, option)
            })
            .await?;
        Ok(())
    }

    /// What a peer knows of its cluster.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn cluster_info(&self) -> Result<ClusterInfo, Error> {
        let request = GetClusterInfoRequest::default();
        let answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.admin.get_cluster_info_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.into())
    }

    /// Adds the running, empty peer `id` that listens for peers at `address`;
    /// waits until it votes. Not repeated.
    ///
    /// # Errors
    /// With what to do. Nothing changed when the peer cannot be reached.
    pub async fn add_member(&self, id: &str, address: &str) -> Result<(), Error> {
        let mut request = AddClusterMemberRequest::default();
        request.set_member_id(id.to_owned());
        request.set_member_address(address.to_owned());
        let timeout = self.peers.options.member_timeout;
        self.peers
            .ask(Repeat::Never, timeout, |peer, option| {
                peer.admin.add_cluster_member_async_opt(&request, option)
            })
            .await?;
        Ok(())
    }

    /// Says that the member `id` answers at `address`, when it cannot tell the
    /// cluster itself; it is dialled there first. `true` when all members know
    /// it; `false` when no leader is known, and the peer that was asked dials the
    /// member there from now on. Not repeated.
    ///
    /// # Errors
    /// With what to do. Nothing changed when the member does not answer there.
    pub async fn set_member_address(&self, id: &str, address: &str) -> Result<bool, Error> {
        let mut request = SetMemberAddressRequest::default();
        request.set_member_id(id.to_owned());
        request.set_member_address(address.to_owned());
        let timeout = self.peers.options.member_timeout;
        let answer = self
            .peers
            .ask(Repeat::Never, timeout, |peer, option| {
                peer.admin.set_member_address_async_opt(&request, option)
            })
            .await?;
        Ok(answer.value.get_replicated())
    }

    /// Takes a peer out for good. Not repeated.
    ///
    /// # Errors
    /// With what to do.
    pub async fn remove_member(&self, id: &str) -> Result<(), Error> {
        let mut request = RemoveClusterMemberRequest::default();
        request.set_member_id(id.to_owned());
        let timeout = self.peers.options.member_timeout;
        self.peers
            .ask(Repeat::Never, timeout, |peer, option| {
                peer.admin.remove_cluster_member_async_opt(&request, option)
            })
            .await?;
        Ok(())
    }

    /// Hands leadership to a voter; `None`: to the most caught-up one. Not
    /// repeated.
    ///
    /// # Errors
    /// With what to do.
    pub async fn transfer_leadership(&self, id: Option<&str>) -> Result<(), Error> {
        let mut request = TransferLeadershipRequest::default();
        request.set_member_id(id.unwrap_or_default().to_owned());
        let timeout = self.peers.options.member_timeout;
        self.peers
            .ask(Repeat::Never, timeout, |peer, option| {
                peer.admin.transfer_leadership_async_opt(&request, option)
            })
            .await?;
        Ok(())
    }

    /// Tells all members to hold the level of the cluster, or to let it rise. Gives the level
    /// and what came of it at each. May be repeated.
    ///
    /// # Errors
    /// [`Error`]: the peer that was asked does not know it for sure; ask again.
    pub async fn hold_level(&self, hold: bool) -> Result<(u32, Vec<HeldMember>), Error> {
        let mut request = HoldLevelRequest::default();
        request.set_hold(hold);
        let timeout = self.peers.options.member_timeout;
        let answer = self
            .peers
            .ask(Repeat::Never, timeout, |peer, option| {
                peer.admin.hold_level_async_opt(&request, option)
            })
            .await?;
        let of_member = |mut member: wire::HeldMember| HeldMember {
            is_older: member.get_is_older(),
            id: member.take_id(),
            error: member.take_error(),
        };
        let level = answer.value.get_level();
        let members = answer.value.members.into_iter();
        Ok((level, members.map(of_member).collect()))
    }

    /// Compares the states of all members at one place of the log, and checks
    /// the invariants there. Takes as long as reading all of it does:
    /// [`crate::Options::member_timeout`] bounds it.
    ///
    /// # Errors
    /// When it cannot be told; what is violated stands in the answer.
    pub async fn verify(&self) -> Result<Verification, Error> {
        let request = VerifyClusterRequest::default();
        let timeout = self.peers.options.member_timeout;
        let mut answer = self
            .peers
            .ask(Repeat::ReadOnce, timeout, |peer, option| {
                peer.admin.verify_cluster_async_opt(&request, option)
            })
            .await?
            .value;
        let verdict = |mut verdict: wire::MemberVerdict| Verdict {
            rows: verdict.get_rows(),
            id: verdict.take_id(),
            state_hash: verdict.take_state_hash(),
            violations: verdict.take_violations().into_vec(),
            error: verdict.take_error(),
        };
        let origin = answer.has_origin().then(|| answer.take_origin());
        Ok(Verification {
            origin: origin.map(|mut origin| Origin {
                index: origin.get_index(),
                cluster_id: origin.take_cluster_id(),
                state_hash: origin.take_state_hash(),
            }),
            index: answer.get_index(),
            ok: answer.get_ok(),
            members: answer.take_members().into_iter().map(verdict).collect(),
        })
    }
}
