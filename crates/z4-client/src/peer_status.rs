//! Facts that each member tells of itself, its machine and its settings.

use std::time::{Duration, SystemTime};

use z4_proto::admin::{self as wire, GetPeerStatusRequest};

use crate::client::Client;
use crate::cluster::PeerRole;
use crate::convert::{signed_ns, span, time};
use crate::error::Error;
use crate::retry::Repeat;

/// A member, and what it says.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerStatus {
    /// Its Z4_PEER_ID.
    pub id: String,
    /// Why it gave no facts; empty when it did.
    pub error: String,
    /// The member gave none because it runs a release that does not know the call.
    pub is_older: bool,
    /// The facts, if it gave any.
    pub facts: Option<Box<PeerFacts>>,
}

/// Facts that a member tells of itself. A fact that it could not find out is left at its
/// default.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerFacts {
    /// The release that it runs.
    pub version: String,
    /// For how long the process has served.
    pub uptime: Duration,
    /// The role of the member.
    pub role: PeerRole,
    /// Its term.
    pub term: u64,
    /// Highest log index that is committed, as far as it knows.
    pub commit_index: u64,
    /// Highest log index that it has applied.
    pub applied_index: u64,
    /// Its process.
    pub process: ProcessFacts,
    /// The volumes of its two data folders; one, when they share it.
    pub volumes: Vec<VolumeFacts>,
    /// Too little of a volume is free. The cluster takes no creates while this is so of a
    /// voter; a member without a vote keeps nobody from them.
    pub disk_low: bool,
    /// How it is kept from strangers.
    pub security: SecurityFacts,
    /// How long ago it last sent a backup to its end; `None`: it never did.
    pub last_backup_age: Option<Duration>,
    /// Its clock, and those of others as it measures them.
    pub clock: ClockFacts,
    /// The machine that it runs on.
    pub system: SystemFacts,
    /// The counts since its process began.
    pub counters: PeerCounters,
}

/// The process of a peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessFacts {
    /// Processor time of all its threads.
    pub cpu: Duration,
    /// Memory in RAM.
    pub resident_bytes: u64,
    /// Memory in swap.
    pub swapped_bytes: u64,
    /// Most that block cache and write buffers take.
    pub buffers_bytes_max: u64,
    /// File descriptors that are open.
    pub descriptors: u64,
    /// How many may be.
    pub descriptors_max: u64,
    /// Connections of clients that are open.
    pub connections: u64,
    /// How many may be.
    pub connections_max: u64,
}

/// A volume with data of a peer on it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VolumeFacts {
    /// The data folders on it: `db`, `peer`, or both.
    pub folders: Vec<String>,
    /// The size of the volume.
    pub size_bytes: u64,
    /// The part that the peer may still fill.
    pub free_bytes: u64,
    /// The part that stays free.
    pub reserve_bytes: u64,
    /// The kind of its file system.
    pub filesystem: String,
}

/// The demand for certificates of clients.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ClientCertificates {
    /// They are not.
    #[default]
    Off,
    /// They may show one.
    Optional,
    /// They must show one.
    Require,
}

/// How a peer is kept from strangers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SecurityFacts {
    /// The service port and the status port speak TLS.
    pub service_tls: bool,
    /// The demand for certificates of clients.
    pub client_certificates: ClientCertificates,
    /// The peer port and lanes speak TLS.
    pub peer_tls: bool,
    /// Clients are asked who they are.
    pub auth: bool,
    /// Z4_INSECURE is set.
    pub insecure: bool,
    /// The ports are opened on more than loopback.
    pub beyond_loopback: bool,
    /// The certificate that runs out first, and when; `None`: no port has TLS.
    pub certificate: Option<(String, SystemTime)>,
}

/// The clock of a peer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClockFacts {
    /// How far the clock of a leader may be ahead of those of most voters.
    pub offset_max: Duration,
    /// The peer leads, and its clock is good enough.
    pub stamps: bool,
    /// Why it leads and takes nothing in; empty when it takes, or does not lead.
    pub fault: String,
    /// The clocks of other members that were measured within the last seconds.
    pub offsets: Vec<ClockOffset>,
}

