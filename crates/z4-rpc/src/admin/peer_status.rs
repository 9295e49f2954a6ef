//! GetPeerStatus: what each member says of itself, its machine and its settings.

use futures::future::join_all;
use grpcio::RpcStatusCode;
use prometheus::core::{Collector, Metric};
use prometheus::IntCounterVec;
use z4_consensus::{Role, Status};
use z4_core::task::WallTime;
use z4_core::View;
use z4_proto::generated::admin::{
    self as wire, ClientCertificates, GetPeerStatusResponse, PeerStatus,
};
use z4_proto::generated::peer::{
    ForwardReply_oneof_answer as Answer, ForwardRequest_oneof_ask as Ask, PeerStatusAsk,
};
use z4_tls::ClientAuth;

use super::check_peer_id;
use super::info::role;
use super::members::{self, Patience, Unanswered};
use crate::convert;
use crate::errors::Error;
use crate::facts::{Facts, PortFacts, ProcessFacts, SystemFacts, VolumeFacts};
use crate::limits;
use crate::metrics::Metrics;
use crate::node::Node;

/// The status of all members, or of the one that is named.
pub(super) async fn of_members<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    named: &str,
) -> Result<GetPeerStatusResponse, Error> {
    if !named.is_empty() {
        check_peer_id(named)?;
    }
    let status = node.handle().status();
    let members = status.membership.members.iter();
    let mut asked: Vec<(u64, String)> = members
        .map(|(raft_id, member)| (*raft_id, member.peer_id.clone()))
        .collect();
    if !status.membership.members.contains_key(&status.raft_id) {
        asked.push((status.raft_id, node.network().peer_id().to_owned()));
    }
    asked.retain(|(_, name)| named.is_empty() || name == named);
    if asked.is_empty() {
        return Err(Error::not_found(format!(
            "member_id: there is no member {named}; z4t status lists them"
        )));
    }
    let asked = asked.into_iter();
    let asked = asked.map(|(raft_id, name)| of_member(node, &status, raft_id, name));
    let mut response = GetPeerStatusResponse::default();
    response.set_peers(join_all(asked).await.into());
    Ok(response)
}

async fn of_member<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
    status: &Status,
    raft_id: u64,
    name: String,
) -> PeerStatus {
    if raft_id == status.raft_id {
        return own(node)
            .await
            .unwrap_or_else(|e| none(name, e.to_string()));
    }
    let patience = Patience {
        answer: limits::PEER_STATUS_TIMEOUT,
        reach: limits::PEER_STATUS_REACH_TIMEOUT,
    };
    let ask = Ask::peer_status(PeerStatusAsk::default());
    told(
        name,
        members::ask(node, status, raft_id, ask, patience).await,
    )
}

/// The answer of a member, under the name by which it was asked.
fn told(name: String, answered: Result<Answer, Unanswered>) -> PeerStatus {
    let unknown = i32::from(RpcStatusCode::INVALID_ARGUMENT) as u32;
    match answered {
        Ok(Answer::peer_status(mut status)) => {
            status.set_id(name);
            status
        }
        Ok(_) => none(name, "it answered something else".to_owned()),
        Err(Unanswered::Refused(error)) if error.get_status() == unknown => {
            let why = "it runs a release that does not know this call; upgrade it";
            let mut status = none(name, why.to_owned());
            status.set_is_older(true);
            status
        }
        Err(why) => none(name, why.to_string()),
    }
}

fn none(name: String, why: String) -> PeerStatus {
    let mut status = PeerStatus::default();
    status.set_id(name);
    status.set_error(why);
    status
}

/// The status of this peer, as it tells it itself.
///
/// # Errors
/// Too many reads wait, or the system does not say in time how it is.
pub(crate) async fn own<V: View + Clone + Send + Sync + 'static>(
    node: &Node<V>,
) -> Result<PeerStatus, Error> {
    let hook = node.facts().clone();
    let read = Box::pin(node.looks().run(move || hook()));
    let facts = node.timer().within(limits::PEER_STATUS_OWN_TIMEOUT, read);
    let facts = facts.await.unwrap_or_else(|| {
        Err(Error::Unavailable(
            "its system does not say how it is; look at its disks".into(),
        ))
    })?;
    let (network, status) = (node.network(), node.handle().status());
    let mut message = of_facts(&facts, network.metrics());
    message.set_id(network.peer_id().to_owned());
    message.set_version(network.own().said().version);
    message.set_role(role(status.role));
    message.set_term(status.term);
    message.set_commit_index(status.commit_index);
    message.set_applied_index(status.applied_index);
    message.set_disk_low(network.disk_admission().is_low());
    message.mut_security().set_auth(node.access().is_on());
    message.set_clock(clock(&status, &facts));
    Ok(message)
}

fn of_facts(facts: &Facts, metrics: &Metrics) -> PeerStatus {
    let mut message = PeerStatus::default();
    message.set_uptime(convert::duration(facts.uptime));
    message.set_process(process(&facts.process));
    message.set_volumes(facts.volumes.iter().map(volume).collect());
    message.set_security(security(&facts.ports));
    if let Some(age) = facts.last_backup_age {
        message.set_last_backup_age(convert::duration(age));
    }
    message.set_system(system(&facts.system));
    let mut counters = counters(metrics);
    counters.set_log_syncs(facts.log_syncs);
    message.set_counters(counters);
    message
}