/// The clock of another member, as a peer measures it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClockOffset {
    /// The other member.
    pub member_id: String,
    /// Its clock minus that of the peer that says it, in nanoseconds.
    pub offset_ns: i64,
    /// The most that the offset is off by.
    pub error: Duration,
}

/// The machine of a peer, as its process sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SystemFacts {
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// The part of it that the control group of the process may use; 0: no limit.
    pub memory_limit_bytes: u64,
    /// always, madvise or never; empty: not known.
    pub transparent_huge_pages: String,
    /// `vm.overcommit_memory`.
    pub overcommit_memory: u32,
    /// `net.core.somaxconn`; 0: not known.
    pub somaxconn: u64,
}

/// The counts of a peer since its process began. The numbers only rise.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PeerCounters {
    /// Tasks created through it.
    pub created: u64,
    /// Tasks that it handed to consumers.
    pub delivered: u64,
    /// Leases that were ended through it: the task is done.
    pub acked: u64,
    /// Leases that were ended through it with a failure.
    pub nacked: u64,
    /// Requests that it refused because a limit was reached.
    pub refused: u64,
    /// Writes to its raft log that were synced.
    pub log_syncs: u64,
    /// The time from due to handed over, of the deliveries.
    pub lateness: Histogram,
}

/// Values that were counted by their size.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Histogram {
    /// How many there were.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum_s: f64,
    /// For each bound, in seconds, how many were not above it.
    pub buckets: Vec<(f64, u64)>,
}

impl From<wire::PeerStatus> for PeerStatus {
    fn from(mut status: wire::PeerStatus) -> Self {
        let (id, error) = (status.take_id(), status.take_error());
        Self {
            is_older: status.get_is_older(),
            facts: error.is_empty().then(|| Box::new(status.into())),
            id,
            error,
        }
    }
}

impl From<wire::PeerStatus> for PeerFacts {
    fn from(mut status: wire::PeerStatus) -> Self {
        Self {
            version: status.take_version(),
            uptime: span(&status.uptime).unwrap_or_default(),
            role: status.get_role().into(),
            term: status.get_term(),
            commit_index: status.get_commit_index(),
            applied_index: status.get_applied_index(),
            process: status.get_process().into(),
            volumes: status.take_volumes().into_iter().map(Into::into).collect(),
            disk_low: status.get_disk_low(),
            security: status.take_security().into(),
            last_backup_age: span(&status.last_backup_age),
            clock: status.take_clock().into(),
            system: status.take_system().into(),
            counters: status.get_counters().into(),
        }
    }
}

impl From<&wire::ProcessStatus> for ProcessFacts {
    fn from(process: &wire::ProcessStatus) -> Self {
        Self {
            cpu: span(&process.cpu).unwrap_or_default(),
            resident_bytes: process.get_resident_bytes(),
            swapped_bytes: process.get_swapped_bytes(),
            buffers_bytes_max: process.get_buffers_bytes_max(),
            descriptors: process.get_descriptors(),
            descriptors_max: process.get_descriptors_max(),
            connections: process.get_connections(),
            connections_max: process.get_connections_max(),
        }
    }
}

impl From<wire::VolumeStatus> for VolumeFacts {
    fn from(mut volume: wire::VolumeStatus) -> Self {
        Self {
            size_bytes: volume.get_size_bytes(),
            free_bytes: volume.get_free_bytes(),
            reserve_bytes: volume.get_reserve_bytes(),
            folders: volume.take_folders().into_vec(),
            filesystem: volume.take_filesystem(),
        }
    }
}

impl From<wire::SecurityStatus> for SecurityFacts {
    fn from(mut security: wire::SecurityStatus) -> Self {
        Self {
            service_tls: security.get_service_tls(),
            client_certificates: match security.get_client_certificates() {
                wire::ClientCertificates::CLIENT_CERTIFICATES_OFF => ClientCertificates::Off,
                wire::ClientCertificates::CLIENT_CERTIFICATES_OPTIONAL => {
                    ClientCertificates::Optional
                }
                wire::ClientCertificates::CLIENT_CERTIFICATES_REQUIRE => {
                    ClientCertificates::Require
                }
            },
            peer_tls: security.get_peer_tls(),
            auth: security.get_auth(),
            insecure: security.get_insecure(),
            beyond_loopback: security.get_beyond_loopback(),
            certificate: time(&security.certificate_expires_at)
                .map(|at| (security.take_certificate(), at)),
        }
    }
}