fn process(facts: &ProcessFacts) -> wire::ProcessStatus {
    let mut process = wire::ProcessStatus::default();
    process.set_cpu(convert::duration(facts.cpu));
    process.set_resident_bytes(facts.resident_bytes);
    process.set_swapped_bytes(facts.swapped_bytes);
    process.set_buffers_bytes_max(facts.buffers_bytes_max);
    process.set_descriptors(facts.descriptors);
    process.set_descriptors_max(facts.descriptors_max);
    process.set_connections(facts.connections);
    process.set_connections_max(facts.connections_max);
    process
}

fn volume(facts: &VolumeFacts) -> wire::VolumeStatus {
    let mut volume = wire::VolumeStatus::default();
    let folders = facts.folders.iter().map(|folder| (*folder).to_owned());
    volume.set_folders(folders.collect());
    volume.set_size_bytes(facts.size_bytes);
    volume.set_free_bytes(facts.free_bytes);
    volume.set_reserve_bytes(facts.reserve_bytes);
    volume.set_filesystem(facts.filesystem.clone());
    volume
}

fn security(facts: &PortFacts) -> wire::SecurityStatus {
    let mut security = wire::SecurityStatus::default();
    security.set_service_tls(facts.service_tls);
    security.set_client_certificates(match facts.client_auth {
        ClientAuth::Off => ClientCertificates::CLIENT_CERTIFICATES_OFF,
        ClientAuth::Optional => ClientCertificates::CLIENT_CERTIFICATES_OPTIONAL,
        ClientAuth::Require => ClientCertificates::CLIENT_CERTIFICATES_REQUIRE,
    });
    security.set_peer_tls(facts.peer_tls);
    security.set_insecure(facts.is_insecure);
    security.set_beyond_loopback(facts.is_beyond_loopback);
    if let Some((name, expires_at)) = &facts.certificate {
        let since = expires_at.duration_since(std::time::UNIX_EPOCH);
        // Before 1970 or in it: it ran out long ago.
        let seconds = since.map_or(0, |since| since.as_secs());
        security.set_certificate(name.clone());
        security.set_certificate_expires_at(convert::timestamp(WallTime {
            seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            nanos: 0,
        }));
    }
    security
}

fn clock(status: &Status, facts: &Facts) -> wire::ClockStatus {
    let mut clock = wire::ClockStatus::default();
    clock.set_offset_max(convert::duration(facts.clock_offset_max));
    match &status.clock_fault {
        Some(fault) => clock.set_fault(fault.to_string()),
        None => clock.set_stamps(status.role == Role::Leader),
    }
    for (raft_id, measured) in &status.clocks {
        let Some(member) = status.membership.members.get(raft_id) else {
            continue;
        };
        let mut offset = wire::ClockOffset::default();
        offset.set_member_id(member.peer_id.clone());
        offset.set_offset(convert::signed_duration_of_ns(measured.offset_ns));
        offset.set_error(convert::duration_of_ns(measured.error_ns));
        clock.mut_offsets().push(offset);
    }
    clock
}

fn system(facts: &SystemFacts) -> wire::SystemStatus {
    let mut system = wire::SystemStatus::default();
    system.set_memory_bytes(facts.memory_bytes);
    system.set_memory_limit_bytes(facts.memory_limit_bytes);
    system.set_transparent_huge_pages(facts.transparent_huge_pages.clone());
    system.set_overcommit_memory(facts.overcommit_memory);
    system.set_somaxconn(facts.somaxconn);
    system
}

/// The counts of the metrics, and nothing beside them.
fn counters(metrics: &Metrics) -> wire::PeerCounters {
    let mut counters = wire::PeerCounters::default();
    counters.set_created(metrics.created.get());
    counters.set_delivered(metrics.delivered.get());
    let ended = |ask, outcomes: &[&str]| {
        let is_one = |labels: &[&str]| labels[0] == ask && outcomes.contains(&labels[1]);
        sum(&metrics.lease_results, ["ask", "outcome"], is_one)
    };
    counters.set_acked(ended("ack", &["done"]));
    counters.set_nacked(ended("nack", &["waiting", "dead"]));
    let is_refusal = |labels: &[&str]| labels[1] == "RESOURCE_EXHAUSTED";
    counters.set_refused(sum(&metrics.requests, ["method", "code"], is_refusal));
    counters.set_lateness(histogram(&metrics.lateness));
    counters
}

/// The sum of the counters whose labels are picked.
fn sum(counters: &IntCounterVec, names: [&str; 2], is_picked: impl Fn(&[&str]) -> bool) -> u64 {
    let mut sum = 0.0;
    for family in counters.collect() {
        for metric in family.get_metric() {
            let value = |name: &&str| {
                let label = metric
                    .get_label()
                    .iter()
                    .find(|label| label.name() == *name);
                label.map_or("", |label| label.value())
            };
            let labels: Vec<&str> = names.iter().map(value).collect();
            if is_picked(&labels) {
                sum += metric.get_counter().get_value();
            }
        }
    }
    sum as u64
}

fn histogram(histogram: &prometheus::Histogram) -> wire::Histogram {
    let metric = histogram.metric();
    let counted = metric.get_histogram();
    let mut message = wire::Histogram::default();
    message.set_count(counted.get_sample_count());
    message.set_sum_seconds(counted.get_sample_sum());
    for bucket in counted.get_bucket() {
        let mut shown = wire::HistogramBucket::default();
        shown.set_at_most_seconds(bucket.upper_bound());
        shown.set_count(bucket.cumulative_count());
        message.mut_buckets().push(shown);
    }
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use z4_proto::generated::peer::ForwardError;

    use super::*;

    fn refused(code: RpcStatusCode) -> PeerStatus {
        let mut error = ForwardError::default();
        error.set_status(i32::from(code) as u32);
        error.set_message("why".into());
        told("b".into(), Err(Unanswered::Refused(error)))
    }

    #[test]
    fn a_member_without_facts_says_why() {
        let older = refused(RpcStatusCode::INVALID_ARGUMENT);
        assert!(older.get_is_older());
        assert!(older.get_error().contains("does not know this call"));
        let busy = refused(RpcStatusCode::RESOURCE_EXHAUSTED);
        assert!(!busy.get_is_older());
        assert_eq!((busy.get_id(), busy.get_error()), ("b", "why"));
        let silent = told("b".into(), Err(Unanswered::Silent("no answer".into())));
        assert_eq!(silent.get_error(), "no answer");
        let odd = told("b".into(), Ok(Answer::done(true)));
        assert!(odd.get_error().contains("something else"));
    }

    #[test]
    fn a_member_answers_under_the_name_that_the_cluster_has() {
        let mut said = PeerStatus::default();
        said.set_id("somebody".into());
        said.set_term(7);
        let status = told("b".into(), Ok(Answer::peer_status(said)));
        assert_eq!((status.get_id(), status.get_term()), ("b", 7));
        assert_eq!(status.get_error(), "");
    }

    #[test]
    fn counters_are_those_of_the_metrics() {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        metrics.created.inc_by(3);
        metrics.delivered.inc_by(2);
        for (ask, outcome, count) in [
            ("ack", "done", 5),
            ("ack", "expired", 100),
            ("nack", "waiting", 6),
            ("nack", "dead", 1),
            ("nack", "taken", 100),
            ("release", "waiting", 100),
        ] {
            let counter = metrics.lease_results.with_label_values(&[ask, outcome]);
            counter.inc_by(count);
        }
        let code = RpcStatusCode::RESOURCE_EXHAUSTED;
        metrics.request("CreateTask", code, 0.0);
        metrics.request("LeaseTasks", code, 0.0);
        metrics.request("CreateTask", RpcStatusCode::OK, 0.0);
        metrics.lateness.observe(0.0015);
        metrics.lateness.observe(100.0);
        let counted = counters(&metrics);
        assert_eq!((counted.get_created(), counted.get_delivered()), (3, 2));
        assert_eq!((counted.get_acked(), counted.get_nacked()), (5, 7));
        assert_eq!(counted.get_refused(), 2);
        let lateness = counted.get_lateness();
        assert_eq!(lateness.get_count(), 2);
        let of = |at: usize| {
            let bucket = &lateness.get_buckets()[at];
            (bucket.get_at_most_seconds(), bucket.get_count())
        };
        assert_eq!((of(0), of(1)), ((0.001, 0), (0.002, 1)));
        let last = lateness.get_buckets().last().map(|bucket| bucket.count);
        assert_eq!(last, Some(1), "the one of 100 s is in no bucket");
    }

    #[test]
    fn facts_are_told_whole() {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(77);
        let facts = Facts {
            last_backup_age: Some(std::time::Duration::from_millis(1_500)),
            volumes: vec![VolumeFacts {
                folders: vec!["db", "peer"],
                free_bytes: 7,
                ..VolumeFacts::default()
            }],
            ports: PortFacts {
                certificate: Some(("own of service".into(), at)),
                client_auth: ClientAuth::Require,
                ..PortFacts::default()
            },
            log_syncs: 9,
            ..Facts::default()
        };
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let message = of_facts(&facts, &metrics);
        assert_eq!(message.get_last_backup_age().get_nanos(), 500_000_000);
        assert_eq!(message.get_volumes()[0].get_folders(), ["db", "peer"]);
        assert_eq!(message.get_volumes()[0].get_free_bytes(), 7);
        let security = message.get_security();
        assert_eq!(security.get_certificate_expires_at().get_seconds(), 77);
        let asks = security.get_client_certificates();
        assert_eq!(asks, ClientCertificates::CLIENT_CERTIFICATES_REQUIRE);
        assert_eq!(message.get_counters().get_log_syncs(), 9);
        let none = of_facts(&Facts::default(), &metrics);
        assert!(!none.has_last_backup_age());
        assert!(!none.get_security().has_certificate_expires_at());
    }
}