impl From<wire::ClockStatus> for ClockFacts {
    fn from(mut clock: wire::ClockStatus) -> Self {
        let offset = |mut offset: wire::ClockOffset| ClockOffset {
            offset_ns: signed_ns(offset.get_offset()),
            error: span(&offset.error).unwrap_or_default(),
            member_id: offset.take_member_id(),
        };
        Self {
            offset_max: span(&clock.offset_max).unwrap_or_default(),
            stamps: clock.get_stamps(),
            offsets: clock.take_offsets().into_iter().map(offset).collect(),
            fault: clock.take_fault(),
        }
    }
}

impl From<wire::SystemStatus> for SystemFacts {
    fn from(mut system: wire::SystemStatus) -> Self {
        Self {
            memory_bytes: system.get_memory_bytes(),
            memory_limit_bytes: system.get_memory_limit_bytes(),
            overcommit_memory: system.get_overcommit_memory(),
            somaxconn: system.get_somaxconn(),
            transparent_huge_pages: system.take_transparent_huge_pages(),
        }
    }
}

impl From<&wire::PeerCounters> for PeerCounters {
    fn from(counters: &wire::PeerCounters) -> Self {
        let lateness = counters.get_lateness();
        let bucket = |b: &wire::HistogramBucket| (b.get_at_most_seconds(), b.get_count());
        Self {
            created: counters.get_created(),
            delivered: counters.get_delivered(),
            acked: counters.get_acked(),
            nacked: counters.get_nacked(),
            refused: counters.get_refused(),
            log_syncs: counters.get_log_syncs(),
            lateness: Histogram {
                count: lateness.get_count(),
                sum_s: lateness.get_sum_seconds(),
                buckets: lateness.get_buckets().iter().map(bucket).collect(),
            },
        }
    }
}

impl Client {
    /// The facts that each member tells of itself, its machine and its settings, or those of
    /// the one that is named. The peer that is called asks all of them, and a member that is
    /// down has an entry that says so: the answer takes a few seconds then.
    ///
    /// # Errors
    /// `Unimplemented` when the peer that is called runs a release that does not know this
    /// call; `NotFound` for the name of no member.
    pub async fn peer_status(&self, member_id: Option<&str>) -> Result<Vec<PeerStatus>, Error> {
        let mut request = GetPeerStatusRequest::default();
        request.set_member_id(member_id.unwrap_or_default().to_owned());
        let answer = self
            .peers
            .ask(Repeat::Read, self.timeout(), |peer, option| {
                peer.admin.get_peer_status_async_opt(&request, option)
            })
            .await?;
        let peers = answer.value.peers.into_iter();
        Ok(peers.map(PeerStatus::from).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn facts_come_as_they_were_said() {
        let mut said = wire::PeerStatus::default();
        said.set_id("a".into());
        said.set_role(wire::PeerRole::PEER_ROLE_LEADER);
        let mut offset = wire::ClockOffset::default();
        offset.set_member_id("b".into());
        offset.mut_offset().set_seconds(-1);
        offset.mut_offset().set_nanos(-500_000_000);
        said.mut_clock().mut_offsets().push(offset);
        let mut bucket = wire::HistogramBucket::default();
        bucket.set_at_most_seconds(0.5);
        bucket.set_count(3);
        said.mut_counters()
            .mut_lateness()
            .mut_buckets()
            .push(bucket);
        let status = PeerStatus::from(said);
        assert_eq!((status.id.as_str(), status.is_older), ("a", false));
        let facts = status.facts.unwrap();
        assert_eq!(facts.role, PeerRole::Leader);
        assert_eq!(facts.clock.offsets[0].offset_ns, -1_500_000_000);
        assert_eq!(facts.counters.lateness.buckets, [(0.5, 3)]);
        assert_eq!(facts.last_backup_age, None);
        assert_eq!(facts.security.certificate, None);
    }

    #[test]
    fn a_member_with_an_error_has_no_facts() {
        let mut said = wire::PeerStatus::default();
        said.set_error("down".into());
        said.set_is_older(true);
        let status = PeerStatus::from(said);
        assert_eq!((status.error.as_str(), status.is_older), ("down", true));
        assert_eq!(status.facts, None);
    }
}
